"""Evidence that turbo compressed sensing has come to rest, recomputed from raw data."""

import math
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from scipy.linalg import solve_triangular

from sparsetheory.bayesian.turbo.checks import check_arrays
from sparsetheory.bayesian.turbo_cs.message_passing import TurboCSRules, TurboCSRun
from sparsetheory.certificates import Certificate, Status
from sparsetheory.ranges import rounding_of
from sparsetheory.typing import AnyArray

__all__ = ["TurboCSCertificate"]

_EPS = float(np.finfo(np.float64).eps)
# As in the solver: the largest fraction of its input that a denoiser keeps, and the smallest fraction of a learned
# noise.
_LARGEST_SHARE, _SMALLEST = 0.999, 1e-14


@dataclass(frozen=True)
class TurboCSCertificate(Certificate):
    """A fixed point: one more exchange changes the message, and what is learned, by at most the bound, relatively.

    The coefficients are the posterior mean that the message leads to.

    Attributes
    ----------
    coef : ndarray of shape (N,)
        What the model predicts with.
    message : ndarray of shape (N,)
        Means of the message to the linear estimator.
    message_variance, noise_variance, density, signal_variance : float
        Its variance, and noise and prior before the last exchange.
    least_variance : float
        Smallest variance of a message.
    learn_noise, learn_prior, damping, tol
        As in :class:`TurboCS`; the tolerance is the bound.
    converged : bool
        Whether the solver reached it.
    """

    TERMS: ClassVar[tuple[str, ...]] = (
        "tol", "converged", "learn_noise", "learn_prior", "damping", "least_variance",
    )  # fmt: skip

    coef: AnyArray = field(kw_only=True, repr=False)
    message: AnyArray = field(kw_only=True, repr=False)
    message_variance: float = field(kw_only=True)
    noise_variance: float = field(kw_only=True)
    density: float = field(kw_only=True)
    signal_variance: float = field(kw_only=True)
    least_variance: float = field(kw_only=True)
    learn_noise: bool = field(kw_only=True)
    learn_prior: bool = field(kw_only=True)
    damping: float = field(kw_only=True)
    tol: float = field(kw_only=True)
    converged: bool = field(kw_only=True)

    @classmethod
    def of(
        cls, run: TurboCSRun, rules: TurboCSRules, coef: AnyArray, units: tuple[float, float], least: float
    ) -> "TurboCSCertificate":
        """Certify a run in the units of the data and of the coefficients."""
        state, (data, unit) = run.state, units
        return cls(
            "",
            rules.tol,
            float(run.history["change"][-1]),
            Status.of(run.converged),
            reason="" if run.converged else "the solver stopped before it came to rest",
            coef=coef,
            message=unit * state.message.mean,
            message_variance=unit**2 * state.message.var,
            noise_variance=data**2 * state.noise,
            density=state.prior.density,
            signal_variance=unit**2 * state.prior.variance,
            least_variance=least,
            learn_noise=rules.learn_noise,
            learn_prior=rules.learn_prior,
            damping=rules.damping,
            tol=rules.tol,
            converged=run.converged,
        ).stated()

    def promise(self) -> str:
        """Return what is promised."""
        return "one more exchange changes message, noise and prior by at most the bound, relatively"

    @classmethod
    def of_zero(cls, coef: AnyArray, tol: float, noise: float) -> "TurboCSCertificate":
        """Certify coefficients of zero, where no column has anything to do with the data."""
        return cls(
            "", tol, 0.0, Status.VALID,
            coef=coef, message=np.zeros(coef.size),
            message_variance=0.0, noise_variance=noise, density=0.0, signal_variance=0.0, least_variance=0.0,
            learn_noise=False, learn_prior=False, damping=0.0, tol=tol, converged=True,
        ).stated()  # fmt: skip

    def check(self, F: Any, y: Any, *, random_state: Any = 0) -> "TurboCSCertificate":
        """Do one more exchange, from an orthogonal factor where the solver has singular values.

        Parameters
        ----------
        F, y
            What the solver was fitted on.
        random_state : Any
            Not used.

        Returns
        -------
        TurboCSCertificate
            With a fresh `measured` and `status`.

        Raises
        ------
        ValueError
            If the data are none that `fit` takes, or have other sizes.
        """
        F, y = check_arrays(F, y)
        if y.ndim != 1:
            raise ValueError(f"y must be a vector; got shape {y.shape}")
        if F.shape[1] != self.coef.size:
            raise ValueError(f"F must have the {self.coef.size} columns of the fit; got {F.shape[1]}")
        kind = np.complex128 if np.iscomplexobj(F) else np.float64
        measured, faults = self._measure(F.astype(kind), y.astype(kind))
        if not self.converged:
            faults.append("the solver stopped before it came to rest")
        if not math.isclose(self.bound, self.tol, rel_tol=1e-9, abs_tol=0.0):
            faults.append("the bound is not the tolerance of the solver")
        if not measured <= self.bound * (1.0 + 1e-6):
            faults.append("one more exchange moves by more than the bound")
        judged = replace(self, measured=measured, status=Status.of(not faults), reason="; ".join(faults))
        return judged.unless_misstated()

    def _measure(self, F: AnyArray, y: AnyArray) -> tuple[float, list[str]]:
        numbers = (self.message_variance, self.noise_variance, self.signal_variance, self.density)
        if not all(np.isfinite(v).all() for v in (self.coef, self.message, *numbers)) or min(numbers) < 0:
            return math.inf, ["a value is not finite, or negative"]
        if self.message_variance > 0 and not (0 < self.density < 1 and self.signal_variance > 0):
            return math.inf, ["there is no such prior"]
        unit, largest = float(np.abs(y).max()), float(np.abs(F).max())
        idle = unit == 0 or largest == 0 or not np.any(F.conj().T @ (y / unit))
        if idle or self.message_variance == 0 or self.noise_variance == 0:
            nothing = idle and not self.coef.any() and not self.message.any()
            return 0.0, [] if nothing else ["coefficients do not follow from the data"]
        F, y, size = F / largest, y / unit, unit / largest
        before = _State(
            self.message / size,
            self.message_variance / size**2,
            self.noise_variance / unit**2,
            self.density,
            self.signal_variance / size**2,
        )
        after, mean, rounding = self._exchange(F, y, before, self.least_variance / size**2)
        allowed = rounding_of(mean * size, self.coef.dtype) / size + rounding * np.linalg.norm(mean)
        right = bool(np.all(np.abs(self.coef / size - mean) <= allowed))
        return before.change(after), [] if right else ["the coefficients are not the posterior mean"]

    def _exchange(self, F: AnyArray, y: AnyArray, before: "_State", least: float) -> tuple["_State", AnyArray, float]:
        """Return the next state, the posterior mean on the way, and what rounding may do to it."""
        noise = before.noise
        if self.learn_noise:
            linear = _Linear.of(F, y, before, noise)
            floor = _SMALLEST * float(np.mean(np.abs(y) ** 2))
            noise = max(linear.left(F, y, before, noise), floor)
        linear = _Linear.of(F, y, before, noise)
        r, tau = before.mean + linear.move / linear.gone, max(before.var * linear.kept / linear.gone, least)
        exponent = 1.0 if np.iscomplexobj(F) else 0.5
        variance, total = before.variance, before.variance + tau
        energy = np.abs(r) ** 2
        prior_odds = math.log(before.density / (1.0 - before.density))
        odds = exponent * (np.log(tau / total) + energy / tau - energy / total) + prior_odds
        on = 1.0 / (1.0 + np.exp(-np.clip(odds, -700.0, 700.0)))
        while_on = r * (variance / total)
        mean = on * while_on
        second = variance * tau / total + np.abs(while_on) ** 2
        spread = on * (variance * tau / total) + on * (1.0 - on) * np.abs(while_on) ** 2
        share = min(float(np.mean(spread)) / tau, _LARGEST_SHARE)
        message = (1.0 - self.damping) * (mean - share * r) / (1.0 - share) + self.damping * before.mean
        var = (1.0 - self.damping) * tau * share / (1.0 - share) + self.damping * before.var
        density = before.density
        if self.learn_prior:
            density = float(np.clip(np.mean(on), 1e-3 / on.size, 1.0 - 1e-3 / on.size))
            variance = max(float(on @ second) / float(on.sum()), _SMALLEST * variance)
        condition = 1.0 + before.var * float(np.sum(np.abs(F) ** 2)) / noise
        return _State(message, max(var, least), noise, density, variance), mean, 100.0 * _EPS * condition


@dataclass(frozen=True, eq=False)
class _State:
    """A message, noise and prior."""

    mean: AnyArray
    var: float
    noise: float
    density: float
    variance: float

    def change(self, after: "_State") -> float:
        """Return the largest relative change."""
        pairs = [
            (self.var, after.var),
            (self.noise, after.noise),
            (self.density, after.density),
            (self.variance, after.variance),
        ]
        size, moved = float(np.linalg.norm(after.mean)), float(np.linalg.norm(after.mean - self.mean))
        return max(moved / size if size > 0 else moved, *(abs(old / new - 1.0) for old, new in pairs))


@dataclass(frozen=True, eq=False)
class _Linear:
    """The linear estimate: its move from the message, and the fractions of the variance that are gone and kept."""

    move: AnyArray
    gone: float
    kept: float

    @classmethod
    def of(cls, F: AnyArray, y: AnyArray, state: _State, noise: float) -> "_Linear":
        (m, n), root = F.shape, math.sqrt(state.var)
        residual = y - F @ state.mean
        if m <= n:
            # The covariance of the data is R^H R.
            stacked = np.concatenate([root * F.conj().T, math.sqrt(noise) * np.eye(m)])
            R: AnyArray = np.asarray(np.linalg.qr(stacked, mode="r"))
            W = solve_triangular(R, np.concatenate([F, np.eye(m)], axis=1), trans="C")
            inside, inverse = W[:, :n], W[:, n:]
            move = state.var * (inside.conj().T @ solve_triangular(R, residual, trans="C"))
            gone = state.var * float(np.sum(np.abs(inside) ** 2)) / n
            return cls(move, gone, (n - m + noise * float(np.sum(np.abs(inverse) ** 2))) / n)
        Q, R = np.linalg.qr(np.concatenate([root * F / math.sqrt(noise), np.eye(n)]))
        inverse = solve_triangular(R, np.eye(n))
        move = root * (inverse @ (Q[:m].conj().T @ (residual / math.sqrt(noise))))
        kept = float(np.sum(np.abs(inverse) ** 2)) / n
        return cls(move, 1.0 - kept, kept)

    def left(self, F: AnyArray, y: AnyArray, state: _State, noise: float) -> float:
        """Return the noise variance that explains what the estimate leaves."""
        residual = y - F @ (state.mean + self.move)
        return (float(np.sum(np.abs(residual) ** 2)) + noise * F.shape[1] * self.gone) / y.size
