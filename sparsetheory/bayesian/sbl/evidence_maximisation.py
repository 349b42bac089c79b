"""The outer loop of Kronecker sparse Bayesian learning: prune, expectation, factors, noise, until nothing moves."""

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.linalg.blas import dnrm2

from sparsetheory.bayesian.kronecker.algebra import outer_product
from sparsetheory.bayesian.sbl.initialisation import FactorStart
from sparsetheory.bayesian.sbl.noise_variance import NoiseVariance
from sparsetheory.bayesian.sbl.pruning import Pruning
from sparsetheory.bayesian.sbl.returning import price_of_name
from sparsetheory.typing import BoolArray, Float64Array, IndexArray

__all__ = [
    "EvidenceFit",
    "Measurements",
    "maximise_evidence",
    "relative_change",
    "stationarity_residual",
    "vanished",
]


class Measurements(Protocol):
    """What the loop needs of measurements."""

    @property
    def n_snapshots(self) -> int:
        """Number of vectors that share variances."""
        ...

    @property
    def is_complex(self) -> bool:
        """Whether the data are complex."""
        ...

    def restrict(self, masks: Sequence[BoolArray]) -> None:
        """Drop columns; the masks say what is kept of each mode."""
        ...

    def posterior(self, gammas: Sequence[Float64Array], noise_variance: float) -> Any:
        """Do one expectation step; the result has moments, `cost`, `noise_em` and `noise_mm`."""
        ...


@dataclass(frozen=True, eq=False)
class EvidenceFit:
    """What the loop ends with.

    Attributes
    ----------
    posterior : PosteriorMoments
        Of the kept entries, at the last factors and noise variance.
    kept : list of ndarray of int
        Kept indices of each mode.
    converged : bool
    residual : float
        Largest derivative at the end, as :func:`stationarity_residual` defines it.
    cost_path : ndarray of shape (n_iter + 1,)
        Cost before each update and at the end.
    n_inner : ndarray of int, shape (n_iter,)
        Inner iterations of each update; zero where pruned entries were put back instead.
    noise_path : ndarray of shape (n_iter + 1,)
    kept_path : ndarray of int, shape (n_iter + 1, d)
        Numbers of kept entries.
    gammas_path : list of list of ndarray
        Factors on the kept entries before each update and at the end; empty unless asked for.
    places_path : list of list of ndarray of int
        The kept entries that they belong to.
    """

    posterior: Any
    kept: list[IndexArray]
    converged: bool
    residual: float
    cost_path: Float64Array
    n_inner: IndexArray
    noise_path: Float64Array
    kept_path: IndexArray
    gammas_path: list[list[Float64Array]]
    places_path: list[list[IndexArray]]


def relative_change(old: Float64Array, new: Float64Array, masks: Sequence[BoolArray]) -> float:
    """Return the relative change of a tensor some of whose slices were dropped, which counts as zeros.

    Parameters
    ----------
    old : ndarray of shape (N_1, ..., N_d)
        Before.
    new : ndarray
        After, on the kept slices.
    masks : sequence of ndarray of bool, shape (N_i,)
        Kept slices of each mode.

    Returns
    -------
    float
    """
    if old.shape == new.shape:
        difference = new - old
    else:
        difference = -old
        difference[np.ix_(*masks)] += new
    return dnrm2(difference.reshape(-1)) / dnrm2(old.reshape(-1))


def vanished(posterior: Any) -> bool:
    """Whether prior variances have shrunk to nothing, and the cost keeps them there.

    Parameters
    ----------
    posterior : PosteriorMoments
        With its `gammas`.

    Returns
    -------
    bool
        True if the prior adds less than rounding to the covariance of the measurements and no variance would lower the
        cost by growing, or if the variances are about to underflow.

    Notes
    -----
    Where the noise explains the data, variances shrink by a constant factor per step for ever, and relative changes
    never fall below a tolerance.
    """
    largest = math.prod(float(gamma.max()) for gamma in posterior.gammas)
    if largest <= np.finfo(np.float64).tiny:
        return True
    return largest * posterior.q.max() <= np.finfo(np.float64).eps and bool(np.all(posterior.power <= posterior.q))


def stationarity_residual(slopes: Sequence[Float64Array], posterior: Any, noise: NoiseVariance) -> float:
    """Return the largest derivative of the cost by the logarithm of what is free, per measurement.

    Parameters
    ----------
    slopes : sequence of ndarray
        Derivatives by the logarithms of variances.
    posterior : PosteriorMoments
        What they belong to.
    noise : NoiseVariance
        Counts if it is learned; at its floor only if it would grow.

    Returns
    -------
    float
    """
    largest = max(float(np.abs(slope).max(initial=0.0)) for slope in slopes)
    if noise.learned:
        slope = posterior.grad_log_noise
        largest = max(largest, -slope if noise.at_floor else abs(slope))
    return largest / float(posterior.n_rows)


def maximise_evidence(
    measurements: Measurements,
    start: FactorStart,
    noise: NoiseVariance,
    pruning: Pruning,
    *,
    max_iter: int,
    tol: float,
    keep_gammas: bool = False,
) -> EvidenceFit:
    """Run the loop on checked arrays.

    Parameters
    ----------
    measurements : Measurements
        What an expectation step is done on; loses the columns that are pruned.
    start : FactorStart
        Positive factors, the columns that they belong to, and how they move.
    noise : NoiseVariance
        Changed in place.
    pruning : Pruning
        What is dropped before an expectation step.
    max_iter : int
        Largest number of updates.
    tol : float
        The loop ends once the outer product of the factors changes by at most this share of its norm, and, for updates
        that descend, no derivative of the cost by the logarithm of a variance exceeds this per measurement. Entries
        that were pruned then come back if the cost asks for it, and are not pruned again. With final pruning the
        change alone decides. A product that has vanished stays where it is, and the loop ends once the noise variance
        has settled.
    keep_gammas : bool
        Whether to keep all factors on the way.

    Returns
    -------
    EvidenceFit
    """
    return _Loop(measurements, start, noise, pruning, keep_gammas).run(max_iter, tol)


class _Loop:
    """The state of one run."""

    def __init__(
        self,
        measurements: Measurements,
        start: FactorStart,
        noise: NoiseVariance,
        pruning: Pruning,
        keep_gammas: bool,
    ) -> None:
        # Restricting measurements gives them new arrays, so that this copy keeps all columns.
        self.whole, self.measurements = copy(measurements), measurements
        self.gammas, self.columns, self.update = start.factors, start.columns, start.update
        self.noise, self.pruning, self.keep_gammas = noise, pruning, keep_gammas
        self.places = [np.arange(c.size) for c in start.columns]
        self.price = price_of_name(sum(c.size for c in self.columns), measurements.n_snapshots, measurements.is_complex)
        self.posteriors: list[tuple[float, float, list[int]]] = []
        self.path: list[list[Float64Array]] = []
        self.places_path: list[list[IndexArray]] = []

    def run(self, max_iter: int, tol: float) -> EvidenceFit:
        """Update until nothing moves."""
        inner: list[int] = []
        old, moved, converged = outer_product(self.gammas), math.inf, False
        while True:
            masks = self._prune() if moved > tol and len(inner) < max_iter else self._nothing_pruned()
            posterior = self._expectation()
            next_noise = posterior.noise_mm if self.update.noise_rule == "mm" else posterior.noise_em
            gone = vanished(posterior)
            rests = (moved <= tol or (gone and self.noise.settled(next_noise))) and self._stationary(posterior, tol)
            converged = bool(rests and self._gain() <= self.price)
            if converged or len(inner) >= max_iter:
                break
            if rests:
                self._put_back()
                inner.append(0)
                old, moved = outer_product(self.gammas), math.inf
                continue
            if gone:
                inner.append(0)
            else:
                self.gammas, count = self.update.step(posterior)
                inner.append(count)
            self.noise.update(next_noise)
            new = outer_product(self.gammas)
            moved = math.inf if gone else relative_change(old, new, masks)
            old = new
        residual = stationarity_residual(self.update.slopes(posterior), posterior, self.noise)
        return self._result(posterior, converged, residual, inner)

    def _result(self, posterior: Any, converged: bool, residual: float, inner: list[int]) -> EvidenceFit:
        costs, noises, sizes = zip(*self.posteriors, strict=True)
        kept = [c[at] for c, at in zip(self.columns, self.places, strict=True)]
        return EvidenceFit(
            posterior, kept, converged, residual, np.array(costs), np.array(inner, dtype=np.intp), np.array(noises),
            np.array(sizes, dtype=np.intp), self.path, self.places_path,
        )  # fmt: skip

    def _expectation(self) -> Any:
        posterior = self.measurements.posterior(self.gammas, self.noise.value)
        self.posteriors.append((posterior.cost, self.noise.value, [g.size for g in self.gammas]))
        if self.keep_gammas:
            self.path.append(self.gammas)
            self.places_path.append([c[at] for c, at in zip(self.columns, self.places, strict=True)])
        return posterior

    def _nothing_pruned(self) -> list[BoolArray]:
        return [np.ones(g.size, dtype=np.bool_) for g in self.gammas]

    def _prune(self) -> list[BoolArray]:
        """Drop small entries, and say which stayed."""
        masks = self.update.masks(self.gammas, self.pruning, self.places)
        if not all(mask.all() for mask in masks):
            self.places = [at[mask] for at, mask in zip(self.places, masks, strict=True)]
            self.measurements.restrict(masks)
            self.gammas = self.update.restrict(masks, self.gammas)
        return masks

    def _stationary(self, posterior: Any, tol: float) -> bool:
        if not self.update.descends or self.pruning.final:
            return True
        residual = stationarity_residual(self.update.slopes(posterior), posterior, self.noise)
        return residual <= tol + float(posterior.rounding)

    def _everywhere(self) -> Any:
        """Return the posterior on all columns of the start, with variances of zero where they were pruned."""
        padded = [np.zeros(c.size) for c in self.columns]
        for full, at, gamma in zip(padded, self.places, self.gammas, strict=True):
            full[at] = gamma
        return self.whole.posterior(padded, self.noise.value)

    def _gain(self) -> float:
        """Return by how much one pruned entry could lower the cost."""
        if self.pruning.final or not self.update.pruned(self.gammas, self.columns):
            return 0.0
        return max(float(gain.max()) for gain in self.update.gains(self._everywhere()))

    def _put_back(self) -> None:
        """Let entries in that are worth their names, for good."""
        factors = self.update.put_back(self._everywhere(), self.price)
        masks = [factor > 0 for factor in factors]
        self.gammas = [factor[mask] for factor, mask in zip(factors, masks, strict=True)]
        self.places = [np.flatnonzero(mask) for mask in masks]
        self.measurements = copy(self.whole)
        self.measurements.restrict(masks)
