"""Runs that raise the bound of a subspace: exchanges, noise and prior, again and again until all are at rest."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from sparsetheory.bayesian.subspace.linear.search import SubspaceSearch
from sparsetheory.bayesian.subspace.linear.spectrum import SubspaceSpectrum, within_ends
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["SubspaceFit", "SubspacePlan", "fit_starts"]

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
    exchanges : bool
        Whether no exchange may gain more than `tol` in the end.
    kappa, prior : float or None
        Precision of the noise and variance of the prior; None for those that are learned.
    max_iter : int
        Most moves.
    tol : float
        Gains up to here do not count, in nats.
    """

    moves: Moves
    exchanges: bool
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
    mean, variance : ndarray
        Moments of their factors.
    kappa, prior : float
        Precision of the noise and variance of the prior.
    elbo : float
        The bound.
    largest_gain, rounding : float
        What the best exchange would gain, and what of that may be rounding.
    bounds : ndarray
        The bound after the start and after every move, strictly increasing.
    n_iter : int
        Moves of the subspace, and the last round, which makes none.
    at_rest : bool
        Whether nothing more was to gain.
    """

    active: IndexArray
    mean: Float64Array
    variance: Float64Array
    kappa: float
    prior: float
    elbo: float
    largest_gain: float
    rounding: float
    bounds: Float64Array
    n_iter: int
    at_rest: bool


def _first_guess(search: SubspaceSearch, n_rows: int, plan: SubspacePlan) -> tuple[float, float]:
    """Return a precision and a prior variance: those given, or of the size of the data, a tenth of which is noise."""
    energy = search.energy if search.energy > 0 else 1.0
    kappa = n_rows / (_FIRST_NOISE * energy) if plan.kappa is None else plan.kappa
    if plan.prior is not None:
        return kappa, plan.prior
    prior = energy / (max(search.active.size, 1) * search.typical)
    return kappa, within_ends(kappa * prior * search.typical) / (kappa * search.typical)


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
    fits = [_Run(search, n_rows, plan).from_start(start) for start in starts]
    return max(fits, key=lambda fit: fit.elbo)


class _Run:
    """One run: moves of the subspace and of noise and prior in turn."""

    def __init__(self, search: SubspaceSearch, n_rows: int, plan: SubspacePlan) -> None:
        self.search, self.n_rows, self.plan = search, n_rows, plan
        self.bounds: list[float] = []
        self.left = plan.max_iter
        self.spectrum: SubspaceSpectrum | None = None

    def from_start(self, start: IndexArray | None) -> SubspaceFit:
        """Run until nothing is to gain; from nothing where `start` is None."""
        search, plan = self.search, self.plan
        search.assume(*_first_guess(search, self.n_rows, plan))
        if start is None:
            search.grow()
        else:
            search.solve(start)
        self.bounds = [search.bound + self._constant()]
        learned = None
        while True:
            self.spectrum, at_rest = self._move()
            # Noise and prior are learned once for each subspace at which the moves come to rest.
            active = np.sort(search.active)
            if at_rest and self._learns and not (learned is not None and np.array_equal(active, learned)):
                learned = active
                self._learn(self.spectrum)
                continue
            mean = self.spectrum.mean(search.kappa, search.prior)
            gain, exchanged = search.best_exchange(mean)
            if not (at_rest and self._refine(self.spectrum, gain, exchanged)):
                return self._end(self.spectrum, mean, gain, at_rest)

    def _move(self) -> tuple[SubspaceSpectrum, bool]:
        """Make the moves of the plan; return what the subspace is then, and whether it came to rest."""
        search, before = self.search, self.spectrum
        start = search.active
        path, at_rest = self.plan.moves(search, self.plan.tol, self.left)
        spectrum, numbers = search.spectrum(), (search.kappa, search.prior)
        if path.size > 1 and before is not None and not spectrum.bound_at(*numbers) > before.bound_at(*numbers):
            # By Gram matrices the bound rose, by the data it did not: such moves could go in circles.
            search.solve(start)
            return before, True
        self.left -= path.size - 1
        self._record(path[1:] + self._constant())
        return spectrum, at_rest

    @property
    def _learns(self) -> bool:
        return None in (self.plan.kappa, self.plan.prior) and self.search.active.size > 0

    def _learn(self, spectrum: SubspaceSpectrum) -> None:
        """Move noise and prior to where the bound is largest."""
        search, plan = self.search, self.plan
        flags = {"learn_noise": plan.kappa is None, "learn_prior": plan.prior is None}
        search.assume(*spectrum.maximise(search.kappa, search.prior, search.typical, **flags))
        search.solve()
        self._record([spectrum.bound_at(search.kappa, search.prior)])

    def _refine(self, spectrum: SubspaceSpectrum, gain: float, exchanged: IndexArray) -> bool:
        """Make an exchange that Gram matrices hide in their last digits, if the data tell that the bound rises."""
        search, plan = self.search, self.plan
        if not (plan.exchanges and self.left and gain > max(plan.tol, search.least_gain)):
            return False
        found = search.spectrum(exchanged)
        after = found.bound_at(search.kappa, search.prior)
        if not after > spectrum.bound_at(search.kappa, search.prior):
            return False
        search.solve(exchanged)
        self.spectrum = found
        self.left -= 1
        self._record([after])
        return True

    def _end(self, spectrum: SubspaceSpectrum, mean: Float64Array, gain: float, at_rest: bool) -> SubspaceFit:
        search = self.search
        order = np.argsort(search.active)
        elbo = spectrum.bound_at(search.kappa, search.prior)
        # The last value again, known to more digits.
        if len(self.bounds) == 1 or elbo > self.bounds[-2]:
            self.bounds[-1] = elbo
        n_iter = self.plan.max_iter - self.left + int(at_rest)
        numbers = search.kappa, search.prior, elbo, gain, 2.0 * search.rounding(mean)
        moments = search.active[order], mean[order], search.variance[order]
        return SubspaceFit(*moments, *numbers, np.array(self.bounds), n_iter, at_rest)

    def _record(self, values: Iterable[float]) -> None:
        """Append values that are above the last one: changes below rounding are none."""
        for value in values:
            if value > self.bounds[-1]:
                self.bounds.append(float(value))

    def _constant(self) -> float:
        """Return the terms of the bound that no subspace changes."""
        kappa = self.search.kappa
        return 0.5 * (self.n_rows * math.log(kappa / (2.0 * math.pi)) - kappa * self.search.energy)
