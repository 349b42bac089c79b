"""Validation of a list of blocks, and access to them in working precision."""

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

__all__ = ["Blocks", "as_matrix", "check_rank"]

Matrix = NDArray[Any]
BlockList = list[NDArray[np.float64]]

_KEPT = (np.float32, np.float64, np.complex64, np.complex128)
# Overlaps of blocks are fourth powers of entries, so energies must keep away from the square roots of the limits.
_LARGEST_ENERGY = 1e140


def check_rank(rank: int, name: str = "rank") -> int:
    """Return `rank` as an int of at least 1, or raise ValueError."""
    if isinstance(rank, bool | np.bool_) or not isinstance(rank, int | np.integer) or rank < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {rank!r}")
    return int(rank)


def as_matrix(block: Any, name: str = "block") -> Matrix:
    """Return a block as a two-dimensional float64 or complex128 array; entries may be non-finite.

    Parameters
    ----------
    block : array-like, sparse matrix, memory map or dask array of shape (m, n)
        Boolean, integer, float32, float64, complex64 or complex128.
    name : str
        How errors call the block.

    Returns
    -------
    ndarray of shape (m, n)
        The block itself where no conversion is needed.
    """
    if sparse.issparse(block):
        block = block.toarray()
    array = np.asarray(block)
    if array.ndim != 2:
        hint = "; reshape a single column to (m, 1)" if array.ndim == 1 else ""
        raise ValueError(f"{name} must be two-dimensional, got shape {array.shape}{hint}")
    if array.shape[0] == 0 or array.shape[1] == 0:
        raise ValueError(f"{name} must have at least one row and one column, got shape {array.shape}")
    if array.dtype.kind in "biu":
        return array.astype(np.float64)
    if array.dtype.type not in _KEPT:
        raise TypeError(f"{name} must be real or complex with at most double precision, got dtype {array.dtype}")
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64, copy=False)


def _energy(matrix: Matrix) -> float:
    flat = matrix.ravel(order="K")
    # Overflow is looked at by the caller.
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.vdot(flat, flat).real)


class Blocks:
    """Checked blocks with a common row count, converted to working precision one at a time.

    Parameters
    ----------
    blocks : sequence of array-like of shape (m, n_k)
        Left untouched and never copied as a whole; the same object may stand in several places.

    Attributes
    ----------
    n_rows : int
        The common m.
    widths : ndarray of int
        The n_k.
    energies : ndarray of float
        Squared Frobenius norms, in units of ``unit**2``.
    unit : float
        A power of two that every entry is divided by on access.
    dtype : dtype
        What results are returned in: single precision only if all blocks are.

    Raises
    ------
    ValueError, TypeError
        Naming the first offending block.
    """

    def __init__(self, blocks: Iterable[Any]) -> None:
        self._raw = list(blocks)
        if not self._raw:
            raise ValueError("need at least one block, got an empty list")
        self.unit = 1.0
        energies, widths, dtypes = [], [], []
        for k, block in enumerate(self._raw):
            matrix = as_matrix(block, f"block {k}")
            if k == 0:
                self.n_rows = matrix.shape[0]
            elif matrix.shape[0] != self.n_rows:
                raise ValueError(
                    f"blocks must share their row count: block 0 has {self.n_rows} rows, "
                    f"block {k} has {matrix.shape[0]}"
                )
            energies.append(_energy(matrix))
            if not np.isfinite(energies[-1]) and not np.isfinite(matrix).all():
                raise ValueError(f"block {k} contains NaN or infinity")
            widths.append(matrix.shape[1])
            own = getattr(block, "dtype", None)
            # Dtypes that numpy does not know as its own (byte order, other libraries) keep real or complex.
            dtypes.append(own if own in _KEPT else matrix.dtype)
        self.widths = np.array(widths)
        self.energies = np.array(energies)
        self._dtype = np.result_type(*set(dtypes))
        self._working = np.complex128 if self._dtype.kind == "c" else np.float64
        if not 1 / _LARGEST_ENERGY < self.energies.max() < _LARGEST_ENERGY:
            self._rescale()

    def _rescale(self) -> None:
        peak = max(float(np.abs(as_matrix(block)).max()) for block in self._raw)
        if peak > 0:
            self.unit = float(2.0 ** np.floor(np.log2(peak)))
            self.energies = np.array([_energy(self[k]) for k in range(len(self))])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype that results are returned in."""
        return np.dtype(self._dtype)

    @property
    def n_columns(self) -> int:
        """Total number of columns."""
        return int(self.widths.sum())

    @property
    def energy(self) -> float:
        """Squared Frobenius norm of all blocks together, in units of ``unit**2``."""
        return float(self.energies.sum())

    def __len__(self) -> int:
        return len(self._raw)

    def __iter__(self) -> Iterator[Matrix]:
        return (self[k] for k in range(len(self)))

    def __getitem__(self, k: int) -> Matrix:
        matrix = as_matrix(self._raw[k], f"block {k}").astype(self._working, copy=False)
        return matrix if self.unit == 1.0 else matrix / self.unit

    def select(self, indices: Sequence[int] | NDArray[np.int64]) -> "Blocks":
        """Return some of the blocks without checking them again."""
        chosen = [int(k) for k in indices]
        part = copy(self)
        part._raw = [self._raw[k] for k in chosen]
        part.widths, part.energies = self.widths[chosen], self.energies[chosen]
        return part

    def concatenate(self, indices: Iterable[int]) -> Matrix:
        """Return the chosen blocks side by side, in working precision."""
        chosen = [self[int(k)] for k in indices]
        return chosen[0] if len(chosen) == 1 else np.hstack(chosen)
