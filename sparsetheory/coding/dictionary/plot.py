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


def dictionary_mosaic(D: ArrayLike, size: int, *, n_columns: int | None = None) -> AnyArray:
    """Arrange atoms row by row as tiles of one image, each divided by its largest absolute value.

    Parameters
    ----------
    D : array_like of shape (n_atoms, size * size)
        One atom per row, none constant.
    size : int
        Side of an atom in pixels.
    n_columns : int, optional
        Tiles in a row; by default about as many as rows.

    Returns
    -------
    ndarray of shape (n_rows * (size + 1) + 1, n_columns * (size + 1) + 1)
        Between -1 and 1. NaN between tiles and where tiles are missing. float32 if `D` is, otherwise float64.

    Raises
    ------
    ValueError
        If shapes do not fit, there is no atom, an entry is not finite or an atom is constant.
    TypeError
        If entries are neither integers nor floats of 32 or 64 bits.

    Examples
    --------
    >>> dictionary_mosaic(np.array([[1.0, 0.0, 0.0, -4.0]]), 2)
    array([[  nan,   nan,   nan,   nan],
           [  nan,  0.25,  0.  ,   nan],
           [  nan,  0.  , -1.  ,   nan],
           [  nan,   nan,   nan,   nan]])
    """
    atoms = atom_images(D, size)
    n_atoms = len(atoms)
    if n_atoms == 0:
        raise ValueError("D must have at least one row, an atom; got none")
    columns = int(np.ceil(np.sqrt(n_atoms))) if n_columns is None else COUNT.check("n_columns", n_columns)
    rows = -(-n_atoms // columns)
    tiles = np.full((rows * columns, size + 1, size + 1), np.nan, atoms.dtype)
    tiles[:n_atoms, :-1, :-1] = atoms / np.abs(atoms).max(axis=(1, 2), keepdims=True)
    joined = tiles.reshape(rows, columns, size + 1, size + 1).swapaxes(1, 2)
    return np.pad(joined.reshape(rows * (size + 1), columns * (size + 1)), ((1, 0), (1, 0)), constant_values=np.nan)


def plot_dictionary(D: ArrayLike, size: int, *, ax: "Axes | None" = None, n_columns: int | None = None) -> "Axes":
    """Draw the atoms of a dictionary as grey tiles, each scaled by its largest absolute value.

    Parameters
    ----------
    D : array_like of shape (n_atoms, size * size)
        One atom per row, none constant.
    size : int
        Side of an atom in pixels.
    ax : matplotlib axes, optional
        Where to draw; a new pyplot figure by default.
    n_columns : int, optional
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
    mosaic = dictionary_mosaic(D, size, n_columns=n_columns)
    if ax is None:
        from matplotlib import pyplot

        ax = pyplot.subplots()[1]
    ax.set_facecolor("white")
    ax.imshow(mosaic, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    ax.set_axis_off()
    return ax
