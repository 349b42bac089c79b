"""Dead leaves: synthetic images with the edges and the spectrum of photographs."""

import math
from typing import Any

import numpy as np

from sparsetheory.constraints import COUNT, POSITIVE, generator
from sparsetheory.typing import Float64Array

__all__ = ["dead_leaves"]

_BATCH = 4096
# Squares of larger radii leave the range of floating point; more discs take hours.
_LARGEST, _MOST_DISCS = 1e150, 1e11


def dead_leaves(
    size: int, *, smallest: float = 1.0, largest: float | None = None, random_state: Any = None
) -> Float64Array:
    """Draw an image of discs that occlude each other, with density ``r^-3`` of their radii.

    Without the two limits on radii the law of the image would not change under magnification, and its power spectrum
    would be ``1 / f^2`` (Lee, Mumford and Huang, 2001).

    Parameters
    ----------
    size : int
        Side in pixels.
    smallest : float
        Least radius in pixels, above 0.
    largest : float, optional
        Largest radius in pixels, above `smallest`; by default the larger of `size` and ``2 * smallest``.
    random_state : None, int, Generator or RandomState
        Source of the draws.

    Returns
    -------
    ndarray of shape (size, size)
        Grey values of discs are uniform between 0 and 1 and independent.

    Raises
    ------
    ValueError
        If a number is out of range, or more than 1e11 discs would be needed.

    Notes
    -----
    Discs are placed from front to back until they cover every pixel, so the image is an exact draw of the stationary
    law (Kendall and Thönnes, 1999). A disc of radius r can only show if its centre lies in a square of side
    ``size + 2 r``; radii are drawn with density ``(size + 2 r)^2 r^-3`` and centres uniformly in that square. About
    ``size^2 log(size) / (pi log(largest / smallest) smallest^2)`` discs are needed.

    Examples
    --------
    >>> image = dead_leaves(64, random_state=0)
    >>> image.shape, bool(0 <= image.min() < image.max() <= 1)
    ((64, 64), True)
    """
    from sparsetheory.numba_kernels.occlusion import place_discs_behind

    size = COUNT.check("size", size)
    smallest = POSITIVE.check("smallest", smallest)
    largest = max(float(size), 2 * smallest) if largest is None else POSITIVE.check("largest", largest)
    if largest <= smallest:
        raise ValueError(f"largest must be above smallest={smallest}; got {largest}")
    if largest > _LARGEST:
        raise ValueError(f"largest must be at most {_LARGEST:g} pixels; got {largest:g}")
    n_discs = (1 + math.log(size)) * (size / smallest) * (size / smallest) / (math.pi * math.log(largest / smallest))
    if n_discs > _MOST_DISCS:
        raise ValueError(f"smallest must be larger; got {smallest:g}: about {n_discs:.1g} discs would be needed")
    rng = generator(random_state)
    picture, covered = np.zeros((size, size)), np.zeros((size, size), np.bool_)
    missing = size * size
    while missing:
        radii = _radii(rng, size, smallest, largest)
        centres = rng.uniform(-1, 1, (_BATCH, 2)) * (size / 2 + radii[:, None]) + size / 2
        missing = place_discs_behind(picture, covered, centres, radii, rng.random(_BATCH))
    return picture


def _radii(rng: np.random.Generator, size: int, low: float, high: float) -> Float64Array:
    # (size + 2 r)^2 r^-3 is a mixture of r^-3, r^-2 and r^-1, and each is drawn by inverting its distribution.
    masses = np.array([size**2 * (low**-2 - high**-2) / 2, 4 * size * (1 / low - 1 / high), 4 * np.log(high / low)])
    part = rng.choice(3, _BATCH, p=masses / masses.sum())
    u = rng.random(_BATCH)
    cubic = (low**-2 - u * (low**-2 - high**-2)) ** -0.5
    square = 1 / (1 / low - u * (1 / low - 1 / high))
    return np.choose(part, [cubic, square, low * (high / low) ** u])
