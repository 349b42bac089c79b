"""Channel estimation for a link that an intelligent reflecting surface relays, as a Kronecker sparse problem."""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsetheory.bayesian.datasets.kronecker import noise_at, standard_normal
from sparsetheory.constraints import COUNT, FINITE, generator
from sparsetheory.typing import AnyArray, Float64Array, IndexArray

__all__ = ["IRSProblem", "make_irs_mimo"]

_Complex = NDArray[np.complex128]
# A surface pattern whose channel is weaker than this is drawn again.
_WEAKEST = 1e-5


@dataclass(frozen=True, eq=False)
class IRSProblem:
    """Pilot measurements of the channels through a reflecting surface, with the truth."""

    dictionaries: list[AnyArray]
    """Of the patterns, of the mobile station seen through the pilots, and of the base station; ``n_angles`` columns."""
    y: _Complex
    """Measurements, shape (n_patterns * n_pilots * n_base_antennas,)."""
    x: _Complex
    """True coefficients, shape (n_angles**3,): a block of ``angular_spread`` x 1 x ``angular_spread`` is not zero."""
    channels: _Complex
    """The channel of each pattern, shape (n_patterns, n_base_antennas, n_mobile_antennas)."""
    noise_variance: float
    """Variance of the noise per measurement, both parts together."""
    snr_db: float
    """Signal-to-noise ratio in decibels."""
    signal: _Complex
    """Measurements without noise."""
    supports: list[IndexArray]
    """Support of each mode, sorted."""
    channel_dictionaries: list[AnyArray]
    """Dictionaries that map coefficients to the channels themselves, without pilots."""
    pilots: AnyArray
    """Pilot symbols, shape (n_mobile_antennas, n_pilots)."""
    patterns: AnyArray
    """Patterns of the surface, shape (n_surface_elements, n_patterns)."""


def _steering(n_antennas: int, n_angles: int) -> _Complex:
    """Return unit responses of antennas to spatial frequencies that are equally spaced in [-1, 1)."""
    frequencies = -1.0 + 2.0 * np.arange(n_angles) / n_angles
    return np.exp(1j * np.pi * np.outer(np.arange(n_antennas), frequencies)) / math.sqrt(n_antennas)


def _given(name: str, value: Any, shape: tuple[int, int], default: AnyArray) -> AnyArray:
    """Return a checked matrix of the user, or what was drawn in its place."""
    if value is None:
        return default
    matrix = np.asarray(value)
    if matrix.shape != shape or not np.isfinite(matrix).all():
        raise ValueError(f"{name} must be a finite matrix of shape {shape}; got shape {matrix.shape}")
    return matrix


@dataclass(frozen=True, eq=False)
class _Path:
    """Gains of a path that arrives on a block of neighbouring frequencies."""

    gains: _Complex
    where: IndexArray

    @classmethod
    def drawn(cls, rng: np.random.Generator, n_angles: int, spread: int) -> "_Path":
        where = int(rng.integers(n_angles - spread + 1)) + np.arange(spread)
        gains = np.zeros(n_angles, dtype=np.complex128)
        gains[where] = standard_normal(rng, spread, True)
        return cls(gains, where)


@dataclass(frozen=True, eq=False)
class _Link:
    """A mobile station, a surface and a base station: their steering vectors, and the paths between them.

    The path from the mobile station leaves in one direction and arrives at the surface on a block of frequencies; the
    path from the surface leaves on one frequency and arrives at the base station on a block.
    """

    mobile: _Complex
    base: _Complex
    surface: _Complex
    departure: int
    relayed: int
    at_surface: _Path
    at_base: _Path

    @property
    def _amplitude(self) -> float:
        """Root of the product of the sizes, over the number of frequencies of a block."""
        sizes = self.mobile.shape[0] * self.base.shape[0]
        return self.surface.shape[0] * math.sqrt(sizes) / self.at_base.where.size

    @property
    def to_surface(self) -> _Complex:
        """The channel from the mobile station to the surface."""
        scale = self.mobile.shape[0] * self.surface.shape[0] / self.at_surface.where.size
        return math.sqrt(scale) * np.outer(self.surface @ self.at_surface.gains, self.mobile[:, self.departure].conj())

    @property
    def to_base(self) -> _Complex:
        """The channel from the surface to the base station."""
        scale = self.base.shape[0] * self.surface.shape[0] / self.at_base.where.size
        return math.sqrt(scale) * np.outer(self.base @ self.at_base.gains, self.surface[:, self.relayed].conj())

    def drawn_patterns(self, rng: np.random.Generator, n_patterns: int) -> Float64Array:
        """Draw signs of the elements of the surface, each pattern until its channel does not vanish."""
        to_surface, to_base = self.to_surface, self.to_base
        return np.stack([_drawn_pattern(rng, to_surface, to_base) for _ in range(n_patterns)], axis=1)

    def coefficients(self) -> tuple[_Complex, list[IndexArray]]:
        """Return the coefficients in the three dictionaries, and their supports.

        A pattern sees the difference of two frequencies at the surface: of arrival there, and of departure.
        """
        n_angles = self.mobile.shape[1]
        difference = (self.relayed - self.at_surface.where) % n_angles
        cascaded = np.zeros(n_angles, dtype=np.complex128)
        cascaded[difference] = self.at_surface.gains[self.at_surface.where]
        x = np.zeros((n_angles, n_angles, n_angles), dtype=np.complex128)
        x[:, self.departure, :] = self._amplitude * np.outer(cascaded, self.at_base.gains)
        return x.reshape(-1), [np.sort(difference), np.array([self.departure]), self.at_base.where]


def _drawn_pattern(rng: np.random.Generator, to_surface: _Complex, to_base: _Complex) -> Float64Array:
    n_elements = to_surface.shape[0]
    for _ in range(1000):
        pattern = rng.choice([-1.0, 1.0], n_elements) / math.sqrt(n_elements)
        if np.linalg.norm((to_base * pattern) @ to_surface) >= _WEAKEST:
            return pattern
    raise ValueError(
        "no pattern of the surface lets a channel through; take a larger n_surface_elements or another random_state"
    )


def make_irs_mimo(
    *,
    n_mobile_antennas: int = 6,
    n_base_antennas: int = 16,
    n_surface_elements: int = 256,
    n_angles: int = 18,
    n_pilots: int = 3,
    n_patterns: int = 6,
    angular_spread: int = 3,
    snr_db: float = 12,
    random_state: Any = None,
    pilots: ArrayLike | None = None,
    patterns: ArrayLike | None = None,
) -> IRSProblem:
    r"""Draw a multi-antenna uplink through a reflecting surface, on a grid of angles.

    Parameters
    ----------
    n_mobile_antennas, n_base_antennas, n_surface_elements : int
        Antennas of the mobile station and of the base station, elements of the surface.
    n_angles : int
        Angles of the grid; at least as many as antennas for dictionaries that span their spaces.
    n_pilots, n_patterns : int
        Pilot symbols per pattern, patterns of the surface.
    angular_spread : int
        Number of neighbouring angles at which a path arrives at the surface, and at the base station.
    snr_db : float
        Signal-to-noise ratio of the measurements in decibels.
    random_state : int, RandomState, Generator or None
        Source of randomness.
    pilots : array-like of shape (n_mobile_antennas, n_pilots), optional
        Pilot symbols; by default random phases, scaled so that a symbol has unit power over the antennas.
    patterns : array-like of shape (n_surface_elements, n_patterns), optional
        Patterns of the surface; by default random signs over the root of the number of elements.

    Returns
    -------
    IRSProblem

    Raises
    ------
    ValueError
        If a size is not a positive integer, the spread exceeds the number of angles, or given pilots or patterns have
        another shape.

    Warns
    -----
    UserWarning
        If there are fewer angles than antennas.

    Notes
    -----
    With steering vectors :math:`a_n(\psi)_m = e^{j\pi m\psi}/\sqrt n` the channel of pattern :math:`\theta` is
    :math:`H_{BS}\,\mathrm{diag}(\theta)H_{MS}`. Of the products of two frequencies at the surface only the difference
    matters, so `n_angles` columns are enough for the first mode. Y. He and G. Joseph, arXiv:2307.14719, experiment.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import kron_matvec, make_irs_mimo
    >>> problem = make_irs_mimo(
    ...     n_mobile_antennas=3, n_base_antennas=4, n_surface_elements=16, n_angles=6, snr_db=10, random_state=0
    ... )
    >>> np.allclose(kron_matvec(problem.dictionaries, problem.x), problem.signal)
    True
    """
    T, R, L, N, spread = n_mobile_antennas, n_base_antennas, n_surface_elements, n_angles, angular_spread
    COUNT.require(n_mobile_antennas=T, n_base_antennas=R, n_surface_elements=L, n_angles=N, n_pilots=n_pilots)
    COUNT.require(n_patterns=n_patterns, angular_spread=spread)
    if spread > N:
        raise ValueError(f"angular_spread must be at most n_angles = {N}; got {spread}")
    FINITE.check("snr_db", snr_db)
    if max(T, R) > N:
        warnings.warn(f"n_angles={N} is less than the {max(T, R)} antennas: the grid is coarse", stacklevel=2)
    source = generator(random_state)
    departure, relayed = (int(source.integers(N)) for _ in range(2))
    paths = [_Path.drawn(source, N, spread) for _ in range(2)]
    link = _Link(_steering(T, N), _steering(R, N), _steering(L, N), departure, relayed, *paths)
    signs = source.choice([-1.0, 1.0], (2, T, n_pilots))
    symbols = _given("pilots", pilots, (T, n_pilots), (signs[0] + 1j * signs[1]) / math.sqrt(2.0 * T))
    used = _given("patterns", patterns, (L, n_patterns), link.drawn_patterns(source, n_patterns))
    to_surface, to_base = link.to_surface, link.to_base
    channels = np.stack([(to_base * pattern) @ to_surface for pattern in used.T])
    signal = (channels @ symbols).transpose(0, 2, 1).reshape(-1)
    noise, variance = noise_at(source, signal, snr_db)
    first = used.T @ (np.exp(-2j * np.pi * np.outer(np.arange(L), np.arange(N)) / N) / L)
    x, supports = link.coefficients()
    return IRSProblem(
        dictionaries=[first, symbols.T @ link.mobile.conj(), link.base],
        y=signal + noise,
        x=x,
        channels=channels,
        noise_variance=variance,
        snr_db=float(snr_db),
        signal=signal,
        supports=supports,
        channel_dictionaries=[first, link.mobile.conj(), link.base],
        pilots=symbols,
        patterns=used,
    )
