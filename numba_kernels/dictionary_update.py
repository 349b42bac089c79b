"""Sufficient statistics of sparse codes, and the exact update of one atom after another.

With codes c of signals x, the weighted squared error of a dictionary with the atoms d_j depends on the data only
through the moments ``sum w c c'`` and the products ``sum w c x'`` (Mairal, Bach, Ponce and Sapiro, 2010).
"""

import numpy as np

from sparsetheory.numba_kernels.jit import kernel
from sparsetheory.typing import Float64Array, FloatArray

__all__ = ["add_codes", "squared_residuals", "update_atoms", "warmup"]


@kernel(fastmath=True)
def add_codes(codes: FloatArray, signals: FloatArray, moments: FloatArray, products: FloatArray) -> None:
    """Add codes and their signals to the statistics, from the nonzeros only.

    Parameters
    ----------
    codes : ndarray of shape (n_samples, n_atoms)
        C-ordered; all arrays of one dtype.
    signals : ndarray of shape (n_samples, n_features)
        C-ordered.
    moments : ndarray of shape (n_atoms, n_atoms)
        ``codes.T @ codes`` is added to it.
    products : ndarray of shape (n_atoms, n_features)
        ``codes.T @ signals`` is added to it.

    Notes
    -----
    O(n_atoms + k^2 + k n_features) operations per signal of k nonzeros.
    """
    active = np.empty(codes.shape[1], np.int64)
    values = np.empty_like(codes[0])
    for i in range(codes.shape[0]):
        count = 0
        for j in range(codes.shape[1]):
            if codes[i, j] != 0:
                active[count], values[count] = j, codes[i, j]
                count += 1
        signal = signals[i]
        for p in range(count):
            j, value = active[p], values[p]
            moment, product = moments[j], products[j]
            for q in range(count):
                moment[active[q]] += value * values[q]
            for k in range(signal.size):
                product[k] += value * signal[k]


@kernel(fastmath=True)
def squared_residuals(codes: FloatArray, signals: FloatArray, atoms: FloatArray, out: Float64Array) -> None:
    """Write ``||x - atoms.T @ c||^2`` for every signal x and its code c, from the nonzeros only.

    Parameters
    ----------
    codes : ndarray of shape (n_samples, n_atoms)
        C-ordered; these three arrays of one dtype.
    signals : ndarray of shape (n_samples, n_features)
        C-ordered.
    atoms : ndarray of shape (n_atoms, n_features)
        C-ordered.
    out : ndarray of shape (n_samples,)
        Overwritten.

    Notes
    -----
    O(n_atoms + k n_features) operations per signal of k nonzeros.
    """
    rest = np.empty_like(signals[0])
    for i in range(codes.shape[0]):
        for k in range(rest.size):
            rest[k] = signals[i, k]
        for j in range(codes.shape[1]):
            if codes[i, j] != 0:
                value, atom = codes[i, j], atoms[j]
                for k in range(rest.size):
                    rest[k] -= value * atom[k]
        total = rest.dtype.type(0)
        for k in range(rest.size):
            total += rest[k] * rest[k]
        out[i] = total


@kernel(fastmath=True)
def update_atoms(gradient: FloatArray, moments: FloatArray, atoms: FloatArray, start: int) -> None:
    """Replace a block of atoms, in turn, by the best unit vectors given all the others.

    The quadratic form ``tr(moments atoms atoms') / 2 - tr(products' atoms)``, as a function of one unit atom d_j, is
    linear, so that ``products_j - sum_{k != j} moments_jk d_k``, normalised, is its minimiser on the sphere. An atom
    with no moment, or for which that vector is zero, stays.

    Parameters
    ----------
    gradient : ndarray of shape (block, n_features)
        Rows of ``products - moments @ atoms`` that belong to the block; overwritten.
    moments : ndarray of shape (n_atoms, n_atoms)
        Symmetric; all arrays C-ordered and of one dtype.
    atoms : ndarray of shape (n_atoms, n_features)
        Unit rows; those of the block are overwritten.
    start : int
        First atom of the block.

    Notes
    -----
    Why one division does it: with all other atoms fixed, the form depends on d_j through ``moments_jj |d_j|^2 / 2``,
    which is constant on the sphere, less its inner product with ``gradient_j + moments_jj d_j``, d_j the old atom
    there. So the form never rises.
    Invariant: ``gradient[p]`` is ``products - moments @ atoms`` for the present atoms, for all rows of the block that
    are still to come. The change of an atom is subtracted from these rows alone; rows of other blocks are computed
    later, by a matrix product. O(block^2 n_features / 2) operations.
    """
    size, width = gradient.shape
    change = np.empty_like(gradient[0])
    zero, one = gradient.dtype.type(0), gradient.dtype.type(1)
    for j in range(size):
        atom, row, moment = atoms[start + j], gradient[j], moments[start + j]
        weight = moment[start + j]
        if weight <= zero:
            continue
        square = zero
        for k in range(width):
            # In units of the moment, so that the square is in range for signals of any scale.
            change[k] = row[k] / weight + atom[k]
            square += change[k] * change[k]
        if square <= zero:
            continue
        # The new atom, and from here on `change` is its difference from the old one.
        scale = one / np.sqrt(square)
        for k in range(width):
            value = change[k] * scale
            change[k] = value - atom[k]
            atom[k] = value
        # Rows to come see the new atom.
        for later in range(j + 1, size):
            factor = moment[start + later]
            if factor != zero:
                other = gradient[later]
                for k in range(width):
                    other[k] -= factor * change[k]


def warmup() -> None:
    """Compile the kernels of this file for both precisions."""
    for dtype in (np.float64, np.float32):
        one = np.ones((1, 1), dtype)
        add_codes(one, one, one.copy(), one.copy())
        squared_residuals(one, one, one, np.empty(1))
        update_atoms(one.copy(), one, one.copy(), 0)
