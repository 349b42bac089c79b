import pytest
import torch

from sparsetheory.gpu.core.hooks.topology import TopologyController
from sparsetheory.gpu.dynamic.scores import magnitude, random_order
from sparsetheory.gpu.dynamic.starting_values import normal_start, survivors_mean


def _grown(start, n=4000, seed=0):
    weight = torch.nn.Parameter(torch.full((n,), 2.0, dtype=torch.float64))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    mask = torch.arange(n) < n // 2
    TopologyController(
        optimizer,
        {weight: mask},
        drop=magnitude,
        grow=random_order,
        fraction=1.0 if start is survivors_mean else 0.9,
        every=1,
        start=start,
        allow_regrow=False,
        generator=seed,
    )
    weight.grad = torch.zeros(n, dtype=torch.float64)
    optimizer.step()
    return weight.detach()[n // 2 :][mask[n // 2 :]]


def test_normal_start_has_the_scale_and_the_seed_of_the_controller():
    values = _grown(normal_start(0.1))
    assert values.numel() == 1800
    assert abs(float(values.mean())) < 5 * 0.1 / 1800**0.5
    assert float(values.std()) == pytest.approx(0.1, rel=0.1)
    assert torch.equal(values, _grown(normal_start(0.1)))
    assert not torch.equal(values, _grown(normal_start(0.1), seed=1))


def test_the_mean_of_no_survivors_is_zero():
    assert not bool(_grown(survivors_mean).any())
    new = torch.tensor([True, False, False])
    assert survivors_mean(torch.tensor([9.0, 1.0, 2.0]), new, ~new, torch.Generator()) == 1.5


def test_bad_scale():
    with pytest.raises(ValueError, match="scale must be a finite positive number"):
        normal_start(0.0)
