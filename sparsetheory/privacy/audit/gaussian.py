"""Statistical audit of Gaussian privacy: a lower bound of mu that holds with confidence."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsetheory.constraints import generator
from sparsetheory.privacy.audit.cells import statistic_cells
from sparsetheory.privacy.audit.events import Split, best_set, counted_rates
from sparsetheory.privacy.audit.frontiers import (
    detectable_mu,
    expected_mu_lower,
    gaussian_bound,
    gaussian_level,
    power_in_words,
)
from sparsetheory.privacy.audit.messages import draw, statistic_values
from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["GaussianAudit", "audit_gdp"]

Sampler = Callable[[int, np.random.Generator], Any]
"""sampler(n, rng) returns n independent messages."""

# Beyond this length a covariance matrix is not estimated: entries are taken as uncorrelated.
_LONGEST_WHITENED = 200


@dataclass(frozen=True)
class GaussianAudit:
    """What an audit of mu found.

    Parameters
    ----------
    mu : float
        The promise.
    mu_lower : float
        Lower bound of the true mu, wrong with probability at most `alpha`.
    violated : bool
        Whether `mu_lower` exceeds `mu`. False is no proof of privacy.
    event : str
        The event that tells the inputs apart; it is likelier under the first.
    n_samples : int
        Draws per input, half of which were counted.
    alpha : float
        Probability of a false alarm.
    expected_mu_lower : float
        What a Gaussian mechanism that spends exactly `mu` would give.
    detectable_mu : float
        The smallest true mu of a Gaussian mechanism that would have been noticed with probability 0.95.
    """

    mu: float
    mu_lower: float
    violated: bool
    event: str
    n_samples: int
    alpha: float
    expected_mu_lower: float
    detectable_mu: float

    def __str__(self) -> str:
        verdict = "VIOLATED" if self.violated else "not refuted"
        return (
            f"mu = {self.mu:g}: {verdict}. True mu >= {self.mu_lower:.4f} (confidence {1 - self.alpha:g}),\n"
            f"event: {self.event}.\n"
            + power_in_words("mu", self.expected_mu_lower, self.detectable_mu, self.n_samples, "a Gaussian mechanism")
        )


def audit_gdp(
    sampler0: Sampler,
    sampler1: Sampler,
    mu: float,
    *,
    n_samples: int,
    alpha: float = 1e-3,
    statistic: Callable[[AnyArray], Any] | None = None,
    random_state: Any = None,
) -> GaussianAudit:
    """Try to refute that two inputs are as hard to tell apart as N(0, 1) and N(mu, 1).

    An audit of (eps, delta) with a tiny delta looks at events of that tiny probability, and no affordable number of
    draws shows them: a Gaussian mechanism with half the noise it needs passes. Its whole trade-off curve is one
    number, mu, and the middle of the curve is seen best. Any event gives a lower bound: normal quantile of its
    probability under one input less that under the other.

    Parameters
    ----------
    sampler0, sampler1 : callable
        ``sampler(n, rng)`` returns n independent messages for one input each, n x length. Take the two inputs that
        the analysis calls worst.
    mu : float
        The promise, above 0, for these two inputs.
    n_samples : int
        Draws per input, at least 100.
    alpha : float
        Probability of a false alarm.
    statistic : callable or None
        ``statistic(messages)`` returns one number per message; best is the logarithm of the ratio of likelihoods. None
        learns a linear one from the first quarter: the difference of means over the covariance, of which only the
        diagonal is used beyond 200 entries.
    random_state : int, Generator or None
        Makes the draws of the samplers reproducible, as far as they use them.

    Returns
    -------
    GaussianAudit

    Raises
    ------
    ValueError
        If a parameter is out of range, or a sampler returns something else than n finite messages.

    Notes
    -----
    Like :func:`audit_pure` it is sound for any mechanism and not complete. A learnt direction is off by about
    sqrt(length / n_samples) in units of the noise, so pass a statistic for long messages and small mu.
    The cost is 2 n_samples draws, and length^2 n_samples operations for the covariance.

    References
    ----------
    Dong, Roth and Su, "Gaussian differential privacy" (2022), for the trade-off curve.

    Examples
    --------
    >>> from sparsetheory.privacy import audit_gdp
    >>> def sampler0(n, rng):
    ...     return rng.standard_normal((n, 1))
    >>> def sampler1(n, rng):
    ...     return 1.0 + rng.standard_normal((n, 1))
    >>> audit_gdp(sampler0, sampler1, 1.0, n_samples=20_000, random_state=0).violated
    False
    >>> audit_gdp(sampler0, sampler1, 0.5**0.5, n_samples=20_000, random_state=0).violated
    True
    """
    level = gaussian_level(mu, n_samples, alpha)
    rng = generator(random_state)
    drawn = draw([("sampler0", sampler0), ("sampler1", sampler1)], n_samples, rng)
    split = Split(n_samples)
    words = "statistic"
    if statistic is None:
        direction = _discriminant(*(rows[split.learn].astype(np.float64) for rows in drawn.values()))
        statistic, words = (lambda rows: rows @ direction), "learnt linear statistic"
    values = {i: statistic_values(statistic(rows), n_samples) for i, rows in drawn.items()}
    cells = statistic_cells(values, split.learn, words)
    _, members = best_set(cells, (0, 1), split, level, gaussian_bound)
    lower = max(float(gaussian_bound(*counted_rates(cells, members, (0, 1), split, level))), 0.0)
    return GaussianAudit(
        mu=float(mu),
        mu_lower=lower,
        violated=lower > mu,
        event=cells.describe(members),
        n_samples=n_samples,
        alpha=alpha,
        expected_mu_lower=expected_mu_lower(mu, split.n_counted, level),
        detectable_mu=detectable_mu(mu, n_samples=n_samples, alpha=alpha),
    )


def _discriminant(first: Float64Array, second: Float64Array) -> Float64Array:
    """Return the direction of Fisher: the difference of means, divided by the covariance within the inputs.

    An entry that is constant within both inputs and differs between them tells them apart with certainty. Variances
    are kept above a tiny share of the squared difference, so that such an entry outweighs all others.
    """
    means = [rows.mean(axis=0) for rows in (first, second)]
    difference = means[0] - means[1]
    # Rounding of means is far below this share of the squared difference.
    floor = 1e-12 * max(float(difference @ difference), np.finfo(float).tiny)
    if first.shape[1] > _LONGEST_WHITENED:
        return difference / (np.mean([rows.var(axis=0) for rows in (first, second)], axis=0) + floor)
    within = np.mean([np.atleast_2d(np.cov(rows, rowvar=False, bias=True)) for rows in (first, second)], axis=0)
    return np.linalg.solve(within + floor * np.eye(len(difference)), difference)
