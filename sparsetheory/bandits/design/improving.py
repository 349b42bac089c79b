"""Designs on rows in memory, improved step by step."""

from dataclasses import dataclass

import numpy as np

from sparsetheory.bandits.design.leverages import whitening_of
from sparsetheory.bandits.design.pivoting import PivotedRows, pivoted_rows
from sparsetheory.numba_kernels.bandits.optimal_design import design_steps
from sparsetheory.typing import Float64Array

__all__ = ["Improved", "improved", "start_of"]

# Rounding of rank-one updates adds up; after so many steps everything is made anew.
_STEPS = 200
# Weights of a warm start below this share of the largest say too little to start from.
_FAINT = 1e-8


@dataclass(frozen=True, eq=False)
class Improved:
    """A design on some rows.

    Parameters
    ----------
    weights, leverages : ndarray of shape (n,)
    whitening : ndarray of shape (d, d)
    n_iter : int
    """

    weights: Float64Array
    leverages: Float64Array
    whitening: Float64Array
    n_iter: int


def start_of(rows: Float64Array, pivots: PivotedRows, init: Float64Array | None) -> Float64Array:
    """Return weights to start from: given ones, if their rows span as much as all, else equal ones on the pivots."""
    rank = len(pivots.indices)
    if init is not None:
        used = np.flatnonzero(init > _FAINT * init.max())
        if len(pivoted_rows(rows[used]).indices) == rank:
            weights = np.zeros(len(rows))
            weights[used] = init[used] / init[used].sum()
            return weights
    weights = np.zeros(len(rows))
    weights[pivots.indices] = 1 / rank
    return weights


def improved(Z: Float64Array, weights: Float64Array, target_mult: float, away: bool, max_iter: int) -> Improved:
    """Improve a design on rows of full column rank until the largest leverage is at most a multiple of the rank.

    Steps work in coordinates in which V was the identity when they began, so that their inverses are well conditioned
    however the rows are.
    """
    n, d = Z.shape
    # The weights of a nearly optimal design are those of rows with nearly the largest leverage.
    least = (2.0 - target_mult) * d if away else 0.0
    if d == 1:  # the line search would divide by zero, and one row is all there is
        weights = np.zeros(n)
        weights[int(np.argmax(np.abs(Z[:, 0])))] = 1.0
    n_iter, direction = 0, np.empty(d)
    while True:
        used = np.flatnonzero(weights)
        T = whitening_of(Z[used], weights[used])
        white = np.ascontiguousarray(Z @ T)
        leverages = np.einsum("ij,ij->i", white, white)
        reached = leverages.max() <= target_mult * d and leverages[used].min() >= least
        if reached or n_iter >= max_iter or d == 1:
            return Improved(weights, leverages, T, n_iter)
        # A little less than the target: leverages made anew differ by rounding.
        steps = design_steps(
            white, weights, np.eye(d), leverages, direction, target_mult * d * (1 - 1e-9), least * (1 + 1e-9), away,
            min(_STEPS, max_iter - n_iter),
        )  # fmt: skip
        n_iter += steps if steps >= 0 else -1 - steps
        weights = weights / weights.sum()
