"""Random problems with clustered supports."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsetheory.bayesian.markov.chain import check_transitions, sample_chain
from sparsetheory.constraints import COUNT, POSITIVE, generator
from sparsetheory.typing import AnyArray, BoolArray

__all__ = ["ClusteredProblem", "make_clustered"]


@dataclass(frozen=True, eq=False)
class ClusteredProblem:
    """Data ``y = F x + noise`` with the truth."""

    F: AnyArray
    """Sensing matrix, shape (M, N)."""
    y: AnyArray
    """Data, shape (M,) or (M, n_snapshots)."""
    x: AnyArray
    """Coefficients, shape (N,) or (N, n_snapshots)."""
    support: BoolArray
    """Which coefficients are on, shape (N,)."""
    noise_variance: float
    """Variance of the noise per observation; of a complex one, both parts together."""


def make_clustered(
    n_rows: int,
    n_coefficients: int,
    *,
    p01: float = 0.02,
    p10: float = 0.1,
    snr_db: float = 20.0,
    n_snapshots: int | None = None,
    complex_data: bool = False,
    random_state: Any = None,
) -> ClusteredProblem:
    """Draw a Gaussian sensing matrix, a support from a Markov chain, Gaussian coefficients on it, and noise.

    Parameters
    ----------
    n_rows, n_coefficients : int
        M and N.
    p01, p10 : float
        Probabilities of switching on and off; supports that are empty or as large as nine tenths of M are drawn again.
    snr_db : float
        Mean power of ``F x`` over that of the noise, in decibels.
    n_snapshots : int, optional
        Columns of y that share the support; a vector by default.
    complex_data : bool
        Whether everything is complex.
    random_state : int, RandomState, Generator or None
        Source of randomness.

    Returns
    -------
    ClusteredProblem
        Entries of F have variance ``1 / M``, coefficients variance 1.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Examples
    --------
    >>> from sparsetheory.bayesian import make_clustered
    >>> problem = make_clustered(80, 200, random_state=0)
    >>> problem.F.shape, problem.y.shape, bool(problem.support.any())
    ((80, 200), (80,), True)
    """
    COUNT.check("n_rows", n_rows)
    COUNT.check("n_coefficients", n_coefficients)
    check_transitions(p01, p10)
    if not np.isfinite(snr_db):
        raise ValueError(f"snr_db must be a finite number; got {snr_db!r}")
    n_columns = 1 if n_snapshots is None else COUNT.check("n_snapshots", n_snapshots)
    rng = generator(random_state)
    support = _draw_support(rng, n_rows, n_coefficients, p01, p10)
    F = _normal(rng, (n_rows, n_coefficients), complex_data) / np.sqrt(n_rows)
    x = _normal(rng, (n_coefficients, n_columns), complex_data) * support[:, None]
    signal = F @ x
    variance = POSITIVE.check("noise_variance", float(np.mean(np.abs(signal) ** 2)) / 10 ** (snr_db / 10))
    y = signal + np.sqrt(variance) * _normal(rng, signal.shape, complex_data)
    if n_snapshots is None:
        x, y = x[:, 0], y[:, 0]
    return ClusteredProblem(F, y, x, support, variance)


def _draw_support(rng: np.random.Generator, n_rows: int, n: int, p01: float, p10: float) -> BoolArray:
    for _ in range(1000):
        support = sample_chain(n, p01, p10, random_state=rng)
        if 0 < support.sum() < max(0.9 * n_rows, 2):
            return support
    raise ValueError(
        f"p01={p01!r} and p10={p10!r} hardly ever give a support of less than 0.9 n_rows = {0.9 * n_rows:g}"
    )


def _normal(rng: np.random.Generator, shape: tuple[int, ...], complex_data: bool) -> AnyArray:
    if not complex_data:
        return rng.standard_normal(shape)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / np.sqrt(2)
