"""Draws figures in one size and style."""

from collections.abc import Callable
from importlib.util import find_spec
from io import BytesIO
from typing import Any

__all__ = ["PALETTE", "STYLE", "draw_png", "figures_available"]

# The colours of Okabe and Ito (2008), which stay apart under the common kinds of colour blindness.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")

STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#555555",
    "axes.formatter.min_exponent": 3,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "figure.figsize": (6.4, 4.0),
    "font.size": 10,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.fontsize": 9,
    "legend.framealpha": 0.85,
    "legend.edgecolor": "none",
    "xtick.color": "#333333",
    "ytick.color": "#333333",
}


def figures_available() -> bool:
    """Say whether matplotlib, which is an optional dependency, is installed."""
    return find_spec("matplotlib") is not None


def draw_png(draw: Callable[[Any], Any]) -> bytes | None:
    """Draw a figure as PNG.

    Parameters
    ----------
    draw : callable
        Draws on the matplotlib figure it is given.

    Returns
    -------
    bytes or None
        None where matplotlib is not installed.
    """
    if not figures_available():
        return None
    from cycler import cycler
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # Figure, unlike pyplot, needs no display and keeps no list of open figures.
    with rc_context(STYLE | {"axes.prop_cycle": cycler(color=PALETTE)}):
        figure = Figure()
        draw(figure)
        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=200)
    return buffer.getvalue()
