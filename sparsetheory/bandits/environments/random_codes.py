"""Needles among nearly orthogonal random directions: dense ones and sparse ones."""

import math
from typing import Any

import numpy as np

from sparsetheory.bandits.environments.block_codes import BlockCodes, smallest_unsigned
from sparsetheory.bandits.environments.instance import NeedleInstance
from sparsetheory.bandits.environments.needles import choose_needle, needle_rewards
from sparsetheory.constraints import COUNT, FRACTION, MISSING, Integer, generator
from sparsetheory.typing import Float64Array

__all__ = ["largest_inner_product", "make_jl_needle", "make_sparse_jl"]

_BLOCK = 1024
# Draws until one is coherent enough; at the default number of features the first one is.
_DRAWS = 20


def largest_inner_product(rows: Float64Array) -> float:
    """Return the largest magnitude of an inner product of two different rows, in O(n^2 d) time."""
    worst = 0.0
    for start in range(0, len(rows), _BLOCK):
        products = np.abs(rows[start : start + _BLOCK] @ rows[start:].T)
        np.fill_diagonal(products, 0.0)
        worst = max(worst, float(products.max()))
    return worst


def make_jl_needle(
    n_actions: int,
    tau: float,
    n_features: int | None = None,
    *,
    needle: int | None = None,
    random_state: Any = None,
) -> NeedleInstance:
    r"""Return a needle among random directions whose inner products are at most `tau`.

    The linear function of the needle's features is within `tau` of the rewards, and no algorithm finds the needle
    without asking for a large part of the actions, however many features it knows.

    Parameters
    ----------
    n_actions : int
        Number of actions, K, at least 2.
    tau : float
        Largest inner product of two rows, in (0, 1).
    n_features : int, optional
        Dimension; by default :math:`\lceil 8 \log(K) / \tau^2 \rceil`, which is enough.
    needle : int, optional
        The action that earns; random by default.
    random_state : int, Generator or None
        Seed of features and needle.

    Returns
    -------
    NeedleInstance
        Its coherence, at most `tau`, is measured on all pairs, and eps on those with the needle: both are exact.

    Raises
    ------
    ValueError
        If none of 20 draws is as incoherent as asked, because there are too few features.

    Notes
    -----
    After Du, Kakade, Wang and Yang (2020, ICLR). Takes O(K^2 d) time for each draw: all pairs are looked at.

    Examples
    --------
    >>> from sparsetheory.bandits import make_jl_needle
    >>> instance = make_jl_needle(100, 0.5, random_state=0)
    >>> instance.n_features, instance.eps <= instance.coherence <= 0.5
    (148, True)
    """
    n = Integer(2).check("n_actions", n_actions)
    tau = FRACTION.check("tau", tau)
    d = (MISSING | COUNT).check("n_features", n_features) or math.ceil(8 * math.log(n) / tau**2)
    rng = generator(random_state)
    chosen = choose_needle(needle, n, rng)
    best = math.inf
    for _ in range(_DRAWS):
        rows = rng.standard_normal((n, d))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        coherence = largest_inner_product(rows)
        if coherence <= tau:
            break
        best = min(best, coherence)
    else:
        raise ValueError(
            f"n_features must allow {n} directions with inner products of at most {tau:g}; got {d}, and "
            f"{best:.3g} in the best of {_DRAWS} draws"
        )
    theta = rows[chosen].copy()
    errors = np.abs(needle_rewards(n, chosen) - rows @ theta)
    return NeedleInstance(
        rewards=needle_rewards(n, chosen),
        theta=theta,
        eps=float(errors.max()),
        n_nonzero=d,
        table=rows,
        needle=chosen,
        coherence=coherence,
    )


def make_sparse_jl(
    n_actions: int, tau: float, fail: float = 0.05, *, needle: int | None = None, random_state: Any = None
) -> NeedleInstance:
    r"""Return a needle among sparse random rows whose inner products are at most `tau` with high probability.

    A row has s blocks of :math:`q = \lceil 2/\tau \rceil` columns and in each block one entry :math:`\pm s^{-1/2}` at a
    random place, with

    .. math:: s = \lceil (\tfrac{10}{3} \log K + \tfrac{5}{3} \log(1 / fail)) / \tau \rceil .

    Parameters
    ----------
    n_actions : int
        Number of actions, K, at least 2.
    tau : float
        Largest inner product of two rows, in (0, 1).
    fail : float
        Probability with which some pair may exceed it, in (0, 1).
    needle : int, optional
        The action that earns; random by default.
    random_state : int, Generator or None
        Seed of features and needle.

    Returns
    -------
    NeedleInstance
        Its coherence is `tau`, with probability 1 - `fail`; eps, the largest inner product with the needle, is exact.

    Notes
    -----
    Ours, by the inequality of Bernstein. The inner product of two rows is a mean of s independent terms that are 0,
    or +1 or -1 with probability 1/(2q) each: their variance is 1/q <= tau/2. So it exceeds tau in magnitude with
    probability at most :math:`2 \exp(-s \tau^2 / (2 (\tau/2 + \tau/3))) = 2 \exp(-\tfrac35 s \tau)`, and there are
    fewer than K^2/2 pairs. Codes take O(K s) time.

    Examples
    --------
    >>> from sparsetheory.bandits import make_sparse_jl
    >>> instance = make_sparse_jl(200, 0.5, random_state=0)
    >>> instance.n_nonzero, instance.n_features, instance.eps <= 0.5
    (46, 184, True)
    """
    n = Integer(2).check("n_actions", n_actions)
    tau, fail = FRACTION.check("tau", tau), FRACTION.check("fail", fail)
    n_blocks = math.ceil((10 / 3 * math.log(n) + 5 / 3 * math.log(1 / fail)) / tau)
    block_size = math.ceil(2 / tau)
    rng = generator(random_state)
    chosen = choose_needle(needle, n, rng)
    dtype = smallest_unsigned(2 * block_size - 1)
    # A code is twice the place, plus one for a negative entry, so a uniform code is a uniform place and sign.
    table = BlockCodes(rng.integers(2 * block_size, size=(n, n_blocks), dtype=dtype), block_size, True)
    products = np.abs(table.inner(chosen))
    products[chosen] = 0.0
    return NeedleInstance(
        rewards=needle_rewards(n, chosen),
        theta=table.dense([chosen])[0].astype(np.float64),
        eps=float(products.max()),
        n_nonzero=n_blocks,
        table=table,
        needle=chosen,
        coherence=tau,
    )
