"""An explicit sparse hard instance: features from Reed-Solomon codes, of exactly known coherence."""

import math
from typing import Any

import numpy as np

from sparsetheory.bandits.environments.block_codes import BlockCodes, smallest_unsigned
from sparsetheory.bandits.environments.instance import NeedleInstance
from sparsetheory.bandits.environments.needles import choose_needle, needle_rewards
from sparsetheory.constraints import COUNT, FLAG, Integer, generator
from sparsetheory.numba_kernels.bandits.codes import polynomial_values

__all__ = ["code_words", "make_reed_solomon_needle"]

# Codes of 16 bits hold primes up to here.
_LARGEST_PRIME = 65_521
# Entries of a table of codes.
_MOST_ENTRIES = 2**31


def code_words(q: int, s: int, k: int, n_words: int | None = None) -> BlockCodes:
    """Return polynomials of degree below k by their values at 0, ..., s - 1, in the order of their coefficients.

    Parameters
    ----------
    q : int
        Size of the field, a prime.
    s : int
        Number of points, at most q.
    k : int
        Number of coefficients, from 2 to s: then no two code words are the same.
    n_words : int, optional
        How many of the q^k polynomials, the first ones; all by default.

    Raises
    ------
    ValueError
        If q is not prime, s exceeds it, k exceeds s, there are too few polynomials, or the table would have more than
        2^31 entries.
    """
    q = Integer(2, _LARGEST_PRIME).check("q", q)
    if any(q % factor == 0 for factor in range(2, math.isqrt(q) + 1)):
        raise ValueError(f"q must be a prime number; got {q}")
    s = Integer(2, q).check("s", s)
    k = Integer(2, s).check("k", k)
    n = q**k if n_words is None else COUNT.check("n_words", n_words)
    if n > q**k:
        raise ValueError(f"q ** k must be at least {n}, the number of different rows that are needed; got {q**k}")
    if n * s > _MOST_ENTRIES:
        raise ValueError(f"q ** k * s must be at most 2 ** 31, the entries of a table of codes; got {n * s}")
    values = np.empty((n, s), dtype=smallest_unsigned(q - 1))
    polynomial_values(q, np.empty((2, s), dtype=np.int64), values)
    return BlockCodes(values, q, False)


def make_reed_solomon_needle(
    q: int, s: int, k: int, needle: int | None = None, *, centred: bool = False, random_state: Any = None
) -> NeedleInstance:
    r"""Return a needle among :math:`K = q^k` actions whose features are s-sparse and have exactly known coherence.

    An action is a polynomial p of degree below k over the field of q elements. Its features are

    .. math:: \phi(p) = s^{-1/2} \sum_{j < s} e_{jq + p(j)} \in R^{sq}.

    Two polynomials agree in at most k - 1 places, so inner products of different rows are among 0, 1/s, ...,
    (k - 1)/s. The needle earns 1, the others 0. The linear function of the needle's features has s non-zeros and
    length one, and its error is exactly eps = (k - 1) / s.

    Parameters
    ----------
    q : int
        Size of the field, a prime of at most 65521.
    s : int
        Non-zeros of each row, from 2 to q.
    k : int
        Coefficients of a polynomial, from 2 to s.
    needle : int, optional
        The action that earns: its coefficients are the digits of the number to the base q, the constant first. A
        uniformly random one by default.
    centred : bool
        Whether the linear function is divided by 1 + (k - 1)/s, which balances its errors at the needle and elsewhere
        and lowers eps to m / (1 + m), with m = (k - 1)/s.
    random_state : int, Generator or None
        Seed of the needle.

    Returns
    -------
    NeedleInstance
        With codes of 8 or 16 bits; misspecification and coherence are exact.

    Raises
    ------
    ValueError
        If q is not prime, s exceeds it, k exceeds s, or there would be more than 2^31 codes.

    Notes
    -----
    Ours. A gap below 1, that is below s eps / (k - 1), with probability p takes at least :math:`p q^k - 1` questions.
    With :math:`k - 1 = \lfloor s^{1 - \delta} \rfloor` that is beyond any polynomial for an error of
    :math:`s^\delta\, eps` with delta < 1, and :math:`(d/s)^2` for delta = 1: the threshold that Dong and Yang (2023,
    ICML) claim. The rank is s (q - 1) + 1, and the uniform design is G-optimal: each action has that leverage. What
    least squares on all features guarantee, :math:`2\,eps\,(1 + rank^{1/2})`, is therefore more than 1. Codes take
    O(K s) time.

    Examples
    --------
    >>> from sparsetheory.bandits import make_reed_solomon_needle
    >>> instance = make_reed_solomon_needle(7, 6, 3, random_state=0)
    >>> instance.n_actions, instance.n_features, round(instance.eps, 6)
    (343, 42, 0.333333)
    """
    FLAG.check("centred", centred)
    table = code_words(q, s, k)
    n_actions, n_blocks = table.codes.shape
    chosen = choose_needle(needle, n_actions, generator(random_state))
    coherence = (int(k) - 1) / n_blocks
    scale = 1 / (1 + coherence) if centred else 1.0
    return NeedleInstance(
        rewards=needle_rewards(n_actions, chosen),
        theta=scale * table.dense([chosen])[0].astype(np.float64),
        eps=scale * coherence,
        n_nonzero=n_blocks,
        table=table,
        needle=chosen,
        coherence=coherence,
    )
