"""Channel estimation for a link that an intelligent reflecting surface relays, as a Kronecker sparse problem."""

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Bunch

from sparsetheory.bayesian.datasets.kronecker import check_snr, noise_at, standard_normal
from sparsetheory.bayesian.kronecker.algebra import kron_matvec
from sparsetheory.constraints import COUNT, generator
from sparsetheory.typing import AnyArray, Float64Array, IndexArray

__all__ = ["irs_channels", "irs_nmse", "irs_ser", "make_irs_mimo", "perfect_ser"]

_Complex = NDArray[np.complex128]
# A surface pattern whose channel is weaker than this is drawn again.
_WEAKEST = 1e-5


def _steering(n: int, res: int) -> _Complex:
    """Return unit responses of n antennas to `res` spatial frequencies, equally spaced in [-1, 1)."""
    frequencies = -1.0 + 2.0 * np.arange(res) / res
    return np.exp(1j * np.pi * np.outer(np.arange(n), frequencies)) / math.sqrt(n)


def _block_gains(rng: np.random.Generator, res: int, spread: int) -> tuple[_Complex, IndexArray]:
    """Draw gains on neighbouring frequencies, and where they are."""
    where = int(rng.integers(res - spread + 1)) + np.arange(spread)
    gains = np.zeros(res, dtype=np.complex128)
    gains[where] = standard_normal(rng, spread, True)
    return gains, where


def _pattern(rng: np.random.Generator, to_surface: _Complex, to_base: _Complex) -> Float64Array:
    """Draw signs of the elements of the surface until the channel through it does not vanish."""
    for _ in range(1000):
        theta = rng.choice([-1.0, 1.0], to_surface.shape[0]) / math.sqrt(to_surface.shape[0])
        if np.linalg.norm((to_base * theta) @ to_surface) >= _WEAKEST:
            return theta
    raise ValueError("no pattern of the surface lets a channel through; take a larger L or another rng")


def _given(name: str, value: Any, shape: tuple[int, int], default: AnyArray) -> AnyArray:
    if value is None:
        return default
    matrix = np.asarray(value)
    if matrix.shape != shape or not np.isfinite(matrix).all():
        raise ValueError(f"{name} must be a finite matrix of shape {shape}; got shape {matrix.shape}")
    return matrix


def make_irs_mimo(
    T: int = 6,
    R: int = 16,
    L: int = 256,
    res: int = 18,
    n_pilots: int = 3,
    n_patterns: int = 6,
    spread: int = 3,
    snr_db: float = 12,
    rng: Any = None,
    *,
    pilots: ArrayLike | None = None,
    patterns: ArrayLike | None = None,
) -> Bunch:
    r"""Draw a multi-antenna uplink through a reflecting surface, on a grid of angles.

    Parameters
    ----------
    T, R, L : int
        Antennas of the mobile station and the base station, elements of the surface.
    res : int
        Angles of the grid; at least T and R for dictionaries that span their spaces.
    n_pilots, n_patterns : int
        Pilot symbols per pattern, patterns of the surface.
    spread : int
        Neighbouring angles at which a path arrives at the surface, and at the base station.
    snr_db : float
        Signal-to-noise ratio of the measurements in decibels.
    rng : None, int, Generator or RandomState
        Source of randomness.
    pilots : array-like of shape (T, n_pilots), optional
        Pilot symbols; random phases of modulus ``T**-0.5`` by default.
    patterns : array-like of shape (L, n_patterns), optional
        Patterns of the surface; random signs of modulus ``L**-0.5`` by default.

    Returns
    -------
    Bunch
        As : three dictionaries, of shapes (n_patterns, res), (n_pilots, res), (R, res).
        y : ndarray of shape (n_patterns * n_pilots * R,).
        x : ndarray of shape (res**3,), support of `spread` x 1 x `spread` entries.
        H : ndarray of shape (n_patterns, R, T), the channels.
        noise_variance, snr_db : float.
        signal : ndarray, y without noise.
        supports : list of ndarray of int.
        channel_As : three dictionaries that map x to the channels.
        pilots, patterns : ndarray of shapes (T, n_pilots), (L, n_patterns).

    Raises
    ------
    ValueError
        If a size is not a positive integer, `spread` exceeds `res`, or given pilots or patterns have another shape.

    Notes
    -----
    With steering vectors :math:`a_n(\psi)_m = e^{j\pi m\psi}/\sqrt n` the channel of pattern :math:`\theta` is
    :math:`H_{BS}\,\mathrm{diag}(\theta)H_{MS}`. Of the products of two frequencies at the surface only the difference
    matters, so `res` columns are enough for the first mode. Y. He and G. Joseph, arXiv:2307.14719, experiment.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import kron_matvec, make_irs_mimo
    >>> problem = make_irs_mimo(T=3, R=4, L=16, res=6, snr_db=10, rng=0)
    >>> np.allclose(kron_matvec(problem.As, problem.x), problem.signal)
    True
    """
    COUNT.require(T=T, R=R, L=L, res=res, n_pilots=n_pilots, n_patterns=n_patterns, spread=spread)
    if spread > res:
        raise ValueError(f"spread must be at most res = {res}; got {spread}")
    if res < max(T, R):
        warnings.warn(f"res = {res} angles are fewer than antennas, {max(T, R)}: the grid is coarse", stacklevel=2)
    snr_db, source = check_snr(snr_db), generator(rng)
    A_T, A_R, A_L = (_steering(n, res) for n in (T, R, L))
    m0, q0 = (int(source.integers(res)) for _ in range(2))
    alpha, arrival = _block_gains(source, res, spread)
    delta, at_base = _block_gains(source, res, spread)
    to_surface = math.sqrt(T * L / spread) * np.outer(A_L @ alpha, A_T[:, m0].conj())
    to_base = math.sqrt(R * L / spread) * np.outer(A_R @ delta, A_L[:, q0].conj())
    signs = source.choice([-1.0, 1.0], (2, T, n_pilots))
    pilots = _given("pilots", pilots, (T, n_pilots), (signs[0] + 1j * signs[1]) / math.sqrt(2.0 * T))
    drawn = np.stack([_pattern(source, to_surface, to_base) for _ in range(n_patterns)], axis=1)
    patterns = _given("patterns", patterns, (L, n_patterns), drawn)
    H = np.stack([(to_base * theta) @ to_surface for theta in patterns.T])
    signal = (H @ pilots).transpose(0, 2, 1).reshape(-1)
    noise, variance = noise_at(source, signal, snr_db)
    surface = np.exp(-2j * np.pi * np.outer(np.arange(L), np.arange(res)) / res) / L
    first, difference = patterns.T @ surface, (q0 - arrival) % res
    cascaded = np.zeros(res, dtype=np.complex128)
    cascaded[difference] = alpha[arrival]
    x = np.zeros((res, res, res), dtype=np.complex128)
    x[:, m0, :] = L * math.sqrt(R * T) / spread * np.outer(cascaded, delta)
    return Bunch(
        As=[first, pilots.T @ A_T.conj(), A_R],
        y=signal + noise,
        x=x.reshape(-1),
        H=H,
        noise_variance=variance,
        snr_db=snr_db,
        signal=signal,
        supports=[np.sort(difference), np.array([m0]), at_base],
        channel_As=[first, A_T.conj(), A_R],
        pilots=pilots,
        patterns=patterns,
    )


def irs_channels(problem: Bunch, x_hat: ArrayLike) -> _Complex:
    """Return the channels that an estimate stands for.

    Parameters
    ----------
    problem : Bunch
        Of :func:`make_irs_mimo`.
    x_hat : array-like of shape (res**3,)
        Estimate.

    Returns
    -------
    ndarray of shape (n_patterns, R, T)

    Raises
    ------
    ValueError
        If the length does not fit.
    """
    n_patterns, R, T = problem.H.shape
    flat = kron_matvec(problem.channel_As, np.reshape(x_hat, -1))
    return flat.reshape(n_patterns, T, R).transpose(0, 2, 1)


def irs_nmse(problem: Bunch, x_hat: ArrayLike) -> float:
    """Return the normalised squared error of the channels, averaged over patterns.

    Parameters
    ----------
    problem : Bunch
        Of :func:`make_irs_mimo`.
    x_hat : array-like of shape (res**3,)
        Estimate.

    Returns
    -------
    float
        Mean of ``|H_hat - H|_F^2 / |H|_F^2``.

    Raises
    ------
    ValueError
        If the length of the estimate does not fit.
    """
    errors = np.linalg.norm(irs_channels(problem, x_hat) - problem.H, axis=(1, 2))
    return float(np.mean((errors / np.linalg.norm(problem.H, axis=(1, 2))) ** 2))


def irs_ser(problem: Bunch, x_hat: ArrayLike, n_symbols: int = 100_000, rng: Any = None) -> float:
    """Return the symbol error rate of four-phase transmission over the estimated channels.

    Parameters
    ----------
    problem : Bunch
        Of :func:`make_irs_mimo`; symbols are sent at its signal-to-noise ratio.
    x_hat : array-like of shape (res**3,)
        Estimate; its leading singular vectors are the beams.
    n_symbols : int
        Symbols per pattern.
    rng : None, int, Generator or RandomState
        Source of randomness.

    Returns
    -------
    float
        Average over patterns.

    Raises
    ------
    ValueError
        If the length of the estimate does not fit.
    """
    n_symbols, source = COUNT.check("n_symbols", n_symbols), generator(rng)
    constellation = np.array([1.0, 1j, -1.0, -1j])
    rates = []
    for H, estimate in zip(problem.H, irs_channels(problem, x_hat), strict=True):
        U, s, Vh = np.linalg.svd(estimate)
        gain = U[:, 0].conj() @ H @ Vh[0].conj()
        sent = source.integers(4, size=n_symbols)
        received = gain * constellation[sent]
        received = received + noise_at(source, received, problem.snr_db)[0]
        decided = np.argmin(np.abs(received[:, None] - s[0] * constellation), axis=1)
        rates.append(float(np.mean(decided != sent)))
    return float(np.mean(rates))


def perfect_ser(snr_db: float) -> float:
    r"""Return the symbol error rate of four-phase transmission over a known channel.

    Parameters
    ----------
    snr_db : float
        Signal-to-noise ratio in decibels.

    Returns
    -------
    float
        :math:`2Q(\sqrt\rho) - Q(\sqrt\rho)^2`.

    Examples
    --------
    >>> from sparsetheory.bayesian.datasets.irs_mimo import perfect_ser
    >>> round(perfect_ser(4.0), 4)
    0.1098
    """
    tail = 0.5 * math.erfc(math.sqrt(0.5 * 10.0 ** (check_snr(snr_db) / 10.0)))
    return 2.0 * tail - tail * tail
