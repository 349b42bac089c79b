"""Numbers of a certificate, each computed from the dense weight, the pruned one and the damped Gram matrix alone."""

from typing import NamedTuple

import numpy as np
import torch

from sparsetheory.gpu.core.patterns import Pattern
from sparsetheory.typing import BoolArray, Float64Array

__all__ = ["excess_of", "lower_bound_of", "objective_of", "rounding_of", "scales_of", "unit"]

# Least output of a row, relative to the sum of the squares of its terms. Below it terms cancel so far that rounding
# errors would count as much as the output itself, as in a row that subtracts two equal inputs.
_LEAST_OUTPUT = 1e-4
# Of the largest eigenvalue; products in single precision have negative ones by rounding that are less.
_INDEFINITE = 1e-5


class Unit(NamedTuple):
    """A Gram matrix in coordinates in which its diagonal is 1: ``H = d d' * U`` with ``U = R'R``.

    Inputs of very different sizes would otherwise drown the small ones in the rounding errors of a factorisation.
    """

    d: Float64Array
    U: Float64Array
    R: Float64Array


def unit(H: Float64Array) -> Unit:
    """Return a Gram matrix in normalised coordinates; inputs that are always zero have a row of zeros."""
    d, U = _normalised(H)
    values, vectors = np.linalg.eigh(U)
    return Unit(d, U, np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T)


def outputs_of(dense: Float64Array, H: Float64Array) -> Float64Array:
    """Return w'Hw of every row."""
    return np.maximum(np.einsum("ij,ij->i", dense @ H, dense), 0.0)


def scales_of(dense: Float64Array, H: Float64Array) -> Float64Array:
    """Return what the changes of a row are compared with: its output, or 1e-4 of ``sum w_j^2 H_jj`` if that is more."""
    return np.maximum(outputs_of(dense, H), _LEAST_OUTPUT * (dense**2 @ np.diagonal(H)))


def objective_of(dense: Float64Array, pruned: Float64Array, H: Float64Array) -> float:
    """Return the sum of ``(w - s)' H (w - s)`` of all rows, relative to that of ``s = 0``."""
    return _share(float(outputs_of(dense - pruned, H).sum()), float(outputs_of(dense, H).sum()))


def lower_bound_of(dense: Float64Array, H: Float64Array, pattern: Pattern) -> float:
    """Return ``lambda_min d^2``: of every s of the pattern, |w - s| is at least the distance d to the nearest one."""
    whole = float(outputs_of(dense, H).sum())
    if not whole > 0:
        return 0.0
    # The nearest matrix keeps the most energy; that of the largest magnitudes is another one where rows share zeros.
    # Without the scale, squares of small numbers would be zero and tie.
    squares = torch.from_numpy((dense / np.abs(dense).max()) ** 2)
    lost = float((dense**2)[~pattern.mask(squares).numpy()].sum())
    values = np.linalg.eigvalsh(H)
    if values[0] < -_INDEFINITE * values[-1]:
        raise ValueError(f"gram must be positive semidefinite; got an eigenvalue of {values[0]:.3g}")
    # So much of the smallest eigenvalue may be a rounding error of the largest.
    least = float(values[0]) - len(H) * float(np.finfo(np.float64).eps) * float(values[-1])
    return max(least, 0.0) * lost / whole


def rounding_of(dense: Float64Array, pruned: Float64Array, H: Float64Array, dtype: torch.dtype) -> float:
    """Bound what rounding the coefficients to a precision adds to the objective of a row, relative to its output.

    At a least-squares solution the objective grows by ``e'He`` with a change e. That is at most ``lambda_max(U)`` times
    the sum of ``H_jj e_j^2``, for U the matrix in normalised coordinates. An entry of e is at most u times that of the
    solution, or half of the distance of the smallest numbers of the precision.
    """
    scales, info = scales_of(dense, H), torch.finfo(dtype)
    alive = scales > 0
    if not alive.any():
        return 0.0
    u = info.eps / 2
    errors = np.maximum(u * np.abs(pruned), u * info.smallest_normal)
    most = float(np.linalg.eigvalsh(_normalised(H)[1])[-1])
    added = most * (errors**2 @ np.diagonal(H))
    return float((added[alive] / scales[alive]).max()) * (1 + 4 * u)


def excess_of(w: Float64Array, s: Float64Array, mask: BoolArray, problem: Unit) -> float:
    """Return by how much a row exceeds the least-squares solution on its mask, relative to its output."""
    w, s = w * problem.d, s * problem.d
    scale = float(scales_of(w[None], problem.U)[0])
    if scale <= 0:
        return 0.0
    kept, target = np.flatnonzero(mask), problem.R @ w
    best = np.linalg.lstsq(problem.R[:, kept], target, rcond=None)[0] if kept.size else np.zeros(0)
    left = target - problem.R[:, kept] @ best
    return max(float((w - s) @ problem.U @ (w - s)) - float(left @ left), 0.0) / scale


def _normalised(H: Float64Array) -> tuple[Float64Array, Float64Array]:
    d = np.sqrt(np.diagonal(H))
    scale = np.where(d > 0, d, 1.0)
    return d, H / scale / scale[:, None]


def _share(part: float, whole: float) -> float:
    """Return a quotient; a change of a layer without outputs is infinitely large, relative to them."""
    if whole > 0:
        return part / whole
    return 0.0 if part == 0 else float("inf")
