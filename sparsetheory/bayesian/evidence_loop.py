"""The outer loop of Kronecker sparse Bayesian learning: prune, expectation, factors, noise, until nothing moves."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dnrm2
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.bayesian.factor_start import FactorStart
from sparsetheory.bayesian.kron_algebra import outer_product, squared_modulus

__all__ = [
    "EvidenceFit",
    "Measurements",
    "NoiseVariance",
    "Pruning",
    "maximise_evidence",
    "pruned_mask",
    "relative_change",
    "vanished",
]

_Array = NDArray[np.inexact]
_Real = NDArray[np.float64]
# A learned noise variance stays above this share of the mean square of the data.
_NOISE_FLOOR = 1e-12
# A learned noise variance has settled once it moves by no more than this share.
_NOISE_SETTLED = 1e-12


@dataclass
class NoiseVariance:
    """A noise variance, known or learned.

    Attributes
    ----------
    value : float
        Current value.
    learned : bool
        Whether updates move it.
    floor : float
        Smallest learned value: the cost may fall to minus infinity as it goes to zero.
    """

    value: float
    learned: bool
    floor: float = 0.0
    _warned: bool = field(default=False, repr=False)

    @classmethod
    def of(cls, noise: float | None, Y: _Array) -> "NoiseVariance":
        """Start from a given variance, or, if it is None, from a tenth of the variance of the data."""
        if noise is not None:
            return cls(noise, False)
        square = float(squared_modulus(Y).mean())
        spread = float(np.var(Y, ddof=1)) if Y.size > 1 else 0.0
        return cls(0.1 * (spread if spread > 0 else square), True, _NOISE_FLOOR * square)

    def update(self, value: float) -> None:
        """Move to a new value, where the variance is learned."""
        if not self.learned:
            return
        if value < self.floor and not self._warned:
            warnings.warn(
                f"the learned noise variance reached {self.floor:.3g}, {_NOISE_FLOOR:g} of the mean square of y, and "
                "stays there: the data seem to be without noise",
                ConvergenceWarning,
                stacklevel=2,
            )
            self._warned = True
        self.value = max(value, self.floor)

    def settled(self, value: float) -> bool:
        """Whether moving to a new value would change nothing."""
        return not self.learned or abs(max(value, self.floor) - self.value) <= _NOISE_SETTLED * self.value


class Measurements(Protocol):
    """What the loop needs of measurements."""

    def restrict(self, masks: Sequence[NDArray[np.bool_]]) -> None:
        """Drop columns; the masks say what is kept of each mode."""
        ...

    def posterior(self, gammas: Sequence[_Real], noise_variance: float) -> Any:
        """Do one expectation step; the result has moments, `cost`, `noise_em` and `noise_mm`."""
        ...


@dataclass(frozen=True)
class Pruning:
    """Which entries of a factor are dropped for good.

    Attributes
    ----------
    relative : list of float
        Shares of the largest entry, one per mode.
    absolute : list of float
        Thresholds, one per mode.
    """

    relative: list[float]
    absolute: list[float]


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
    cost_path : ndarray of shape (n_iter + 1,)
        Cost before each update and at the end.
    n_inner : ndarray of int, shape (n_iter,)
        Inner iterations of each update.
    noise_path : ndarray of shape (n_iter + 1,)
    kept_path : ndarray of int, shape (n_iter + 1, d)
        Numbers of kept entries.
    gammas_path : list of list of ndarray
        Factors on the kept entries before each update and at the end; empty unless asked for.
    """

    posterior: Any
    kept: list[NDArray[np.intp]]
    converged: bool
    cost_path: _Real
    n_inner: NDArray[np.intp]
    noise_path: _Real
    kept_path: NDArray[np.intp]
    gammas_path: list[list[_Real]]


def pruned_mask(gamma: _Real, relative: float, absolute: float, mode: Any) -> NDArray[np.bool_]:
    """Say which entries stay.

    Parameters
    ----------
    gamma : ndarray of shape (n,)
        Variances.
    relative, absolute : float
        Entries below ``relative * max`` or below `absolute` go.
    mode : Any
        For the warning.

    Returns
    -------
    ndarray of bool
        At least one entry stays; a warning says if none would.
    """
    largest = gamma.max()
    mask = gamma >= max(relative * largest, absolute)
    if largest < absolute:
        warnings.warn(
            f"prune_abs would drop every entry of mode {mode}; its largest is kept",
            RuntimeWarning,
            stacklevel=2,
        )
        mask[np.argmax(gamma)] = True
    return mask


def relative_change(old: _Real, new: _Real, masks: Sequence[NDArray[np.bool_]]) -> float:
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
        What is dropped before an expectation step; it never comes back.
    max_iter : int
        Largest number of updates.
    tol : float
        The loop ends once the outer product of the factors changes by at most this share of its norm. One that has
        vanished stays where it is, and the loop ends once the noise variance has settled.
    keep_gammas : bool
        Whether to keep all factors on the way.

    Returns
    -------
    EvidenceFit
    """
    gammas, kept, update = start.factors, start.columns, start.update
    posteriors: list[tuple[float, float, list[int]]] = []
    path: list[list[_Real]] = []
    inner: list[int] = []
    converged = False

    def expectation() -> Any:
        posterior = measurements.posterior(gammas, noise.value)
        posteriors.append((posterior.cost, noise.value, [g.size for g in gammas]))
        if keep_gammas:
            path.append(gammas)
        return posterior

    old = outer_product(gammas)
    while len(inner) < max_iter and not converged:
        masks = [
            pruned_mask(g, r, a, k)
            for k, (g, r, a) in enumerate(zip(gammas, pruning.relative, pruning.absolute, strict=True))
        ]
        if not all(mask.all() for mask in masks):
            gammas, kept = _selected(gammas, masks), _selected(kept, masks)
            measurements.restrict(masks)
            update.restrict(masks)
        posterior = expectation()
        next_noise = posterior.noise_mm if update.noise_rule == "mm" else posterior.noise_em
        gone = vanished(posterior)
        if gone and noise.settled(next_noise):
            converged = True
            break
        gammas, count = (gammas, 0) if gone else update.step(posterior)
        inner.append(count)
        noise.update(next_noise)
        new = outer_product(gammas)
        converged = not gone and relative_change(old, new, masks) <= tol
        old = new
    else:
        posterior = expectation()
    costs, noises, sizes = zip(*posteriors, strict=True)
    return EvidenceFit(
        posterior, kept, converged, np.array(costs), np.array(inner, dtype=np.intp), np.array(noises),
        np.array(sizes, dtype=np.intp), path,
    )  # fmt: skip


def _selected(vectors: Sequence[Any], masks: Sequence[NDArray[np.bool_]]) -> list[Any]:
    return [vector[mask] for vector, mask in zip(vectors, masks, strict=True)]
