"""Normal laws of weights, their moments by quadrature, and what the claims cite."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from scipy.special import logsumexp

from sparsetheory.proofs_checks.claim import Source
from sparsetheory.typing import Float64Array

__all__ = ["Normal", "criteria_source", "decades", "log_mean", "normals", "published_start", "quadrature"]

# Beyond so many deviations the density is below the rounding of what is summed.
_REACH = 12.0


@dataclass(frozen=True)
class Normal:
    """The law of a weight, and the rate of an exponential of it."""

    mu: float
    sigma: float
    rate: float

    @property
    def r(self) -> float:
        """Magnitude of the mean over the deviation."""
        return abs(self.mu) / self.sigma


def criteria_source(item: str) -> Source:
    """Cite a derivation of this package for scores of a paper, given in the docstring of the measurement."""
    return Source.ours(f"{item} (criteria of Li et al., arXiv:2402.11025)")


def decades(low: float, high: float) -> st.SearchStrategy[float]:
    """Draw positive numbers, evenly over powers of ten."""
    return st.floats(low, high).map(lambda exponent: 10.0**exponent)


def normals(scales: tuple[float, float], ratios: tuple[float, float]) -> st.SearchStrategy[Normal]:
    """Draw laws whose deviation and whose r have exponents in given ranges; r may be zero, the mean of either sign."""
    return st.builds(
        lambda sigma, r, sign, rate: Normal(sign * r * sigma, sigma, rate),
        decades(*scales),
        st.just(0.0) | decades(*ratios),
        st.sampled_from((-1.0, 1.0)),
        decades(-1, 0.3),
    )


def published_start(rng: np.random.Generator, n: int, scale: float = 1.0) -> tuple[Float64Array, Float64Array]:
    """Return means and deviations as the published program starts layers, multiplied."""
    return scale * rng.normal(0.0, 0.01, n), scale * np.abs(rng.normal(6e-4, 5e-4, n))


def quadrature(r: float, reach: float = 0.0) -> tuple[Float64Array, Float64Array]:
    """Return nodes z and logarithms of weights of the standard normal law, with a panel that ends where z = -r.

    The absolute value of r + z is smooth on every panel. `reach` is how far an exponential may shift the law.
    """
    limit = _REACH + reach
    edges = np.unique(np.clip([*np.arange(-limit, limit, 1.0), limit, -r], -limit, limit))
    x, weights = np.polynomial.legendre.leggauss(20)
    halves, middles = np.diff(edges) / 2, (edges[1:] + edges[:-1]) / 2
    z = (middles[:, None] + halves[:, None] * x).ravel()
    logs = np.log((halves[:, None] * weights).ravel()) - z * z / 2 - np.log(2 * np.pi) / 2
    return z, logs


def log_mean(terms: Float64Array, logs: Float64Array) -> float:
    """Return the logarithm of the mean of exponentials."""
    return float(logsumexp(terms + logs))
