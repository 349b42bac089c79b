"""Bounds over balls and boxes against the points that attain them."""

import torch

from sparsetheory.gpu.attention import box_bound, upper_bound


def _draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_a_ball_attains_its_bound(device):
    q, center, radius = (
        _draw(2, 5, 4).to(device),
        _draw(2, 3, 4, seed=1).to(device),
        _draw(2, 3, seed=2).abs().to(device),
    )
    bound = upper_bound(center, radius, q)
    best = center[:, None] + radius[:, None, :, None] * (q / q.norm(dim=-1, keepdim=True))[:, :, None]
    torch.testing.assert_close(bound, (q[:, :, None] * best).sum(-1), rtol=1e-12, atol=1e-12)
    inside = center + radius[..., None] * torch.nn.functional.normalize(_draw(2, 3, 4, seed=3).to(device), dim=-1)
    assert (q @ inside.mT <= bound).all()


def test_a_box_attains_its_bound_at_a_corner(device):
    q, ends = _draw(5, 3).to(device), _draw(2, 4, 3, seed=1).sort(dim=0).values.to(device)
    corners = torch.cartesian_prod(*[torch.tensor([0, 1], device=device)] * 3)
    points = torch.where(corners[:, None].bool(), ends[1], ends[0])
    torch.testing.assert_close(box_bound(ends[0], ends[1], q), (q @ points.mT).amax(0), rtol=1e-12, atol=1e-12)


def test_a_query_of_zero_has_the_bound_zero():
    assert box_bound(-torch.ones(1, 2), torch.ones(1, 2), torch.zeros(1, 2)).item() == 0
    assert upper_bound(torch.ones(1, 2), torch.ones(1), torch.zeros(1, 2)).item() == 0
