"""Iterative hard thresholding finds sparse solutions, keeps patterns, and never raises the objective."""

import numpy as np
import pytest
import torch

from sparsetheory.gpu.core import NM, BlockNM, PerRow, PerTensor, RowBlock
from sparsetheory.gpu.solvers import hard_thresholding
from sparsetheory.gpu.solvers.restricted import restricted_least_squares
from sparsetheory.regression import NIHT

PATTERNS = (
    PerRow(4),
    NM(2, 4),
    NM(1, 3, axis=0),
    PerRow([1, 2, 3, 4, 5, 6]),
    RowBlock(2, 0.5),
    BlockNM(3, 1, 4),
    PerTensor(0.3),
)
each_pattern = pytest.mark.parametrize("pattern", PATTERNS, ids=str)
each_kind = pytest.mark.parametrize("preconditioned", [True, False], ids=["scaled", "plain"])
each_end = pytest.mark.parametrize("refit", [True, False], ids=["refit", "as is"])


def _correlated(n_rows=6, n=12, seed=0):
    """Rows, and the Gram matrix of correlated inputs of unequal sizes."""
    made = torch.Generator().manual_seed(seed)
    mix = torch.eye(n, dtype=torch.float64) + 0.5 * torch.randn(n, n, generator=made, dtype=torch.float64)
    X = torch.randn(60, n, generator=made, dtype=torch.float64) @ mix * torch.linspace(0.3, 3, n, dtype=torch.float64)
    return torch.randn(n_rows, n, generator=made, dtype=torch.float64), X.T @ X / 60


def _error(W, G, coef):
    return (((W - coef) @ G) * (W - coef)).sum(1)


@each_kind
@each_end
def test_planted_coefficients_are_found(device, preconditioned, refit):
    made = torch.Generator().manual_seed(1)
    X = torch.randn(120, 40, generator=made, dtype=torch.float64).to(device)
    planted = torch.zeros(8, 40, dtype=torch.float64)
    for row in planted:
        row[torch.randperm(40, generator=made)[:3]] = 1.0 + torch.rand(3, generator=made, dtype=torch.float64)
    planted = planted.to(device)
    found = hard_thresholding(
        X.T @ X,
        planted @ (X.T @ X),
        PerRow(3),
        preconditioned=preconditioned,
        refit=refit,
        step=1.0,
        tol=1e-15,
        max_iter=2000,
    )
    assert found.converged.all()
    torch.testing.assert_close(found.coef, planted, rtol=1e-5, atol=1e-5)
    assert torch.equal(found.mask, planted != 0)


def test_the_support_is_that_of_the_classical_estimator(rng):
    X = rng.standard_normal((100, 30))
    X /= np.linalg.norm(X, axis=0)
    for seed in range(5):
        y = X[:, [3, 7, 11]] @ np.array([1.0, -2.0, 1.5]) + 0.01 * np.random.default_rng(seed).standard_normal(100)
        model = NIHT(3, fit_intercept=False).fit(X, y)
        found = hard_thresholding(torch.from_numpy(X.T @ X), torch.from_numpy(X.T @ y)[None], PerRow(3))
        np.testing.assert_allclose(found.coef[0], model.coef_, atol=1e-9)


@each_pattern
@each_kind
@each_end
def test_patterns_are_kept_and_errors_never_rise(pattern, preconditioned, refit):
    W, G = _correlated()
    start = pattern.project(W)
    errors = []
    for most in (1, 2, 5, 50):
        found = hard_thresholding(
            G,
            W @ G,
            pattern,
            init=start,
            squares=((W @ G) * W).sum(1),
            preconditioned=preconditioned,
            refit=refit,
            max_iter=most,
        )
        pattern.check_shape(found.mask.shape)
        assert int(found.mask.sum()) == pattern.count(W.shape)
        assert (found.coef[~found.mask] == 0).all()
        torch.testing.assert_close(found.objective, _error(W, G, found.coef))
        errors.append(found.objective.sum())
    assert errors == sorted(errors, reverse=True)
    assert errors[0] <= _error(W, G, start).sum() + 1e-12


@each_pattern
def test_refitted_coefficients_are_least_squares_on_their_support(pattern):
    W, G = _correlated(seed=2)
    found = hard_thresholding(G, W @ G, pattern, init=pattern.project(W))
    gradient = (W - found.coef) @ G
    assert gradient[found.mask].abs().max() < 1e-9


def test_long_scaled_steps_beat_plain_ones_on_correlated_inputs():
    W, G = _correlated(n_rows=60, n=48, seed=3)
    start = NM(2, 4).project(W)
    scaled, plain = (
        hard_thresholding(G, W @ G, NM(2, 4), init=start, squares=((W @ G) * W).sum(1), preconditioned=kind, step=step)
        for kind, step in ((True, None), (False, 1.0))
    )
    assert scaled.objective.sum() < 0.9 * plain.objective.sum()


def test_rows_do_not_depend_on_their_company():
    W, G = _correlated(seed=4)
    together = hard_thresholding(G, W @ G, NM(2, 4))
    alone = torch.cat([hard_thresholding(G, w[None] @ G, NM(2, 4)).coef for w in W])
    torch.testing.assert_close(together.coef, alone)


def test_dependent_and_dead_columns_do_no_harm():
    W, G = _correlated()
    G = torch.cat([torch.cat([G, G], 1)] * 2)
    G[5] = G[:, 5] = 0.0
    found = hard_thresholding(G, torch.cat([W, W], 1) @ G, PerRow(20))
    assert torch.isfinite(found.coef).all()
    assert (found.coef[:, 5] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precisions_keep_their_dtype(device, dtype):
    W, G = _correlated(seed=5)
    exact = hard_thresholding(G, W @ G, NM(2, 4), squares=((W @ G) * W).sum(1))
    W, G = W.to(device, dtype), G.to(device)
    found = hard_thresholding(G.float(), (W.double() @ G).to(dtype), NM(2, 4))
    assert found.coef.dtype == dtype
    error = _error(W.double(), G, found.coef.double()).sum()
    assert error <= (1.02 if dtype == torch.float32 else 1.3) * exact.objective.sum()


def test_restricted_least_squares_of_supports_of_all_sizes(monkeypatch):
    W, G = _correlated(n_rows=13)
    support = torch.arange(12) < torch.arange(13).unsqueeze(1)
    found = restricted_least_squares(G, W @ G, support)
    for size in range(13):
        expected = torch.linalg.solve(G[:size, :size], (W @ G)[size, :size])
        torch.testing.assert_close(found[size, :size], expected)
        assert (found[size, size:] == 0).all()
    monkeypatch.setattr("sparsetheory.gpu.solvers.arguments._CPU_BYTES", 1)
    torch.testing.assert_close(restricted_least_squares(G, W @ G, support), found)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"gram": np.eye(4)}, TypeError, "gram must be a tensor"),
        ({"gram": torch.eye(3)}, ValueError, "gram must have one row"),
        ({"correlations": torch.ones(4)}, ValueError, "gram must have one row"),
        ({"pattern": "2:4"}, ValueError, "pattern must be"),
        ({"pattern": NM(2, 3)}, ValueError, "multiple of 3"),
        ({"init": torch.ones(2, 3)}, ValueError, "init must have the shape"),
        ({"squares": torch.ones(3)}, ValueError, "squares must hold one number"),
        ({"step": 0.0}, ValueError, "step must be"),
        ({"tol": -1.0}, ValueError, "tol must be"),
        ({"max_iter": 0}, ValueError, "max_iter must be"),
        ({"refit": 1}, ValueError, "refit must be"),
    ],
)
def test_bad_arguments_are_named(change, error, words):
    with pytest.raises(error, match=words):
        hard_thresholding(**{"gram": torch.eye(4), "correlations": torch.ones(2, 4), "pattern": NM(2, 4), **change})
