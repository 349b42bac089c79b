"""Small random Kronecker problems, dense formulas to compare with, and the sources that the claims cite."""

from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.bayesian import KronPosterior, kron_posterior
from sparsetheory.proofs_checks.claim import Source
from sparsetheory.typing import AnyArray, Float64Array

__all__ = [
    "Moments",
    "Problem",
    "draw_problem",
    "kron",
    "moments",
    "outer",
    "paper",
    "problems",
]

_TITLE = "He, Joseph, Bayesian algorithms for Kronecker-structured sparse vector recovery (2023)"


def paper(item: str) -> Source:
    """Cite what the paper's abstract or its authors' code and result files show, as an experiment of theirs."""
    return Source(_TITLE, item, arxiv="2307.14719", provenance="authors' code")


def kron(factors: Any) -> AnyArray:
    """Return the Kronecker product of matrices or vectors."""
    return reduce(_kron, factors)


def _kron(A: AnyArray, B: AnyArray) -> AnyArray:
    # As np.kron does, whose overhead is many times the work for factors as small as these.
    if A.ndim == 1:
        return np.multiply.outer(A, B).ravel()
    return (A[:, None, :, None] * B[:, None, :]).reshape(A.shape[0] * B.shape[0], -1)


def outer(factors: Any) -> AnyArray:
    """Return the outer product of vectors."""
    return reduce(np.multiply.outer, factors)


@dataclass(frozen=True, eq=False)
class Problem:
    """Gaussian mode dictionaries, Gaussian measurements, factors of the prior variances.

    Parameters
    ----------
    dictionaries : list of ndarray of shape (M_i, N_i)
    y : ndarray of shape (M,)
    variances : list of ndarray of shape (N_i,)
        Between 0.01 and 2.
    noise : float
        Noise variance, between 1e-3 and 10.
    rng_seed : int
        Seed of whatever a claim draws besides.
    """

    dictionaries: list[AnyArray]
    y: AnyArray
    variances: list[Float64Array]
    noise: float
    rng_seed: int

    @cached_property
    def A(self) -> AnyArray:
        """The Kronecker matrix."""
        return kron(self.dictionaries)

    @cached_property
    def G(self) -> Float64Array:
        """Prior variances, shape (N,)."""
        return kron(self.variances)

    @cached_property
    def C(self) -> AnyArray:
        """Covariance of the measurements."""
        return self.noise * np.eye(self.y.size) + (self.A * self.G) @ self.A.conj().T

    @cached_property
    def amplification(self) -> float:
        """Largest eigenvalue of C over the noise: by how much solving with C amplifies rounding."""
        return float(np.linalg.norm(self.C, 2)) / self.noise

    @cached_property
    def posterior(self) -> KronPosterior:
        """The structured posterior."""
        return kron_posterior(self.dictionaries, self.y, self.variances, noise_variance=self.noise)

    def rng(self) -> np.random.Generator:
        """Return a fresh generator; the same one each time."""
        return np.random.default_rng(self.rng_seed)


def draw_problem(d: int, is_complex: bool, seed: int, least: int = 1) -> Problem:
    """Draw a problem with modes of at most 5 x 6.

    Parameters
    ----------
    d : int
        Number of modes.
    is_complex : bool
    seed : int
        Everything is drawn from it.
    least : int
        Smallest numbers of rows and columns.

    Returns
    -------
    Problem
    """
    rng = np.random.default_rng(seed)
    top = 5 if d < 4 else 3
    rows, columns = rng.integers(least, max(top, least) + 1, d), rng.integers(least, max(top, least) + 2, d)

    def normal(*shape: int) -> AnyArray:
        return rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if is_complex else 0.0)

    As = [normal(m, n) for m, n in zip(rows, columns, strict=True)]
    gammas = [rng.uniform(0.01, 2.0, n) for n in columns]
    noise = float(10 ** rng.uniform(-3, 1))
    return Problem(As, normal(int(np.prod(rows))), gammas, noise, int(rng.integers(2**31)))


def problems(most: int = 4, least: int = 1) -> st.SearchStrategy[Problem]:
    """Search problems of up to `most` modes with at least `least` rows and columns each."""
    return st.builds(draw_problem, st.integers(1, most), st.booleans(), st.integers(0, 2**32 - 1), st.just(least))


@dataclass(frozen=True, eq=False)
class Moments:
    """A positive tensor of second moments, and factors to start from."""

    second_moment: Float64Array
    variances: list[Float64Array]
    rng_seed: int

    def rng(self) -> np.random.Generator:
        """Return a fresh generator; the same one each time."""
        return np.random.default_rng(self.rng_seed)


def _draw_moments(d: int, spread: float, seed: int) -> Moments:
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, 6, d))
    Lam = np.exp(spread * rng.standard_normal(shape))
    return Moments(Lam, [rng.uniform(0.01, 2.0, n) for n in shape], int(rng.integers(2**31)))


def moments(most: int = 4, spreads: tuple[float, ...] = (0.3, 1.0, 3.0, 8.0)) -> st.SearchStrategy[Moments]:
    """Search lognormal tensors of up to `most` modes."""
    return st.builds(_draw_moments, st.integers(1, most), st.sampled_from(spreads), st.integers(0, 2**32 - 1))
