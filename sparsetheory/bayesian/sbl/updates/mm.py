"""Majorise and minimise: closed-form updates whose null components die geometrically."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.bayesian.kronecker.algebra import contract, mode_starts
from sparsetheory.bayesian.kronecker.factor_checks import check_factors, check_moments
from sparsetheory.bayesian.sbl.updates.scaling import balanced, floored
from sparsetheory.numba_kernels.kronecker import product_ratios
from sparsetheory.typing import Float64Array

__all__ = ["mm_update", "next_factors", "square_root_ratios", "sweep_ratios"]


def sweep_ratios(
    q: Float64Array,
    power: Float64Array,
    variances: Sequence[Float64Array],
    ratio: Callable[[int, Float64Array, Float64Array], Float64Array],
) -> list[Float64Array]:
    r"""Minimise the majoriser over one factor after the other.

    Parameters
    ----------
    q, power : ndarray of shape (N_1, ..., N_d)
        With G the outer product of the factors and :math:`\tau` that of the ratios, the majoriser is
        :math:`\sum_n G_n (q_n \tau_n + power_n / \tau_n)`; C-ordered.
    variances : sequence of ndarray of shape (N_k,)
        Factors, not negative.
    ratio : callable
        ``ratio(k, a, b)`` returns the ratio t of mode k for :math:`\sum_i a_i t_i + b_i / t_i`.

    Returns
    -------
    list of ndarray of shape (N_k,)
        New over old factors.

    Notes
    -----
    Four passes over tensors of N entries, and none is formed: what modes before the last have in common is their sum
    over the last mode, whose ratios are one until its turn.
    """
    # The majoriser in the ratios t of all modes is sum_n G_n (q_n tau_n + power_n / tau_n), tau their outer product.
    # Over the ratio of mode k alone it is sum_i a_i t_i + b_i / t_i, where a_i and b_i sum G q tau and G power / tau
    # over slice i, at the ratios of the other modes. Rather than tau itself, the sums carry it inside the weights:
    # `rising` holds factors times their new ratios, for a, and `falling` factors divided by them, for b.
    last, ratios = q.ndim - 1, []
    falling, rising = list(variances), list(variances)
    # Until its turn the ratio of the last mode is one: the sums over it are the same for all modes before.
    shared_q, shared_power = (q @ variances[last], power @ variances[last]) if last else (q, power)
    for k, gamma in enumerate(variances):
        left, right = (q, power) if k == last else (shared_q, shared_power)
        t = ratio(k, gamma * contract(left, rising, k), gamma * contract(right, falling, k))
        rising[k] = gamma * t
        # A ratio is zero only where b is, so that nothing is lost where the quotient, which would be 0 / 0, is zero.
        falling[k] = np.divide(gamma, t, out=np.zeros_like(t), where=t > 0)
        ratios.append(t)
    return ratios


def square_root_ratios(k: int, a: Float64Array, b: Float64Array) -> Float64Array:
    """Return the minimiser ``sqrt(b / a)``, zero where a is zero.

    Parameters
    ----------
    k : int
        Mode; all are alike.
    a, b : ndarray of shape (N_k,)
        Not negative.

    Returns
    -------
    ndarray of shape (N_k,)
    """
    return np.sqrt(np.divide(b, a, out=np.zeros_like(b), where=a > 0))


def next_factors(q: Float64Array, power: Float64Array, variances: Sequence[Float64Array]) -> list[Float64Array]:
    """Do one sweep on checked arrays.

    Parameters
    ----------
    q, power : ndarray of shape (N_1, ..., N_d)
        Of the posterior at these factors.
    variances : sequence of ndarray of shape (N_i,)
        Factors.

    Returns
    -------
    list of ndarray
        New factors, balanced; an entry that was positive stays so.
    """
    return _kept_positive(variances, _multiplied(q, power, variances))


def _multiplied(q: Float64Array, power: Float64Array, variances: Sequence[Float64Array]) -> list[Float64Array]:
    """Return factors times the square roots of ratios that :func:`sweep_ratios` would find."""
    starts, factors = mode_starts(q.shape), np.concatenate(variances)
    updated = np.empty_like(factors)
    product_ratios(q.reshape(-1), power.reshape(-1), factors, starts, updated)
    return np.split(updated, starts[1:-1])


def _kept_positive(old: Sequence[Float64Array], new: Sequence[Float64Array]) -> list[Float64Array]:
    """Balance new factors, and floor those of their entries that were positive before."""
    return [np.where(o > 0, floored(n, len(new)), 0.0) for o, n in zip(old, balanced(new), strict=True)]


def mm_update(
    determinant_slopes: ArrayLike, data_slopes: ArrayLike, variances: Sequence[ArrayLike]
) -> list[Float64Array]:
    r"""Do one majorise-minimise step on the factors of the prior variances.

    The log determinant is concave in G and the data term is bounded by its quadratic form, so for
    :math:`G' = G \cdot (t_1 \otimes \cdots \otimes t_d)` with :math:`\tau_n` the entries of the outer product of t

    .. math:: L(G') - L(G) \le \sum_n a_n (\tau_n - 1) + b_n (1/\tau_n - 1).

    Each factor in turn takes the minimiser of the right-hand side, a square root of a ratio of sums.

    Parameters
    ----------
    determinant_slopes : array-like of shape (N_1, ..., N_d)
        Derivatives a of the log determinant by the logarithms of the variances: ``G * q`` of the posterior.
    data_slopes : array-like of shape (N_1, ..., N_d)
        Minus the derivatives of the data term, b: ``G * abs(S)**2``, averaged over snapshots.
    variances : sequence of array-like of shape (N_i,)
        Factors that both belong to.

    Returns
    -------
    list of ndarray of shape (N_i,)
        New factors, all but the last of unit norm. Entries stay above 1e-60 of the largest one.

    Raises
    ------
    ValueError
        If shapes do not fit, or a value is negative.

    Notes
    -----
    O(N). The cost never rises (ours; for one mode this is the known :math:`\gamma |S| / \sqrt{q}`). A component whose
    limit is zero shrinks by a constant factor per step, where expectation-maximisation needs r steps to reach 1/r.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import kron_posterior, mm_update, sbl_cost
    >>> rng = np.random.default_rng(0)
    >>> dictionaries, y = [rng.standard_normal((3, 5)), rng.standard_normal((4, 6))], rng.standard_normal(12)
    >>> old = [np.ones(5), np.ones(6)]
    >>> p = kron_posterior(dictionaries, y, old, noise_variance=0.1)
    >>> new = mm_update(p.prior * p.q, p.prior * p.power, old)
    >>> sbl_cost(dictionaries, y, new, noise_variance=0.1) < p.cost
    True
    """
    left = check_moments("determinant_slopes", determinant_slopes)
    right = check_moments("data_slopes", data_slopes, left.shape)
    factors = check_factors("variances", variances, left.shape)
    ratios = _multiplied(left, right, [np.ones(n) for n in left.shape])
    return _kept_positive(factors, [g * t for g, t in zip(factors, ratios, strict=True)])
