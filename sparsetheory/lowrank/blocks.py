"""Validation of a list of blocks, and access to them in working precision."""

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from typing import Any

import numpy as np
from scipy import sparse

from sparsetheory.lowrank.interval import resolution
from sparsetheory.lowrank.operands import (
    Matrix,
    Operand,
    as_matrix,
    as_operand,
    digest,
    is_finite,
    largest,
    squared_norm,
)
from sparsetheory.typing import Float64Array, Int64Array

__all__ = ["Blocks", "as_matrix"]

BlockList = list[Float64Array]

_KEPT = (np.float32, np.float64, np.complex64, np.complex128)
# Overlaps of blocks are fourth powers of entries, so energies must keep away from the square roots of the limits.
_LARGEST_ENERGY = 1e140
# Squares of errors relative to such an energy still have digits.
_SMALLEST_ENERGY = 1e-280


def _result_dtype(block: Any, operand: Operand) -> Any:
    """Precision that results for a block are given in; half precision is worked on as single."""
    own = getattr(block, "dtype", None)
    if own == np.float16:
        return np.float32
    # Dtypes that numpy does not know as its own (byte order, other libraries) keep real or complex.
    return own if own in _KEPT else operand.dtype


def _as_list(blocks: Iterable[Any]) -> list[Any]:
    if sparse.issparse(blocks) or isinstance(blocks, np.matrix | str | bytes | dict):
        raise ValueError(f"blocks must be a list of matrices; got one {type(blocks).__name__}")
    try:
        found = list(blocks)
    except TypeError as error:
        raise TypeError(f"blocks must be a list of matrices; got {type(blocks).__name__}") from error
    if not found:
        raise ValueError("need at least one block; got an empty list")
    return found


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
        self._raw = _as_list(blocks)
        self.unit = 1.0
        energies, widths, dtypes = [], [], []
        for k, block in enumerate(self._raw):
            operand = as_operand(block, f"block {k}")
            if k == 0:
                self.n_rows = operand.shape[0]
            elif operand.shape[0] != self.n_rows:
                raise ValueError(
                    f"blocks must share their row count: block 0 has {self.n_rows} rows, "
                    f"block {k} has {operand.shape[0]}"
                )
            energies.append(squared_norm(operand))
            if not np.isfinite(energies[-1]) and not is_finite(operand):
                raise ValueError(f"block {k} contains NaN or infinity")
            widths.append(operand.shape[1])
            dtypes.append(_result_dtype(block, operand))
        self.widths = np.array(widths)
        self.energies = np.array(energies)
        self._dtype = np.result_type(*set(dtypes))
        self._working = np.complex128 if self._dtype.kind == "c" else np.float64
        if not 1 / _LARGEST_ENERGY < self.energies.max() < _LARGEST_ENERGY:
            self._rescale()

    def _rescale(self) -> None:
        peak = max(largest(as_operand(block)) for block in self._raw)
        if peak > 0:
            self.unit = float(2.0 ** np.floor(np.log2(peak)))
            self.energies = np.array([squared_norm(self.operand(k)) for k in range(len(self))])

    def require_visible(self) -> None:
        """Raise ValueError for the first block that is not zero but whose squares vanish beside the largest.

        Where every block counts by itself, such a block would be taken for zero.
        """
        for k in np.flatnonzero(self.energies < _SMALLEST_ENERGY).tolist():
            size = largest(as_operand(self._raw[k]))
            if size > 0:
                raise ValueError(
                    f"block {k} is so small beside the largest that its squares vanish in float64: its largest entry "
                    f"is {size:.3g}; scale it or leave it out"
                )

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
        return self._scaled(as_matrix(self._raw[k], f"block {k}"))

    def operand(self, k: int) -> Operand:
        """Return a block for products: a sparse one in CSC format, others as `blocks[k]`."""
        return self._scaled(as_operand(self._raw[k], f"block {k}"))

    def operands(self) -> Iterator[Operand]:
        """Go through the blocks as :meth:`operand` returns them."""
        return (self.operand(k) for k in range(len(self)))

    def _scaled(self, operand: Operand) -> Operand:
        operand = operand.astype(self._working, copy=False)
        return operand if self.unit == 1.0 else operand / self.unit

    def fingerprint(self) -> tuple[bytes, ...]:
        """Name the contents of every block, whatever its container, layout and precision."""
        return tuple(digest(as_matrix(block, f"block {k}")) for k, block in enumerate(self._raw))

    @property
    def resolution(self) -> float:
        """Smallest relative error of the blocks side by side that double precision tells from zero."""
        return resolution(self.n_rows, self.n_columns, len(self))

    def select(self, indices: Sequence[int] | Int64Array) -> "Blocks":
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
