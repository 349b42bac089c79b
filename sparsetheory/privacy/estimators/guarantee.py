"""What privacy a fit gives, and the source of its coin."""

import math
import secrets
from dataclasses import dataclass
from decimal import Decimal, localcontext

import numpy as np
from numpy.typing import NDArray

from sparsetheory.constraints import generator
from sparsetheory.privacy.device.coin import keep_threshold
from sparsetheory.privacy.device.gaussian import gaussian_delta
from sparsetheory.privacy.device.gaussian_noise import gaussian_releases
from sparsetheory.privacy.device.schema import LDPSchema

__all__ = ["PrivacyGuarantee", "SeededCoin", "Seeds", "draw_seeds", "realised_eps"]


@dataclass(frozen=True)
class PrivacyGuarantee:
    """The privacy of every user in a fit.

    Parameters
    ----------
    eps, delta : float
        Privacy parameters.
    mechanism : str
        The randomizer.
    unit : str
        What is protected, against whom.
    private : bool
        False for simulations: their coins came from a seed, and whoever knows it knows the data.
    """

    eps: float
    delta: float
    mechanism: str
    unit: str
    private: bool


@dataclass(frozen=True)
class Seeds:
    """The seeds of a fit.

    Parameters
    ----------
    public_seed : int
        Of the public directions, in [0, 2^128).
    coin_seed : int or None
        Of the coin in a simulation; None where the operating system tosses it.
    """

    public_seed: int
    coin_seed: int | None


def draw_seeds(
    public_seed: int | None, simulation: bool, random_state: int | np.random.Generator | np.random.RandomState | None
) -> Seeds:
    """Return the seeds of a fit; only a simulation draws one for the coin.

    Parameters
    ----------
    public_seed : int or None
        Given by the user, or drawn: for a simulation from `random_state`, else from the operating system.
    simulation : bool
    random_state : int, Generator, RandomState or None

    Returns
    -------
    Seeds
    """
    if not simulation:
        return Seeds(secrets.randbits(128) if public_seed is None else public_seed, None)
    rng = generator(random_state)
    public, coin = (int.from_bytes(rng.bytes(16), "little") for _ in range(2))
    return Seeds(public if public_seed is None else public_seed, coin)


class SeededCoin:
    """A coin for simulations: words of a seeded generator, in order.

    Parameters
    ----------
    seed : int
    """

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def __call__(self, count: int) -> NDArray[np.uint64]:
        """Return the next words."""
        return self._rng.integers(0, 2**64, count, dtype=np.uint64)


def realised_eps(schema: LDPSchema) -> float:
    """Return the privacy parameter that the integers of the code realise; at most eps.

    For bits the logarithm of the ratio of the two integer probabilities. For Gaussian messages the smallest eps with
    the delta of the schema, by bisection.
    """
    if not schema.delta:
        kept = keep_threshold(schema.eps)
        with localcontext() as context:
            context.prec = 60
            # The double next to a number of at most eps is at most eps.
            return float((Decimal(kept) / Decimal(2**64 - kept)).ln())
    low, high = 0.0, schema.eps
    releases = gaussian_releases(schema)
    mu = sum(release.mu**2 for release in releases) ** 0.5
    distance = sum(release.total_variation for release in releases)
    for _ in range(60):
        middle = (low + high) / 2
        delta = gaussian_delta(middle, mu) + (1 + math.exp(middle)) * distance
        low, high = (low, middle) if delta <= schema.delta else (middle, high)
    return high
