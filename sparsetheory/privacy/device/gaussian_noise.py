"""Gaussian messages: integers, their noise calibrated with every rounding charged."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from .coin import Coin, secret_words, uniforms
from .gaussian import gaussian_delta, gaussian_mu
from .quantised_normal import NOISE_BITS, normal_table
from .schema import LDPSchema

__all__ = ["GaussianRelease", "gaussian_messages", "gaussian_releases"]

Draw = Callable[[NDArray[np.uint64]], NDArray[np.int64]]
"""Turns random words into odd integers."""

# Norms of clipped records round; nothing computed in doubles from so few numbers is further off.
_ROUNDING = 1.0 + 1e-9
# Below this share of the budget, what the lattice costs is no longer small.
_LARGEST_LATTICE_SHARE = 0.5


@dataclass(frozen=True)
class GaussianRelease:
    r"""One vector of a user, as lattice integers with noise.

    The vector is divided by the standard deviation of the noise, shifted by a random share of a step and rounded down
    to a lattice of step h = 2^-13. Its mean is then the vector, however many users have equal records. For every fixed
    shift, rounding moves two vectors of length p apart by at most :math:`\sqrt p\, h` in all. The noise is a cell of a
    normal number, also on the lattice. So the release is a function of exact Gaussian noise added to integers of known
    sensitivity.

    Parameters
    ----------
    sensitivity : float
        Largest distance of the vectors of two records.
    noise_std : float
        Standard deviation of the noise, in the unit of the vector.
    size : int
        Length p of the vector.
    """

    sensitivity: float
    noise_std: float
    size: int

    @property
    def unit(self) -> float:
        """What the integer 1 of a message stands for: half a lattice step."""
        return self.noise_std / normal_table(*NOISE_BITS).units

    @property
    def largest(self) -> int:
        """Largest magnitude of an integer that an honest client sends."""
        # Of the vector, which is no longer than the distance to that of a record of zeros, and of the noise.
        vector = math.ceil(self.sensitivity * _ROUNDING / (2 * self.unit)) + 1
        return 2 * (vector + len(normal_table(*NOISE_BITS).thresholds))

    @property
    def mu(self) -> float:
        """The Gaussian privacy parameter, rounding included."""
        return self.sensitivity * _ROUNDING / self.noise_std + _lattice_mu(self.size)

    @property
    def total_variation(self) -> float:
        """Distance between the law of the release and one with exact probabilities of the noise, at most."""
        return self.size * normal_table(*NOISE_BITS).total_variation

    def delta(self, eps: float) -> float:
        """Return delta for some eps, with what the rounded probabilities of the noise add."""
        return gaussian_delta(eps, self.mu) + _table_delta(eps, self.size)

    def encode(
        self,
        vectors: NDArray[np.float64],
        shifts: NDArray[np.float64],
        words: NDArray[np.uint64],
        draw: Draw | None = None,
    ) -> NDArray[np.int32]:
        """Return the messages of users.

        Parameters
        ----------
        vectors : ndarray of shape (n, size)
            What is released, within the sensitivity of each other.
        shifts : ndarray of shape (n, 1)
            Random numbers in [0, 1), for the rounding.
        words : ndarray of uint64, of shape (n, size)
            Secret random words.
        draw : callable, optional
            Turns words into odd integers, as the table of the noise does, which is the default.

        Returns
        -------
        ndarray of int32, of shape (n, size)
            In the unit of `unit`.
        """
        lattice = np.floor(vectors / (2 * self.unit) + shifts).astype(np.int64)
        noise = normal_table(*NOISE_BITS).draw(words) if draw is None else draw(words)
        return (2 * lattice + noise).astype(np.int32)


def _lattice_mu(size: int) -> float:
    return math.sqrt(size) * 2.0 ** -NOISE_BITS[0]


def _table_delta(eps: float, size: int) -> float:
    # Two laws that are t apart turn delta into delta + (1 + e^eps) t.
    return (1 + math.exp(eps)) * size * normal_table(*NOISE_BITS).total_variation


def gaussian_messages(
    schema: LDPSchema, vectors: tuple[NDArray[np.float64], ...], coin: Coin | None = None, draw: Draw | None = None
) -> NDArray[np.int32]:
    """Return the messages of users, all their releases side by side.

    Parameters
    ----------
    schema : LDPSchema
        Of a Gaussian mechanism.
    vectors : tuple of ndarray of shape (n, size)
        One for each release.
    coin : callable, optional
        Source of random words; the operating system by default. User i takes the words from
        i (n_products + 1) on: the first one for the rounding, the others for the noise.
    draw : callable, optional
        As in :meth:`GaussianRelease.encode`.

    Returns
    -------
    ndarray of int32, of shape (n, n_products)
    """
    releases = gaussian_releases(schema)
    n = len(vectors[0])
    width = schema.n_products + 1
    words = (secret_words if coin is None else coin)(n * width).reshape(n, width)
    shifts = uniforms(words[:, :1])
    parts = np.split(words[:, 1:], np.cumsum([release.size for release in releases])[:-1], axis=1)
    blocks = zip(releases, vectors, parts, strict=True)
    return np.hstack([release.encode(vector, shifts, part, draw) for release, vector, part in blocks])


@cache
def gaussian_releases(schema: LDPSchema) -> tuple[GaussianRelease, ...]:
    r"""Return the releases of one user: one of joint moments, or two in the published recipe.

    Parameters
    ----------
    schema : LDPSchema
        Of a Gaussian mechanism.

    Returns
    -------
    tuple of GaussianRelease

    Raises
    ------
    ValueError
        If eps or delta is too small for the lattice of the noise, or eps too large for the classical calibration.

    Notes
    -----
    With weight w of the response the vectors are :math:`(\mathrm{vech}(\xi\xi^T), w\,\upsilon\,\xi)` with
    :math:`\|\xi\| \le 1` and :math:`|\upsilon| \le 1`. For two records at cosine c of equal, largest norms their
    squared distance is :math:`2 (1 - c^2) + 2 w^2 (1 + c)`, where the responses have opposite signs. It is largest at
    :math:`c = w^2 / 2`, where it is :math:`(2 + w^2)^2 / 2`; for :math:`w^2 > 2` at c = 1, where it is :math:`4 w^2`.
    """
    size = schema.n_products
    if schema.mechanism == "gauss_tight":
        weight = schema.response_weight
        joint = (2 + weight**2) / math.sqrt(2) if weight**2 <= 2 else 2 * weight
        return (_calibrated(schema, 2.0 if schema.moments == "cross" else joint, size),)
    crossed = schema.n_design
    parts = 1 if schema.moments == "cross" else 2
    second = _classical(schema, 2 * math.sqrt(crossed), 2 * math.sqrt(crossed), crossed, parts)
    if schema.moments == "cross":
        return (second,)
    # The recipe takes 2 for the distance of two matrices of rank one and norm one, which is at most the root of 2.
    return (_classical(schema, 2.0, math.sqrt(2), size - crossed, parts), second)


def _calibrated(schema: LDPSchema, sensitivity: float, size: int) -> GaussianRelease:
    """Return the release with the least noise that is private, by the exact law."""
    left = schema.delta - _table_delta(schema.eps, size)
    if left <= 0.5 * schema.delta:
        least = 2 * _table_delta(schema.eps, size)
        raise ValueError(f"delta must be above {least:.1e} for {size} numbers a user; got {schema.delta!r}")
    mu = gaussian_mu(schema.eps, left)
    if _lattice_mu(size) > _LARGEST_LATTICE_SHARE * mu:
        raise ValueError(f"eps must be larger for {size} numbers a user on a lattice; got {schema.eps!r}")
    return GaussianRelease(sensitivity, sensitivity * _ROUNDING / (mu - _lattice_mu(size)), size)


def _classical(schema: LDPSchema, claimed: float, sensitivity: float, size: int, parts: int) -> GaussianRelease:
    """Return the release of the published recipe: the classical calibration, for an equal share of the budget."""
    eps, delta = schema.eps / parts, schema.delta / parts
    if eps >= 1:
        raise ValueError(
            f"eps must be below {parts} for the classical calibration of 'paper'; got {schema.eps!r}. "
            "'gauss_tight' has the analytic calibration, which holds for every eps"
        )
    release = GaussianRelease(sensitivity, claimed * math.sqrt(2 * math.log(1.25 / delta)) / eps, size)
    if release.delta(eps) > delta:
        raise ValueError(f"delta must be larger for {size} numbers a user; got {schema.delta!r}")
    return release
