"""Errors of scores and values."""

import math

import torch

from sparsetheory.gpu.attention import composed_error_bound, perturbation_bound, value_diameter


def _draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_two_groups_attain_the_bound(device):
    for eta in (0.01, 1.0, 5.0):
        scores = torch.tensor([-eta, 0.0], dtype=torch.float64, device=device)
        errors = torch.tensor([eta, -eta], dtype=torch.float64, device=device)
        moved = (scores.softmax(0) - (scores + errors).softmax(0)).abs().sum() / 2
        torch.testing.assert_close(moved, perturbation_bound(errors), rtol=1e-12, atol=0)
        assert math.isclose(moved.item(), math.tanh(eta / 2), rel_tol=1e-12)


def test_no_errors_move_more():
    scores, errors = 3 * _draw(500, 12), _draw(500, 12, seed=1) * torch.logspace(-2, 1, 500)[:, None] + 40
    moved = (scores.softmax(-1) - (scores + errors).softmax(-1)).abs().sum(-1) / 2
    assert (moved <= perturbation_bound(errors) + 1e-14).all()


def test_a_common_shift_and_what_is_not_visible_do_not_count():
    errors = torch.tensor([[7.0, 7.0, 90.0]])
    assert perturbation_bound(errors, visible=torch.tensor([True, True, False])).item() == 0


def test_the_bound_of_everything_holds():
    scores, errors, v = 2 * _draw(50, 20), 0.2 * _draw(50, 20, seed=1), _draw(20, 3, seed=2)
    value_errors = 0.1 * _draw(20, 3, seed=3)
    kept = _draw(50, 20, seed=4) > -0.5
    kept[:, 0] = True
    used = (scores + errors).masked_fill(~kept, -torch.inf).softmax(-1)
    dropped = (scores + errors).softmax(-1).masked_fill(kept, 0).sum(-1)
    bound = composed_error_bound(
        perturbation_bound(errors), dropped, value_diameter(v), used @ value_errors.norm(dim=-1)
    )
    error = (scores.softmax(-1) @ v - used @ (v + value_errors)).norm(dim=-1)
    assert (error <= bound).all()
    assert (composed_error_bound(perturbation_bound(errors), dropped, value_diameter(v)) < bound).all()


def test_the_diameter_is_that_of_a_loop_and_leaves_padding_out():
    v = _draw(2, 40, 3) + 1e6  # products of matrices would lose the digits
    loop = torch.stack([torch.stack([(a - b).norm() for a in part for b in part]).amax() for part in v])
    assert torch.equal(value_diameter(v), loop)
    exists = torch.arange(40) < 10
    spoiled = torch.where(exists[:, None], v, 9e9)
    assert torch.equal(value_diameter(spoiled, key_mask=exists), value_diameter(v[:, :10]))
