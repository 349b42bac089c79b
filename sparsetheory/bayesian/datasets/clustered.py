"""Random problems with clustered supports."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsetheory.bayesian.markov.chain import check_transitions, sample_chain
from sparsetheory.constraints import COUNT, FINITE, FLAG, POSITIVE, generator
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
    n_samples: int,
    n_features: int,
    *,
    activation: float = 0.02,
    deactivation: float = 0.1,
    snr_db: float = 20.0,
    n_snapshots: int | None = None,
    complex_data: bool = False,
    random_state: Any = None,
) -> ClusteredProblem:
    """Draw a Gaussian sensing matrix, a support from a Markov chain, Gaussian coefficients on it, and noise.

    Parameters
    ----------
    n_samples, n_features : int
        M and N.
    activation, deactivation : float
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
    COUNT.require(n_samples=n_samples, n_features=n_features)
    check_transitions(activation, deactivation)
    FINITE.check("snr_db", snr_db)
    FLAG.check("complex_data", complex_data)
    n_columns = 1 if n_snapshots is None else COUNT.check("n_snapshots", n_snapshots)
    rng = generator(random_state)
    support = _draw_support(rng, n_samples, n_features, activation, deactivation)
    F = _normal(rng, (n_samples, n_features), complex_data) / np.sqrt(n_samples)
    x = _normal(rng, (n_features, n_columns), complex_data) * support[:, None]
    signal = F @ x
    variance = POSITIVE.check("noise_variance", float(np.mean(np.abs(signal) ** 2)) / 10 ** (snr_db / 10))
    y = signal + np.sqrt(variance) * _normal(rng, signal.shape, complex_data)
    if n_snapshots is None:
        x, y = x[:, 0], y[:, 0]
    return ClusteredProblem(F, y, x, support, variance)


def _draw_support(
    rng: np.random.Generator, n_samples: int, n: int, activation: float, deactivation: float
) -> BoolArray:
    for _ in range(1000):
        support = sample_chain(n, activation=activation, deactivation=deactivation, random_state=rng)
        if 0 < support.sum() < max(0.9 * n_samples, 2):
            return support
    raise ValueError(
        f"activation={activation!r} and deactivation={deactivation!r} hardly ever give a support of less than "
        f"0.9 n_samples = {0.9 * n_samples:g}"
    )


def _normal(rng: np.random.Generator, shape: tuple[int, ...], complex_data: bool) -> AnyArray:
    if not complex_data:
        return rng.standard_normal(shape)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / np.sqrt(2)
