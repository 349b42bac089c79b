"""How sharply atoms are tuned to orientation."""

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.coding.codes.problem import row_chunks
from sparsetheory.coding.receptive_fields.atom_images import atom_images, centred_pixels
from sparsetheory.typing import AnyArray

__all__ = ["circular_variance"]

_ANGLES = 36
# Sides of the transform that finds the preferred frequency: at least this, and several points per lobe.
_GRID = 64
_OVERSAMPLING = 4


def circular_variance(D: ArrayLike, size: int) -> AnyArray:
    """Return the circular variance of the responses of each atom to gratings.

    The response to orientation ``t_k = pi k / 36`` is the largest over the phases of a grating with the spatial
    frequency f that the atom prefers: ``R_k = |sum_p d(p) exp(-2 pi i f (cos t_k, sin t_k) . p)|``. The circular
    variance is ``1 - |sum_k R_k exp(2 i t_k)| / sum_k R_k``.

    Parameters
    ----------
    D : array_like of shape (n_atoms, size * size)
        One atom per row, none constant.
    size : int
        Side of an atom in pixels.

    Returns
    -------
    ndarray of shape (n_atoms,)
        Between 0 (one orientation only) and 1 (all alike). float32 if `D` is, otherwise float64.

    Raises
    ------
    ValueError
        If shapes do not fit, an entry is not finite or an atom is constant.
    TypeError
        If entries are neither integers nor floats of 32 or 64 bits.

    Notes
    -----
    Ringach, Shapley and Hawken (2002) measured it in macaque neurons, Rentzeperis and others (2023) in learned atoms;
    these responses are our choice. f is the radius at which the discrete transform on a grid of at least 64 x 64
    points is largest; the responses are values of the transform between grid points. O(g^2 log g) per atom for a grid
    of g x g points.

    Examples
    --------
    >>> x = np.arange(12) - 5.5
    >>> blob = np.exp(-(x**2 + x[:, None] ** 2) / 8)
    >>> grating = np.cos(np.pi * x / 3) * np.ones((12, 1))
    >>> circular_variance(np.stack([blob.ravel(), grating.ravel()]), 12).round(2)
    array([1.  , 0.18])
    """
    atoms = atom_images(D, size)
    grid = max(_GRID, _OVERSAMPLING * size)
    variances = np.empty(len(atoms), atoms.dtype)
    angles = np.pi * np.arange(_ANGLES) / _ANGLES
    for rows in row_chunks(len(atoms), grid * grid * atoms.itemsize):
        radii = _preferred_frequencies(atoms[rows], grid)
        responses = _responses(atoms[rows], np.multiply.outer(radii, np.exp(1j * angles)))
        variances[rows] = 1 - np.abs(responses @ np.exp(2j * angles)) / responses.sum(axis=1)
    # Rounding can take the variance of a round atom below zero or above one by a few units in the last place.
    return np.clip(variances, 0, 1)


def _preferred_frequencies(atoms: AnyArray, grid: int) -> AnyArray:
    from scipy import fft

    power = np.abs(fft.rfft2(atoms, s=(grid, grid)))
    radius = np.hypot(np.fft.fftfreq(grid)[:, None], np.fft.rfftfreq(grid))
    return radius.ravel()[power.reshape(len(atoms), -1).argmax(axis=1)]


def _responses(atoms: AnyArray, frequencies: AnyArray) -> AnyArray:
    # Real and imaginary part of a frequency are its horizontal and vertical component; waves separate.
    pixels = centred_pixels(atoms.shape[1])
    across = np.exp(-2j * np.pi * np.multiply.outer(pixels, frequencies.real)).transpose(1, 0, 2)
    down = np.exp(-2j * np.pi * np.multiply.outer(pixels, frequencies.imag)).transpose(1, 0, 2)
    return np.abs(np.sum(down * (atoms @ across), axis=1))
