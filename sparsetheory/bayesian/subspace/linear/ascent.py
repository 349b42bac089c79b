"""Runs that raise the bound of a subspace: exchanges, noise and prior, again and again until all are at rest."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from sparsetheory.bayesian.subspace.linear.evidence import SubspaceEvidence
from sparsetheory.bayesian.subspace.linear.search import SubspaceSearch
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["SubspaceFit", "SubspacePlan", "first_guess", "fit_starts"]

# Share of the mean square of the data that learned noise has at the start.
_FIRST_NOISE = 0.1

Moves = Callable[[SubspaceSearch, float, int], tuple[Float64Array, bool]]


@dataclass(frozen=True)
class SubspacePlan:
    """How a run goes.

    Attributes
    ----------
    moves : callable
        ``moves(search, tol, most)`` raises the bound by at most `most` moves; returns its values, and whether it came
        to rest.
    kappa, prior : float or None
        Precision of the noise and variance of the prior; None for those that are learned.
    max_iter : int
        Most moves.
    tol : float
        Gains up to here do not count, in nats.
    """

    moves: Moves
    kappa: float | None
    prior: float | None
    max_iter: int
    tol: float


@dataclass(frozen=True, eq=False)
class SubspaceFit:
    """The end of a run, in the units of the search.

    Attributes
    ----------
    active : ndarray of int
        Columns, in increasing order.
    kappa, prior : float
        Precision of the noise and variance of the prior.
    bounds : ndarray
        The bound after the start and after every move, strictly increasing.
    n_iter : int
        Moves of the subspace.
    at_rest : bool
        Whether nothing more was to gain.
    """

    active: IndexArray
    kappa: float
    prior: float
    bounds: Float64Array
    n_iter: int
    at_rest: bool


def first_guess(search: SubspaceSearch, n_rows: int, size: int) -> tuple[float, float]:
    """Return a precision and a prior variance of the size of the data: a tenth of the energy is noise."""
    energy = search.energy if search.energy > 0 else 1.0
    squares = search.squares[search.usable]
    typical = float(squares.mean()) if squares.size else 1.0
    return n_rows / (_FIRST_NOISE * energy), energy / (max(size, 1) * typical)


def fit_starts(
    search: SubspaceSearch,
    n_rows: int,
    plan: SubspacePlan,
    starts: Iterator[IndexArray | None],
) -> SubspaceFit:
    """Return the run with the largest bound.

    Parameters
    ----------
    search : SubspaceSearch
        Moved.
    n_rows : int
        Number M of data.
    plan : SubspacePlan
        How runs go.
    starts : iterator
        First subspaces; None for the one that grows from nothing.
    """
    fits = [_run(search, n_rows, plan, start) for start in starts]
    return max(fits, key=lambda fit: float(fit.bounds[-1]))


def _run(search: SubspaceSearch, n_rows: int, plan: SubspacePlan, start: IndexArray | None) -> SubspaceFit:
    size = search.active.size
    guess = first_guess(search, n_rows, size)
    kappa, prior = (value if given is None else given for given, value in zip((plan.kappa, plan.prior), guess))  # noqa: B905
    search.assume(kappa, prior)
    if start is None:
        search.grow()
    else:
        search.solve(start)
    bounds = [_whole(search, n_rows)]
    left = plan.max_iter
    while True:
        path, at_rest = plan.moves(search, plan.tol, left)
        left -= path.size - 1
        bounds += [float(value) for value in path[1:] + _constant(search, n_rows)]
        if not at_rest or not _learn(search, n_rows, plan):
            break
        bounds.append(_whole(search, n_rows))
    values = np.maximum.accumulate(np.array(bounds))
    return SubspaceFit(
        np.sort(search.active), search.kappa, search.prior, values, plan.max_iter - left, at_rest
    )


def _learn(search: SubspaceSearch, n_rows: int, plan: SubspacePlan) -> bool:
    """Move noise and prior to where the bound is largest; return whether it rose by more than the tolerance."""
    if (plan.kappa is not None and plan.prior is not None) or search.active.size == 0:
        return False
    evidence = SubspaceEvidence.of(search.gram(), search.b[search.active], search.energy, n_rows)
    before = _whole(search, n_rows), search.kappa, search.prior
    found = evidence.maximise(*before[1:], learn_noise=plan.kappa is None, learn_prior=plan.prior is None)
    search.assume(*found)
    search.solve()
    if _whole(search, n_rows) > before[0] + max(plan.tol, search.least_gain):
        return True
    search.assume(*before[1:])
    search.solve()
    return False


def _constant(search: SubspaceSearch, n_rows: int) -> float:
    return 0.5 * (n_rows * math.log(search.kappa / (2.0 * math.pi)) - search.kappa * search.energy)


def _whole(search: SubspaceSearch, n_rows: int) -> float:
    """Return the bound with the terms that no subspace changes."""
    return search.bound + _constant(search, n_rows)
