"""The outer loop of Kronecker sparse Bayesian learning: prune, expectation, factors, noise, until nothing moves."""

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from sparsetheory.bayesian.kronecker.algebra import outer_product
from sparsetheory.bayesian.sbl.noise_variance import NoiseVariance
from sparsetheory.bayesian.sbl.pruning import Pruning
from sparsetheory.bayesian.sbl.reactivation import inclusion_penalty
from sparsetheory.bayesian.sbl.stopping import relative_change, stationarity_residual, vanished
from sparsetheory.bayesian.sbl.updates.factor_update import FactorUpdate
from sparsetheory.typing import BoolArray, Float64Array, IndexArray

__all__ = ["EvidenceFit", "Measurements", "maximise_evidence"]


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

    def posterior(self, variances: Sequence[Float64Array], noise_variance: float) -> Any:
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
    variances_path : list of list of ndarray
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
    variances_path: list[list[Float64Array]]
    places_path: list[list[IndexArray]]


def maximise_evidence(
    measurements: Measurements,
    update: FactorUpdate,
    variances: Sequence[Float64Array],
    columns: Sequence[IndexArray],
    noise: NoiseVariance,
    pruning: Pruning,
    *,
    max_iter: int,
    tol: float,
    keep_variances: bool = False,
) -> EvidenceFit:
    """Run the loop on checked arrays.

    Parameters
    ----------
    measurements : Measurements
        What an expectation step is done on; loses the columns that are pruned.
    update : FactorUpdate
        How the factors of the variances move.
    variances : sequence of ndarray
        Factors to start from, positive.
    columns : sequence of ndarray of int
        Columns of each mode that they belong to.
    noise : NoiseVariance
        Changed in place.
    pruning : Pruning
        What is dropped before an expectation step.
    max_iter : int
        Largest number of updates.
    tol : float
        Tolerance, relative to the norm of the outer product of the factors: the loop ends once an update changes the
        product by at most this and, for updates that descend, no derivative of the cost by the logarithm of a variance
        exceeds this per measurement. Entries that were pruned then come back if the cost asks for it, and are not
        pruned again. With permanent pruning the change alone decides. A product that has vanished stays where it is,
        and the loop ends once the noise variance has settled.
    keep_variances : bool
        Whether to keep all factors on the way.

    Returns
    -------
    EvidenceFit
    """
    return _Loop(measurements, update, variances, columns, noise, pruning, keep_variances).run(max_iter, tol)


class _Loop:
    """The state of one run."""

    def __init__(
        self,
        measurements: Measurements,
        update: FactorUpdate,
        variances: Sequence[Float64Array],
        columns: Sequence[IndexArray],
        noise: NoiseVariance,
        pruning: Pruning,
        keep_variances: bool,
    ) -> None:
        # Restricting measurements gives them new arrays, so that this copy keeps all columns.
        self.whole, self.measurements = copy(measurements), measurements
        self.update, self.variances, self.columns = update, list(variances), columns
        self.noise, self.pruning, self.keep_variances = noise, pruning, keep_variances
        self.places = [np.arange(c.size) for c in columns]
        self.penalty = inclusion_penalty(
            sum(c.size for c in self.columns), measurements.n_snapshots, measurements.is_complex
        )
        self.posteriors: list[tuple[float, float, list[int]]] = []
        self.path: list[list[Float64Array]] = []
        self.places_path: list[list[IndexArray]] = []

    def run(self, max_iter: int, tol: float) -> EvidenceFit:
        """Update until nothing moves."""
        # Each pass: drop what is small, do one expectation step, decide, and only then update. What is returned is thus
        # the posterior at the factors and the noise variance that were judged, not at those of one more update.
        inner: list[int] = []
        old, moved, converged = outer_product(self.variances), math.inf, False
        while True:
            masks = self._prune() if moved > tol and len(inner) < max_iter else self._nothing_pruned()
            posterior = self._expectation()
            next_noise = posterior.noise_mm if self.update.noise_rule == "mm" else posterior.noise_em
            gone = vanished(posterior)
            rests = (moved <= tol or (gone and self.noise.settled(next_noise))) and self._stationary(posterior, tol)
            converged = bool(rests and self._gain() <= self.penalty)
            if converged or len(inner) >= max_iter:
                break
            if rests:
                # At rest, but a pruned entry would lower the cost: it comes back, which counts as an update.
                self._put_back()
                inner.append(0)
                old, moved = outer_product(self.variances), math.inf
                continue
            if gone:
                inner.append(0)
            else:
                self.variances, count = self.update.step(posterior)
                inner.append(count)
            self.noise.update(next_noise)
            new = outer_product(self.variances)
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
        posterior = self.measurements.posterior(self.variances, self.noise.value)
        self.posteriors.append((posterior.cost, self.noise.value, [g.size for g in self.variances]))
        if self.keep_variances:
            self.path.append(self.variances)
            self.places_path.append([c[at] for c, at in zip(self.columns, self.places, strict=True)])
        return posterior

    def _nothing_pruned(self) -> list[BoolArray]:
        return [np.ones(g.size, dtype=np.bool_) for g in self.variances]

    def _prune(self) -> list[BoolArray]:
        """Drop small entries, and say which stayed."""
        masks = self.update.masks(self.variances, self.pruning, self.places)
        if not all(mask.all() for mask in masks):
            self.places = [at[mask] for at, mask in zip(self.places, masks, strict=True)]
            self.measurements.restrict(masks)
            self.variances = self.update.restrict(masks, self.variances)
        return masks

    def _stationary(self, posterior: Any, tol: float) -> bool:
        if not self.update.descends or self.pruning.permanent:
            return True
        residual = stationarity_residual(self.update.slopes(posterior), posterior, self.noise)
        return residual <= tol + float(posterior.rounding)

    def _everywhere(self) -> Any:
        """Return the posterior on all columns of the start, with variances of zero where they were pruned."""
        padded = [np.zeros(c.size) for c in self.columns]
        for full, at, gamma in zip(padded, self.places, self.variances, strict=True):
            full[at] = gamma
        return self.whole.posterior(padded, self.noise.value)

    def _gain(self) -> float:
        """Return by how much one pruned entry could lower the cost."""
        if self.pruning.permanent or not self.update.pruned(self.variances, self.columns):
            return 0.0
        return max(float(gain.max()) for gain in self.update.gains(self._everywhere()))

    def _put_back(self) -> None:
        """Let entries back in that raise the log evidence by more than the penalty, for good."""
        factors = self.update.put_back(self._everywhere(), self.penalty)
        masks = [factor > 0 for factor in factors]
        self.variances = [factor[mask] for factor, mask in zip(factors, masks, strict=True)]
        self.places = [np.flatnonzero(mask) for mask in masks]
        self.measurements = copy(self.whole)
        self.measurements.restrict(masks)
