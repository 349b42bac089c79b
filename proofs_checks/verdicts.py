"""How the rows of a sweep decide whether a claim holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from scipy import stats

from sparsetheory.proofs_checks.measurement import Measurement

__all__ = ["Always", "Attains", "Judgement", "ScalesAs", "State", "Verdict", "WithProbability"]

# A promise is kept when the confidence limit of its rate meets it within a margin. One limit in a hundred errs.
_CONFIDENCE = 0.99
# A verdict that depends on chance calls a true claim false at most this often, all values of the axis together.
_LEVEL = 1e-4
# Nobody runs more trials than this to have a claim decided.
_MOST_TRIALS = 100_000


class State(StrEnum):
    """What the evidence says of a claim."""

    HOLDS = "holds"
    UNDECIDED = "undecided"
    FAILS = "fails"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Judgement:
    """Whether a claim holds, and the evidence in one line.

    Parameters
    ----------
    state : State
        "holds" is proved by the evidence; "undecided" says that more is needed; "not run" that nothing was tried.
    evidence : str
        One line.
    tightest : float or None
        For claims that hold on every instance the largest ``measured / bound`` seen: how much room is left.
    """

    state: State
    evidence: str
    tightest: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the evidence proves the claim on what was tried."""
        return self.state is State.HOLDS


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
        return Judgement(
            State.FAILS if violations else State.HOLDS,
            f"{violations} violations in {len(measurements)} instances",
            max((m.tightness(self.rtol) for m in measurements), default=None),
        )


@dataclass(frozen=True)
class WithProbability:
    """The bound holds with probability at least `p`, at every value of the axis.

    Exact one-sided binomial (Clopper-Pearson) limits decide, for each value by itself. The claim holds when at every
    value the lower limit of the rate at which the bound holds, at confidence 0.99, is at least ``p - margin``. It
    fails when some value refutes ``p`` at level 1e-4, shared among the values. Otherwise it is undecided.

    Parameters
    ----------
    p : float
        The probability that the theorem promises.
    margin : float
        What "holds" may be wrong by: p = 0.9 with margin 0.1 takes 21 trials without a failure per value.

    Examples
    --------
    >>> from sparsetheory.proofs_checks import Measurement, WithProbability
    >>> kept, missed = Measurement(0.5, 1.0), Measurement(2.0, 1.0)
    >>> for trials in ([kept] * 21, [kept] * 20, [kept] * 10 + [missed] * 11):
    ...     print(WithProbability(0.9).judge([1.0] * len(trials), trials).state)
    holds
    undecided
    fails
    """

    p: float
    margin: float = 0.1

    def judge(self, axis: Sequence[float], measurements: Sequence[Measurement]) -> Judgement:
        """Compare the limits of the rate at each value with `p`."""
        kept = [m.excess() <= 0 for m in measurements]
        return _judge_rates(axis, kept, self.p, self.margin, "within the bound")


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
        """Fit the log-log slope over all trials and its 99.9 % confidence interval.

        The claim holds when the whole interval lies inside the tolerance, fails when it lies outside, and is undecided
        when it crosses.
        """
        fit = stats.linregress(np.log(axis), np.log([m.measured for m in measurements]))
        half = fit.stderr * stats.t.ppf(0.9995, len(axis) - 2)
        distance = abs(fit.slope - self.exponent)
        state = State.HOLDS if distance + half <= self.tol else State.UNDECIDED
        if not np.isfinite(half) or distance - half > self.tol:
            state = State.FAILS
        return Judgement(
            state,
            f"slope {fit.slope:.3f} ± {half:.3f}, promised {self.exponent:g} ± {self.tol:g}; "
            f"fitted constant {np.exp(fit.intercept):.3g}",
        )


@dataclass(frozen=True)
class Attains:
    """A lower bound or hardness result: failure happens at least at the stated rate, at every value of the axis.

    Decided as :class:`WithProbability` decides, with ``measured > bound`` as the event.

    Parameters
    ----------
    level : float
        The least share of trials in which ``measured > bound``.
    margin : float
        What "holds" may be wrong by.
    """

    level: float
    margin: float = 0.1

    def judge(self, axis: Sequence[float], measurements: Sequence[Measurement]) -> Judgement:
        """Compare the limits of the rate at each value with `level`."""
        hits = [m.excess() > 0 for m in measurements]
        return _judge_rates(axis, hits, self.level, self.margin, "beyond the level")


def _judge_rates(axis: Sequence[float], events: Sequence[bool], p: float, margin: float, what: str) -> Judgement:
    """Judge a promised rate at every value of the axis; the value that is worst off is the evidence."""
    values = list(dict.fromkeys(axis))
    tallies = [[event for at, event in zip(axis, events, strict=True) if at == value] for value in values]
    counts = [(sum(tally), len(tally)) for tally in tallies]
    lower = [_lower_limit(hits, trials) for hits, trials in counts]
    refuted = [_refutes(hits, trials, p, _LEVEL / len(values)) for hits, trials in counts]
    worst = min(range(len(values)), key=lambda i: (not refuted[i], lower[i]))
    hits, trials = counts[worst]
    evidence = f"{hits} of {trials} trials {what}" + (f" at the worst of {len(values)} values" if values[1:] else "")
    if any(refuted):
        return Judgement(State.FAILS, f"{evidence} ({values[worst]:g}): a rate of {p:.3g} is refuted")
    evidence += f", rate at least {lower[worst]:.2f}; promised {p:.3g}, margin {margin:.3g}"
    if lower[worst] >= p - margin:
        return Judgement(State.HOLDS, evidence)
    needed = _trials_needed(hits, trials, p, margin)
    return Judgement(
        State.UNDECIDED,
        f"{evidence}: too few trials to say, "
        + (f"{needed} per value would decide at this rate" if needed else "the rate lies at the edge of the margin"),
    )


def _lower_limit(hits: int, trials: int) -> float:
    """Return the Clopper-Pearson lower limit of a rate."""
    return float(stats.beta.ppf(1 - _CONFIDENCE, hits, trials - hits + 1)) if hits else 0.0


def _refutes(hits: int, trials: int, p: float, level: float) -> bool:
    """Return whether so few hits are too unlikely where the rate is p."""
    return bool(stats.binom.cdf(hits, trials, p) < level)


def _trials_needed(hits: int, trials: int, p: float, margin: float) -> int | None:
    """Return how many trials at one value decide if hits keep coming at the rate seen."""
    rate, count = hits / trials, trials
    while (count := count + max(1, count // 20)) <= _MOST_TRIALS:
        expected = round(rate * count)
        if _lower_limit(expected, count) >= p - margin or _refutes(expected, count, p, _LEVEL):
            return count
    return None
