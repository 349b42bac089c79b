"""Penalties by their pieces: a table of few numbers per atom from which compiled loops read slope and bend.

Between two kinks all penalties but l^q and the logarithm are quadratic in v = abs(x), with derivative
``slope - bend v``: at most two such pieces, and a constant beyond. On a piece the objective of a code is a quadratic,
of which a Newton step finds the stationary point at once; it is the minimum as long as no coefficient leaves its piece.
Hence a solver needs, per coefficient, the line that the derivative follows, and how far. For l^q and the logarithm the
line is the tangent of the derivative at x. It is right near x alone, so the solver guards steps along it.

The derivative is odd, so for x < 0 offset and bounds are mirrored. That a penalty may be infinite below zero changes
nothing here: every piece ends at zero, where coefficients leave the active set and do not change sign.
"""

from typing import NamedTuple

import numpy as np

from sparsetheory.numba_kernels.inlined import inlined
from sparsetheory.numba_kernels.penalties.proximal import curvature, derivative
from sparsetheory.typing import FloatArray

__all__ = ["PenaltyTable", "piece_at"]


class PenaltyTable(NamedTuple):
    """What coordinate and Newton steps read of a penalty. Arrays have one entry, or one row, per atom.

    Attributes
    ----------
    kind : int
        Tag of the penalty; that of l0 stands for CEL0 where coordinate steps are the same.
    positive : bool
        Whether coefficients must be at least zero.
    quadratic : bool
        Whether the penalty is quadratic between kinks.
    convex : bool
        Whether the objective is convex in every single coefficient, so that critical points need no further test.
    jumps : bool
        Whether the best value of a coefficient may leave zero by a jump.
    alpha, shape : ndarray of shape (n,)
        Numbers of the penalty.
    steps : ndarray of shape (n,)
        One over the squared norm of each atom.
    thresholds : ndarray of shape (n,)
        How large a correlation with the residual may be while zero is the best coefficient; with `positive` it may
        also be as negative as it likes.
    pieces : ndarray of shape (n, 6)
        First kink, second kink; slope and bend up to the first, slope and bend up to the second.
    """

    kind: int
    positive: bool
    quadratic: bool
    convex: bool
    jumps: bool
    alpha: FloatArray
    shape: FloatArray
    steps: FloatArray
    thresholds: FloatArray
    pieces: FloatArray


@inlined
def piece_at(p: PenaltyTable, i: int, x: float) -> tuple[float, float, float, float]:
    """Return the derivative of the penalty of atom i around x != 0, as ``offset + bend x`` between two bounds.

    Between kinks this is exact. The penalties that are not quadratic have no kink but zero, and are replaced by their
    second-order model at x.

    Returns
    -------
    offset, bend, low, high : float
        A kink itself belongs to the outer piece.
    """
    v, zero, infinity = abs(x), type(x)(0), type(x)(np.inf)
    if not p.quadratic:
        bend = curvature(p.kind, v, p.alpha[i], p.shape[i])
        slope, inner, outer = derivative(p.kind, v, p.alpha[i], p.shape[i]) - bend * v, zero, infinity
    elif v < p.pieces[i, 0]:
        slope, bend, inner, outer = p.pieces[i, 2], -p.pieces[i, 3], zero, p.pieces[i, 0]
    elif v < p.pieces[i, 1]:
        slope, bend, inner, outer = p.pieces[i, 4], -p.pieces[i, 5], p.pieces[i, 0], p.pieces[i, 1]
    else:
        slope, bend, inner, outer = zero, zero, p.pieces[i, 1], infinity
    if x > 0:
        return slope, bend, inner, outer
    return -slope, bend, -outer, -inner
