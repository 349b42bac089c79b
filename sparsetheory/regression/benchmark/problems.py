"""Regression problems with a known answer: a design, a random support, coefficients chosen on it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsetheory.constraints import COUNT, POSITIVE
from sparsetheory.regression.datasets.coefficients import COEFFICIENT_MODES, adversarial_coefficients, sample_support
from sparsetheory.regression.datasets.worst_cases import WorstCase
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["ProblemSize", "RecoveryProblem", "draw_problems"]


@dataclass(frozen=True)
class ProblemSize:
    """The numbers that all problems of a benchmark have in common.

    Parameters
    ----------
    n_samples, n_features, n_nonzero : int
        Numbers of rows and columns, and size of the support.
    noise_std, signal_size : float
        Standard deviation of the noise and root mean square of the signal, both positive.
    """

    n_samples: int
    n_features: int
    n_nonzero: int
    noise_std: float
    signal_size: float

    def __post_init__(self) -> None:
        COUNT.require(n_samples=self.n_samples, n_features=self.n_features, n_nonzero=self.n_nonzero)
        limit = min(self.n_samples, self.n_features)
        if self.n_nonzero > limit:
            raise ValueError(f"n_nonzero must be at most min(n_samples, n_features) = {limit}; got {self.n_nonzero}")
        POSITIVE.require(noise_std=self.noise_std, signal_size=self.signal_size)


@dataclass(frozen=True, eq=False)
class RecoveryProblem:
    """A response whose noiseless part is known.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Design.
    support : ndarray of shape (n_nonzero,)
        Features that count.
    signal, noise : ndarray of shape (n_samples,)
        The two parts of the response.
    noise_std : float
        Standard deviation of the noise.
    """

    X: Float64Array
    support: IndexArray
    signal: Float64Array
    noise: Float64Array
    noise_std: float

    @property
    def y(self) -> Float64Array:
        """The response."""
        return self.signal + self.noise

    def error(self, prediction: Float64Array) -> float:
        """Return the mean squared distance of a prediction from the signal, over the variance of the noise."""
        return float(np.mean((prediction - self.signal) ** 2) / self.noise_std**2)

    def ols_error(self) -> float:
        """Return the error of least squares on the true support: the noise that its span holds."""
        Q = np.linalg.qr(self.X[:, self.support])[0]
        return self.error(self.signal + Q @ (Q.T @ self.noise))

    def condition(self) -> float:
        """Return the condition number of the support's columns."""
        return float(np.linalg.cond(self.X[:, self.support]))


def draw_problems(
    draw: Callable[..., Any], size: ProblemSize, modes: Sequence[str], random_state: np.random.SeedSequence
) -> Iterator[tuple[str, RecoveryProblem]]:
    """Draw one design, one support and one noise, and a problem for every kind of coefficients on them.

    Parameters
    ----------
    draw : callable
        ``draw(n_samples, n_features, random_state=generator)`` returns a design, or a :class:`WorstCase`, whose support
        is then used in place of a random one.
    size : ProblemSize
        Sizes and scales. A design of another shape (data) is taken as it is.
    modes : sequence of str
        Kinds of coefficients.
    random_state : SeedSequence
        Decides on everything; the problem of a mode does not depend on which other modes are drawn.

    Yields
    ------
    mode : str
    problem : RecoveryProblem
    """
    *rngs, coefficient_seed = random_state.spawn(4)
    for_design, for_support, for_noise = (np.random.default_rng(s) for s in rngs)
    drawn = draw(size.n_samples, size.n_features, random_state=for_design)
    X = np.asfortranarray(drawn.X if isinstance(drawn, WorstCase) else drawn, dtype=np.float64)
    support = (
        drawn.support
        if isinstance(drawn, WorstCase)
        else sample_support(X, n_nonzero=size.n_nonzero, random_state=for_support)
    )
    noise = size.noise_std * for_noise.standard_normal(len(X))
    seeds = dict(zip(COEFFICIENT_MODES, coefficient_seed.spawn(len(COEFFICIENT_MODES)), strict=True))
    for mode in modes:
        rng = np.random.default_rng(seeds[mode])
        coef = adversarial_coefficients(X, support, mode=mode, signal_size=size.signal_size, random_state=rng)
        yield mode, RecoveryProblem(X, support, X[:, support] @ coef, noise, size.noise_std)
