import copy

import pytest
import torch
from torch import nn

from sparsetheory.gpu.core.hooks.mask_groups import make_groups


def _group(mask, dtype=torch.float32):
    weight = nn.Parameter(torch.zeros(mask.shape, dtype=dtype, device=mask.device))
    return make_groups(torch.optim.SGD([weight], lr=0.1), {weight: mask})[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64])
@pytest.mark.parametrize("density", [0.0, 0.05, 0.5, 0.95, 1.0])
def test_clearing_leaves_what_is_on_the_mask_to_the_bit(dtype, density, device):
    generator = torch.Generator().manual_seed(0)
    mask = (torch.rand(13, 7, generator=generator) < density).to(device)
    values = torch.randn(13, 7, generator=generator).to(device, dtype)
    values[0] = torch.inf
    values[1] = torch.nan
    group = _group(mask, dtype)
    # Contiguous, turned, and with gaps: each way holds other memory.
    ways = [
        values.clone(),
        values.mT.contiguous().mT,
        torch.stack([values, values], 2)[..., 0],
        nn.Parameter(values.clone()),
    ]
    with torch.no_grad():
        group.clear(ways)
    expected = torch.where(mask, values, torch.zeros((), dtype=dtype, device=device))
    for way in ways:
        torch.testing.assert_close(way.detach(), expected, rtol=0, atol=0, equal_nan=True)
        assert not way.detach()[~mask].isnan().any()


def test_a_changed_mask_is_seen_also_where_torch_counts_no_change():
    mask = torch.zeros(4, 5, dtype=torch.bool)
    mask[0] = True
    group = _group(mask)
    version = mask._version
    group.clear([torch.ones(4, 5)])
    for change in (lambda: mask.numpy().__setitem__(2, True), lambda: mask.data.__setitem__(3, True)):
        change()
        assert mask._version == version
        tensor = torch.ones(4, 5)
        group.clear([tensor])
        assert torch.equal(tensor, mask.float())


def test_copies_have_masks_of_their_own():
    group = _group(torch.eye(4, dtype=torch.bool))
    group.clear([torch.ones(4, 4)])
    other = copy.deepcopy(group)
    other.mask.logical_not_()
    first, second = torch.ones(4, 4), torch.ones(4, 4)
    group.clear([first])
    other.clear([second])
    assert torch.equal(first, torch.eye(4))
    assert torch.equal(second, 1 - torch.eye(4))
