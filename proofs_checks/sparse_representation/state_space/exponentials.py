"""Identities of the exponential of a matrix of low rank, and of inputs that are held between samples."""

from typing import Any

import numpy as np

from sparsetheory.gpu import representation
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread
from sparsetheory.proofs_checks.sparse_representation.state_space.systems import System, systems
from sparsetheory.proofs_checks.verdicts import Always

# Double precision, with exponentials of matrices whose norm is about ten.
_ROUNDING = 1e-12
_HIGHAM = "Higham, Functions of matrices (2008)"


def _shift(system: System) -> float:
    """Return a shift, by the seed: none, a decay, or a growth."""
    return (0.0, 1.5, -0.5)[system.seed % 3]


def _size(*parts: Any) -> float:
    """Return what rounding is relative to: 1, or the norm of the result or of the factors, if that is larger."""
    return max(1.0, *(float(np.linalg.norm(part)) for part in parts))


def _exponential(system: System, *, table: str) -> Measurement:
    """Compare with the dense exponential; the near miss takes the exponential of the small matrix for its phi_1."""
    from scipy.linalg import expm

    (U, V), shift, step = system.factors, _shift(system), system.step
    factors = [array(part) for part in (U, V)]
    with one_thread():
        found = array(representation.lowrank_expm(U, V, step, shift))
    if table == "exp":
        inner = expm(step * factors[1].T @ factors[0])
        found = np.exp(-shift * step) * (np.eye(len(U)) + step * factors[0] @ inner @ factors[1].T)
    exact = expm(step * (factors[0] @ factors[1].T - shift * np.eye(len(U))))
    scale = _size(exact) * _size(*factors)
    return Measurement(float(np.abs(found - exact).max()), 0.0, scale)


exponential = Claim(
    name="sparse_representation.low_rank_exponential",
    summary="The exponential of a matrix of low rank needs only the exponential of a small matrix.",
    statement=r"e^{\Delta (U V^T - \alpha I)} = e^{-\alpha \Delta} (I + \Delta U \phi_1(\Delta V^T U) V^T)",
    source=Source(_HIGHAM, "theorem 1.35, for phi_1", provenance="classic"),
    verdict=Always(_ROUNDING),
    instances=systems,
    evaluate=lambda system: _exponential(system, table="phi_1"),
    near_miss=lambda system: _exponential(system, table="exp"),
)


def _held(system: System, *, euler: bool) -> Measurement:
    """Compare held inputs with the integral of the exponential, by Gauss's rule."""
    from scipy.linalg import expm

    (U, V), shift, step = system.factors, _shift(system), system.step
    B = system.drawn(2, system.n_states, 2)
    with one_thread():
        found = array(B) * step if euler else array(representation.lowrank_zero_order_hold(U, V, B, step, shift))
        _, dense = representation.zero_order_hold(U @ V.mT - shift * _eye(U), B, step)
    A = array(U @ V.mT) - shift * np.eye(len(U))
    nodes, weights = np.polynomial.legendre.leggauss(20)
    powers = expm(((1 + nodes) / 2 * step)[:, None, None] * A)
    exact = np.tensordot(weights, powers, 1) @ array(B) * step / 2
    error = max(float(np.abs(one - exact).max()) for one in ([found] if euler else [found, array(dense)]))
    return Measurement(error, 0.0, _size(exact) * _size(array(U), array(V)))


def _eye(U: Any) -> Any:
    import torch

    return torch.eye(len(U), dtype=U.dtype)


held_inputs = Claim(
    name="sparse_representation.held_inputs",
    summary="Inputs held between samples are exact for singular matrices too: nothing is inverted.",
    statement=r"\int_0^\Delta e^{s A} B \, ds = \Delta (\phi_1(a) B + \Delta U T V^T B),"
    r"\quad A = U V^T - \alpha I,\ a = -\alpha \Delta,\ T = \phi_1[a I + \Delta V^T U, a I]",
    source=Source.ours("divided difference of phi_1, as a block of an exponential of three times the rank"),
    verdict=Always(1e-10),
    instances=systems,
    evaluate=lambda system: _held(system, euler=False),
    near_miss=lambda system: _held(system, euler=True),
)
