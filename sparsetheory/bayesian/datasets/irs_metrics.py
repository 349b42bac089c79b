"""Errors of estimated channels through a reflecting surface: mean squared errors and symbol errors."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsetheory.bayesian.datasets.irs_mimo import IRSProblem
from sparsetheory.bayesian.datasets.kronecker import noise_at
from sparsetheory.bayesian.kronecker.algebra import kron_matvec
from sparsetheory.constraints import COUNT, FINITE, generator

__all__ = ["irs_channels", "irs_nmse", "irs_ser", "perfect_ser"]

_Complex = NDArray[np.complex128]


def irs_channels(problem: IRSProblem, estimate: ArrayLike) -> _Complex:
    """Return the channels that an estimate stands for.

    Parameters
    ----------
    problem : IRSProblem
        As :func:`make_irs_mimo` returns it.
    estimate : array-like of shape (n_angles**3,)
        Coefficients.

    Returns
    -------
    ndarray of shape (n_patterns, n_base_antennas, n_mobile_antennas)

    Raises
    ------
    ValueError
        If the length does not fit.
    """
    n_patterns, n_base, n_mobile = problem.channels.shape
    flat = kron_matvec(problem.channel_dictionaries, np.reshape(estimate, -1))
    return flat.reshape(n_patterns, n_mobile, n_base).transpose(0, 2, 1)


def irs_nmse(problem: IRSProblem, estimate: ArrayLike) -> float:
    """Return the normalised squared error of the channels, averaged over patterns.

    Parameters
    ----------
    problem : IRSProblem
        As :func:`make_irs_mimo` returns it.
    estimate : array-like of shape (n_angles**3,)
        Coefficients.

    Returns
    -------
    float
        Mean of ``|H_hat - H|_F^2 / |H|_F^2``.

    Raises
    ------
    ValueError
        If the length of the estimate does not fit.
    """
    errors = np.linalg.norm(irs_channels(problem, estimate) - problem.channels, axis=(1, 2))
    return float(np.mean((errors / np.linalg.norm(problem.channels, axis=(1, 2))) ** 2))


def irs_ser(problem: IRSProblem, estimate: ArrayLike, *, n_symbols: int = 100_000, random_state: Any = None) -> float:
    """Return the symbol error rate of four-phase transmission over the estimated channels.

    Parameters
    ----------
    problem : IRSProblem
        As :func:`make_irs_mimo` returns it; symbols are sent at its signal-to-noise ratio.
    estimate : array-like of shape (n_angles**3,)
        Coefficients; the leading singular vectors of their channels are the beams.
    n_symbols : int
        Symbols per pattern.
    random_state : int, RandomState, Generator or None
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
    n_symbols, source = COUNT.check("n_symbols", n_symbols), generator(random_state)
    constellation = np.array([1.0, 1j, -1.0, -1j])
    rates = []
    for true, estimated in zip(problem.channels, irs_channels(problem, estimate), strict=True):
        U, s, Vh = np.linalg.svd(estimated)
        gain = U[:, 0].conj() @ true @ Vh[0].conj()
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
    >>> from sparsetheory.bayesian.datasets.irs_metrics import perfect_ser
    >>> round(perfect_ser(4.0), 4)
    0.1098
    """
    tail = 0.5 * math.erfc(math.sqrt(0.5 * 10.0 ** (FINITE.check("snr_db", snr_db) / 10.0)))
    return 2.0 * tail - tail * tail
