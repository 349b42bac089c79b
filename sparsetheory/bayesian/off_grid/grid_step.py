"""One step of the parameters of a sensing matrix, uphill in the evidence lower bound."""

from dataclasses import dataclass, replace

import numpy as np

from sparsetheory.bayesian.off_grid.grid_gradient import dynamic_grid_objective, dynamic_grid_step
from sparsetheory.bayesian.off_grid.parametric_matrix import ParametricMatrix
from sparsetheory.bayesian.turbo.elbo import TurboState, turbo_elbo
from sparsetheory.bayesian.turbo.gaussian import gaussian_factor
from sparsetheory.bayesian.turbo.problem import TurboProblem, row_squares
from sparsetheory.typing import AnyArray, Float64Array, IndexArray

__all__ = ["DynamicGrid", "GridStep", "grid_step", "refreshed"]

# Fraction of the gain that the slope predicts which a step must bring (Armijo), and how often a step is halved for it.
_SUFFICIENT, _HALVINGS = 1e-4, 12
# Least fraction of the squared norm of a derivative that counts as curvature.
_FLAT = 1e-6


@dataclass(frozen=True, eq=False)
class DynamicGrid:
    """A parametrised matrix at some parameters, and the problem that it makes of the data.

    Parameters
    ----------
    matrix : ParametricMatrix
    parameters : ndarray of shape (N,)
    problem : TurboProblem
    """

    matrix: ParametricMatrix
    parameters: Float64Array
    problem: TurboProblem

    @classmethod
    def of(cls, matrix: ParametricMatrix, Y: AnyArray) -> "DynamicGrid":
        """Start at the grid; columns have the type of the data."""
        F = np.asfortranarray(matrix.matrix().astype(Y.dtype))
        n = matrix.n_columns
        return cls(matrix, matrix.grid, TurboProblem(F, Y, float(Y.shape[0]), np.arange(n), n))

    def moved(self, indices: IndexArray, values: Float64Array) -> "DynamicGrid":
        """Give some columns other parameters."""
        parameters, F = self.parameters.copy(), self.problem.F.copy(order="F")
        parameters[indices] = values
        F[:, indices] = self.matrix.block(values, indices)
        old = self.problem
        return DynamicGrid(self.matrix, parameters, TurboProblem(F, old.Y, old.n_rows, old.live, old.n_total))

    def slopes(self, indices: IndexArray) -> AnyArray:
        """Return derivatives of some columns."""
        return self.matrix.slope_block(self.parameters[indices], indices)

    def clipped(self, indices: IndexArray, values: Float64Array) -> Float64Array:
        """Hold parameters inside their cells."""
        low, high = (end[indices] for end in self.matrix.bounds)
        return np.clip(values, low, high)


@dataclass(frozen=True, eq=False)
class GridStep:
    """Where a step leads.

    Parameters
    ----------
    grid : DynamicGrid
    move : float
        Largest change that the gradient over the curvature proposes, in widths of a cell, before any halving, and
        however far steps of fixed size go; zero where the gradient vanishes or points out of all cells.
    """

    grid: DynamicGrid
    move: float


def refreshed(problem: TurboProblem, state: TurboState) -> TurboState:
    """Set the factor of the coefficients to its optimum for a sensing matrix, all other factors as they are."""
    x = gaussian_factor(problem, state.expected_precisions, state.noise.mean)
    second = np.sum(np.abs(x.mean) ** 2, axis=1) + problem.n_snapshots * x.var
    return replace(state, x=x, second_moment=second)


def grid_step(grid: DynamicGrid, state: TurboState, rule: str | float) -> GridStep:
    r"""Move the columns that are on.

    Parameters
    ----------
    grid : DynamicGrid
    state : TurboState
        After a round with this grid.
    rule : {"ascent", "surrogate"} or float
        Gradient steps over a diagonal curvature, halved until the bound rises enough: the bound in which the factor of
        the coefficients follows the matrix, or that of the fixed factor. Or a step of this fraction of a cell along the
        sign of the gradient.

    Notes
    -----
    Both bounds have the same gradient where that factor is optimal, which is where the step starts. In the first the
    curvature of one parameter is :math:`2 \beta E|x_q|^2 f_q'^H C^{-1} f_q'`, with the covariance C of the data: what
    the other columns can explain of a change does not hold it back. In the second it is that with :math:`\kappa I` for
    the inverse, the larger one (ours). O(M N Q + M^2 N) for Q columns and every halving.
    """
    q = np.flatnonzero(state.support.probability > 0.5)
    if q.size == 0:
        return GridStep(grid, 0.0)
    here = refreshed(grid.problem, state)
    slopes, parameters = grid.slopes(q), grid.parameters[q]
    gradient = grid_gradient(grid.problem, here, slopes, q)
    curvature = _curvature(grid.problem, here, slopes, q, rule)
    step = np.divide(gradient, curvature, out=np.zeros(q.size), where=curvature > 0)
    move = _cells(grid, q, grid.clipped(q, parameters + step))
    if isinstance(rule, float):
        target = grid.clipped(q, parameters + rule * grid.matrix.spacing[q] * np.sign(gradient))
        return GridStep(grid.moved(q, target), move)
    base = _bound(grid.problem, here, rule)
    for k in range(_HALVINGS if move > 0 else 0):
        target = grid.clipped(q, parameters + step / 2**k)
        there = grid.moved(q, target)
        if _bound(there.problem, here, rule) >= base + _SUFFICIENT * float(gradient @ (target - parameters)):
            return GridStep(there, move)
    return GridStep(grid, move)


def grid_gradient(problem: TurboProblem, state: TurboState, slopes: AnyArray, q: IndexArray) -> Float64Array:
    """Sum the gradients of all snapshots."""
    columns, noise_precision, exponent = state.x.columns(q), state.noise.mean, state.model.exponent
    pairs = zip(problem.Y.T, state.x.mean.T, strict=True)
    return np.sum(
        [
            dynamic_grid_step(
                slopes,
                problem.F,
                y,
                mean=mean,
                covariance_columns=columns,
                noise_precision=noise_precision,
                exponent=exponent,
                indices=q,
            )
            for y, mean in pairs
        ],
        axis=0,
    )


def _curvature(
    problem: TurboProblem, state: TurboState, slopes: AnyArray, q: IndexArray, rule: str | float
) -> Float64Array:
    noise_precision = state.noise.mean
    squares = row_squares(np.ascontiguousarray(slopes.T))
    left = squares
    if rule != "surrogate":
        left = np.maximum(
            squares - noise_precision * state.x.variances_along(slopes.conj().T @ problem.F), _FLAT * squares
        )
    return np.asarray(2.0 * state.model.exponent * noise_precision * state.second_moment[q] * left)


def _bound(problem: TurboProblem, state: TurboState, rule: str) -> float:
    if rule == "ascent":
        return turbo_elbo(refreshed(problem, state))
    return dynamic_grid_objective(problem.F, problem.Y, state)


def _cells(grid: DynamicGrid, q: IndexArray, target: Float64Array) -> float:
    return float(np.max(np.abs(target - grid.parameters[q]) / grid.matrix.spacing[q]))
