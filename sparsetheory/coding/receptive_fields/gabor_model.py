"""The Gabor function of two variables, and its derivative in its eight parameters."""

import numpy as np

from sparsetheory.coding.receptive_fields.atom_images import centred_pixels
from sparsetheory.typing import Float64Array

__all__ = ["GABOR_PARAMETERS", "gabor_function", "gabor_jacobian"]

GABOR_PARAMETERS = ("amplitude", "x", "y", "width_along", "width_across", "direction", "frequency", "phase")


def gabor_function(parameters: Float64Array, size: int) -> Float64Array:
    """Return a Gabor function on the pixels of a square.

    With u along the direction theta and v across it, both from the centre (x, y), it is
    ``amplitude exp(-u^2 / (2 sigma_x^2) - v^2 / (2 sigma_y^2)) cos(2 pi frequency u + phase)``.

    Parameters
    ----------
    parameters : ndarray of shape (8,)
        In the order of ``GABOR_PARAMETERS``, with sigma_x and sigma_y for the widths and theta for the direction.
        Lengths are in pixels, x to the right and y downwards from the middle of the square; theta and phase in radians,
        frequency in cycles per pixel.
    size : int
        Side of the square in pixels.

    Returns
    -------
    ndarray of shape (size * size,)
        Row by row.

    Examples
    --------
    >>> gabor_function(np.array([2.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0]), 3).round(3)
    array([0.736, 1.213, 0.736, 1.213, 2.   , 1.213, 0.736, 1.213, 0.736])
    """
    even, _, _, _ = _waves(parameters, size)
    return parameters[0] * even


def gabor_jacobian(parameters: Float64Array, size: int) -> Float64Array:
    """Return the derivatives of :func:`gabor_function` in its parameters.

    Parameters
    ----------
    parameters : ndarray of shape (8,)
        As in :func:`gabor_function`.
    size : int
        Side of the square in pixels.

    Returns
    -------
    ndarray of shape (size * size, 8)

    Examples
    --------
    The derivative in the amplitude is the function of amplitude 1.

    >>> p = np.array([1.0, 0.5, -0.5, 1.5, 2.0, 0.3, 0.2, 0.1])
    >>> bool(np.allclose(gabor_jacobian(p, 5)[:, 0], gabor_function(p, 5)))
    True
    """
    amplitude, _, _, sigma_x, sigma_y, theta, frequency, _ = parameters
    even, odd, u, v = _waves(parameters, size)
    cos, sin = np.cos(theta), np.sin(theta)
    along = -amplitude * (even * u / sigma_x**2 + 2 * np.pi * frequency * odd)
    across = -amplitude * even * v / sigma_y**2
    return np.column_stack(
        [
            even,
            sin * across - cos * along,
            -sin * along - cos * across,
            amplitude * even * u**2 / sigma_x**3,
            amplitude * even * v**2 / sigma_y**3,
            v * along - u * across,
            -2 * np.pi * amplitude * odd * u,
            -amplitude * odd,
        ]
    )


def _waves(parameters: Float64Array, size: int) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
    _, x, y, sigma_x, sigma_y, theta, frequency, phase = parameters
    pixels = centred_pixels(size)
    right, down = pixels - x, (pixels - y)[:, None]
    u = (right * np.cos(theta) + down * np.sin(theta)).ravel()
    v = (down * np.cos(theta) - right * np.sin(theta)).ravel()
    envelope = np.exp(-((u / sigma_x) ** 2 + (v / sigma_y) ** 2) / 2)
    angle = 2 * np.pi * frequency * u + phase
    return envelope * np.cos(angle), envelope * np.sin(angle), u, v
