"""Random sparse vectors with Kronecker supports, seen through Gaussian mode dictionaries."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from sparsetheory.bayesian.kronecker.algebra import kron_matvec
from sparsetheory.constraints import COUNT, FINITE, FLAG, generator
from sparsetheory.typing import IndexArray, InexactArray

__all__ = ["KroneckerProblem", "make_kron_sparse", "noise_at", "standard_normal"]


def standard_normal(rng: np.random.Generator, shape: Any, complex_data: bool) -> InexactArray:
    """Draw standard normal values; complex ones are circular with total variance one."""
    if complex_data:
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) * np.sqrt(0.5)
    return rng.standard_normal(shape)


def noise_at(rng: np.random.Generator, signal: InexactArray, snr_db: float) -> tuple[InexactArray, float]:
    """Draw noise at a signal-to-noise ratio.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    signal : ndarray
        Real or complex.
    snr_db : float
        Ratio of mean squares in decibels.

    Returns
    -------
    noise : ndarray of the shape of the signal
    variance : float
    """
    variance = float(np.mean(np.abs(signal) ** 2)) / 10.0 ** (snr_db / 10.0)
    return np.sqrt(variance) * standard_normal(rng, signal.shape, np.iscomplexobj(signal)), variance


@dataclass(frozen=True, eq=False)
class KroneckerProblem:
    """Measurements of a vector whose support is a product of supports, with the truth."""

    dictionaries: list[InexactArray]
    """Mode dictionaries, shapes (M_i, N_i)."""
    y: InexactArray
    """Measurements, shape (M,)."""
    x: InexactArray
    """True coefficients, shape (N,); the last mode varies fastest."""
    signal: InexactArray
    """Measurements without noise, shape (M,)."""
    noise_variance: float
    """Variance of the noise; of both parts together for complex data."""
    supports: list[IndexArray]
    """Support of each mode, sorted."""


def make_kron_sparse(
    n_rows: Sequence[int],
    n_columns: Sequence[int],
    n_nonzero: Sequence[int],
    *,
    snr_db: float,
    separable: bool = True,
    complex_data: bool = False,
    random_state: Any = None,
) -> KroneckerProblem:
    """Draw measurements of a vector whose support is a product of supports.

    Parameters
    ----------
    n_rows, n_columns, n_nonzero : sequence of int
        Rows, columns and size of the support of each mode; no support is larger than its mode.
    snr_db : float
        Signal-to-noise ratio in decibels.
    separable : bool
        Whether the values are a product too; otherwise all are independent.
    complex_data : bool
        Whether dictionaries, coefficients and noise are complex.
    random_state : int, RandomState, Generator or None
        Source of randomness.

    Returns
    -------
    KroneckerProblem
        Entries of the dictionaries are standard normal, values of x too, or products of such.

    Raises
    ------
    ValueError
        If a size is not a positive integer, a support is larger than its mode, or the lengths differ.

    Notes
    -----
    One mode product per mode; the Kronecker matrix is not formed.

    Examples
    --------
    >>> from sparsetheory.bayesian import make_kron_sparse
    >>> problem = make_kron_sparse((4, 5), (6, 7), (2, 3), snr_db=20, random_state=0)
    >>> problem.y.shape, int((problem.x != 0).sum())
    ((20,), 6)
    """
    rows, columns, sizes = _mode_sizes(n_rows, n_columns, n_nonzero)
    FLAG.require(separable=separable, complex_data=complex_data)
    FINITE.check("snr_db", snr_db)
    source = generator(random_state)
    dictionaries = [standard_normal(source, shape, complex_data) for shape in zip(rows, columns, strict=True)]
    supports = [np.sort(source.choice(n, size, replace=False)) for n, size in zip(columns, sizes, strict=True)]
    x = np.zeros(columns, dtype=dictionaries[0].dtype)
    if separable:
        values = reduce(np.multiply.outer, [standard_normal(source, size, complex_data) for size in sizes])
    else:
        values = standard_normal(source, sizes, complex_data)
    x[np.ix_(*supports)] = values
    signal = kron_matvec(dictionaries, x.reshape(-1))
    noise, variance = noise_at(source, signal, snr_db)
    return KroneckerProblem(dictionaries, signal + noise, x.reshape(-1), signal, variance, supports)


def _mode_sizes(
    n_rows: Sequence[int], n_columns: Sequence[int], n_nonzero: Sequence[int]
) -> tuple[list[int], list[int], list[int]]:
    """Return checked sizes of all modes."""
    given = {"n_rows": n_rows, "n_columns": n_columns, "n_nonzero": n_nonzero}
    rows, columns, sizes = (
        [COUNT.check(f"{name}[{k}]", value) for k, value in enumerate(values)] for name, values in given.items()
    )
    if not len(rows) == len(columns) == len(sizes) > 0:
        raise ValueError(
            f"n_rows, n_columns and n_nonzero must have one entry per mode; got {len(rows)}, {len(columns)}, "
            f"{len(sizes)}"
        )
    for k, (n, size) in enumerate(zip(columns, sizes, strict=True)):
        if size > n:
            raise ValueError(f"n_nonzero[{k}] must be at most n_columns[{k}] = {n}; got {size}")
    return rows, columns, sizes
