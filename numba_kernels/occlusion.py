"""Discs that cover each other."""

import numpy as np

from sparsetheory.numba_kernels.jit import kernel
from sparsetheory.typing import BoolArray, Float64Array

__all__ = ["place_discs_behind", "warmup"]


@kernel
def place_discs_behind(
    picture: Float64Array, covered: BoolArray, centres: Float64Array, radii: Float64Array, greys: Float64Array
) -> int:
    """Place discs one after the other, each behind all before it, until every pixel is covered.

    Parameters
    ----------
    picture : ndarray of shape (height, width)
        Grey values; a pixel is written once, when the first disc covers it.
    covered : ndarray of bool of shape (height, width)
        Whether a disc covers a pixel; updated.
    centres : ndarray of shape (n_discs, 2)
        Row and column of each disc, in pixels; the first pixel has its middle at (0.5, 0.5).
    radii, greys : ndarray of shape (n_discs,)
        In pixels; any unit.

    Returns
    -------
    int
        Pixels that no disc covers.
    """
    height, width = picture.shape
    missing = 0
    for row in range(height):
        for column in range(width):
            missing += not covered[row, column]
    # From front to back, each disc shows where nothing covers it yet; row by row, the pixels whose middles it holds.
    for disc in range(radii.size):
        if missing == 0:
            break
        y, x, radius = centres[disc, 0], centres[disc, 1], radii[disc]
        first = max(0, int(np.floor(y - radius)))
        last = min(height, int(np.ceil(y + radius)))
        for row in range(first, last):
            reach = radius * radius - (row + 0.5 - y) ** 2
            if reach < 0.0:
                continue
            reach = np.sqrt(reach)
            left = max(0, int(np.ceil(x - reach - 0.5)))
            right = min(width, int(np.floor(x + reach - 0.5)) + 1)
            for column in range(left, right):
                if not covered[row, column]:
                    covered[row, column] = True
                    picture[row, column] = greys[disc]
                    missing -= 1
    return missing


def warmup() -> None:
    """Compile the kernel."""
    picture, covered = np.zeros((1, 1)), np.zeros((1, 1), np.bool_)
    place_discs_behind(picture, covered, np.full((1, 2), 0.5), np.ones(1), np.ones(1))
