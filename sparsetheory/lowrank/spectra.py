"""Exact singular spectra of concatenations, by SVD or by the smaller Gram matrix."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from sparsetheory.lowrank.blocks import Blocks, Matrix, check_rank
from sparsetheory.lowrank.interval import ErrorInterval

__all__ = ["GRAM_FLOOR", "SVDError", "block_svd_error", "captured", "squared_spectrum", "tail", "thin_svd"]

Method = Literal["auto", "svd", "gram_rows", "gram_cols"]

# Eigenvalues of a Gram matrix carry an absolute error of about 1e-16 times the energy: relative errors of an
# approximation below 1e-6, which are squares below 1e-12, lose digits there.
GRAM_FLOOR = 1e-12


def thin_svd(matrix: Matrix) -> tuple[Matrix, NDArray[np.float64], Matrix]:
    """Thin SVD that falls back to the slower, more robust LAPACK driver where divide and conquer fails."""
    try:
        u, s, vh = np.linalg.svd(matrix, full_matrices=False)
    except np.linalg.LinAlgError:
        u, s, vh = scipy.linalg.svd(matrix, full_matrices=False, lapack_driver="gesvd")
    return u, s, vh


def squared_spectrum(blocks: Blocks, indices: Iterable[int] | None = None, method: Method = "auto") -> Any:
    """Squared singular values of the chosen blocks side by side.

    Parameters
    ----------
    blocks : Blocks
        Checked blocks.
    indices : iterable of int, optional
        Which blocks; all by default.
    method : {"auto", "svd", "gram_rows", "gram_cols"}
        "auto" takes the smaller Gram matrix. Row Gram matrices are summed block by block, so that the
        concatenation is never formed.

    Returns
    -------
    ndarray of float64, shape (min(m, N),)
        Descending and non-negative.

    Notes
    -----
    Costs O(m N min(m, N)); memory O(min(m, N)^2) for the Gram forms.
    """
    chosen = list(range(len(blocks))) if indices is None else [int(k) for k in indices]
    n_columns = int(blocks.widths[chosen].sum())
    if method == "auto":
        method = "gram_rows" if blocks.n_rows <= n_columns else "gram_cols"
    if method == "svd":
        return np.linalg.svd(blocks.concatenate(chosen), compute_uv=False) ** 2
    if method == "gram_rows":
        gram = sum(block @ block.conj().T for block in map(blocks.__getitem__, chosen))
    elif method == "gram_cols":
        matrix = blocks.concatenate(chosen)
        gram = matrix.conj().T @ matrix
    else:
        raise ValueError(f"method must be 'auto', 'svd', 'gram_rows' or 'gram_cols', got {method!r}")
    squares = scipy.linalg.eigvalsh(gram, check_finite=False)[::-1]
    return np.maximum(squares[: min(blocks.n_rows, n_columns)], 0.0)


def tail(squares: NDArray[np.float64], rank: int) -> float:
    """Sum of all but the `rank` largest of descending squares: the squared best rank-r error."""
    return float(squares[rank:].sum())


def captured(squares: NDArray[np.float64], rank: int) -> float:
    """Sum of the `rank` largest of descending squares."""
    return float(squares[:rank].sum())


@dataclass(frozen=True)
class SVDError:
    r"""The exact error of the best rank-r approximation of concatenated blocks.

    Parameters
    ----------
    absolute : float
        :math:`E_r(C) = (\sum_{i>r} \sigma_i^2)^{1/2}`, in the units of the data.
    relative : float
        :math:`E_r(C) / \|C\|_F`, 0 for a zero matrix.
    energy : float
        :math:`\|C\|_F^2` in units of ``interval.unit**2``.
    singular_values : ndarray, shape (min(m, N),)
        Descending, in the units of the data.
    interval : ErrorInterval
        The same error with its rounding allowance.
    """

    absolute: float
    relative: float
    energy: float
    singular_values: NDArray[np.float64]
    interval: ErrorInterval


def block_svd_error(blocks: Sequence[Any], rank: int, *, method: Method = "auto") -> SVDError:
    """Compute the exact best rank-r error of blocks placed side by side.

    Parameters
    ----------
    blocks : sequence of array-like of shape (m, n_k)
        Real or complex blocks.
    rank : int
        Target rank r, at least 1.
    method : {"auto", "svd", "gram_rows", "gram_cols"}
        "auto" uses the smaller Gram matrix and repeats with an SVD where the relative error comes out below
        1e-6, which squared data cannot resolve.

    Returns
    -------
    SVDError

    Raises
    ------
    ValueError, TypeError
        On invalid blocks, rank or method.

    Notes
    -----
    Costs O(m N min(m, N)). Eckart-Young-Mirsky: no rank-r matrix does better.

    Examples
    --------
    >>> import numpy as np
    >>> error = block_svd_error([np.diag([3.0, 0.0]), np.diag([0.0, 4.0])], rank=1)
    >>> error.absolute, error.relative
    (3.0, 0.6)
    """
    checked, rank = Blocks(blocks), check_rank(rank)
    squares = squared_spectrum(checked, method=method)
    if method == "auto" and tail(squares, rank) <= GRAM_FLOOR * checked.energy:
        squares = squared_spectrum(checked, method="svd")
    squared, shape = tail(squares, rank), (checked.n_rows, checked.n_columns)
    energy = checked.energy
    return SVDError(
        absolute=float(np.sqrt(squared)) * checked.unit,
        relative=float(np.sqrt(squared / energy)) if energy else 0.0,
        energy=energy,
        singular_values=np.sqrt(squares) * checked.unit,
        interval=ErrorInterval.from_bounds(squared, squared, energy, shape, "exact", checked.unit),
    )
