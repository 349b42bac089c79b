"""The bound plot of a claim."""

from collections.abc import Callable, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsetheory.experiments.display.figures import PALETTE, STYLE
from sparsetheory.experiments.trial import require_sweep
from sparsetheory.proofs_checks.claim import Sweep
from sparsetheory.proofs_checks.measurement import Measurement
from sparsetheory.proofs_checks.result import ClaimResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_result"]

# More labels than this run into each other.
_MAX_TICKS = 10
# A logarithmic axis needs a larger ratio of its ends.
_NARROW = 1.2
# Points that a letter of a summary takes, measured against axes before their layout leaves room for labels.
_LETTER_WIDTH = 4.25
_LABEL_WIDTH = 42
_LEGEND_WIDTH = 64
# Points that the numbers and the name of the x axis take.
_AXIS_HEIGHT = 36
# Letters that the sign of a curve and the space around it take in a legend.
_LEGEND_HANDLE = 8


def plot_result(result: ClaimResult, ax: "Axes | None" = None) -> "Axes":
    """Draw the median of measured values, bounds and extras along the axis of a sweep.

    Bands show the range over the trials of the measured values and bounds. A sweep of one value has no curves: every
    trial is a point, and what would be curves stands side by side.

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
    _draw_curve(ax, result, lambda m: m.bound, PALETTE[1], _bound_label(result), **bound)
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
    if not any(np.isfinite(read(row.measurement)) for row in result.rows):
        return
    values = sorted({row.value for row in result.rows})
    groups = [[read(row.measurement) for row in result.rows if row.value == value] for value in values]
    if len(values) == 1:
        # Trials lie beside each other in their order, so that equal ones do not hide each other.
        places = len(ax.lines) + np.linspace(-0.3, 0.3, len(groups[0]))
        ax.plot(places, groups[0], "o", color=color, markersize=3.5, alpha=0.6, label=label)
        return
    low, middle, high = np.array([_range(group) for group in groups]).T
    ax.plot(values, middle, color=color, label=label, marker=marker, **line)
    if marker and np.any(high > low):
        ax.fill_between(values, low, high, color=color, alpha=0.15, linewidth=0)


def _range(numbers: Sequence[float]) -> tuple[float, float, float]:
    finite = np.array([x for x in numbers if np.isfinite(x)])
    if not finite.size:
        return np.nan, np.nan, np.nan
    return finite.min(), float(np.median(finite)), finite.max()


def _scale(ax: "Axes", sweep: Sweep, values: Sequence[float]) -> None:
    low, high = ax.dataLim.intervaly
    if "y" in sweep.log and low > 0 and high < _NARROW * low:
        # Ticks of a logarithmic axis would all be the same number; and what hardly changes shall look like it.
        ax.set_ylim(low / _NARROW, high * _NARROW)
    elif "y" in sweep.log:
        ax.set_yscale("log")
    if len(values) == 1:
        ax.set_xticks([])
        return
    if "x" in sweep.log:
        ax.set_xscale("log")
        if len(values) <= _MAX_TICKS:
            ax.set_xticks(values, [min(f"{value:g}", f"{value:.3g}", key=len) for value in values])
            ax.set_xticks([], minor=True)


def _bound_label(result: ClaimResult) -> str:
    """Name the bound: a constant by its value, as "claimed: 0.2"."""
    label = require_sweep(result.claim).bound_label
    bounds = np.array([row.measurement.bound for row in result.rows])
    if ":" in label or not np.isfinite(bounds).all() or np.ptp(bounds) > 1e-9 * np.abs(bounds).max():
        return label
    if label[0] in "0123456789.":
        return f"claimed: {label}"
    return f"{'claimed' if label == 'bound' else label}: {bounds[0]:.3g}"


def _label(ax: "Axes", result: ClaimResult) -> None:
    claim, sweep = result.claim, require_sweep(result.claim)
    values = sorted({row.value for row in result.rows})
    _scale(ax, sweep, values)
    ax.set_xlabel(sweep.axis if values[1:] else f"{sweep.axis}: {values[0]:g}")
    ax.set_ylabel("\n".join(wrap(_quantity(sweep), _LABEL_WIDTH)))
    lines = wrap(claim.summary, _letters_across(ax))
    if lines:
        below: dict[str, Any] = {"textcoords": "offset points", "va": "bottom", "fontsize": 9, "color": "#444444"}
        ax.annotate("\n".join(lines), (0, 1), xycoords="axes fraction", xytext=(0, 5), **below)
    pad = 6 + 12 * len(lines)
    ax.set_title(claim.name, loc="left", pad=pad)
    if claim.source.provenance in ("ours", "measured"):
        style: dict[str, Any] = {"fontstyle": "italic", "fontweight": "normal", "color": PALETTE[1]}
        ax.set_title(claim.source.provenance, loc="right", pad=pad, **style)
    _place_legend(ax)


def _letters_across(ax: "Axes") -> int:
    """Return how many letters fit in a line across the axes, which may be one of several in a figure."""
    return max(1, int(ax.bbox.width * 72 / ax.figure.dpi / _LETTER_WIDTH))


def _place_legend(ax: "Axes") -> None:
    """Put the legend below the axes, because it hides what lies behind it."""
    from matplotlib.transforms import ScaledTranslation

    handles, labels = ax.get_legend_handles_labels()
    labels = ["\n".join(wrap(label, min(_LEGEND_WIDTH, _letters_across(ax)))) for label in labels]
    widest = max(len(line) for label in labels for line in label.splitlines())
    columns = max(1, min(len(labels), _letters_across(ax) // (widest + _LEGEND_HANDLE)))
    below = ax.transAxes + ScaledTranslation(0, -_AXIS_HEIGHT / 72, ax.figure.dpi_scale_trans)
    place: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "bbox_transform": below}
    ax.legend(handles, labels, ncols=columns, frameon=False, **place)


def _quantity(sweep: Sweep) -> str:
    """Say what the y axis shows: by default what is measured, whichever side of the inequality it stands on."""
    return sweep.y_label or (sweep.bound_label if ":" in sweep.measured_label else sweep.measured_label)
