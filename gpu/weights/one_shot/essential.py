"""How sparse a model may become at once before its quality falls: the essential sparsity and the kink of the curve."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sparsetheory.constraints import FLAG, MISSING, NONNEGATIVE, POSITIVE, SIZE
from sparsetheory.gpu.weights.one_shot.breakpoints import fit_two_segments
from sparsetheory.gpu.weights.one_shot.magnitude_masks import SPARSITY

__all__ = ["EssentialSparsity", "essential_sparsity"]


@dataclass(frozen=True)
class EssentialSparsity:
    """Quality over sparsity, and where it falls.

    Parameters
    ----------
    curve : mapping of float to float
        Quality at every sparsity that was evaluated, in increasing order of sparsity.
    s_star : float
        The essential sparsity: the largest one up to which quality stays within the tolerance.
    kink : float
        Where the two straight pieces meet that fit the curve best; NaN for fewer than 4 points, or if one line fits.
    slope_ratio : float
        Absolute slope right of the kink over that left of it; NaN without a kink.
    """

    curve: Mapping[float, float]
    s_star: float
    kink: float
    slope_ratio: float

    def plot(self, ax: Any = None) -> Any:
        """Draw the curve with the essential sparsity and the kink.

        Parameters
        ----------
        ax : matplotlib axes, optional
            A new figure by default.

        Returns
        -------
        matplotlib axes
        """
        if ax is None:
            import matplotlib.pyplot as plt

            _, ax = plt.subplots(layout="constrained")
        ax.plot(list(self.curve), list(self.curve.values()), "o-", label="quality")
        ax.axvline(self.s_star, color="C1", linestyle="--", label=f"essential sparsity {self.s_star:.3g}")
        if not math.isnan(self.kink):
            ax.axvline(self.kink, color="C2", linestyle=":", label=f"kink {self.kink:.3g}")
        ax.set_xlabel("sparsity")
        ax.set_ylabel("quality")
        ax.legend()
        return ax


def essential_sparsity(
    evaluate: Callable[[float], float],
    sparsities: Iterable[float],
    *,
    tol: float = 0.01,
    relative: bool = True,
    patience: int = 0,
    resolution: float | None = None,
) -> EssentialSparsity:
    """Find the largest sparsity up to which the quality of a model stays that of the dense one, within a tolerance.

    A sparsity passes if its quality is at least the dense one minus the tolerance. Going up from 0, the search ends at
    the first sparsity that fails, so that a later one that passes by luck does not count. ``patience`` lets it go on
    over a few failures.

    Parameters
    ----------
    evaluate : callable
        From a sparsity to the quality of the model that is pruned to it; larger is better (of a perplexity pass the
        negative). :func:`evaluate_pruned` makes one from a model and a method. It is called once for each sparsity.
    sparsities : iterable of float
        Grid from 0 to 1, in any order. The dense model, sparsity 0, is always evaluated.
    tol : float
        How much quality may be lost.
    relative : bool
        Whether `tol` is a share of the absolute quality of the dense model, or an amount.
    patience : int
        Failures in a row that are passed over if a sparsity behind them passes.
    resolution : float, optional
        Evaluates sparsities between the largest one that passes and the next one of the grid, halving the interval
        until it is no longer than this. Without it only the grid is evaluated.

    Returns
    -------
    EssentialSparsity
        The kink is fitted to the grid, so that a refined place has no more weight than others.

    Raises
    ------
    ValueError
        If an argument is out of range, or a quality is not a finite number.

    References
    ----------
    Jaiswal, Liu, Chen, Wang, "The Emergence of Essential Sparsity in Large Pre-trained Models: The Weights that
    Matter", NeurIPS 2023, arXiv:2306.03805.

    The paper defines essential sparsity by two neighbouring masks. The rule of the first failure on a grid and the fit
    of the kink are ours.

    Examples
    --------
    >>> found = essential_sparsity(lambda s: 0.9 if s <= 0.5 else 1.4 - s, [0.1, 0.3, 0.5, 0.7, 0.9])
    >>> found.s_star, round(found.kink, 6)
    (0.5, 0.5)
    """
    NONNEGATIVE.require(tol=tol)
    FLAG.check("relative", relative)
    SIZE.check("patience", patience)
    (MISSING | POSITIVE).check("resolution", resolution)
    grid = sorted({0.0, *(float(SPARSITY.check("sparsities", one)) for one in sparsities)})
    curve = {sparsity: _quality(evaluate, sparsity) for sparsity in grid}
    least = curve[0.0] - (tol * abs(curve[0.0]) if relative else tol)
    s_star = _last_pass(curve, least, patience)
    bend = fit_two_segments(grid, list(curve.values()))
    if resolution is not None and s_star < grid[-1]:
        above = grid[grid.index(s_star) + 1]
        while above - s_star > resolution:
            middle = (s_star + above) / 2
            if not s_star < middle < above:
                break
            curve[middle] = _quality(evaluate, middle)
            s_star, above = (middle, above) if curve[middle] >= least else (s_star, middle)
    return EssentialSparsity(
        curve=dict(sorted(curve.items())),
        s_star=s_star,
        kink=bend.kink if bend else math.nan,
        slope_ratio=_ratio(bend.left_slope, bend.right_slope) if bend else math.nan,
    )


def _quality(evaluate: Callable[[float], float], sparsity: float) -> float:
    value = float(evaluate(sparsity))
    if not math.isfinite(value):
        raise ValueError(f"evaluate must return finite numbers; got {value} at sparsity {sparsity:g}")
    return value


def _last_pass(curve: Mapping[float, float], least: float, patience: int) -> float:
    last, failures = 0.0, 0
    for sparsity, quality in curve.items():
        if quality >= least:
            last, failures = sparsity, 0
        else:
            failures += 1
            if failures > patience:
                break
    return last


def _ratio(left: float, right: float) -> float:
    # A slope that is rounding beside the other one is none.
    return abs(right) / abs(left) if abs(left) > 1e-12 * abs(right) else math.inf
