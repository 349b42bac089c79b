"""What algorithms promise about the features they chose, each checked by plain least squares."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sparsetheory.regression.certificates.plain_support import PlainSupport
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["Exchanges", "Greedy", "PenalisedCount", "Size", "SupportRule", "Worthwhile"]


# A choice may be worse than the best by this fraction: scores are compared after rounding.
_TIE = 1e-6
# Columns of which less than this fraction of their length is left depend on the chosen ones.
_DEPENDENT = 1e-5


class SupportRule(Protocol):
    """A promise about a support."""

    @property
    def statement(self) -> str:
        """What is promised, in a few words."""
        ...

    def broken(self, fit: PlainSupport, rounding: float) -> str:
        """Return what breaks the promise, or an empty string.

        Parameters
        ----------
        fit : PlainSupport
            The model on the data of the check.
        rounding : float
            How far rounding may move an inner product of a unit column with the residual.
        """
        ...


@dataclass(frozen=True)
class Size:
    """As many features as asked for, fewer only where nothing is left that one more could explain.

    Attributes
    ----------
    n_nonzero : int
        Most features.
    stop_rss : float
        The selection stops at this residual sum of squares, rows weighted to mean one.
    """

    n_nonzero: int
    stop_rss: float = 0.0

    @property
    def statement(self) -> str:
        """What is promised, in a few words."""
        stop = f", fewer at a squared residual of {self.stop_rss:.3g}" if self.stop_rss else ""
        return f"{self.n_nonzero} features{stop}"

    def broken(self, fit: PlainSupport, rounding: float) -> str:
        """Say whether there are too many features, or too few with something left to explain."""
        if fit.support.size > self.n_nonzero:
            return f"{fit.support.size} features, at most {self.n_nonzero} are promised"
        if fit.support.size == self.n_nonzero or fit.rss <= max(self.stop_rss * (1 + _TIE), rounding**2):
            return ""
        basis = np.linalg.qr(fit.unit)[0]
        for places, unit in fit.unit_blocks():
            left = unit - basis @ (basis.T @ unit)
            useful = (np.linalg.norm(left, axis=0) > _DEPENDENT) & (np.abs(unit.T @ fit.residual) > rounding)
            if useful.any():
                return f"{fit.support.size} of {self.n_nonzero} features, and feature {places[useful][0]} would help"
        return ""


@dataclass(frozen=True)
class Greedy:
    """Every step took the column with the smallest angle to the residual of the steps before.

    Attributes
    ----------
    order : ndarray of int
        Features in the order of their selection.
    """

    order: IndexArray

    @property
    def statement(self) -> str:
        """What is promised, in a few words."""
        return "every step took the column most correlated with the residual"

    def broken(self, fit: PlainSupport, rounding: float) -> str:
        """Repeat the steps on one QR factorisation of the chosen columns."""
        if np.setdiff1d(fit.support, self.order).size:
            return "a feature of the model was not chosen in any step"
        if self.order.size == 0:
            return ""
        chosen, _ = fit.normalised(fit.raw(self.order))
        basis = np.linalg.qr(chosen)[0]
        target = fit.centred(fit.y)
        parts = basis * (basis.T @ target)
        residuals = target[:, None] - np.cumsum(np.hstack([np.zeros((target.size, 1)), parts[:, :-1]]), axis=1)
        scores = np.abs(fit.correlations(residuals))
        taken = scores[self.order, np.arange(self.order.size)]
        floors = rounding + _DEPENDENT * np.linalg.norm(residuals, axis=0)
        worse = taken < (1 - _TIE) * scores.max(axis=0) - floors
        return f"step {int(np.argmax(worse)) + 1} did not take the most correlated column" if worse.any() else ""


@dataclass(frozen=True)
class Worthwhile:
    """No feature could be left out for less than a cost, the others being refitted.

    Attributes
    ----------
    cost : float
        What a feature must save of the residual sum of squares, rows weighted to mean one.
    """

    cost: float

    @property
    def statement(self) -> str:
        """What is promised, in a few words."""
        return f"leaving one out costs at least {self.cost:.3g} of the squared residual"

    def broken(self, fit: PlainSupport, rounding: float) -> str:
        """Compare what every feature saves with its cost."""
        if fit.support.size == 0:
            return ""
        costs, condition = fit.removal_costs()
        costs[np.isin(fit.support, fit.forced)] = np.inf
        slack = _TIE + fit.n_samples * np.finfo(np.float64).eps * condition
        cheap = costs < self.cost * (1 - slack) - rounding * (rounding + 2 * np.sqrt(self.cost))
        return f"leaving out feature {fit.support[cheap][0]} saves less than its cost" if cheap.any() else ""


@dataclass(frozen=True)
class Exchanges:
    """No exchange of the least useful features for the most correlated others lowers the residual by much.

    Attributes
    ----------
    largest : int
        Most features exchanged at once.
    fraction : float
        Share of the residual sum of squares that an exchange may still save.
    """

    largest: int
    fraction: float

    @property
    def statement(self) -> str:
        """What is promised, in a few words."""
        return (
            f"no exchange of the 1 to {self.largest} least useful features for the most correlated others lowers the "
            f"squared residual by more than {self.fraction:g} of it"
        )

    def broken(self, fit: PlainSupport, rounding: float) -> str:
        """Try the exchanges; where rounding decides which features they concern, there is no promise."""
        scores = np.where(fit.outside, np.abs(fit.correlations(fit.residual)), 0.0)
        incoming = np.argsort(-scores, kind="stable")
        useful = np.abs(fit.unit_coef)
        outgoing = np.argsort(useful, kind="stable")
        least = fit.rss * (1 - self.fraction) * (1 - _TIE) - rounding**2
        for c in range(1, min(self.largest, fit.support.size, int(np.count_nonzero(scores > rounding))) + 1):
            if _tied(-scores[incoming], c, rounding) or _tied(useful[outgoing], c, rounding):
                continue
            new = np.concatenate([fit.support[outgoing[c:]], incoming[:c]])
            if fit.least_rss(new) < least:
                return f"exchanging {c} features lowers the squared residual by more than promised"
        return ""


def _tied(ascending: Float64Array, count: int, rounding: float) -> bool:
    """Whether rounding decides which are the first `count`."""
    if count >= ascending.size:
        return False
    gap = ascending[count] - ascending[count - 1]
    return bool(gap <= 2 * rounding + _TIE * abs(ascending[count - 1]))


@dataclass(frozen=True)
class PenalisedCount:
    """No single addition, removal or exchange lowers the objective, the other coefficients being fixed.

    The objective is half the squared residual, plus a cost per feature, plus a ridge on coefficients of unit columns.

    Attributes
    ----------
    cost, ridge : float
        As above; the cost in the unit of the squared residual, rows weighted to mean one.
    allowed : float
        Gain that a move may still have, in the same unit.
    swaps : bool
        Whether exchanges are promised.
    """

    cost: float
    ridge: float
    allowed: float
    swaps: bool

    @property
    def statement(self) -> str:
        """What is promised, in a few words."""
        moves = "addition, removal or swap" if self.swaps else "addition or removal (swaps not promised)"
        return f"no single {moves} gains more than {self.allowed:.3g}"

    def broken(self, fit: PlainSupport, rounding: float) -> str:
        """Compare all moves, from inner products of the columns."""
        h = 1.0 + 2.0 * self.ridge
        inner = fit.correlations(fit.residual)
        others = np.flatnonzero(fit.outside)
        own = inner[fit.support] + fit.unit_coef
        largest = float(np.max(np.abs(np.concatenate([inner[others], own])), initial=0.0))
        allowed = self.allowed + rounding * (2 * largest + rounding)
        gains = {
            "addition": inner[others] ** 2 / (2 * h) - self.cost,
            "removal": self.cost - own**2 / (2 * h),
            "swap": self._swap_gains(fit, inner, others, own, h) if self.swaps else np.empty(0),
        }
        found = [name for name, gain in gains.items() if gain.max(initial=-np.inf) > allowed]
        return f"{found[0]} lowers the objective by more than promised" if found else ""

    @staticmethod
    def _swap_gains(
        fit: PlainSupport, inner: Float64Array, others: IndexArray, own: Float64Array, h: float
    ) -> Float64Array:
        gram = fit.correlations(fit.unit)[others]
        found = (inner[others, None] + gram * fit.unit_coef) ** 2 - own**2
        return np.asarray(found / (2 * h))
