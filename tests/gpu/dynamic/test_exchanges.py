import math
from itertools import combinations, pairwise

import pytest
import torch

from sparsetheory.gpu.core.schedules import Cosine
from sparsetheory.gpu.dynamic.exchanges import exchange_search


def _support(indices, p):
    support = torch.zeros(p, dtype=torch.bool)
    support[torch.as_tensor(indices)] = True
    return support


def _recovery(generator, spread, n=60, p=80, n_true=10, budget=12):
    """A Gram matrix of columns of unequal scales, a sparse truth without noise, and a random start."""
    X = torch.randn(n, p, generator=generator, dtype=torch.float64)
    scale = (spread * torch.randn(p, generator=generator, dtype=torch.float64)).exp()
    X = X / X.norm(dim=0) * scale
    true = torch.randperm(p, generator=generator)[:n_true]
    sign = 1 - 2 * torch.randint(2, (n_true,), generator=generator)
    w = torch.zeros(p, dtype=torch.float64)
    w[true] = (1 + torch.rand(n_true, generator=generator, dtype=torch.float64)) * sign / scale[true]
    return X.T @ X, X.T @ (X @ w), _support(torch.randperm(p, generator=generator)[:budget], p), true


def _recall(spread, drop, grow, n_instances):
    generator = torch.Generator().manual_seed(0)
    moves = Cosine(2.0, 60)
    found = []
    for _ in range(n_instances):
        gram, target, start, true = _recovery(generator, spread)
        result = exchange_search(
            gram,
            target,
            start,
            drop=drop,
            grow=grow,
            moves=lambda step: math.ceil(moves(step)),
            max_iter=60,
            guarded=False,
        )
        found.append(float(result.support[true].double().mean()))
    return sum(found) / n_instances


def test_exact_prices_find_the_truth_where_magnitudes_and_gradients_do_not():
    assert _recall(0.7, "magnitude", "gradient", 12) <= 0.6
    assert _recall(0.7, "price", "gain", 12) >= 0.98


def test_both_find_it_where_all_columns_have_the_same_scale():
    assert _recall(0.0, "magnitude", "gradient", 4) >= 0.98
    assert _recall(0.0, "price", "gain", 4) >= 0.98


def _small(generator, p=12):
    X = torch.randn(20, p, generator=generator, dtype=torch.float64)
    X = X + 1.5 * torch.randn(20, 1, generator=generator, dtype=torch.float64)
    X *= torch.randn(p, generator=generator, dtype=torch.float64).exp()
    y = X @ torch.randn(p, generator=generator, dtype=torch.float64)
    return X.T @ X, X.T @ y, _support(torch.randperm(p, generator=generator)[:4], p)


def _all_minima(gram, target, size):
    supports = list(combinations(range(len(target)), size))
    chosen = torch.tensor(supports)
    b = target[chosen]
    w = torch.linalg.solve(gram[chosen[:, :, None], chosen[:, None, :]], b)
    return dict(zip(map(frozenset, supports), (-(b * w).sum(1) / 2).tolist(), strict=True))


@pytest.mark.parametrize("rules", [("price", "gain"), ("magnitude", "gradient")])
def test_a_guarded_search_falls_strictly_and_ends_where_no_exchange_helps(rules):
    generator = torch.Generator().manual_seed(0)
    optimal = 0
    for _ in range(15):
        gram, target, start = _small(generator)
        result = exchange_search(gram, target, start, drop=rules[0], grow=rules[1], moves=lambda step: 2)
        assert result.swap_optimal
        assert int(result.support.sum()) == 4
        assert all(b < a for a, b in pairwise(result.history))
        scale = abs(result.history[0])
        # Brute force over all supports, and over those that one exchange reaches.
        minima = _all_minima(gram, target, 4)
        inside = frozenset(result.support.nonzero().flatten().tolist())
        assert result.objective == pytest.approx(minima[inside], rel=1e-9)
        assert all(m >= minima[inside] - 1e-9 * scale for s, m in minima.items() if len(s & inside) == 3)
        optimal += minima[inside] <= min(minima.values()) + 1e-9 * scale
    assert optimal >= 8


def test_an_unguarded_search_proves_nothing_and_may_rise():
    generator = torch.Generator().manual_seed(0)
    gram, target, start = _small(generator)
    result = exchange_search(gram, target, start, drop="magnitude", grow="gradient", guarded=False, max_iter=7)
    assert len(result.history) == 8
    assert not result.swap_optimal
    assert result.weight.dtype == torch.float64


@pytest.mark.parametrize("support", [torch.zeros(5) > 0, torch.ones(5) > 0])
def test_nothing_can_be_exchanged(support):
    result = exchange_search(torch.eye(5), torch.ones(5), support)
    assert result.swap_optimal
    assert torch.equal(result.support, support)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drop": "size"}, "drop must be one of 'magnitude', 'price'"),
        ({"grow": "size"}, "grow must be one of 'gradient', 'gain'"),
        ({"max_iter": 0}, "max_iter must be an integer from 1"),
        ({"moves": lambda step: -1}, "moves must be an integer from 0"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        exchange_search(torch.eye(3), torch.ones(3), torch.ones(3) > 0, **options)
