"""Atoms of a dictionary as small square images."""

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.arrays import real_array, require_finite_entries
from sparsetheory.constraints import Integer
from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["atom_images", "centred_pixels"]


def atom_images(D: ArrayLike, size: int) -> AnyArray:
    """Return the rows of a dictionary as square images.

    Parameters
    ----------
    D : array_like of shape (n_atoms, size * size)
        One atom per row, its pixels row by row of the image. None may be constant: such an atom has neither place nor
        orientation.
    size : int
        Side of an atom in pixels, at least 2.

    Returns
    -------
    ndarray of shape (n_atoms, size, size)
        float32 stays, integers become float64.

    Raises
    ------
    ValueError
        If shapes do not fit, an entry is not finite or an atom is constant.
    TypeError
        If entries are neither integers nor floats of 32 or 64 bits.

    Examples
    --------
    >>> atom_images([[1, 0, 0, -1]], 2)
    array([[[ 1.,  0.],
            [ 0., -1.]]])
    """
    size = Integer(2).check("size", size)
    pixels = real_array("D", D)
    if pixels.ndim != 2 or pixels.shape[1] != size**2:
        hint = "; its atoms seem to be columns, pass D.T" if pixels.ndim == 2 and pixels.shape[0] == size**2 else ""
        raise ValueError(f"D must have shape (n_atoms, size * size); got {pixels.shape} and size={size}{hint}")
    atoms = np.ascontiguousarray(pixels)
    require_finite_entries("D", atoms)
    constant = atoms.min(axis=1) == atoms.max(axis=1)
    if constant.any():
        raise ValueError(f"D must have no constant atom; row {int(np.argmax(constant))} is one")
    return atoms.reshape(-1, size, size)


def centred_pixels(size: int) -> Float64Array:
    """Return the places of pixels along a side, with zero in the middle of the atom.

    Examples
    --------
    >>> centred_pixels(4)
    array([-1.5, -0.5,  0.5,  1.5])
    """
    return np.arange(size, dtype=np.float64) - (size - 1) / 2
