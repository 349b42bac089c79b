"""A rig as a figure: each vertex in the mixed colours of the bones that carry it."""

from typing import Any

import numpy as np

from sparsetheory.typing import Float64Array

__all__ = ["draw_rig"]

# Neighbours along a chain are far apart in hue: the steps of the golden angle.
_HUE_STEP = 0.618034


def draw_rig(
    vertices: Any, weights: Any, ax: Any = None, *, heads: Any = None, tails: Any = None, marker_size: float = 6.0
) -> Any:
    """Draw the vertices of a rig, with skinning weights as colours, and its bones as lines.

    Parameters
    ----------
    vertices : array-like or Tensor of shape (n_vertices, 3)
        Seen from the front: the first axis to the right, the second one upwards; what is in front is drawn last.
    weights : array-like or Tensor of shape (n_vertices, n_bones)
        Rows sum to one. The colour of a vertex is the mean of the colours of its bones.
    ax : matplotlib axes, optional
    heads, tails : array-like or Tensor of shape (n_bones, 3), optional
        Ends of the bones.
    marker_size : float
        Of the vertices, in points squared.

    Returns
    -------
    matplotlib axes
    """
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(layout="constrained")
    points, shares = _array(vertices), _array(weights)
    order = points[:, 2].argsort()
    colours = (shares @ _colours(shares.shape[1])).clip(0, 1)
    ax.scatter(points[order, 0], points[order, 1], s=marker_size, c=colours[order], linewidths=0)
    if heads is not None and tails is not None:
        starts, ends = _array(heads), _array(tails)
        ax.plot([starts[:, 0], ends[:, 0]], [starts[:, 1], ends[:, 1]], "k-", lw=1)
        ax.plot(starts[:, 0], starts[:, 1], "k.", ms=3)
    ax.set_aspect("equal")
    ax.set_axis_off()
    return ax


def _colours(n_bones: int) -> Float64Array:
    from matplotlib.colors import hsv_to_rgb

    hues = np.arange(n_bones) * _HUE_STEP % 1
    colours: Float64Array = hsv_to_rgb(np.stack([hues, np.full(n_bones, 0.75), np.full(n_bones, 0.9)], axis=1))
    return colours


def _array(values: Any) -> Float64Array:
    detached = values.detach().cpu() if hasattr(values, "detach") else values
    return np.asarray(detached, dtype=np.float64)
