"""The bound plot of a claim."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetheory.experiments.figures import PALETTE, STYLE
from sparsetheory.experiments.trial import require_sweep
from sparsetheory.proofs_checks.claim import Sweep
from sparsetheory.proofs_checks.measurement import Measurement
from sparsetheory.proofs_checks.result import ClaimResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_result"]

# More labels than this run into each other.
_MAX_TICKS = 10


def plot_result(result: ClaimResult, ax: "Axes | None" = None) -> "Axes":
    """Draw the median of measured values, bounds and extras along the axis of a sweep.

    Bands show the range over the trials of the measured values and bounds.

    Parameters
    ----------
    result : ClaimResult
        Of a claim with a sweep.
    ax : matplotlib axes, optional
        Where to draw; a new pyplot figure by default.

    Returns
    -------
    matplotlib axes
    """
    if ax is None:
        from matplotlib import pyplot

        with pyplot.rc_context(STYLE):
            return plot_result(result, pyplot.subplots()[1])
    sweep = require_sweep(result.claim)
    # A tight bound stays visible because it is wider than the measured curve and lies behind it.
    measured: dict[str, Any] = {"marker": "o", "markersize": 3.5, "linewidth": 1.4, "zorder": 3}
    bound: dict[str, Any] = {"marker": "s", "markersize": 5.5, "linewidth": 2.6, "zorder": 2.5}
    _draw_curve(ax, result, lambda m: m.measured, PALETTE[0], sweep.measured_label, **measured)
    _draw_curve(ax, result, lambda m: m.bound, PALETTE[1], sweep.bound_label, **bound)
    keys = dict.fromkeys(key for row in result.rows for key in row.measurement.extras)
    for index, key in enumerate(keys):
        color = PALETTE[2 + index % (len(PALETTE) - 2)]
        _draw_curve(ax, result, _extra(key), color, key, linestyle="--", linewidth=1.0)
    _label(ax, result)
    return ax


def _extra(key: str) -> Callable[[Measurement], float]:
    return lambda measurement: measurement.extras.get(key, np.nan)


def _draw_curve(
    ax: "Axes",
    result: ClaimResult,
    read: Callable[[Measurement], float],
    color: str,
    label: str,
    marker: str = "",
    **line: Any,
) -> None:
    values = sorted({row.value for row in result.rows})
    groups = [[read(row.measurement) for row in result.rows if row.value == value] for value in values]
    low, middle, high = np.array([_range(group) for group in groups]).T
    if len(values) == 1:
        points = groups[0]
        ax.plot(values * len(points), points, "o", color=color, markersize=3.5, alpha=0.6, label=label)
        return
    ax.plot(values, middle, color=color, label=label, marker=marker, **line)
    if marker and np.any(high > low):
        ax.fill_between(values, low, high, color=color, alpha=0.15, linewidth=0)


def _range(numbers: Sequence[float]) -> tuple[float, float, float]:
    finite = np.array([x for x in numbers if np.isfinite(x)])
    if not finite.size:
        return np.nan, np.nan, np.nan
    return finite.min(), float(np.median(finite)), finite.max()


def _scale(ax: "Axes", sweep: Sweep) -> None:
    if "y" in sweep.log:
        ax.set_yscale("log")
    if "x" in sweep.log:
        ax.set_xscale("log")
        if len(sweep.values) <= _MAX_TICKS:
            ax.set_xticks(sweep.values, [f"{value:g}" for value in sweep.values])
            ax.set_xticks([], minor=True)


def _label(ax: "Axes", result: ClaimResult) -> None:
    claim, sweep = result.claim, require_sweep(result.claim)
    _scale(ax, sweep)
    ax.set_xlabel(sweep.axis)
    ax.set_title(claim.name, loc="left")
    if claim.source.provenance == "ours":
        ax.set_title("ours", loc="right", fontstyle="italic", fontweight="normal", color=PALETTE[1])
    ax.legend()
