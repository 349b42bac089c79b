"""Batched swap search is the search of its definition, and ends where no swap improves.

The definition, in NumPy, tries every swap and refits it by least squares.
"""

import itertools

import numpy as np
import pytest
import torch

from sparsetheory.gpu.core import NM, PerRow, PerTensor, RowBlock
from sparsetheory.gpu.solvers import swap_search
from sparsetheory.gpu.weights import swap_search as compiled

PATTERNS = {
    "2:4": (NM(2, 4), 4),
    "1:4": (NM(1, 4), 4),
    "3 of 12": (PerRow(3), 12),
    "own": (PerRow([2, 3, 3, 5, 0, 12]), 12),
}
each_pattern = pytest.mark.parametrize(("pattern", "group"), PATTERNS.values(), ids=PATTERNS)


def refit(G, w, support):
    """Return the best coefficients on a support, and their error in the norm of G."""
    coef = np.zeros_like(w)
    inside = np.flatnonzero(support)
    coef[inside] = np.linalg.solve(G[np.ix_(inside, inside)], (G @ w)[inside])
    return coef, float((w - coef) @ G @ (w - coef))


def swaps(support, group):
    """Return all pairs of an entry that leaves and one that enters its group, lowest first."""
    inside, outside = np.flatnonzero(support), np.flatnonzero(~support)
    return [(j, i) for j, i in itertools.product(inside, outside) if j // group == i // group]


def swapped(support, j, i):
    """Return the support after one swap."""
    other = support.copy()
    other[j], other[i] = False, True
    return other


def search_row(w, G, support, group, max_swaps=None):
    """Take the best swap until none improves; return coefficients, support, error and number of swaps."""
    support, count, energy = support.copy(), 0, w @ G @ w
    while max_swaps is None or count < max_swaps:
        error = refit(G, w, support)[1]
        gains = {pair: error - refit(G, w, swapped(support, *pair))[1] for pair in swaps(support, group)}
        best = max(gains, key=gains.get, default=None)
        if best is None or gains[best] <= 1e-12 * energy:
            break
        support, count = swapped(support, *best), count + 1
    return *refit(G, w, support)[:1], support, refit(G, w, support)[1], count


def _problem(n_rows=6, n=12, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((40, n)) @ (np.eye(n) + 0.7 * rng.standard_normal((n, n)))
    return rng.standard_normal((n_rows, n)), X.T @ X / 40


def _start(pattern, W):
    return pattern.mask(torch.from_numpy(W).abs())


@each_pattern
def test_the_search_is_that_of_its_definition(device, pattern, group):
    W, G = _problem()
    start = _start(pattern, W)
    found = swap_search(*(torch.from_numpy(a).to(device) for a in (W, G)), start.to(device), pattern)
    for row, (w, support) in enumerate(zip(W, start.numpy(), strict=True)):
        coef, best, error, count = search_row(w, G, support, group)
        np.testing.assert_array_equal(found.mask[row].cpu(), best)
        np.testing.assert_allclose(found.weight[row].cpu(), coef, atol=1e-10)
        assert float(found.objective[row]) == pytest.approx(error, rel=1e-9, abs=1e-12)
        assert int(found.n_swaps[row]) == count


@pytest.mark.parametrize("pattern", [NM(2, 4), NM(1, 4), PerRow(density=0.5), PerRow([3, 20, 7, 40] * 5)], ids=str)
def test_masks_are_those_of_the_compiled_search(device, pattern):
    W, G = map(torch.from_numpy, _problem(n_rows=20, n=48, seed=2))
    G += 1e-2 * torch.diag(G.diagonal())
    start = pattern.mask(W.abs())
    expected = compiled(W, G, start, pattern)
    found = swap_search(W.to(device), G.to(device), start.to(device), pattern)
    assert expected.n_swaps.sum() > 40
    assert torch.equal(found.mask.cpu(), expected.mask)
    assert torch.equal(found.n_swaps.cpu(), expected.n_swaps)
    torch.testing.assert_close(found.weight.cpu(), expected.weight, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(found.objective.cpu(), expected.objective, rtol=1e-9, atol=1e-12)


@each_pattern
@pytest.mark.parametrize("seed", range(3))
def test_no_single_swap_with_refit_improves_the_result(pattern, group, seed):
    W, G = _problem(seed=seed + 10)
    found = swap_search(torch.from_numpy(W), torch.from_numpy(G), _start(pattern, W), pattern)
    assert found.n_swaps.sum() > 0
    for w, support, error in zip(W, found.mask.numpy(), found.objective.tolist(), strict=True):
        others = [refit(G, w, swapped(support, *pair))[1] for pair in swaps(support, group)]
        assert error <= min(others, default=np.inf) + 1e-11 * (w @ G @ w)


@each_pattern
def test_the_search_never_ends_above_the_refit_of_its_start(pattern, group):
    W, G = map(torch.from_numpy, _problem(n_rows=6, seed=5))
    start = pattern.mask(W.abs())
    refitted, found = (swap_search(W, G, start, pattern, max_swaps=most) for most in (0, None))
    kept = torch.where(start, W, 0.0)
    unfitted = (((W - kept) @ G) * (W - kept)).sum(1)
    assert (refitted.n_swaps == 0).all()
    assert torch.equal(refitted.mask, start)
    assert (refitted.objective <= unfitted + 1e-12).all()
    assert (found.objective <= refitted.objective + 1e-12).all()
    assert (found.mask.sum(1) == start.sum(1)).all()


@pytest.mark.parametrize("most", [1, 2])
def test_swaps_can_be_limited(most):
    W, G = map(torch.from_numpy, _problem(seed=3))
    start = NM(2, 4).mask(W.abs())
    full, few = (swap_search(W, G, start, NM(2, 4), max_swaps=m) for m in (None, most))
    assert torch.equal(few.n_swaps, full.n_swaps.clamp(max=most))


def test_chunks_change_nothing(monkeypatch):
    W, G = map(torch.from_numpy, _problem(n_rows=9, seed=4))
    start = NM(2, 4).mask(W.abs())
    whole = swap_search(W, G, start, NM(2, 4))
    monkeypatch.setattr("sparsetheory.gpu.solvers.arguments._CPU_BYTES", 10_000)
    parts = swap_search(W, G, start, NM(2, 4))
    assert torch.equal(parts.mask, whole.mask)
    torch.testing.assert_close(parts.weight, whole.weight)


def test_ties_go_to_the_lowest_positions():
    # Orthonormal columns of equal weights: every swap from a zero to a one gains as much.
    W, start = torch.tensor([[1.0, 1.0, 1.0, 0.0, 0.0, 0.0]]), torch.tensor([[False, False, True, True, True, False]])
    found = swap_search(W, torch.eye(6), start, PerRow(3), max_swaps=1)
    assert found.mask.tolist() == [[True, False, True, False, True, False]]


def test_dead_inputs_get_nothing():
    W, G = map(torch.from_numpy, _problem(seed=6))
    G[3] = G[:, 3] = 0.0
    start = torch.zeros_like(W, dtype=torch.bool)
    start[:, 2::4] = start[:, 3::4] = True
    found = swap_search(W, G, start, NM(2, 4))
    assert (found.weight[:, 3] == 0).all()
    assert not found.mask[:, 3].any()
    # As if the dead input were an independent one whose weight is zero.
    G[3, 3], W[:, 3] = 1.0, 0.0
    for w, support, best in zip(W.numpy(), start.numpy(), found.mask.numpy(), strict=True):
        np.testing.assert_array_equal(best, search_row(w, G.numpy(), support, 4)[1])


def test_rows_that_fit_already_stay():
    W, G = map(torch.from_numpy, _problem(seed=7))
    W = NM(2, 4).project(W)
    found = swap_search(W, G, W != 0, NM(2, 4))
    torch.testing.assert_close(found.weight, W)
    assert (found.n_swaps == 0).all()


def test_the_dtype_of_the_rows_is_kept():
    W, G = map(torch.from_numpy, _problem(seed=8))
    start = NM(2, 4).mask(W.abs())
    found = swap_search(W.bfloat16(), G.float(), start, NM(2, 4))
    exact = swap_search(W.bfloat16().double(), G.float().double(), start, NM(2, 4))
    assert found.weight.dtype == torch.bfloat16
    assert torch.equal(found.weight, exact.weight.bfloat16())
    assert torch.equal(found.mask, exact.mask)


def _bad(**change):
    W, G = map(torch.from_numpy, _problem())
    return {"W": W, "H": G, "mask": NM(2, 4).mask(W.abs()), "pattern": NM(2, 4), **change}


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"W": np.ones((6, 12))}, TypeError, "W must be a tensor"),
        ({"W": torch.ones(6, 8)}, ValueError, "H must have one row"),
        ({"W": torch.full((6, 12), float("nan"))}, ValueError, "W must be finite"),
        ({"H": torch.arange(144.0).view(12, 12)}, ValueError, "H must be symmetric"),
        ({"H": torch.ones(12, 12)}, ValueError, "H must be positive definite"),
        ({"mask": torch.ones(6, 12)}, ValueError, "mask must be a tensor of bool"),
        ({"mask": torch.ones(6, 12, dtype=torch.bool)}, ValueError, "mask must keep 2 of every 4"),
        ({"pattern": NM(2, 5)}, ValueError, "W must have a multiple of 5"),
        ({"pattern": NM(2, 3, axis=0)}, ValueError, "pattern must be NM along the last axis"),
        ({"pattern": PerTensor(0.5)}, ValueError, "pattern must be NM along the last axis"),
        ({"pattern": RowBlock(2, 0.5)}, ValueError, "pattern must be NM along the last axis"),
        ({"max_swaps": -1}, ValueError, "max_swaps must be"),
    ],
)
def test_bad_arguments_are_named(change, error, words):
    with pytest.raises(error, match=words):
        swap_search(**_bad(**change))
