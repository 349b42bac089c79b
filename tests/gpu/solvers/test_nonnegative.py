"""Least squares with weights that are not negative, against scipy and against all supports."""

import warnings
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.optimize import nnls

from sparsetheory.gpu.solvers import nnls_gram, simplex_project
from sparsetheory.gpu.solvers.nonnegative import batched_nnls, nnls_and_few
from sparsetheory.gpu.solvers.nonnegative_compiled import compiled_nnls, compiled_simplex_fits, compiled_swaps
from sparsetheory.gpu.solvers.nonnegative_swaps import batched_swaps, swap_nonnegative


def _problems(rng, n_targets, n_rows, n):
    A, y = rng.standard_normal((n_targets, n_rows, n)), rng.standard_normal((n_targets, n_rows))
    return torch.from_numpy(A), torch.from_numpy(y)


def _grams(A, y):
    return A.mT @ A, (A.mT @ y.unsqueeze(2)).squeeze(2)


def _gap(G, b, x):
    """Return an upper bound of how far objectives are above the minimum over the simplex."""
    slopes = (G @ x.unsqueeze(2)).squeeze(2) - b
    return float(((slopes * x).sum(-1) - slopes.amin(-1)).max())


@pytest.mark.parametrize(("n_rows", "n"), [(12, 5), (4, 12), (30, 20), (1, 3)])
def test_residuals_are_those_of_scipy(rng, device, n_rows, n):
    A, y = _problems(rng, 40, n_rows, n)
    x = nnls_gram(*(part.to(device) for part in _grams(A, y))).cpu()
    assert (x >= 0).all()
    expected = [nnls(a.numpy(), target.numpy())[1] for a, target in zip(A, y, strict=True)]
    found = ((A @ x.unsqueeze(2)).squeeze(2) - y).norm(dim=1)
    np.testing.assert_allclose(found, expected, atol=1e-7)


@pytest.mark.parametrize(("n_rows", "n"), [(12, 5), (4, 12), (30, 20), (1, 3), (3, 1)])
def test_weights_with_a_sum_are_minimisers(rng, device, n_rows, n):
    G, b = (part.to(device) for part in _grams(*_problems(rng, 40, n_rows, n)))
    x = nnls_gram(G, b, sum_to_one=True)
    assert (x >= 0).all()
    torch.testing.assert_close(x.sum(-1), torch.ones_like(x[:, 0]), rtol=0, atol=1e-12)
    assert _gap(G, b, x) < 1e-11


def test_the_identity_is_the_projection_on_the_simplex(rng):
    b = torch.from_numpy(rng.standard_normal((20, 6)))
    found = nnls_gram(torch.eye(6, dtype=torch.float64).expand(20, 6, 6), b, sum_to_one=True)
    torch.testing.assert_close(found, simplex_project(b), rtol=0, atol=1e-13)


def test_exact_mixtures_end_without_a_warning(rng):
    # All that is left of the objective is rounding, in which columns could come and go without end.
    A = torch.from_numpy(rng.standard_normal((300, 15, 12)))
    truth = torch.from_numpy(rng.dirichlet(np.full(12, 0.2), size=300))
    C = A - (A @ truth.unsqueeze(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = nnls_gram(C.mT @ C, torch.zeros(300, 12, dtype=torch.float64), sum_to_one=True)
    torch.testing.assert_close(x, truth, rtol=0, atol=1e-9)


def test_equal_columns_and_columns_of_zeros_are_no_harm(rng):
    A, y = _problems(rng, 20, 6, 4)
    twice = torch.cat([A, A, torch.zeros_like(A[..., :1])], 2)
    for sum_to_one in (False, True):
        G, b = _grams(twice, y)
        x = nnls_gram(G, b, sum_to_one=sum_to_one)
        assert x.isfinite().all()
        if sum_to_one:
            assert _gap(G, b, x) < 1e-12
        else:
            plain = nnls_gram(*_grams(A, y))
            torch.testing.assert_close(twice @ x.unsqueeze(2), A @ plain.unsqueeze(2), rtol=0, atol=1e-9)


def _best(G, n_nonzero):
    """Return the least ``x G x' / 2`` of all supports."""
    values = []
    for support in combinations(range(G.shape[-1]), n_nonzero):
        small = G[:, list(support)][:, :, list(support)]
        x = nnls_gram(small, small.new_zeros(len(small), n_nonzero), sum_to_one=True)
        values.append((x.unsqueeze(1) @ small @ x.unsqueeze(2)).flatten() / 2)
    return torch.stack(values).amin(0)


def test_few_nonzeros_are_the_best_on_their_support_and_exchanges_lower_them(rng):
    C = torch.from_numpy(rng.standard_normal((60, 6, 7)))
    G, zeros = C.mT @ C, torch.zeros(60, 7, dtype=torch.float64)
    minimum, few = nnls_and_few(G, zeros, 3, sum_to_one=True)
    swapped = swap_nonnegative(G, zeros, few, 3, sum_to_one=True)
    objectives = [(x.unsqueeze(1) @ G @ x.unsqueeze(2)).flatten() / 2 for x in (minimum, few, swapped)]
    best = _best(G, 3)
    for x in (few, swapped):
        assert ((x > 0).sum(-1) <= 3).all()
        slopes = torch.where(x > 0, (G @ x.unsqueeze(2)).squeeze(2), torch.inf)
        assert (((G @ x.unsqueeze(2)).squeeze(2) * x).sum(-1) - slopes.amin(-1)).max() < 1e-12
    assert (objectives[0] <= best + 1e-12).all()
    assert (best <= objectives[2] + 1e-12).all()
    assert (objectives[2] <= objectives[1] + 1e-12).all()
    # No exchange is left, which more than one round takes for some.
    torch.testing.assert_close(swap_nonnegative(G, zeros, swapped, 3, sum_to_one=True), swapped, rtol=0, atol=1e-12)
    # Dropping alone misses the best support often, exchanges rarely.
    missed = [(values > best + 1e-9).sum() for values in objectives[1:]]
    assert missed[0] >= 10
    assert missed[1] <= missed[0] / 2


@pytest.mark.parametrize("sum_to_one", [False, True])
@pytest.mark.parametrize(("n_rows", "n", "n_nonzero"), [(15, 31, 4), (30, 20, 6), (9, 8, 1), (3, 1, 1)])
def test_compiled_and_batched_fits_are_the_same(rng, sum_to_one, n_rows, n, n_nonzero):
    G, b = _grams(*_problems(rng, 50, n_rows, n))
    options = {"n_nonzero": n_nonzero, "sum_to_one": sum_to_one}
    found, expected = compiled_nnls(G, b, **options), batched_nnls(G, b, **options)
    swapped = [swap(G, b, expected[1], **options) for swap in (compiled_swaps, batched_swaps)]
    for ours, other in (*zip(found, expected, strict=True), swapped):
        torch.testing.assert_close(ours, other, rtol=0, atol=1e-7)


@pytest.mark.parametrize("sum_to_one", [False, True])
def test_compiled_and_batched_exchanges_fill_spare_places_alike(rng, sum_to_one):
    # Starts with fewer nonzeros than allowed, from which more than one column has to come in.
    G, b = _grams(*_problems(rng, 60, 10, 12))
    _, starts = batched_nnls(G, b, 1, sum_to_one=sum_to_one)
    ours, other = (swap(G, b, starts, 4, sum_to_one=sum_to_one) for swap in (compiled_swaps, batched_swaps))
    torch.testing.assert_close(ours, other, rtol=0, atol=1e-9)
    assert ((ours > 0).sum(1) == 4).sum() >= 10


def test_mixtures_of_columns_are_fitted_as_from_their_grams(rng):
    misses = torch.from_numpy(rng.standard_normal((80, 15, 12)) + 0.4)
    G, zeros = misses.mT @ misses, torch.zeros(80, 12, dtype=torch.float64)
    minimum, few = batched_nnls(G, zeros, 3, sum_to_one=True)
    swapped = batched_swaps(G, zeros, few, 3, sum_to_one=True)
    for swaps, expected in ((False, few), (True, swapped)):
        found = compiled_simplex_fits(misses, 3, swaps=swaps)
        torch.testing.assert_close(found[0], minimum, rtol=0, atol=1e-9)
        torch.testing.assert_close(found[1], expected, rtol=0, atol=1e-9)
    assert ((few - swapped).abs().amax(1) > 1e-3).any()


def test_hundreds_of_columns_are_fitted_as_by_scipy(rng):
    A, y = _problems(rng, 3, 250, 200)
    x = nnls_gram(*_grams(A, y))
    expected = np.array([nnls(a.numpy(), target.numpy())[0] for a, target in zip(A, y, strict=True)])
    np.testing.assert_allclose(x, expected, atol=1e-9)
    assert ((x > 0).sum(1) > 50).all()


def test_columns_far_away_cost_no_digits(rng):
    # All mixtures of the three short columns point away from the others, which therefore get no weight.
    C = torch.from_numpy(rng.standard_normal((40, 6, 10)))
    C[:, 0, :3], C[:, 0, 3:] = 0.5, 1e6
    G, zeros = C.mT @ C, torch.zeros(40, 10, dtype=torch.float64)
    x = nnls_gram(G, zeros, sum_to_one=True)
    assert (x[:, 3:] == 0).all()
    assert _gap(G[:, :3, :3], zeros[:, :3], x[:, :3]) < 1e-13


def test_long_and_short_columns_are_fitted_together_to_rounding(rng):
    C = torch.from_numpy(rng.standard_normal((200, 6, 10)))
    C[..., 3:] *= 1e5
    G, zeros = C.mT @ C, torch.zeros(200, 10, dtype=torch.float64)
    assert _gap(G, zeros, nnls_gram(G, zeros, sum_to_one=True)) < 1e-12 * float(G.amax())


def test_layouts_and_empty_batches_are_no_harm(rng):
    G, b = _grams(*_problems(rng, 5, 8, 4))
    expected = nnls_gram(G, b)
    torch.testing.assert_close(nnls_gram(G.mT, b.repeat(1, 2)[:, :4]), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(nnls_gram(G.clone().requires_grad_(), b), expected, rtol=0, atol=0)
    assert nnls_gram(G[:0], b[:0]).shape == (0, 4)


def test_fits_that_are_not_done_are_told_where_they_were_asked_for(monkeypatch):
    monkeypatch.setattr("sparsetheory.numba_kernels.quadratic.nonnegative.fit_grams", lambda *given: 2)
    with pytest.warns(RuntimeWarning, match="2 fits of 3 targets") as told:
        nnls_gram(torch.eye(2).expand(3, 2, 2), torch.ones(3, 2))
    assert told[0].filename == __file__


def test_batches_and_dtypes_are_kept(rng):
    A, y = _problems(rng, 6, 8, 5)
    G, b = (part.float() for part in _grams(A, y))
    x = nnls_gram(G.view(2, 3, 5, 5), b.view(2, 3, 5), n_nonzero=2)
    assert x.shape == (2, 3, 5)
    assert x.dtype == torch.float32
    torch.testing.assert_close(x[1, 2], nnls_gram(G[5], b[5], n_nonzero=2))


@pytest.mark.parametrize(
    ("gram", "correlations", "options", "match"),
    [
        (torch.eye(3), torch.zeros(2), {}, "gram must have shape"),
        (torch.zeros(0, 0), torch.zeros(0), {}, "gram must have shape"),
        (torch.eye(2), torch.tensor([torch.inf, 0]), {}, "correlations must be finite"),
        (torch.eye(2), torch.zeros(2), {"n_nonzero": 3}, "n_nonzero must be at most"),
        (torch.eye(2), torch.zeros(2), {"sum_to_one": 1}, "sum_to_one must be True or False"),
    ],
)
def test_bad_input_is_named(gram, correlations, options, match):
    with pytest.raises(ValueError, match=match):
        nnls_gram(gram, correlations, **options)
