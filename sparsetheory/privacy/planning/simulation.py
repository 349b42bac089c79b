"""The release of any number of users, drawn at once from the law of its sums."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import wishart

from sparsetheory.arrays import finite_array
from sparsetheory.constraints import COUNT, NONNEGATIVE, generator
from sparsetheory.privacy.collection.moments import ReleasedMoments
from sparsetheory.privacy.collection.noise import release_noise
from sparsetheory.privacy.device.schema import LDPSchema
from sparsetheory.typing import Float64Array

__all__ = ["simulate_aggregate"]


def simulate_aggregate(
    n_samples: int,
    covariance: ArrayLike,
    coef: ArrayLike,
    noise_std: float,
    schema: LDPSchema,
    *,
    random_state: int | np.random.Generator | None = None,
) -> ReleasedMoments:
    r"""Return moments as `n_samples` users would release them; 10^13 users cost as much as ten.

    The features are normal, and :math:`y = \langle x, \theta \rangle + \zeta` with normal :math:`\zeta`. Sums of the
    private noises are drawn from their normal limit. Clipping is not simulated.

    Parameters
    ----------
    n_samples : int
        Number of users.
    covariance : array-like of shape (n_features, n_features)
        Covariance of the features, in units of `scale_x`, positive definite.
    coef : array-like of shape (n_features,)
        Coefficients, in units of `scale_x`.
    noise_std : float
        Standard deviation of :math:`\zeta`.
    schema : LDPSchema
        The collection; without an intercept.
    random_state : int, Generator or None
        Seed.

    Returns
    -------
    ReleasedMoments
        A simulated aggregate. With more users than features the clean moments have their exact law, a Wishart one.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.privacy import LDPSchema
    >>> schema = LDPSchema(mechanism="sketch", eps=1.0, n_features=5, clip_x=5.0, clip_y=3.0)
    >>> moments = simulate_aggregate(10**12, np.eye(5), np.eye(5)[0], 0.5, schema, random_state=0)
    >>> np.abs(moments.cross).round(2).tolist()
    [1.0, 0.0, 0.0, 0.0, 0.0]
    """
    n = COUNT.check("n_samples", n_samples)
    sigma = finite_array("covariance", covariance, ndim=2).astype(np.float64)
    theta = finite_array("coef", coef, ndim=1).astype(np.float64)
    noise_std = NONNEGATIVE.check("noise_std", noise_std)
    d = schema.n_features
    if sigma.shape != (d, d) or theta.shape != (d,):
        raise ValueError(f"covariance and coef must belong to {d} features; got shapes {sigma.shape}, {theta.shape}")
    if schema.fit_intercept:
        raise ValueError("schema must be without an intercept; got fit_intercept=True")
    rng = generator(random_state)
    clean = _clean_moments(n, sigma, theta, noise_std, rng)
    noise, root = release_noise(schema), np.sqrt(n)
    cross = clean[:d, d] + noise.cross_std / root * rng.standard_normal(d)
    second = None
    if schema.moments == "joint":
        upper = np.triu(rng.standard_normal((d, d)), 1) * noise.off_diagonal_std
        diagonal = noise.diagonal_std * rng.standard_normal(d)
        second = clean[:d, :d] + (upper + upper.T + np.diag(diagonal)) / root
    return ReleasedMoments(second, cross, None, noise, n)


def _clean_moments(
    n: int, sigma: Float64Array, theta: Float64Array, noise_std: float, rng: np.random.Generator
) -> Float64Array:
    """Return the second moments of n draws of features and response."""
    d = theta.size
    # Features and noise of the response have a block covariance; the response is a linear function of both.
    mixing = np.eye(d + 1)
    mixing[d, :d] = theta
    half = np.zeros((d + 1, d + 1))
    half[:d, :d] = np.linalg.cholesky(sigma)
    half[d, d] = noise_std
    root = mixing @ half
    if n <= d + 1:
        draws = rng.standard_normal((n, d + 1)) @ root.T
        return draws.T @ draws / n
    return root @ wishart.rvs(n, np.eye(d + 1), random_state=rng) @ root.T / n
