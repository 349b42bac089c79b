"""Dictionaries as mosaics of their atoms."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.coding.receptive_fields.atom_images import atom_images
from sparsetheory.constraints import COUNT
from sparsetheory.typing import AnyArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["dictionary_mosaic", "plot_dictionary"]


def dictionary_mosaic(D: ArrayLike, size: int, columns: int | None = None) -> AnyArray:
    """Arrange atoms row by row as tiles of one image, each divided by its largest absolute value.

    Parameters
    ----------
    D : array_like of shape (size * size, n)
        Atoms in columns, none constant.
    size : int
        Side of an atom in pixels.
    columns : int, optional
        Tiles in a row; by default about as many as rows.

    Returns
    -------
    ndarray of shape (rows * (size + 1) + 1, columns * (size + 1) + 1)
        Between -1 and 1. NaN between tiles and where tiles are missing. float32 if `D` is, otherwise float64.

    Raises
    ------
    ValueError
        If shapes do not fit, there is no atom, an entry is not finite or an atom is constant.
    TypeError
        If entries are neither integers nor floats of 32 or 64 bits.

    Examples
    --------
    >>> dictionary_mosaic(np.array([[1.0], [0.0], [0.0], [-4.0]]), 2)
    array([[  nan,   nan,   nan,   nan],
           [  nan,  0.25,  0.  ,   nan],
           [  nan,  0.  , -1.  ,   nan],
           [  nan,   nan,   nan,   nan]])
    """
    atoms = atom_images(D, size)
    n = len(atoms)
    if n == 0:
        raise ValueError("D must have at least one column, got none")
    columns = int(np.ceil(np.sqrt(n))) if columns is None else COUNT.check("columns", columns)
    rows = -(-n // columns)
    tiles = np.full((rows * columns, size + 1, size + 1), np.nan, atoms.dtype)
    tiles[:n, :-1, :-1] = atoms / np.abs(atoms).max(axis=(1, 2), keepdims=True)
    joined = tiles.reshape(rows, columns, size + 1, size + 1).swapaxes(1, 2)
    return np.pad(joined.reshape(rows * (size + 1), columns * (size + 1)), ((1, 0), (1, 0)), constant_values=np.nan)


def plot_dictionary(D: ArrayLike, size: int, ax: "Axes | None" = None, *, columns: int | None = None) -> "Axes":
    """Draw the atoms of a dictionary as grey tiles, each scaled by its largest absolute value.

    Parameters
    ----------
    D : array_like of shape (size * size, n)
        Atoms in columns, none constant.
    size : int
        Side of an atom in pixels.
    ax : matplotlib axes, optional
        Where to draw; a new pyplot figure by default.
    columns : int, optional
        Tiles in a row; by default about as many as rows.

    Returns
    -------
    matplotlib axes

    Raises
    ------
    ValueError, TypeError
        As in :func:`dictionary_mosaic`.

    Examples
    --------
    >>> ax = plot_dictionary(np.eye(16), 4)
    >>> ax.images[0].get_array().shape
    (21, 21)
    """
    mosaic = dictionary_mosaic(D, size, columns)
    if ax is None:
        from matplotlib import pyplot

        ax = pyplot.subplots()[1]
    ax.set_facecolor("white")
    ax.imshow(mosaic, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    ax.set_axis_off()
    return ax
