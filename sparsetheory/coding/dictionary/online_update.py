"""The quadratic surrogate of online dictionary learning, and its exact descent over one atom after another."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from sparsetheory.numba_kernels.dictionary_update import add_codes, update_atoms
from sparsetheory.typing import FloatArray, IndexArray

__all__ = ["Surrogate", "kept_fraction"]


# Atoms whose gradient is computed by one matrix product.
_BLOCK = 64
# Without a given exponent: the signals per atom that raise it by one, and its limit.
_WORTH, _MOST = 10.0, 12.0


@dataclass(frozen=True)
class Surrogate:
    r"""Weighted squared error of past signals with their old codes: :math:`\sum_i w_i \|x_i - D^T c_i\|^2 / 2` over D.

    The codes stay as they were found, so that the sum is an upper bound on what the best codes would give (Mairal,
    Bach, Ponce and Sapiro, 2010). It depends on the past through three sums. The object is not changed by its methods:
    :meth:`absorb` and :meth:`without` return another one.

    Parameters
    ----------
    moments : ndarray of shape (n_atoms, n_atoms)
        :math:`\sum_i w_i c_i c_i^T`.
    products : ndarray of shape (n_atoms, n_features)
        :math:`\sum_i w_i c_i x_i^T`.
    energy : float
        :math:`\sum_i w_i \|x_i\|^2 / 2`.

    Examples
    --------
    >>> import numpy as np
    >>> codes, signals, atoms = np.array([[2.0, 0.0]]), np.array([[3.0, 4.0]]), np.eye(2)
    >>> past = Surrogate.empty(2, 2).absorb(codes, signals)
    >>> past.value(atoms)
    8.5
    >>> better = past.improve(atoms)
    >>> better, past.value(better)
    (array([[0.6, 0.8],
           [0. , 1. ]]), 4.5)
    """

    moments: FloatArray
    products: FloatArray
    energy: float

    @classmethod
    def empty(cls, n_atoms: int, n_features: int, dtype: type | np.dtype = np.float64) -> Self:
        """Return the surrogate of no signals."""
        moments, products = np.zeros((n_atoms, n_atoms), dtype), np.zeros((n_atoms, n_features), dtype)
        return cls(moments, products, 0.0)

    def absorb(self, codes: FloatArray, signals: FloatArray, keep: float = 1.0) -> Self:
        """Return the surrogate with all weights of the past multiplied by `keep`, and new signals of weight 1.

        Parameters
        ----------
        codes : ndarray of shape (n_samples, n_atoms)
            C-ordered; all arrays of one dtype.
        signals : ndarray of shape (n_samples, n_features)
            C-ordered.
        keep : float
            Between 0 and 1.

        Notes
        -----
        O(n_atoms^2) operations for the past, and O(n_atoms + k^2 + k n_features) per signal of k nonzeros.
        """
        weight = self.moments.dtype.type(keep)
        moments, products = weight * self.moments, weight * self.products
        add_codes(codes, signals, moments, products)
        energy = keep * self.energy + 0.5 * float(np.einsum("ij,ij->", signals, signals, dtype=np.float64))
        return replace(self, moments=moments, products=products, energy=energy)

    def value(self, atoms: FloatArray) -> float:
        """Return the weighted sum of half the squared errors, in double precision."""
        atoms = atoms.astype(np.float64)
        quadratic = np.einsum("ij,ij->", self.moments, atoms @ atoms.T)
        return float(self.energy + 0.5 * quadratic - np.einsum("ij,ij->", self.products, atoms))

    def improve(self, atoms: FloatArray, sweeps: int = 1) -> FloatArray:
        """Return atoms after block coordinate descent on unit spheres, which never raises the value.

        Parameters
        ----------
        atoms : ndarray of shape (n_atoms, n_features)
            Unit rows; not written to.
        sweeps : int
            Passes over all atoms.

        Returns
        -------
        ndarray of shape (n_atoms, n_features)
            Atoms that no code used stay as they are.

        Notes
        -----
        ``2 n_atoms^2 n_features`` operations per sweep, nearly all in matrix products.
        """
        atoms = np.array(atoms, order="C")
        for _ in range(sweeps):
            for start in range(0, atoms.shape[0], _BLOCK):
                block = slice(start, start + _BLOCK)
                update_atoms(self.products[block] - self.moments[block] @ atoms, self.moments, atoms, start)
        return atoms

    def without(self, atoms: IndexArray) -> Self:
        """Return the surrogate of the same signals whose codes do not use some atoms."""
        moments, products = self.moments.copy(), self.products.copy()
        moments[atoms], moments[:, atoms], products[atoms] = 0, 0, 0
        return replace(self, moments=moments, products=products)


def kept_fraction(n_new: int, n_seen: int, n_atoms: int, exponent: float | None = None) -> float:
    r"""Return the fraction of their weight that past signals keep when new ones come.

    Parameters
    ----------
    n_new, n_seen : int
        New signals, and all signals including these.
    n_atoms : int
        Number of atoms.
    exponent : float, optional
        At least 0, where all signals weigh the same. By default 1, and one more for every ten signals per atom, up to
        12: codes that were made for worse atoms can be forgotten the sooner, the more signals there are.

    Returns
    -------
    float
        :math:`(1 - n_{new} / n_{seen})^{exponent}`, the schedule of Mairal and others (2010); weights then grow like
        that power of time. The default exponent is ours, from experiments with image patches.

    Examples
    --------
    >>> kept_fraction(256, 256, 100), kept_fraction(100, 400, 40), kept_fraction(100, 400, 40, exponent=1.0)
    (0.0, 0.5625, 0.75)
    """
    if exponent is None:
        exponent = min(1.0 + n_seen / (_WORTH * n_atoms), _MOST)
    return float((1.0 - n_new / n_seen) ** exponent)
