"""The sparsest change with the effect of an update: planted, verified on the data, and never beyond the tolerance."""

from itertools import combinations

import numpy as np
import pytest
import torch

from sparsetheory.gpu import analysis
from sparsetheory.gpu.core import Gram


def layer(seed=0, n=60, n_in=10, n_out=4):
    rng = np.random.default_rng(seed)
    X = torch.from_numpy(rng.standard_normal((n, n_in)) + rng.standard_normal((n, 1)))
    return X, torch.from_numpy(rng.standard_normal((n_out, n_in))), rng


@pytest.mark.parametrize("method", ["forward", "obs", "swap"])
def test_the_error_on_the_data_is_the_one_reported(method):
    X, before, rng = layer()
    after = before + torch.from_numpy(rng.standard_normal(before.shape))
    found = analysis.sparsest_update(before, after, Gram.of(X), tol=0.05, method=method)
    outputs, wanted = X @ found.change.T, X @ (after - before).T
    assert found.relative_error <= 0.05
    assert found.relative_error == pytest.approx(float((outputs - wanted).square().sum() / wanted.square().sum()))
    assert 0 < found.n_nonzero < found.n_changed == 40
    assert not bool(found.change[~found.mask].any())
    assert found.certificate.check(after - before, X).valid


def test_a_dense_change_within_dependent_inputs_has_a_sparse_twin():
    """Ten inputs are copies of two, so that a change of all twenty entries of two rows does what four do."""
    rng = np.random.default_rng(1)
    X = torch.from_numpy(np.repeat(rng.standard_normal((50, 2)), 5, axis=1))
    before = torch.zeros(2, 10, dtype=torch.float64)
    after = torch.from_numpy(rng.standard_normal((2, 10)))
    found = analysis.sparsest_update(before, after, X.T @ X, tol=1e-8)
    assert (found.n_nonzero, found.n_changed) == (4, 20)


def test_close_to_the_best_of_all_subsets():
    X, before, rng = layer(seed=2, n_in=7, n_out=1)
    after = before + torch.from_numpy(rng.standard_normal(before.shape))
    target = X @ (after - before)[0]
    found = analysis.sparsest_update(before, after, Gram.of(X), tol=0.1, method="swap")

    def error(columns):
        chosen = X[:, list(columns)]
        fitted = chosen @ torch.linalg.lstsq(chosen, target[:, None]).solution[:, 0]
        return float((target - fitted).square().sum() / target.square().sum())

    least = [min(map(error, combinations(range(7), count))) for count in range(1, 8)]
    smallest = 1 + next(i for i, value in enumerate(least) if value <= 0.1)
    assert smallest <= found.n_nonzero <= smallest + 1


def test_no_change_needs_no_entry():
    X, before, _ = layer()
    found = analysis.sparsest_update(before, before, Gram.of(X))
    assert (found.n_nonzero, found.n_changed, found.relative_error) == (0, 0, 0.0)


def test_an_error_of_the_tolerance_is_within_it():
    before, after = torch.zeros(1, 2).double(), torch.ones(1, 2).double()
    assert analysis.sparsest_update(before, after, torch.eye(2).double(), tol=0.5).n_nonzero == 1


def test_a_greedy_start_on_the_wrong_entry_may_need_more_entries_than_changed():
    """The third input is nearly the sum of the two that matter, so it is taken first, and cannot do alone."""
    rng = np.random.default_rng(0)
    first, second, noise = rng.standard_normal((3, 200))
    X = torch.from_numpy(np.stack([first, second, first + second + 0.1 * noise], axis=1))
    before, after = torch.zeros(1, 3).double(), torch.tensor([[1.0, 1.0, 0.0]]).double()
    found = analysis.sparsest_update(before, after, Gram.of(X), tol=1e-6)
    assert found.relative_error <= 1e-6
    assert found.n_changed == 2


def test_single_precision_layers_and_bad_arguments():
    X, before, rng = layer()
    after = before + torch.from_numpy(rng.standard_normal(before.shape))
    found = analysis.sparsest_update(before.float(), after.float(), Gram.of(X.float()))
    assert found.relative_error <= 0.01
    with pytest.raises(ValueError, match="of one shape"):
        analysis.sparsest_update(before, after[:2], Gram.of(X))
    with pytest.raises(ValueError, match="tol must be"):
        analysis.sparsest_update(before, after, Gram.of(X), tol=0.0)
    with pytest.raises(ValueError, match="method must be"):
        analysis.sparsest_update(before, after, Gram.of(X), method="lasso")
