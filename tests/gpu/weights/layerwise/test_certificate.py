"""Certificates hold for what is right, also in float16 and at odd scales, and for nothing that was changed."""

from dataclasses import replace

import pytest
import torch

from sparsetheory.gpu.core import NM, BlockNM, Gram, PerRow, RowBlock
from sparsetheory.gpu.weights import layerwise_prune


def _layer(seed=0, rows=5, columns=8, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(60, columns, generator=generator, dtype=torch.float64).cumsum(1)
    return torch.randn(rows, columns, generator=generator).to(dtype), X


@pytest.fixture(scope="module")
def pruned():
    W, X = _layer()
    return W, X, layerwise_prune(W, Gram.of(X), NM(2, 4), n_jobs=1).certificate


@pytest.mark.parametrize("where", ["one", "all"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_not_certified(pruned, value, where):
    W, X, certificate = pruned
    weight = certificate.weight.clone()
    weight[certificate.mask.nonzero()[0].tolist() if where == "one" else certificate.mask] = value
    checked = replace(certificate, weight=weight).check(W, X)
    assert checked.reason == "the weight is not finite"
    assert not checked.valid


@pytest.mark.parametrize("bound", [float("nan"), float("inf"), -1.0])
def test_a_bound_must_be_a_number(pruned, bound):
    W, X, certificate = pruned
    assert not replace(certificate, bound=bound).stated().check(W, X).valid


@pytest.mark.parametrize("change", [lambda mask: mask.float(), lambda mask: mask[:3], lambda mask: mask.T])
def test_a_mask_of_another_kind_is_not_certified(pruned, change):
    W, X, certificate = pruned
    assert "the mask is not" in replace(certificate, mask=change(certificate.mask)).check(W, X).reason


def test_data_that_cannot_be_those_of_the_layer_are_refused(pruned):
    W, X, certificate = pruned
    for inputs in (X[:0], torch.full_like(X, float("nan")), X[:, :4], 1.0):
        with pytest.raises(ValueError, match="inputs must"):
            certificate.check(W, inputs)
    with pytest.raises(ValueError, match="W must be finite"):
        certificate.check(torch.full_like(W, float("inf")), X)


def test_a_layer_without_outputs_must_stay_zero():
    _, X = _layer()
    W = torch.zeros(5, 8)
    certificate = layerwise_prune(W, Gram.of(X), NM(2, 4), n_jobs=1).certificate
    assert certificate.check(W, X).valid
    assert not replace(certificate, weight=certificate.mask * 5.0).check(W, X).valid


@pytest.mark.parametrize("pattern", [RowBlock(2, 0.5), BlockNM(2, 1, 2)], ids=str)
def test_the_lower_bound_is_one_where_rows_share_zeros(pattern):
    # Magnitudes sum to more in the second column, but the first holds more energy.
    W = torch.tensor([[2.0, 1.1], [0.0, 1.1]])
    certificate = layerwise_prune(W, torch.eye(2), pattern, damping=0.0, n_jobs=1).certificate
    assert certificate.objective == pytest.approx(2 * 1.21 / (4 + 2 * 1.21))
    assert certificate.lower_bound == pytest.approx(certificate.objective)


def test_a_singular_gram_matrix_gives_no_lower_bound():
    # The rows lie near its null space, where lambda_min d^2 is a rounding error times a large number.
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        X = torch.randn(7, 8, generator=generator, dtype=torch.float64)
        null = torch.linalg.svd(X, full_matrices=True).Vh[7:]
        W = torch.randn(2, 1, generator=generator, dtype=torch.float64) @ null
        W += 1e-7 * torch.randn(2, 8, generator=generator, dtype=torch.float64)
        certificate = layerwise_prune(W, Gram.of(X), NM(2, 4), "obs", damping=0.0).certificate
        assert certificate.lower_bound == 0


@pytest.mark.parametrize("method", ["obs", "forward", "swap"])
@pytest.mark.parametrize("pattern", [NM(1, 4), PerRow(1), PerRow(4)], ids=str)
def test_rows_that_subtract_equal_inputs_are_pruned_and_certified(method, pattern):
    generator = torch.Generator().manual_seed(3)
    for _ in range(5):
        X = torch.randn(50, 8, generator=generator, dtype=torch.float64)
        X[:, 1], X[:, 6] = X[:, 0], 3 * X[:, 2]
        W = torch.randn(4, 8, generator=generator, dtype=torch.float64)
        W[1:3] = 0
        W[1, 0], W[1, 1], W[2, 2], W[2, 6] = 0.7, -0.7, 0.3, -0.1
        checked = layerwise_prune(W, Gram.of(X), pattern, method, damping=0.0, n_jobs=1).certificate.check(W, X)
        assert checked.valid, checked.reason


def test_small_weights_in_half_precision_are_certified():
    # Below 6e-5 the numbers of float16 are equally spaced: rounding is not relative to the weight.
    W, X = _layer(dtype=torch.float64)
    W = (1e-6 * W).half()
    result = layerwise_prune(W, Gram.of(X), NM(2, 4), damping=1e-2, n_jobs=1)
    checked = result.certificate.check(W, X)
    assert checked.valid, checked.reason
    assert checked.measured > 1e-9


def test_inputs_of_very_different_sizes_are_certified():
    W, X = _layer(columns=16)
    X = X * torch.logspace(-5, 5, 16, dtype=torch.float64)
    for method in ("forward", "obs", "swap"):
        certificate = layerwise_prune(W.double(), Gram.of(X), NM(1, 2), method, damping=0.0, n_jobs=1).certificate
        assert certificate.bound < 1e-8
        assert certificate.check(W, X).valid
        assert certificate.check(W, Gram.of(X)).valid


def test_a_perfect_fit_is_certified():
    # Errors of rounding may be negative.
    generator = torch.Generator().manual_seed(0)
    for _ in range(40):
        X = torch.randn(3, 8, generator=generator, dtype=torch.float64)
        W = torch.randn(1, 8, generator=generator, dtype=torch.float64)
        result = layerwise_prune(W, Gram.of(X), PerRow(4), "obs", damping=0.0)
        assert float(result.objective.min()) >= 0
        assert result.relative_error >= 0
        assert result.certificate.check(W, X).valid


def test_weights_too_large_for_their_precision_are_refused():
    X = torch.tensor([[1.0, 1.0], [1.0, 1.0]])
    with pytest.raises(ValueError, match=r"wider dtype than torch\.float16"):
        layerwise_prune(torch.full((1, 2), 6e4).half(), Gram.of(X), NM(1, 2), "obs", damping=1e-4)


@pytest.mark.parametrize("pattern", [NM(2, 4), PerRow(density=0.5), RowBlock(2, 0.5)], ids=str)
@pytest.mark.parametrize("exponent", [-40, -27, 27, 40])
def test_units_of_weights_and_inputs_have_no_say(pattern, exponent):
    W, X = _layer(rows=6, columns=16, dtype=torch.float64)
    X[:, 5] = 0
    plain = layerwise_prune(W, Gram.of(X), pattern, n_jobs=1)
    factor = 2.0**exponent
    assert torch.equal(layerwise_prune(W, Gram.of(X * factor), pattern, n_jobs=1).weight, plain.weight)
    assert torch.equal(layerwise_prune(W * factor, Gram.of(X), pattern, n_jobs=1).weight, plain.weight * factor)


def test_no_swap_is_promised_only_where_whole_rows_are_searched(monkeypatch):
    monkeypatch.setattr("sparsetheory.gpu.weights.layerwise.one_layer.LONGEST_ROW", 4)
    W, X = _layer()
    assert not layerwise_prune(W, Gram.of(X), NM(2, 4), n_jobs=1).certificate.swap_optimal


@pytest.mark.parametrize("method", ["magnitude", "wanda", "admm", "alps", "forward"])
def test_a_matrix_that_is_no_gram_matrix_is_refused(method):
    W, _ = _layer()
    matrix = torch.eye(8)
    matrix[0, 1] = matrix[1, 0] = 2.0
    with pytest.raises(ValueError, match="gram must be positive semidefinite"):
        layerwise_prune(W, matrix, NM(2, 4), method, damping=0.01)


def test_sums_that_are_not_finite_are_refused():
    W, X = _layer()
    gram = Gram.of(X)
    gram.sums[0, 0, 1] = float("nan")
    with pytest.raises(ValueError, match="gram must be finite"):
        layerwise_prune(W, gram, NM(2, 4))
