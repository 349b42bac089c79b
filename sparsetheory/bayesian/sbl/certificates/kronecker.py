"""Evidence that learned variances are a stationary point, recomputed from raw data."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.bayesian.kronecker.checks import as_tensor, check_dictionaries
from sparsetheory.bayesian.sbl.certificates.spectral_frame import SpectralFrame
from sparsetheory.bayesian.sbl.noise_variance import NOISE_FLOOR
from sparsetheory.bayesian.sbl.reactivation import SlopeAtZero, inclusion_penalty
from sparsetheory.certificates import Certificate, Status
from sparsetheory.ranges import rounding_of
from sparsetheory.typing import BoolArray, Float64Array, InexactArray

__all__ = ["KroneckerSBLCertificate"]

_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class KroneckerSBLCertificate(Certificate):
    """Stationarity of the cost, and coefficients that are the posterior mean there.

    What is bounded is the largest derivative of the cost by the logarithm of a variance, per measurement. With learned
    noise its variance counts too. No pruned entry of a factor would raise the log evidence by more than the logarithm
    of the number of entries, if the coefficients that it scales had one common variance.

    Attributes
    ----------
    variances : list of ndarray of shape (N_i,)
        Factors of the prior variances on all columns; zero where pruned.
    noise_variance : float
        Variance of the noise.
    learn_noise : bool
        Whether it was learned.
    tol : float
        Tolerance of the solver, which is the bound.
    converged : bool
        Whether the solver reached it.
    coef : ndarray of shape (N,) or (N, n_snapshots)
        What the model predicts with.
    fixed_zeros : ndarray of bool, shape (sum of N_i,)
        Entries that the user fixed at zero, mode after mode.
    couplings : list of (None or ndarray of shape (N_k, n_latents)), optional
        Where factors are ``couplings[k] @ latents[k]``, what they are made of: derivatives are then by the logarithms
        of the latents.
    latents : list of ndarray, optional
        The latent factors.
    covered : bool
        Whether the guarantee covers the fit: the update rests at stationary points only, and nothing was pruned for
        good.
    """

    TERMS: ClassVar[tuple[str, ...]] = (
        "tol", "converged", "learn_noise", "noise_variance", "fixed_zeros", "covered",
    )  # fmt: skip

    variances: list[Float64Array] = field(kw_only=True, repr=False)
    noise_variance: float = field(kw_only=True)
    learn_noise: bool = field(kw_only=True)
    tol: float = field(kw_only=True)
    converged: bool = field(kw_only=True)
    coef: InexactArray = field(kw_only=True, repr=False)
    fixed_zeros: BoolArray = field(kw_only=True, repr=False)
    couplings: list[Float64Array | None] | None = field(kw_only=True, default=None, repr=False)
    latents: list[Float64Array] | None = field(kw_only=True, default=None, repr=False)
    covered: bool = field(kw_only=True, default=True)

    @classmethod
    def of(cls, converged: bool, residual: float, tol: float, **details: Any) -> "KroneckerSBLCertificate":
        """Certify the point that a solver ended with, where it found this largest derivative."""
        status, reason = Status.of(converged), "" if converged else "the solver stopped before it came to rest"
        if not details.get("covered", True):
            status, reason = Status.NOT_APPLICABLE, "this update or pruning may rest where the cost is not stationary"
        return cls(
            "",
            tol,
            residual,
            status,
            reason=reason,
            tol=tol,
            converged=converged,
            **details,
        ).stated()

    def promise(self) -> str:
        """Return what is promised, and by what derivatives are taken."""
        made = [k for k, C in enumerate(self.couplings or []) if C is not None]
        of_what = f"a variance (in modes {made} of a latent)" if made else "a variance"
        return (
            f"no derivative of the cost by the logarithm of {of_what} exceeds the bound, per measurement, and the "
            "coefficients are the posterior mean"
        )

    def check(
        self, dictionaries: Sequence[ArrayLike], y: ArrayLike, *, random_state: Any = 0
    ) -> "KroneckerSBLCertificate":
        """Recompute derivatives and mean from singular values, on the side of the measurements.

        Parameters
        ----------
        dictionaries, y
            What the solver was fitted on.
        random_state : Any
            Not used.

        Returns
        -------
        KroneckerSBLCertificate
            With a fresh `measured` and `status`.

        Raises
        ------
        ValueError
            If the data are none that `fit` takes, or have other sizes.

        Notes
        -----
        Derivatives by entries of a factor are sums over singular values of the other modes: O(M N_k) per mode k.
        """
        modes = check_dictionaries(dictionaries)
        data = as_tensor(y, modes.rows, "y")
        sizes = (math.prod(modes.columns), *data.values.shape[data.n_modes :])
        if modes.columns != [g.size for g in self.variances] or self.coef.shape != sizes:
            expected = [g.size for g in self.variances], self.coef.shape[1:]
            raise ValueError(
                f"dictionaries and y must have the columns and snapshots of the fit, {expected}; got {sizes}"
            )
        if not self._sensible() or (self.noise_variance == 0 and data.values.any()):
            return replace(self, measured=math.inf, status=Status.INVALID, reason="a value is not finite, or negative")
        measured, allowed, faults = self._measure(modes.matrices, data.values)
        if not math.isclose(self.bound, self.tol, rel_tol=1e-9, abs_tol=0.0):
            faults.append("the bound is not the tolerance of the solver")
        if not self.covered:
            status = Status.INVALID if faults else Status.NOT_APPLICABLE
            judged = replace(self, measured=measured, status=status, reason="; ".join(faults) or self.reason)
            return judged.unless_misstated()
        if not self.converged:
            faults.append("the solver stopped before it came to rest")
        if not measured <= self.bound + allowed:
            faults.append("a derivative exceeds the bound")
        judged = replace(self, measured=measured, status=Status.of(not faults), reason="; ".join(faults))
        return judged.unless_misstated()

    def _sensible(self) -> bool:
        values = (*self.variances, *(self.latents or []))
        finite = all(np.isfinite(value).all() for value in (*values, self.coef)) and math.isfinite(self.noise_variance)
        return bool(finite and all(np.all(value >= 0) for value in values) and self.noise_variance >= 0)

    def _measure(self, matrices: list[InexactArray], Y: InexactArray) -> tuple[float, float, list[str]]:
        """Return the largest derivative, what rounding may add to it, and what else is wrong."""
        if not Y.any() and self.noise_variance == 0.0:
            return 0.0, 0.0, ["y is zero and a coefficient is not"] if self.coef.any() else []
        unit = math.sqrt(float(np.mean(np.abs(Y) ** 2))) or 1.0
        many = Y.ndim > len(matrices)
        frame = SpectralFrame.of(matrices, Y / unit, self.variances, self.noise_variance / unit**2, unit)
        faults = [] if self._are_made(frame) else ["the factors are not made of the latents"]
        largest, gain = 0.0, 0.0
        for k in range(len(matrices)):
            slopes, at_zero, size, free = self._one_mode(frame, k)
            largest = max(largest, float(np.abs(slopes).max()))
            gain = max(gain, float(np.where((size == 0) & free, at_zero.gain, 0.0).max()))
        if not all(gamma.any() for gamma in self.variances):
            gain = max(gain, frame.single_gain(self._held))
        n_free = sum(int(np.sum(np.any(A != 0, axis=0) & self._free(k))) for k, A in enumerate(matrices))
        if self.covered and gain > inclusion_penalty(n_free, Y.shape[-1] if many else 1, np.iscomplexobj(frame.Z)) * (
            1 + 1e-6
        ):
            faults.append("the data ask for a variance that was pruned")
        if not self._is_mean(frame, unit):
            faults.append("the coefficients are not the posterior mean")
        if self.learn_noise:
            slope = frame.noise_slope()
            at_floor = frame.noise <= NOISE_FLOOR * (1.0 + 1e-9)
            largest = max(largest, -slope if at_floor else abs(slope))
        return largest / frame.D.size, frame.rounding, faults

    @property
    def _held(self) -> list[BoolArray]:
        return np.split(self.fixed_zeros, np.cumsum([g.size for g in self.variances])[:-1])

    def _free(self, k: int) -> BoolArray:
        """Return which columns of a mode the user did not hold at zero."""
        C = None if self.couplings is None else self.couplings[k]
        return ~self._held[k] if C is None else np.any(C > 0, axis=1)

    def _one_mode(self, frame: SpectralFrame, k: int) -> tuple[Float64Array, SlopeAtZero, Float64Array, BoolArray]:
        """Return derivatives by logarithms, slopes at zero, what they belong to, and whether it is free."""
        C = None if self.couplings is None else self.couplings[k]
        at = frame.slopes(k)
        if C is None or self.latents is None:
            return self.variances[k] / frame.scales[k] * (at.up - at.down), at, self.variances[k], ~self._held[k]
        z = self.latents[k]
        at = SlopeAtZero(C.T @ at.up, C.T @ at.down, (C**2).T @ at.squares)
        return z / frame.scales[k] * (at.up - at.down), at, z, np.ones(z.size, dtype=np.bool_)

    def _are_made(self, frame: SpectralFrame) -> bool:
        if self.couplings is None or self.latents is None:
            return True
        made = [z if C is None else C @ z for C, z in zip(self.couplings, self.latents, strict=True)]
        parts = zip(made, self.variances, strict=True)
        return all(bool(np.all(np.abs(m - g) <= 8 * _EPS * g.size * np.abs(m))) for m, g in parts)

    def _is_mean(self, frame: SpectralFrame, unit: float) -> bool:
        """Whether coefficients are variances times S, up to their own precision and the rounding of S."""
        mean, sizes = frame.mean()
        mean, sizes = unit * mean.reshape(self.coef.shape), unit * sizes.reshape(-1)
        # Fit and check sum as many products as a mode has rows, on the way into its singular vectors and back.
        rounding = sum(frame.D.shape) * frame.rounding * (sizes if self.coef.ndim == 1 else sizes[:, None])
        allowed = rounding_of(mean, self.coef.dtype) + rounding
        return bool(np.all(np.abs(self.coef - mean) <= allowed))
