"""The relative error of every layer, as a figure."""

from collections.abc import Sequence
from typing import Any

from sparsetheory.gpu.compression.report import LayerReport

__all__ = ["draw_errors"]


def draw_errors(layers: Sequence[LayerReport], ax: Any = None) -> Any:
    """Draw one point per layer: its error on the calibration data, and on held-out data where there are any.

    Parameters
    ----------
    layers : sequence of LayerReport
    ax : matplotlib axes, optional

    Returns
    -------
    matplotlib axes
    """
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(figsize=(8, max(2.5, 0.22 * len(layers) + 1)), layout="constrained")
    places = range(len(layers))
    ax.plot([layer.relative_error for layer in layers], places, "o", label="calibration")
    if any(layer.held_out_error is not None for layer in layers):
        ax.plot([layer.held_out_error for layer in layers], places, "x", label="held out")
    ax.set_yticks(places, [layer.name for layer in layers], fontsize="small")
    ax.set_ylim(len(layers) - 0.5, -0.5)
    ax.set_xlim(left=0)
    ax.set_xlabel("squared error of the outputs, relative to the outputs")
    ax.grid(axis="x", alpha=0.3)
    ax.legend()
    return ax
