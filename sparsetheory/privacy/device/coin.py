"""The secret coin: exact probabilities, compared as integers, from the operating system's random bits.

All privacy of the one-bit messages rests on this file. A user's true bit is sent with probability
``e^eps / (1 + e^eps)`` and its opposite otherwise. The probability is rounded down to a multiple of ``2^-64``, so the
ratio of the two probabilities is at most ``e^eps``, in rational numbers and not only in floating point.
"""

import os
from collections.abc import Callable
from decimal import ROUND_FLOOR, Decimal, localcontext
from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["LARGEST_EPS", "SMALLEST_EPS", "Coin", "keep_threshold", "private_signs", "secret_words", "uniforms"]

_WORD = 2**64
_DIGITS = 60

LARGEST_EPS = 20.0
"""Beyond it a message is no secret."""

SMALLEST_EPS = 1e-9
"""Below it the step of the probabilities of a coin, 2^-64, would no longer be small beside eps."""

Coin = Callable[[int], NDArray[np.uint64]]
"""Returns so many independent words of 64 random bits."""


def secret_words(count: int) -> NDArray[np.uint64]:
    """Return words of 64 bits from the cryptographic generator of the operating system.

    Parameters
    ----------
    count : int
        Number of words.

    Returns
    -------
    ndarray of uint64
    """
    return np.frombuffer(os.urandom(8 * count), dtype="<u8").astype(np.uint64, copy=False)


@cache
def keep_threshold(eps: float, kept: int = 1, others: int = 1) -> int:
    r"""Return the integer K for which "a random word of 64 bits is below K" is the private coin.

    Parameters
    ----------
    eps : float
        Privacy parameter, at least 1e-9.
    kept, others : int
        Numbers of equally likely messages behind the two sides of the coin: 1 and 1 for a bit.

    Returns
    -------
    int
        :math:`\lfloor 2^{64} p \rfloor` with :math:`p = e^\varepsilon N / (e^\varepsilon N + M)`. Rounding down keeps
        :math:`(K / N) / ((2^{64} - K) / M) \le e^\varepsilon`. At most :math:`2^{64} - 1`, as words are.

    Examples
    --------
    >>> keep_threshold(1.0) / 2**64
    0.7310585786300049
    """
    with localcontext() as context:
        context.prec = _DIGITS
        odds = Decimal(others) / Decimal(kept) / Decimal(eps).exp()
        # Computed downwards: the last of 60 digits could be rounded up, and 2^-64 is the 20th.
        context.rounding = ROUND_FLOOR
        return min(int(_WORD / (1 + odds) * (1 - Decimal(10) ** -50)), _WORD - 1)


def uniforms(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return numbers in [0, 1), multiples of 2^-53, from the upper bits of words.

    They decide which of two signs stands for a magnitude. Any mixture of the two signs is private, whatever its
    weights, so this coin may be a floating-point one.
    """
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def private_signs(
    true: NDArray[np.int8], agreement: NDArray[np.float64], eps: float, coin: Coin | None = None
) -> NDArray[np.int8]:
    """Return the signs that users send.

    A user rounds a magnitude to a sign first: `true` with the probability `agreement`, its opposite otherwise. The
    secret coin then keeps that sign or turns it.

    Parameters
    ----------
    true : ndarray of int8, of shape (n,)
        Signs, +1 or -1.
    agreement : ndarray of shape (n,)
        Probabilities; what lies outside [0, 1] counts as the nearer end.
    eps : float
        Privacy parameter, above 0.
    coin : callable, optional
        Source of random words; the operating system by default. User i takes the words 2i and 2i + 1.

    Returns
    -------
    ndarray of int8, of shape (n,)
        +1 or -1. For any two inputs the probabilities of a sign differ at most by the factor e^eps.
    """
    words = (secret_words if coin is None else coin)(2 * len(true)).reshape(-1, 2)
    agrees = uniforms(words[:, 0]) < agreement
    kept = words[:, 1] < np.uint64(keep_threshold(eps))
    return np.where(agrees == kept, true, -true).astype(np.int8)
