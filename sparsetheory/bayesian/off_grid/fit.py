"""Rounds of Turbo-VBI and steps of the grid in turn."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsetheory.bayesian.markov.support_priors import SupportPrior
from sparsetheory.bayesian.off_grid.grid_step import DynamicGrid, grid_step
from sparsetheory.bayesian.turbo.elbo import InitialFactors, TurboState
from sparsetheory.bayesian.turbo.fit import TurboFit, TurboSchedule, run_rounds
from sparsetheory.bayesian.turbo.initialisation import make_start
from sparsetheory.bayesian.turbo.model import TurboModel
from sparsetheory.bayesian.turbo.problem import TurboProblem
from sparsetheory.typing import AnyArray, Float64Array, IndexArray

__all__ = ["OffGridFit", "OffGridSchedule", "fit_off_grid"]

# A bound that should not decrease may do so by this fraction of its size, which is far beyond rounding.
_DECREASE = 1e-6


@dataclass(frozen=True)
class OffGridSchedule:
    """How to start, step and stop; the names are those of ``OffGridTurboVBI``."""

    init: str
    n_anneal_steps: int
    anneal_grid: bool
    step: str | float
    max_inner_rounds: int
    max_iter: int
    tol: float
    keep_iterates: bool

    @property
    def rule(self) -> str | float:
        """How the grid moves."""
        return self.step if isinstance(self.step, str) else float(self.step)

    @property
    def rounds(self) -> TurboSchedule:
        """What happens between two steps of the grid."""
        return TurboSchedule(
            init=self.init,
            n_anneal_steps=self.n_anneal_steps,
            n_init=1,
            learn_prior=False,
            n_inner_sweeps=1,
            max_iter=self.max_inner_rounds,
            tol=self.tol,
            compute_elbo=False,
        )


@dataclass(frozen=True, eq=False)
class OffGridFit:
    """The last outer iteration, and the history of all.

    Parameters
    ----------
    grid : DynamicGrid
        The parameters, which `inner` is a fit for.
    inner : TurboFit
    move : float
        Largest step that the grid would still take, in widths of a cell.
    history : dict of ndarray
        One entry or row per outer iteration.
    """

    grid: DynamicGrid
    inner: TurboFit
    move: float
    history: dict[str, AnyArray]

    @property
    def change(self) -> float:
        """What one more iteration changes: mean, support probabilities or parameters, whichever the most."""
        return max(self.inner.change, self.move)

    @property
    def falls(self) -> IndexArray:
        """Outer iterations in which the bound was lower than in the one before, by more than rounding."""
        elbo = self.history["elbo"]
        return np.flatnonzero(elbo[1:] < elbo[:-1] - _DECREASE * np.abs(elbo[:-1])) + 1


def fit_off_grid(grid: DynamicGrid, model: TurboModel, prior: SupportPrior, schedule: OffGridSchedule) -> OffGridFit:
    """Alternate until neither moves.

    With the rules "ascent" and "surrogate" no part lowers the bound: the line search sees to it that the grid does not,
    and the first round after it sets the factor of the coefficients to its optimum for the new matrix.

    Warns
    -----
    RuntimeWarning
        If the bound decreases with these rules.
    """
    grid, start = _start(grid, model, prior, schedule)
    record = _Record(grid.matrix.grid, grid.matrix.spacing, schedule.keep_iterates)
    for n_iter in range(1, schedule.max_iter + 1):
        inner = run_rounds(grid.problem, model, prior, start, schedule.rounds)
        step = grid_step(grid, inner.state, schedule.rule)
        record.add(grid, inner, step.move)
        if n_iter == schedule.max_iter or max(inner.change, step.move) <= schedule.tol:
            break
        grid, start = step.grid, inner.state
    fit = OffGridFit(grid, inner, step.move, record.arrays())
    if fit.falls.size and isinstance(schedule.step, str):
        warnings.warn(
            f"the evidence lower bound fell in outer iterations {fit.falls.tolist()} although no step may lower it: "
            "rounding has won; scale the data, or raise the noise variance",
            RuntimeWarning,
            stacklevel=3,
        )
    return fit


def _start(
    grid: DynamicGrid, model: TurboModel, prior: SupportPrior, schedule: OffGridSchedule
) -> tuple[DynamicGrid, InitialFactors | TurboState]:
    """Anneal; a path between two points is then assigned to one of them while both states are still alike."""
    current = grid

    def follow(state: TurboState) -> TurboProblem:
        nonlocal current
        current = grid_step(current, state, schedule.rule).grid
        return current.problem

    start, _ = make_start(
        schedule.init,
        grid.problem,
        model,
        prior,
        steps=schedule.n_anneal_steps,
        n_inner_sweeps=1,
        learn_prior=False,
        adapt=follow if schedule.anneal_grid else None,
    )
    return current, start


class _Record:
    """Collects the history."""

    def __init__(self, middles: Float64Array, spacing: Float64Array, keep_iterates: bool) -> None:
        self._middles, self._spacing, self._keep_iterates = middles, spacing, keep_iterates
        self._rows: dict[str, list[Any]] = {}

    def add(self, grid: DynamicGrid, inner: TurboFit, move: float) -> None:
        entries: dict[str, Any] = {
            "elbo": inner.elbo[-1],
            "move": move,
            "change": inner.change,
            "n_rounds": inner.n_iter,
            "n_on": int(np.sum(inner.state.support.probability > 0.5)),
            "noise_precision": inner.state.noise.mean,
        }
        if self._keep_iterates:
            entries["coef"] = inner.state.x.mean.T
            entries["offsets"] = (grid.parameters - self._middles) / self._spacing
        for name, value in entries.items():
            self._rows.setdefault(name, []).append(value)

    def arrays(self) -> dict[str, AnyArray]:
        return {name: np.array(values) for name, values in self._rows.items()}
