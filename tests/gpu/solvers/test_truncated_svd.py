"""Truncated SVDs of tensors: directions, and intervals that hold the true error."""

import numpy as np
import pytest
import torch

from sparsetheory.gpu.solvers import truncated_svd_summary
from sparsetheory.lowrank import block_svd_error

each_method = pytest.mark.parametrize("method", ["auto", "gram", "svd", "range_finder"])
each_shape = pytest.mark.parametrize("shape", [(20, 30), (30, 20), (25, 25)], ids=["wide", "tall", "square"])


def _matrices(shape, count=4, decay=0.7, seed=0):
    rng = np.random.default_rng(seed)
    m, n = shape
    k = min(shape)
    left = np.linalg.qr(rng.standard_normal((count, m, k)))[0]
    right = np.linalg.qr(rng.standard_normal((count, n, k)))[0]
    return torch.from_numpy(left * decay ** np.arange(k) @ right.swapaxes(1, 2))


@each_method
@each_shape
@pytest.mark.parametrize("rank", [1, 5, 12])
def test_intervals_hold_the_error_of_the_classical_decomposition(device, method, shape, rank):
    X = _matrices(shape)
    found = truncated_svd_summary(X.to(device), rank, method=method, random_state=0)
    for matrix, low, high, energy in zip(X.numpy(), found.lower, found.upper, found.energy, strict=True):
        exact = block_svd_error([matrix], rank)
        assert float(low) <= exact.absolute**2 <= float(high)
        assert float(energy) == pytest.approx(exact.energy)
        if method != "range_finder":
            assert float(high - low) <= 1e-9 * float(energy)
    low, high = (bound.cpu() for bound in found.relative())
    torch.testing.assert_close(low, (found.lower / found.energy).sqrt().cpu())
    assert (low <= high).all()


@each_method
@each_shape
def test_bases_are_orthonormal_and_capture_what_the_upper_bound_says(method, shape):
    X = _matrices(shape)
    found = truncated_svd_summary(X, 6, method=method, random_state=1)
    basis = found.basis[..., :6]
    torch.testing.assert_close(basis.mT @ basis, torch.eye(6, dtype=torch.float64).expand(4, 6, 6))
    missed = (X - basis @ (basis.mT @ X)).square().sum((1, 2))
    assert (missed <= found.upper * (1 + 1e-9) + 1e-12 * found.energy).all()
    true = torch.linalg.svdvals(X)[:, : found.singular_values.shape[1]]
    assert (found.singular_values <= true * (1 + 1e-9) + 1e-9).all()
    torch.testing.assert_close(found.singular_values[:, :6], true[:, :6], rtol=0.02, atol=0.0)


def test_small_errors_need_a_decomposition_of_the_matrix_itself():
    X = _matrices((30, 20), decay=0.1)
    rank = 9
    true = torch.linalg.svdvals(X)[:, rank:].square().sum(1)
    auto, gram = (truncated_svd_summary(X, rank, method=method) for method in ("auto", "gram"))
    assert ((auto.upper - auto.lower) < 1e-3 * (gram.upper - gram.lower)).all()
    for found in (auto, gram):
        assert ((found.lower <= true) & (true <= found.upper)).all()


def test_more_power_steps_tighten_the_interval_of_a_sketch():
    X = _matrices((40, 60), decay=0.9)
    widths = [
        float((found.upper - found.lower).sum())
        for found in (truncated_svd_summary(X, 8, method="range_finder", n_power=p, random_state=0) for p in (0, 1, 4))
    ]
    assert widths == sorted(widths, reverse=True)


def test_one_matrix_several_axes_and_low_precision(device):
    X = _matrices((12, 9), count=6).float()
    whole = truncated_svd_summary(X.view(2, 3, 12, 9).to(device), 3)
    one = truncated_svd_summary(X[4], 3)
    assert (whole.basis.shape, whole.singular_values.shape, whole.upper.shape) == ((2, 3, 12, 3), (2, 3, 3), (2, 3))
    assert whole.basis.dtype == torch.float32
    torch.testing.assert_close(whole.upper[1, 1].cpu(), one.upper)
    half = truncated_svd_summary(X[0].bfloat16(), 3)
    assert half.basis.dtype == torch.bfloat16
    assert half.upper == truncated_svd_summary(X[0].bfloat16().double(), 3).upper


def test_full_rank_and_zero_matrices():
    X = _matrices((5, 8))
    assert (truncated_svd_summary(X, 5).upper == 0).all()
    assert (truncated_svd_summary(X, 9, method="svd").upper == 0).all()
    nothing = truncated_svd_summary(torch.zeros(3, 4), 1)
    assert float(nothing.lower) == 0.0
    assert float(nothing.relative()[1]) == 0.0


def test_a_seed_fixes_the_sketch():
    X = _matrices((30, 40), decay=0.95)
    first, second = (truncated_svd_summary(X, 4, method="range_finder", random_state=7) for _ in range(2))
    assert torch.equal(first.basis, second.basis)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"X": np.eye(3)}, TypeError, "X must be a tensor"),
        ({"X": torch.ones(3)}, ValueError, "X must have at least 2 axes"),
        ({"X": torch.ones(3, 0)}, ValueError, "X must hold matrices"),
        ({"X": torch.tensor([[float("nan")]])}, ValueError, "X must be finite"),
        ({"rank": 0}, ValueError, "rank must be"),
        ({"method": "lanczos"}, ValueError, "method must be one of"),
        ({"oversampling": -1}, ValueError, "oversampling must be"),
    ],
)
def test_bad_arguments_are_named(change, error, words):
    with pytest.raises(error, match=words):
        truncated_svd_summary(**{"X": torch.eye(3), "rank": 1, **change})
