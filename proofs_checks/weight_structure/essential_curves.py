"""Curves of quality over sparsity in one figure, for studies."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparsetheory.gpu import weights

__all__ = ["SUMMARY", "draw_curves", "summary"]

# Above this a curve is flat left of its kink, but for rounding.
_FLAT = 1e6
SUMMARY = ("essential sparsity", "kink", "slope ratio")


def summary(curve: "weights.EssentialSparsity") -> tuple[float, float, float]:
    """Return the numbers of a curve that `SUMMARY` names, rounded."""
    ratio = math.inf if curve.slope_ratio > _FLAT else round(curve.slope_ratio, 1)
    return curve.s_star, round(curve.kink, 3), ratio


def draw_curves(ax: Any, curves: "Mapping[str, weights.EssentialSparsity]") -> None:
    """Draw curves with their titles and, dotted, their essential sparsities."""
    for index, (title, curve) in enumerate(curves.items()):
        ax.plot(list(curve.curve), list(curve.curve.values()), "o-", color=f"C{index}", label=title)
        ax.axvline(curve.s_star, color=f"C{index}", linestyle=":", linewidth=1)
    ax.set_xlabel("sparsity")
