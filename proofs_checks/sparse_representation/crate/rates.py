"""Exact statements about coding rates: what they do not depend on, their bounds and their gradient."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import representation
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.sparse_representation.crate.instances import Tokens, draw_tokens, tokens
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

_PAPER = "Ma, Derksen, Hong and Wright, Segmentation of multivariate mixed data via lossy data coding (2007)"


def _rate(Z: Float64Array, eps: float, dim: int | None = None) -> float:
    return float(representation.coding_rate(tensor(Z), eps, dim))


def _constant(case: Tokens) -> float:
    """Return the constant of the rate of all features."""
    return case.Z.shape[1] / (len(case.Z) * case.eps**2)


def _size(case: Tokens) -> float:
    """Return the size of the matrix whose determinant is taken: what rounding is relative to."""
    return 1.0 + _constant(case) * float(np.square(case.Z).sum())


def _moved(case: Tokens, *, orthogonal: bool) -> Measurement:
    """Compare the rate before and after tokens are turned and put into another order."""
    rng = np.random.default_rng(0)
    Q = rng.standard_normal((case.Z.shape[1],) * 2)
    if orthogonal:
        Q = np.linalg.qr(Q)[0]
    other = rng.permutation(case.Z) @ Q
    return Measurement(abs(_rate(other, case.eps) - _rate(case.Z, case.eps)), 0.0, _size(case))


rate_invariance = Claim(
    name="sparse_representation.rate_invariance",
    summary="The coding rate depends neither on the order of tokens nor on an orthogonal change of features.",
    statement=r"R(Q Z \Pi) = R(Z)",
    source=Source(_PAPER, "invariance of the rate"),
    verdict=Always(1e-12),
    instances=tokens,
    evaluate=lambda case: _moved(case, orthogonal=True),
    near_miss=lambda case: _moved(case, orthogonal=False),
)


def _sides(case: Tokens, constant: float) -> Measurement:
    """Compare the rate with determinants on both sides, by a factorisation of another library."""
    sides = [np.linalg.slogdet(np.eye(len(G)) + constant * G)[1] / 2 for G in (case.Z @ case.Z.T, case.Z.T @ case.Z)]
    rate = _rate(case.Z, case.eps)
    return Measurement.worst([abs(rate - side) for side in sides], [0.0, 0.0], _size(case))


rate_commutes = Claim(
    name="sparse_representation.rate_commutes",
    summary="The rate of N tokens of d features is the same on either side, with the constant of the features.",
    statement=r"\log\det(I_N + \tfrac{d}{N \epsilon^2} Z^T Z) = \log\det(I_d + \tfrac{d}{N \epsilon^2} Z Z^T)",
    source=Source.classic("Sylvester (1883)", "determinant theorem"),
    verdict=Always(1e-12),
    instances=tokens,
    evaluate=lambda case: _sides(case, _constant(case)),
    near_miss=lambda case: _sides(case, 1 / (case.eps**2)),
)


def _bounded(case: Tokens, features: float) -> Measurement:
    """Compare the rate with zero and with what as large tokens cost that fill all directions alike."""
    energy = float(np.square(case.Z).sum()) / (len(case.Z) * case.eps**2)
    rate = _rate(case.Z, case.eps)
    found = Measurement(rate, features / 2 * np.log1p(energy), 1.0 + rate)
    return found.and_chain({"0": 0.0, "rate": rate})


rate_bounds = Claim(
    name="sparse_representation.rate_bounds",
    summary="The rate is at most that of tokens of the same energy that fill all directions alike.",
    statement=r"0 \le R(Z) \le \tfrac{d}{2} \log(1 + \|Z\|_F^2 / (N \epsilon^2))",
    source=Source.ours("means of eigenvalues: the geometric one is at most the arithmetic one"),
    verdict=Always(1e-12),
    instances=tokens,
    evaluate=lambda case: _bounded(case, case.Z.shape[1]),
    near_miss=lambda case: _bounded(case, case.Z.shape[1] / 2),
)


def _partition(seed: int, n_subspaces: int, n_components: int, n_tokens: int, eps: float) -> Tokens:
    return draw_tokens(
        np.random.default_rng(seed),
        "random",
        "orthonormal",
        eps,
        dim=n_subspaces * n_components,
        n_components=n_components,
        n_subspaces=n_subspaces,
        n_tokens=n_tokens,
    )


def _partitions() -> st.SearchStrategy[Tokens]:
    seeds = st.integers(0, 2**32 - 1)
    return st.builds(
        _partition, seeds, st.integers(2, 4), st.integers(1, 3), st.integers(1, 20), st.sampled_from((0.1, 1.0, 3.0))
    )


def _fischer(case: Tokens, *, common: bool) -> Measurement:
    """Compare the rate with the sum of rates in subspaces, and with it for tokens made uncorrelated between them."""
    dim = case.Z.shape[1]
    W = [case.Z @ basis for basis in case.U]
    parts = sum(_rate(part, case.eps, dim if common else None) for part in W)
    whole = _rate(case.Z, case.eps)
    found = Measurement(whole, parts, 1.0 + whole)
    if not common:
        return found
    # Each token once for each subspace, with nothing elsewhere: the blocks are uncorrelated, and N counts anew.
    apart = np.concatenate([part @ basis.T for part, basis in zip(W, case.U, strict=True)])
    eps = case.eps / np.sqrt(len(case.U))
    return found.and_chain({"gap": abs(_rate(apart, eps) - parts) - 1e-9, "no gap": 0.0})


fischer = Claim(
    name="sparse_representation.fischer",
    summary="Rates in subspaces that share one constant add up to at least the rate; equal if they are uncorrelated.",
    statement=r"\sum_k \tfrac12 \log\det(I + c\, U_k^T Z Z^T U_k) \ge \tfrac12 \log\det(I + c Z Z^T),"
    r" \quad [U_1 \ldots U_K] \text{ orthogonal}",
    source=Source.classic("Fischer (1908)", "determinant inequality; with a constant for each subspace it is false"),
    verdict=Always(1e-11),
    instances=_partitions,
    evaluate=lambda case: _fischer(case, common=True),
    near_miss=lambda case: _fischer(case, common=False),
)


def _slope(case: Tokens, formula: Any) -> Measurement:
    """Compare a formula for the gradient with automatic differentiation of the rate."""
    Z, U = case.as_tensors
    leaf = Z.clone().requires_grad_()
    representation.compressed_rate(leaf, U, case.eps).backward()
    expected = array(leaf.grad)
    return Measurement(float(np.abs(formula(case) - expected).max()), 0.0, float(np.abs(expected).max()) + 1e-12)


def _gradient(case: Tokens) -> Float64Array:
    Z, U = case.as_tensors
    return np.asarray(array(representation.compressed_rate_grad(Z, U, case.eps)))


def _without_inverse(case: Tokens) -> Float64Array:
    """Return the gradient at small tokens: all projections are shrunk alike."""
    return np.asarray(case.a * sum(case.Z @ basis @ basis.T for basis in case.U))


rate_gradient = Claim(
    name="sparse_representation.rate_gradient",
    summary="The formula for the gradient of the compressed rate is what automatic differentiation gives.",
    statement=r"\nabla R^c(Z; U) = a \sum_k U_k (I_p + a W_k W_k^T)^{-1} W_k, \quad W_k = U_k^T Z",
    source=Source("Yu et al., White-box transformers via sparse rate reduction (2023)", "equation 9", "2306.01129"),
    verdict=Always(1e-7),
    instances=tokens,
    evaluate=lambda case: _slope(case, _gradient),
    near_miss=lambda case: _slope(case, _without_inverse),
)
