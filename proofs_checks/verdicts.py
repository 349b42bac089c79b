"""How the rows of a sweep decide whether a claim holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import stats

from sparsetheory.proofs_checks.measurement import Measurement

__all__ = ["Always", "Attains", "Judgement", "ScalesAs", "Verdict", "WithProbability"]

# A verdict that depends on chance is wrong at most this often.
_LEVEL = 1e-6


@dataclass(frozen=True)
class Judgement:
    """Whether a claim holds, and the evidence in one line."""

    holds: bool
    evidence: str


class Verdict(Protocol):
    """Turns measurements along a sweep into a judgement."""

    def judge(self, axis: Sequence[float], measurements: Sequence[Measurement]) -> Judgement:
        """Judge all trials of a sweep; `axis` holds the swept value of each."""
        ...


@dataclass(frozen=True)
class Always:
    """The bound holds on every instance.

    Parameters
    ----------
    rtol : float
        Rounding allowance relative to the measurement's scale; it comes from a rounding analysis.
    """

    rtol: float

    def accepts(self, measurement: Measurement) -> bool:
        """Say whether one instance obeys the bound."""
        return measurement.excess() <= self.rtol

    def judge(self, axis: Sequence[float], measurements: Sequence[Measurement]) -> Judgement:
        """Require every trial to obey the bound."""
        violations = sum(not self.accepts(m) for m in measurements)
        return Judgement(violations == 0, f"{violations} violations in {len(measurements)} instances")


@dataclass(frozen=True)
class WithProbability:
    """The bound holds with probability at least `p`.

    The claim falls when the observed failures are too many for that: an exact one-sided binomial
    (Clopper-Pearson) test at level 1e-6.

    Parameters
    ----------
    p : float
        The probability that the theorem promises.
    """

    p: float

    def judge(self, axis: Sequence[float], measurements: Sequence[Measurement]) -> Judgement:
        """Compare the lower confidence limit of the failure rate with ``1 - p``."""
        failures = sum(m.excess() > 0 for m in measurements)
        test = stats.binomtest(failures, len(measurements), 1 - self.p, alternative="greater")
        return Judgement(
            bool(test.pvalue >= _LEVEL),
            f"{failures} of {len(measurements)} trials beyond the bound, {1 - self.p:.3g} allowed "
            f"(binomial p-value {test.pvalue:.2g})",
        )


@dataclass(frozen=True)
class ScalesAs:
    """The measured value follows a power of the swept value; constants are free.

    Parameters
    ----------
    exponent : float
        The slope that the theorem promises in log-log scale.
    tol : float
        How far from it the whole confidence interval of the fitted slope may lie.
    """

    exponent: float
    tol: float

    def judge(self, axis: Sequence[float], measurements: Sequence[Measurement]) -> Judgement:
        """Fit the log-log slope over all trials and its 99.9 % confidence interval."""
        fit = stats.linregress(np.log(axis), np.log([m.measured for m in measurements]))
        half = fit.stderr * stats.t.ppf(0.9995, len(axis) - 2)
        holds = abs(fit.slope - self.exponent) + half <= self.tol
        return Judgement(
            bool(holds),
            f"slope {fit.slope:.3f} ± {half:.3f}, promised {self.exponent:g} ± {self.tol:g}; "
            f"fitted constant {np.exp(fit.intercept):.3g}",
        )


@dataclass(frozen=True)
class Attains:
    """A lower bound or hardness result: failure happens at the stated rate.

    Parameters
    ----------
    level : float
        The least share of trials in which ``measured > bound`` must be seen. The claim falls when the observed
        share is too small for that, by an exact binomial test at level 1e-6.
    """

    level: float

    def judge(self, axis: Sequence[float], measurements: Sequence[Measurement]) -> Judgement:
        """Compare the upper confidence limit of the rate with `level`."""
        hits = sum(m.excess() > 0 for m in measurements)
        test = stats.binomtest(hits, len(measurements), self.level, alternative="less")
        return Judgement(
            bool(test.pvalue >= _LEVEL),
            f"{hits} of {len(measurements)} trials beyond the level, at least {self.level:.3g} expected "
            f"(binomial p-value {test.pvalue:.2g})",
        )
