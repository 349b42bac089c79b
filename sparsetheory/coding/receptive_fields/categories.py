"""Kinds of receptive fields, told apart by their Gabor fits."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsetheory.coding.receptive_fields.gabor import GaborFits, fit_gabor
from sparsetheory.typing import BoolArray

__all__ = ["RF_CATEGORIES", "rf_categories"]

RF_CATEGORIES = ("oriented", "blob", "composite", "unstructured")

_GOOD_FIT = 0.8
_POOR_FIT = 0.5
_LEAST_CYCLES = 0.15
_LEAST_ELONGATION = 2.0


def rf_categories(
    D: ArrayLike, size: int, *, fits: GaborFits | None = None, n_jobs: int | None = None
) -> NDArray[np.str_]:
    """Sort atoms into oriented, blob, composite and unstructured ones.

    A good Gabor fit explains 0.8 of the variance or more. A blob is a single round bump: less than 0.15 cycles within
    the standard deviation of the envelope, less than half of the energy in the odd part, and less than twice as long as
    wide. Every other good fit is oriented, be it a grating, an edge or a bar. Below 0.5 an atom is unstructured, and
    between the two it is composite, for example a corner or two edges.

    Parameters
    ----------
    D : array_like of shape (n_atoms, size * size)
        One atom per row, none constant.
    size : int
        Side of an atom in pixels.
    fits : GaborFits, optional
        Of these atoms; computed by default.
    n_jobs : int, optional
        Processes that fit, as in joblib.

    Returns
    -------
    ndarray of str of shape (n_atoms,)
        Entries of ``RF_CATEGORIES``.

    Raises
    ------
    ValueError
        If shapes do not fit, an entry is not finite, an atom is constant, or `fits` has another number of atoms.
    TypeError
        If entries are neither integers nor floats of 32 or 64 bits.

    Notes
    -----
    The limits are ours. Few cycles alone do not make a blob: an edge is the limit of Gabor functions in sine phase as
    the cycles vanish and the amplitude grows, and many atoms of learned dictionaries are such edges.

    Examples
    --------
    >>> x = np.arange(12) - 5.5
    >>> blob = np.exp(-(x**2 + x[:, None] ** 2) / 8)
    >>> edge = blob * np.sin(x)
    >>> noise = np.random.default_rng(0).normal(size=(12, 12))
    >>> rf_categories(np.stack([a.ravel() for a in (blob, edge, noise)]), 12).tolist()
    ['blob', 'oriented', 'unstructured']
    """
    if fits is None:
        fits = fit_gabor(D, size, n_jobs=n_jobs)
    elif np.shape(D) != (len(fits.r2), fits.size**2) or size != fits.size:
        raise ValueError(
            f"fits must be of these atoms; got {len(fits.r2)} fits of side {fits.size} for D of shape {np.shape(D)}"
        )
    good = fits.r2 >= _GOOD_FIT
    blob = good & _is_blob(fits)
    return np.select([blob, good, fits.r2 >= _POOR_FIT], ["blob", "oriented", "composite"], "unstructured")


def _is_blob(fits: GaborFits) -> BoolArray:
    # Energies of the even and the odd part of exp(-u^2 / (2 sigma^2)) cos(2 pi f u + phase), up to a common factor.
    overlap = np.exp(-((2 * np.pi * fits.cycles_along) ** 2))
    even, odd = np.cos(fits.phase) ** 2 * (1 + overlap), np.sin(fits.phase) ** 2 * (1 - overlap)
    # Waves narrow the bump: its curvature along u is 1 / sigma_x^2 + (2 pi f)^2.
    widths = np.stack([fits.width_along / np.hypot(1, 2 * np.pi * fits.cycles_along), fits.width_across])
    elongated = widths.max(axis=0) >= _LEAST_ELONGATION * widths.min(axis=0)
    return (fits.cycles_along < _LEAST_CYCLES) & (even > odd) & ~elongated
