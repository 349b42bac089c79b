"""What a design is: weights of rows, and what they give to all rows."""

from dataclasses import dataclass

from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["Design"]


@dataclass(frozen=True, eq=False)
class Design:
    """A probability vector over rows, and the leverages it gives to all rows.

    Parameters
    ----------
    support : ndarray of int
        Rows with positive weight, in increasing order.
    weights : ndarray of shape (len(support),)
        Their weights; they add up to one.
    max_leverage : float
        Largest leverage of any row, from a QR factorisation.
    rank : int
        Rank of the rows; no design has a smaller largest leverage.
    n_iter : int
        Steps.
    n_passes : int
        Times that the leverages of all rows were computed.
    converged : bool
        Whether the target was reached.
    rho_drop : float
        Largest norm of what a row has outside the directions that were kept; 0 where nothing was dropped. A linear
        function with coefficients theta is misspecified by at most this times the norm of theta.
    whitening : ndarray of shape (d, rank)
        The leverage of a row a is the squared norm of ``a @ whitening``.
    """

    support: IndexArray
    weights: Float64Array
    max_leverage: float
    rank: int
    n_iter: int
    n_passes: int
    converged: bool
    rho_drop: float
    whitening: Float64Array
