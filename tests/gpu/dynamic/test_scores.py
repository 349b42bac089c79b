import pytest
import torch
from torch import nn

from sparsetheory.gpu.core.hooks.snapshots import Snapshot
from sparsetheory.gpu.core.hooks.topology import TopologyController
from sparsetheory.gpu.dynamic.scores import (
    MomentumScore,
    curvature_gain,
    curvature_price,
    find_score,
    gradient_magnitude,
    magnitude,
    random_order,
    unfired_first,
)
from sparsetheory.gpu.dynamic.supported_quadratic import SupportedQuadratic


def _snapshot(weight=None, gradient=None, mask=None, fired=None, state=None, seed=0):
    weight = torch.tensor([1.0, -2.0, 0.0, 0.0]) if weight is None else weight
    mask = weight != 0 if mask is None else mask
    generator = torch.Generator().manual_seed(seed)
    return Snapshot(0, 1, mask, mask if fired is None else fired, (weight,), (gradient,), state or {}, generator)


def test_magnitudes():
    gradient = torch.tensor([0.5, -1.0, 3.0, -4.0])
    assert magnitude(_snapshot()).tolist() == [1, 2, 0, 0]
    assert gradient_magnitude(_snapshot(gradient=gradient)).tolist() == [0.5, 1, 3, 4]


def test_random_order_is_a_permutation_and_unfired_entries_come_first():
    fired = torch.tensor([True, True, False, True])
    order = random_order(_snapshot())
    assert sorted(order.tolist()) == [0, 1, 2, 3]
    assert torch.equal(order, random_order(_snapshot()))
    for seed in range(10):
        score = unfired_first(_snapshot(fired=fired, seed=seed))
        assert int(score.argmax()) == 2
        assert len(set(score.tolist())) == 4
    large = random_order(_snapshot(weight=torch.zeros(3000, 1000)))
    assert large.flatten().unique().numel() == 3_000_000


def test_momentum_is_the_mean_of_dense_gradients():
    score = MomentumScore(0.5, 0.75)
    gradients = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    first, second = torch.zeros(3), torch.zeros(3)
    for t, gradient in enumerate(gradients):
        score.observe(0, gradient)
        first = gradient / 2 + (first / 2 if t else 0)
        second = gradient.square() / 4 + (0.75 * second if t else 0)
        torch.testing.assert_close(score(_snapshot()), first.abs() / (second.sqrt() + 1e-8))
    other = MomentumScore(0.5, 0.75)
    other.load_state_dict(score.state_dict())
    torch.testing.assert_close(other(_snapshot()), score(_snapshot()))


def test_momentum_of_the_optimiser():
    score = MomentumScore(dense=False)
    moments = {"exp_avg": torch.tensor([1.0, -4.0]), "exp_avg_sq": torch.tensor([4.0, 4.0]), "step": torch.tensor(1.0)}
    torch.testing.assert_close(score(_snapshot(state=moments)), torch.tensor([0.5, 2.0]))
    assert score(_snapshot(state={"momentum_buffer": torch.tensor([-3.0])})).tolist() == [3]
    with pytest.raises(RuntimeError, match="the optimiser must keep moments under mask 0; it has none"):
        score(_snapshot())
    with pytest.raises(RuntimeError, match="needs gradients under mask 0"):
        MomentumScore()(_snapshot())


def test_curvature_scores_are_one_sided_bounds_of_exact_prices():
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        X = torch.randn(20, 8, generator=generator, dtype=torch.float64)
        X *= torch.randn(8, generator=generator, dtype=torch.float64).exp()
        y = torch.randn(20, generator=generator, dtype=torch.float64)
        support = torch.rand(8, generator=generator) < 0.5
        exact = SupportedQuadratic(X.T @ X, X.T @ y, support)
        seen = _snapshot(weight=exact.weight, gradient=exact.gradient, mask=support)
        curvature = [X.square().sum(0)]
        price, gain = curvature_price(curvature)(seen), curvature_gain(curvature)(seen)
        assert bool((price[support] >= exact.prices[support] * (1 - 1e-10)).all())
        assert bool((gain[~support] <= exact.gains[~support] * (1 + 1e-10)).all())


def test_curvature_of_zero_gains_nothing():
    seen = _snapshot(gradient=torch.tensor([1.0, 1.0, 0.0, 2.0]))
    assert curvature_gain([torch.tensor([0.0, 1.0, 0.0, 2.0])])(seen).tolist() == [0, 0.5, 0, 1]


def test_scores_by_name():
    assert find_score("unfired") is unfired_first
    assert isinstance(find_score("momentum"), MomentumScore)
    assert find_score("momentum") is not find_score("momentum")
    with pytest.raises(ValueError, match="name must be one of 'magnitude'"):
        find_score("size")


def test_momentum_needs_a_dense_gradient_at_every_step():
    # The entry of the largest mean gradient is not that of the largest last one.
    for score, grown in ((MomentumScore(0.9), 2), (gradient_magnitude, 3)):
        weight = nn.Parameter(torch.tensor([1.0, 2.0, 0.0, 0.0]))
        optimizer = torch.optim.SGD([weight], lr=1e-3, momentum=0.9)
        masks = {weight: torch.tensor([True, True, False, False])}
        TopologyController(optimizer, masks, drop=magnitude, grow=score, fraction=0.5, every=5)
        for t in range(5):
            weight.grad = torch.tensor([0.0, 0.0, 1.0, 1.5 if t == 4 else 0.0])
            optimizer.step()
        assert masks[weight].nonzero().flatten().tolist() == [1, grown]
