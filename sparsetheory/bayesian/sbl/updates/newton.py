"""The maximisation step by Newton's method in the logarithms of the factors."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.bayesian.kronecker.factor_checks import check_moments, check_positive_factors
from sparsetheory.bayesian.sbl.updates.alternating import one_sweep
from sparsetheory.bayesian.sbl.updates.scaling import balanced, floored
from sparsetheory.typing import Float64Array

__all__ = ["minimise_factors", "newton_update"]

_MAX_ITER = 100
_ARMIJO = 1e-4
# Slice means of second_moment / G are sums of positive terms, known to a few units of rounding per term.
_TOL = 1e-13


def _marginal(T: Float64Array, modes: Sequence[int]) -> Float64Array:
    return T.sum(axis=tuple(j for j in range(T.ndim) if j not in modes))


def _hessian(T: Float64Array) -> Float64Array:
    """Return the Hessian of the sum of T by the logarithms of all factors, plus the directions of exchanged scales."""
    starts = np.concatenate([[0], np.cumsum(T.shape)])
    blocks = [slice(starts[k], starts[k + 1]) for k in range(T.ndim)]
    hessian = np.empty((starts[-1], starts[-1]))
    for k, rows in enumerate(blocks):
        hessian[rows, rows] = np.diag(_marginal(T, (k,)))
        for j in range(k):
            pair = _marginal(T, (j, k))
            hessian[blocks[j], rows] = pair
            hessian[rows, blocks[j]] = pair.T
    for rows in blocks[:-1]:
        shift = np.zeros(starts[-1])
        shift[rows], shift[blocks[-1]] = 1.0, -1.0
        hessian += np.outer(shift, shift)
    return hessian


def _shifted(T: Float64Array, step: Float64Array) -> Float64Array:
    """Return ``second_moment / G`` after a step of the logarithms of G."""
    start = 0
    for k, n in enumerate(T.shape):
        factor = np.exp(-step[start : start + n])
        T = T * factor.reshape((-1,) + (1,) * (T.ndim - k - 1))
        start += n
    return T


def minimise_factors(second_moment: Float64Array, variances: Sequence[Float64Array]) -> tuple[list[Float64Array], int]:
    """Minimise over all factors at once.

    Parameters
    ----------
    second_moment : ndarray of shape (N_1, ..., N_d)
        Posterior second moments.
    variances : sequence of ndarray of shape (N_i,)
        Start; positive.

    Returns
    -------
    variances : list of ndarray
        Balanced.
    n_iter : int
        Newton steps.
    """
    # With G = exp(sum of logarithms) and T = L / G the objective is sum_n log G_n + T_n. In the logarithms of factor k
    # its gradient is N / N_k less the slice sums of T, and its Hessian is made of marginals of T: diagonal ones in the
    # blocks (k, k), those of pairs of modes in the blocks (j, k). It is convex, strictly up to scales that factors
    # exchange, for which the Hessian gets a rank-one term per pair of modes (the gradient has no part along them).
    # A sweep of alternating minimisation bounds the sum of T by N, whatever the start.
    variances = one_sweep(second_moment, variances)
    T = second_moment
    for k, gamma in enumerate(variances):
        T = T / gamma.reshape((-1,) + (1,) * (second_moment.ndim - k - 1))
    ends = np.cumsum(second_moment.shape)[:-1]
    counts = np.concatenate([np.full(n, second_moment.size / n) for n in second_moment.shape])
    for n_iter in range(_MAX_ITER):
        # Invariant: T is the tensor of moments divided by the outer product of the factors.
        gradient = counts - np.concatenate([_marginal(T, (k,)) for k in range(T.ndim)])
        if np.all(np.abs(gradient) <= _TOL * counts):
            return balanced(variances), n_iter
        step = -np.linalg.solve(_hessian(T), gradient)
        size, trial = _damped(T, step, float(gradient @ step), float(counts @ step))
        if size == 0.0:
            break
        T = trial
        variances = [
            floored(gamma * np.exp(size * s), T.ndim) for gamma, s in zip(variances, np.split(step, ends), strict=True)
        ]
    return balanced(variances), n_iter


def _damped(T: Float64Array, step: Float64Array, slope: float, volume: float) -> tuple[float, Float64Array]:
    """Halve a step until the objective falls by a fraction of what its slope promises; zero if rounding forbids it."""
    total, size = float(T.sum()), 1.0
    while size > 1e-8:
        # The sum of the logarithms of G is linear in the step, and the sum of T is evaluated anew: Armijo's rule. A
        # step that is far too long overflows, and is halved like any other.
        with np.errstate(over="ignore", invalid="ignore"):
            trial = _shifted(T, size * step)
        if float(trial.sum()) - total + size * volume <= _ARMIJO * size * slope + 1e-15 * total:
            return size, trial
        size *= 0.5
    return 0.0, T


def newton_update(second_moment: ArrayLike, variances: Sequence[ArrayLike]) -> list[Float64Array]:
    r"""Return the exact maximisation step.

    :math:`\sum_n \log G_n + \Lambda_n / G_n` is jointly convex in the logarithms of the factors, and strictly so up to
    scales that factors exchange.

    Parameters
    ----------
    second_moment : array-like of shape (N_1, ..., N_d)
        Positive posterior second moments.
    variances : sequence of array-like of shape (N_i,)
        Positive factors to start from.

    Returns
    -------
    list of ndarray of shape (N_i,)
        All but the last of unit norm; slices of ``second_moment / G`` have mean one up to rounding.

    Raises
    ------
    ValueError
        If a shape does not fit or a value is not positive.

    Notes
    -----
    O(d^2 N + (sum of N_i)^3) per iteration. On lognormal 5 x 6 x 4 tensors 4 iterations do what takes alternating
    minimisation 16 sweeps (spread 1), and 7 what takes it 145 (spread 6). Ours.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import newton_update
    >>> second_moment = np.exp(5 * np.random.default_rng(0).standard_normal((3, 4, 5)))
    >>> T = second_moment / np.einsum("i,j,k->ijk", *newton_update(second_moment, [np.ones(3), np.ones(4), np.ones(5)]))
    >>> [bool(np.allclose(T.mean(axis=axes), 1)) for axes in ((0, 1), (0, 2), (1, 2))]
    [True, True, True]
    """
    moments = check_moments("second_moment", second_moment)
    if not moments.all():
        raise ValueError("second_moment must be positive for Newton's method; leave out slices that are zero")
    return minimise_factors(moments, check_positive_factors("variances", variances, moments.shape))[0]
