"""Batched codes have the objectives and supports of the compiled coders, and gaps that say so."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.coding import duality_gap
from sparsetheory.coding import encode as compiled
from sparsetheory.gpu.solvers import encode
from sparsetheory.penalties import L0, L1, ElasticNet

PENALTIES = (L1(0.3), ElasticNet(0.4, 0.7), L1(0.2, positive=True), ElasticNet(0.3, 0.5, positive=True))
each_penalty = pytest.mark.parametrize("penalty", PENALTIES, ids=repr)
each_solver = pytest.mark.parametrize("solver", ["auto", "fss", "fista"])


def _problem(rng, n_atoms=48, n_features=24, n_samples=60):
    D = rng.standard_normal((n_atoms, n_features))
    codes = rng.standard_normal((n_samples, n_atoms)) * (rng.random((n_samples, n_atoms)) < 0.1)
    D *= rng.uniform(0.7, 1.4, n_atoms)[:, None] / np.linalg.norm(D, axis=1, keepdims=True)
    return codes @ D + 0.05 * rng.standard_normal((n_samples, n_features)), D


@each_penalty
@each_solver
def test_codes_are_those_of_the_compiled_solver(rng, device, penalty, solver):
    X, D = _problem(rng)
    expected = compiled(X, D, penalty, tol=1e-12, max_iter=10_000)
    found = encode(
        *(torch.from_numpy(a).to(device) for a in (X, D)), penalty, solver=solver, tol=1e-11, max_iter=10_000
    )
    assert found.converged.all()
    np.testing.assert_allclose(found.objective.cpu(), expected.objective, rtol=1e-9)
    # A gap g keeps codes within sqrt(2 g) over the least singular value of the active atoms.
    np.testing.assert_allclose(found.codes.cpu(), expected.codes, atol=1e-4)
    if solver != "fista":
        np.testing.assert_array_equal(found.codes.cpu() != 0, expected.codes != 0)


@each_penalty
def test_gaps_are_those_of_the_certificate(rng, penalty):
    X, D = _problem(rng)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = encode(torch.from_numpy(X), torch.from_numpy(D), penalty, solver="fista", max_iter=15, tol=1e-12)
    assert not found.converged.all()
    numbers = {"alpha": penalty.alpha, "l1_ratio": penalty.l1_part, "positive": penalty.positive}
    np.testing.assert_allclose(found.gap, duality_gap(X, D, found.codes.numpy(), **numbers), rtol=1e-9, atol=1e-14)


@each_solver
def test_dense_codes_and_many_signs_to_change(rng, solver):
    X, D = _problem(rng, n_atoms=60, n_features=40)
    penalty = L1(1e-3)
    init = torch.from_numpy(-np.linalg.pinv(D.T) @ X.T).T.contiguous()
    found = encode(
        torch.from_numpy(X), torch.from_numpy(D), penalty, solver=solver, init=init, tol=1e-9, max_iter=50_000
    )
    assert found.converged.all()
    expected = compiled(X, D, penalty, tol=1e-11, max_iter=100_000)
    np.testing.assert_allclose(found.objective, expected.objective, rtol=2e-9)


@each_solver
def test_atoms_that_occur_twice_do_no_harm(rng, solver):
    X, D = _problem(rng)
    twice = np.vstack([D, D, -D[:3]])
    once = encode(torch.from_numpy(X), torch.from_numpy(D), "l1", alpha=0.2, tol=1e-9, max_iter=10_000)
    found = encode(
        torch.from_numpy(X), torch.from_numpy(twice), "l1", alpha=0.2, solver=solver, tol=1e-9, max_iter=10_000
    )
    assert found.converged.all()
    np.testing.assert_allclose(found.objective, once.objective, rtol=1e-8)


def test_strong_penalties_leave_nothing_and_no_signals_are_no_error(rng):
    X, D = map(torch.from_numpy, _problem(rng))
    most = float((X @ D.T).abs().max())
    found = encode(X, D, "l1", alpha=most)
    assert (found.codes == 0).all()
    assert found.converged.all()
    assert (found.gap <= 1e-12).all()
    assert encode(X[:0], D, "l1", alpha=1.0).codes.shape == (0, 48)


def test_a_signal_does_not_depend_on_its_company(rng):
    X, D = map(torch.from_numpy, _problem(rng))
    together = encode(X, D, "l1", alpha=0.2, tol=1e-10)
    alone = torch.cat([encode(x[None], D, "l1", alpha=0.2, tol=1e-10).codes for x in X[:10]])
    torch.testing.assert_close(together.codes[:10], alone, rtol=1e-9, atol=1e-11)


def test_guesses_that_are_right_are_kept_at_once(rng):
    X, D = map(torch.from_numpy, _problem(rng))
    found = encode(X, D, "l1", alpha=0.2, tol=1e-9)
    again = encode(X, D, "l1", alpha=0.2, tol=1e-9, init=found.codes, gram=D @ D.T)
    assert again.n_iter.max() <= 2
    torch.testing.assert_close(again.codes, found.codes)


@each_solver
def test_single_precision_reaches_what_it_resolves(rng, device, solver):
    X, D = (torch.from_numpy(a).float().to(device) for a in _problem(rng))
    found = encode(X, D, "l1", alpha=0.1, solver=solver, tol=1e-9, max_iter=5000)
    assert found.codes.dtype == torch.float32
    assert found.converged.all()
    best = encode(X.double(), D.double(), "l1", alpha=0.1, tol=1e-11)
    resolved = 2e-6 * (X @ D.T).abs().amax(1) / 0.1
    assert (found.objective - best.objective <= resolved * best.objective).all()


def test_sixteen_bits_say_what_they_reach(rng):
    X, D = (torch.from_numpy(a).bfloat16() for a in _problem(rng))
    found = encode(X, D, "l1", alpha=0.3)
    assert found.codes.dtype == torch.bfloat16
    best = encode(X.double(), D.double(), "l1", alpha=0.3, tol=1e-11)
    assert (found.objective - best.objective <= found.gap + 1e-9).all()
    assert (found.objective - best.objective <= 0.01 * best.objective).all()


def test_codes_that_have_not_converged_are_counted(rng):
    X, D = map(torch.from_numpy, _problem(rng))
    with pytest.warns(ConvergenceWarning, match="60 of 60 codes"):
        found = encode(X, D, "l1", alpha=0.01, solver="fista", max_iter=3, tol=1e-10)
    assert not found.converged.any()
    assert (found.n_iter == 3).all()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"X": np.ones((2, 3))}, TypeError, "X must be a tensor"),
        ({"X": torch.ones(3)}, ValueError, "X must be two-dimensional"),
        ({"X": torch.ones(2, 4)}, ValueError, "X and D must have as many columns"),
        ({"X": torch.full((2, 3), float("inf"))}, ValueError, "X must be finite"),
        ({"D": torch.zeros(2, 3)}, ValueError, "D must have no row of zeros"),
        ({"penalty": L0(1.0)}, ValueError, "penalty must be convex"),
        ({"penalty": "l1"}, TypeError, "needs alpha"),
        ({"penalty": L1(0.0)}, ValueError, "alpha must be"),
        ({"solver": "cd"}, ValueError, "solver must be one of"),
        ({"tol": 0.0}, ValueError, "tol must be"),
        ({"max_iter": 0}, ValueError, "max_iter must be"),
        ({"init": torch.ones(2, 2)}, ValueError, "init must have shape"),
        ({"gram": torch.ones(2, 2)}, ValueError, "gram must have shape"),
    ],
)
def test_bad_arguments_are_named(change, error, words):
    with pytest.raises(error, match=words):
        encode(**{"X": torch.ones(2, 3), "D": torch.eye(3), "penalty": L1(1.0), **change})
