"""Batched matching pursuit takes the decisions of the compiled one."""

import numpy as np
import pytest
import torch

from sparsetheory.gpu.solvers import omp_gram
from sparsetheory.regression import omp_gram as compiled


def _problem(rng, n_features=40, n_samples=30, n_targets=50):
    X, Y = (
        rng.standard_normal((n_samples, n_features)) * rng.uniform(0.1, 10, n_features),
        rng.standard_normal((n_targets, n_samples)),
    )
    return X.T @ X, Y @ X, (Y**2).sum(1)


@pytest.mark.parametrize("stop", ["count", "tolerance", "both"])
def test_coefficients_are_those_of_the_compiled_solver(rng, device, stop):
    gram, correlations, squares = _problem(rng)
    count = {} if stop == "tolerance" else {"n_nonzero": 11}
    tol = {} if stop == "count" else {"tol": 4.0}
    expected = compiled(gram, correlations, **count, **tol, **({"squares": squares} if tol else {}))
    G, b, e = (torch.from_numpy(a).to(device) for a in (gram, correlations, squares))
    found = omp_gram(G, b, **count, **tol, **({"squares": e} if tol else {}))
    assert (np.count_nonzero(expected, axis=1).min() < np.count_nonzero(expected, axis=1).max()) == bool(tol)
    np.testing.assert_array_equal(found.cpu() != 0, expected != 0)
    np.testing.assert_allclose(found.cpu(), expected, rtol=1e-9, atol=1e-9)


def test_all_columns_may_be_selected_and_the_default_is_a_tenth(rng):
    gram, correlations, squares = _problem(rng, n_samples=60)
    G, b = torch.from_numpy(gram), torch.from_numpy(correlations)
    assert (omp_gram(G, b) != 0).sum(1).unique().tolist() == [4]
    full = omp_gram(G, b, tol=0.0, squares=torch.from_numpy(squares))
    torch.testing.assert_close(full, torch.linalg.solve(G, b.T).T)


def test_a_batch_of_gram_matrices_is_solved_as_one_by_one(rng, device):
    problems = [_problem(rng, n_targets=7)[:2] for _ in range(6)]
    G, b = (torch.from_numpy(np.stack(arrays)).to(device) for arrays in zip(*problems, strict=True))
    found = omp_gram(G.view(2, 3, 40, 40), b.view(2, 3, 7, 40), n_nonzero=5).view(6, 7, 40)
    torch.testing.assert_close(found, torch.stack([omp_gram(g, r, n_nonzero=5) for g, r in zip(G, b, strict=True)]))


def test_dependent_and_empty_columns_end_the_selection(rng):
    X = rng.standard_normal((5, 4))
    X = np.hstack([X, X[:, :2], np.zeros((5, 2))])
    Y = rng.standard_normal((9, 5))
    gram, correlations = X.T @ X, Y @ X
    found = omp_gram(torch.from_numpy(gram), torch.from_numpy(correlations), n_nonzero=8)
    np.testing.assert_allclose(found.numpy() @ X.T, compiled(gram, correlations, n_nonzero=8) @ X.T, atol=1e-9)
    assert (found[:, 6:] == 0).all()
    assert (omp_gram(torch.from_numpy(gram), torch.zeros(3, 8, dtype=torch.float64), n_nonzero=3) == 0).all()


def test_chunks_change_nothing(rng, monkeypatch):
    gram, correlations, _ = (torch.from_numpy(a) for a in _problem(rng))
    whole = omp_gram(gram, correlations, n_nonzero=6)
    monkeypatch.setattr("sparsetheory.gpu.solvers.arguments._CPU_BYTES", 20_000)
    torch.testing.assert_close(omp_gram(gram, correlations, n_nonzero=6), whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-4), (torch.bfloat16, 1e-2)])
def test_lower_precisions_keep_their_dtype_and_fit_nearly_as_well(rng, dtype, error):
    gram, correlations, squares = _problem(rng)
    G, b = torch.from_numpy(gram), torch.from_numpy(correlations)

    def explained(coef):
        return (2 * coef * b).sum(1) - ((coef @ G) * coef).sum(1)

    found = omp_gram(G.float(), b.to(dtype), n_nonzero=6)
    assert found.dtype == dtype
    best = explained(omp_gram(G, b, n_nonzero=6))
    assert (explained(found.double()) >= best - error * torch.from_numpy(squares)).double().mean() > 0.9


def test_one_target_without_an_axis(rng):
    gram, correlations, squares = (torch.from_numpy(a) for a in _problem(rng))
    found = omp_gram(gram, correlations[0], tol=5.0, squares=squares[0])
    assert torch.equal(found, omp_gram(gram, correlations[:1], tol=5.0, squares=squares[:1])[0])


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"gram": np.eye(3)}, TypeError, "gram must be a tensor"),
        ({"gram": torch.eye(3)[:2]}, ValueError, "gram must be a square matrix"),
        ({"correlations": torch.ones(2, 4)}, ValueError, "correlations must have 3 entries"),
        ({"correlations": torch.tensor([1.0, float("nan"), 1.0])}, ValueError, "correlations must be finite"),
        ({"n_nonzero": 4}, ValueError, "n_nonzero must be at most"),
        ({"n_nonzero": 0}, ValueError, "n_nonzero must be"),
        ({"tol": 1.0}, ValueError, "squares, the squared norms"),
        ({"tol": 1.0, "squares": torch.ones(3)}, ValueError, "squares must hold one number per target"),
        ({"tol": 1.0, "squares": -torch.ones(2)}, ValueError, "squares must not be negative"),
    ],
)
def test_bad_arguments_are_named(change, error, words):
    with pytest.raises(error, match=words):
        omp_gram(**{"gram": torch.eye(3), "correlations": torch.ones(2, 3), **change})


@pytest.mark.parametrize("n_nonzero", [1, 3, 7])
def test_an_excluded_column_is_not_there(rng, device, n_nonzero):
    # Columns code each other; leaving one out of the Gram matrix is what the exclusion stands for.
    X = torch.from_numpy(rng.standard_normal((12, 20))).to(device)
    gram = X.T @ X
    found = omp_gram(gram, gram, n_nonzero=n_nonzero, excluded=torch.arange(20, device=device))
    for i in range(20):
        others = torch.arange(20, device=device) != i
        alone = omp_gram(gram[others][:, others], gram[i, others], n_nonzero=n_nonzero)
        torch.testing.assert_close(found[i, others], alone)
        assert found[i, i] == 0


def test_excluded_columns_are_checked():
    gram = torch.eye(3)
    for excluded in (torch.arange(2), torch.arange(3.0), torch.tensor([0, 1, 3]), torch.tensor([-1, 0, 1])):
        with pytest.raises(ValueError, match="excluded"):
            omp_gram(gram, gram, n_nonzero=1, excluded=excluded)
