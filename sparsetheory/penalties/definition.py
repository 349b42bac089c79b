"""What a family of penalties is: its numbers, and the function itself, in plain NumPy.

The kernels know thresholds in closed form. Here nothing is derived but the points at which the smooth pieces of a
penalty balance a quadratic; which of them is best, or whether zero is, their objectives say. Certificates rest on this.
All functions are of the absolute value; that a penalty is infinite below zero is for the caller to see.
"""

from typing import ClassVar

import numpy as np

from sparsetheory.typing import Float64Array

__all__ = ["PenaltyFamily", "Piece", "stationary_between"]

# Up to a kink, the derivative is slope - bend v: kink, slope, bend.
Piece = tuple[Float64Array, Float64Array, Float64Array]


class PenaltyFamily:
    """The function of one family, for arrays of strengths and of the numbers beside them, which broadcast.

    A family that is quadratic between at most two kinks, and constant beyond the last, only overrides :meth:`pieces`.

    Attributes
    ----------
    convex : bool
        Whether it is ``alpha (rho v + (1 - rho) v^2 / 2)`` with some rho, so that duality gaps bound the error.
    counts_nonzeros : bool
        Whether its least-squares problem has the global minimisers of l0: only the cost of a nonzero entry counts.
    quadratic : bool
        Whether it is quadratic between kinks.
    """

    convex: ClassVar[bool] = False
    counts_nonzeros: ClassVar[bool] = False
    quadratic: ClassVar[bool] = True

    @classmethod
    def pieces(cls, alpha: Float64Array, shape: Float64Array) -> list[Piece]:
        """Return the pieces from zero on, at most two; beyond the last kink the penalty is constant."""
        raise NotImplementedError

    @classmethod
    def slope_at_zero(cls, alpha: Float64Array, shape: Float64Array) -> Float64Array:
        """Return the derivative at zero from the right: up to this pull, zero is a local minimum."""
        return cls.pieces(alpha, shape)[0][1]

    @classmethod
    def values(cls, v: Float64Array, alpha: Float64Array, shape: Float64Array) -> Float64Array:
        """Return the penalty of entries of sizes ``v >= 0``, one by one."""
        total, start = np.zeros(np.broadcast_shapes(np.shape(v), np.shape(alpha), np.shape(shape))), np.zeros(())
        for kink, slope, bend in cls.pieces(alpha, shape):
            # The length reached on this piece, times the slope halfway.
            reached = np.minimum(v, kink)
            total += np.maximum(reached - start, 0.0) * (slope - 0.5 * bend * (reached + start))
            start = kink
        return np.asarray(total)

    @classmethod
    def stationary(
        cls, u: Float64Array, h: Float64Array, alpha: Float64Array, shape: Float64Array
    ) -> list[Float64Array]:
        """Return where ``h (v - u)^2 / 2 + penalty(v)`` can be least over ``v > 0``, for ``u >= 0``."""
        start, points = np.zeros(()), [u]
        for kink, slope, bend in cls.pieces(alpha, shape):
            points.append(stationary_between(h * u - slope, h - bend, start, kink))
            start = kink
        # Where the penalty is constant u itself, which is no minimum before the last kink.
        points[0] = np.where(u >= start, u, points[-1])
        return points


def stationary_between(top: Float64Array, bottom: Float64Array, low: Float64Array, high: Float64Array) -> Float64Array:
    """Return the point of slope zero of a parabola, moved into an interval; an end where the parabola opens down."""
    safe = np.where(bottom > 0, bottom, 1.0)
    return np.asarray(np.where(bottom > 0, np.clip(top / safe, low, high), high))
