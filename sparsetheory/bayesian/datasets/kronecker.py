"""Random sparse vectors with Kronecker supports, seen through Gaussian mode dictionaries."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from sparsetheory.bayesian.kronecker.algebra import kron_matvec
from sparsetheory.constraints import COUNT, FINITE, generator
from sparsetheory.typing import InexactArray

__all__ = ["check_snr", "make_kron_sparse", "noise_at", "standard_normal"]


def standard_normal(rng: np.random.Generator, shape: Any, is_complex: bool) -> InexactArray:
    """Draw standard normal values; complex ones are circular with total variance one."""
    if is_complex:
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) * np.sqrt(0.5)
    return rng.standard_normal(shape)


def check_snr(snr_db: Any) -> float:
    """Return a finite signal-to-noise ratio in decibels.

    Raises
    ------
    ValueError
        If it is not a finite number.
    """
    if isinstance(snr_db, bool) or not FINITE.accepts(snr_db):
        raise ValueError(f"snr_db must be a finite number of decibels; got {snr_db!r}")
    return float(snr_db)


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


def make_kron_sparse(
    Ms: Sequence[int],
    Ns: Sequence[int],
    Ks: Sequence[int],
    snr_db: float,
    separable: bool = True,
    complex: bool = False,
    rng: Any = None,
) -> Bunch:
    """Draw measurements of a vector whose support is a product of supports.

    Parameters
    ----------
    Ms, Ns, Ks : sequence of int
        Rows, columns and support size of each mode, ``K_i <= N_i``.
    snr_db : float
        Signal-to-noise ratio in decibels.
    separable : bool
        Whether the values are a product too; else all are independent.
    complex : bool
        Whether everything is complex.
    rng : None, int, Generator or RandomState
        Source of randomness.

    Returns
    -------
    Bunch
        As : list of ndarray of shape (M_i, N_i), standard normal.
        y : ndarray of shape (M,).
        x : ndarray of shape (N,), standard normal values or products of such.
        signal : ndarray of shape (M,), y without noise.
        noise_variance : float.
        supports : list of ndarray of int, sorted.

    Raises
    ------
    ValueError
        If a size is not a positive integer, a support is larger than its mode, or the lengths differ.

    Examples
    --------
    >>> from sparsetheory.bayesian import make_kron_sparse
    >>> problem = make_kron_sparse((4, 5), (6, 7), (2, 3), snr_db=20, rng=0)
    >>> problem.y.shape, int((problem.x != 0).sum())
    ((20,), 6)
    """
    sizes = [[COUNT.check(f"{name}[{k}]", v) for k, v in enumerate(given)] for name, given in
             (("Ms", Ms), ("Ns", Ns), ("Ks", Ks))]  # fmt: skip
    if len({len(s) for s in sizes}) != 1 or not sizes[0]:
        raise ValueError(f"Ms, Ns and Ks must have one entry per mode; got {len(sizes[0])}, {len(sizes[1])}, "
                         f"{len(sizes[2])}")  # fmt: skip
    for k, (n, size) in enumerate(zip(sizes[1], sizes[2], strict=True)):
        if size > n:
            raise ValueError(f"Ks[{k}] must be at most Ns[{k}] = {n}; got {size}")
    snr_db, source = check_snr(snr_db), generator(rng)
    As = [standard_normal(source, shape, complex) for shape in zip(sizes[0], sizes[1], strict=True)]
    supports = [np.sort(source.choice(n, size, replace=False)) for n, size in zip(sizes[1], sizes[2], strict=True)]
    x = np.zeros(sizes[1], dtype=As[0].dtype)
    if separable:
        values = reduce(np.multiply.outer, [standard_normal(source, size, complex) for size in sizes[2]])
    else:
        values = standard_normal(source, sizes[2], complex)
    x[np.ix_(*supports)] = values
    signal = kron_matvec(As, x.reshape(-1))
    noise, variance = noise_at(source, signal, snr_db)
    return Bunch(As=As, y=signal + noise, x=x.reshape(-1), signal=signal, noise_variance=variance, supports=supports)
