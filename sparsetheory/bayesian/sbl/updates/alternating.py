"""Alternating minimisation: the maximisation step of Kronecker sparse Bayesian learning."""

from collections.abc import Callable, Sequence

from numpy.typing import ArrayLike
from scipy.linalg.blas import dnrm2

from sparsetheory.bayesian.kronecker.algebra import contract, outer_product
from sparsetheory.bayesian.kronecker.factor_checks import check_moments, check_positive_factors
from sparsetheory.bayesian.sbl.updates.scaling import balanced, floored
from sparsetheory.constraints import COUNT, FLAG, NONNEGATIVE
from sparsetheory.typing import Float64Array

__all__ = ["alternating_sweep", "alternating_update", "one_sweep", "sweep_until"]


_Project = Callable[[int, Float64Array], Float64Array]


def one_sweep(
    second_moment: Float64Array, variances: Sequence[Float64Array], project: _Project | None = None
) -> list[Float64Array]:
    """Update every factor once, each with the newest others, and leave the scale where it falls.

    Parameters
    ----------
    second_moment : ndarray of shape (N_1, ..., N_d)
        Posterior second moments, C-ordered.
    variances : sequence of ndarray of shape (N_i,)
        Positive.
    project : callable, optional
        ``project(k, gamma)`` replaces the minimiser over factor k, by a factor of a family; the result is positive.

    Returns
    -------
    list of ndarray

    Notes
    -----
    Two passes over `second_moment`: all modes but the last share its sum over the last mode.
    """
    # The objective is sum_n log G_n + L_n / G_n with G the outer product of the factors. As a function of factor k
    # alone it is (N / N_k) sum_i log g_i + s_i / g_i, where s_i sums L over the slice i, divided by the other factors.
    # Its minimiser is g_i = (N_k / N) s_i: every update lowers the objective, and so does a sweep.
    last = second_moment.ndim - 1
    inverse = [1.0 / gamma for gamma in variances]
    # All modes before the last see the old last factor: its contraction is done once for all of them, so that a sweep
    # reads the full tensor twice, here and for the last mode, however many modes there are.
    shared = second_moment @ inverse[last] if last else second_moment
    result = []
    for k, gamma in enumerate(variances):
        updated = contract(second_moment if k == last else shared, inverse, k) * (gamma.size / second_moment.size)
        # Invariant: factors 0 .. k are new, factors behind are old, and none is zero, as all are divided by.
        result.append(floored(updated, second_moment.ndim) if project is None else project(k, updated))
        inverse[k] = 1.0 / result[k]
    return result


def sweep_until(
    second_moment: Float64Array,
    variances: Sequence[Float64Array],
    tol: float,
    relative: bool,
    max_sweeps: int,
    project: _Project | None = None,
) -> tuple[list[Float64Array], int]:
    """Sweep until the outer product of the factors settles.

    Parameters
    ----------
    second_moment : ndarray of shape (N_1, ..., N_d)
        Posterior second moments.
    variances : sequence of ndarray of shape (N_i,)
        Start; positive.
    tol : float
        Tolerance, relative to the norm of the outer product if `relative`: stop once a sweep changes it by at most
        this, in the Euclidean norm.
    relative : bool
        Whether the tolerance is relative; otherwise it is absolute.
    max_sweeps : int
        At least one sweep is done.
    project : callable, optional
        As in :func:`one_sweep`.

    Returns
    -------
    variances : list of ndarray
        Balanced.
    n_sweeps : int
    """
    after, n_sweeps, moving = outer_product(variances), 0, True
    while moving and n_sweeps < max_sweeps:
        before = after
        # Balanced factors have the same outer product, which is all that the test of convergence looks at: single
        # factors may still exchange scales when the product has settled.
        variances = balanced(one_sweep(second_moment, variances, project))
        after = outer_product(variances)
        scale = dnrm2(before.reshape(-1)) if relative else 1.0
        moving = dnrm2((after - before).reshape(-1)) > tol * scale
        n_sweeps += 1
    return list(variances), n_sweeps


def alternating_sweep(second_moment: ArrayLike, variances: Sequence[ArrayLike]) -> list[Float64Array]:
    r"""Do one sweep of alternating minimisation.

    For each mode in turn :math:`\gamma_k = \frac{N_k}{N} \sum \Lambda \prod_{j \ne k} \gamma_j^{-1}`, the exact
    minimiser of :math:`\sum_n \log G_n + \Lambda_n / G_n` over that factor.

    Parameters
    ----------
    second_moment : array-like of shape (N_1, ..., N_d)
        Posterior second moments.
    variances : sequence of array-like of shape (N_i,)
        Positive factors.

    Returns
    -------
    list of ndarray of shape (N_i,)
        All but the last of unit norm.

    Raises
    ------
    ValueError
        If a shape does not fit, a moment is negative, or a factor is not positive.

    Notes
    -----
    O(N). After the update of mode k, the slices of ``second_moment / G`` along it have mean one: this is Sinkhorn's
    scaling of a positive tensor to uniform marginals (ours). Y. He and G. Joseph, arXiv:2307.14719, AM-KroSBL.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import alternating_sweep
    >>> variances = alternating_sweep(np.outer([1.0, 2.0], [3.0, 4.0, 5.0]), [np.ones(2), np.ones(3)])
    >>> np.outer(*variances).round(12).tolist()
    [[3.0, 4.0, 5.0], [6.0, 8.0, 10.0]]
    """
    moments = check_moments("second_moment", second_moment)
    return balanced(one_sweep(moments, check_positive_factors("variances", variances, moments.shape)))


def alternating_update(
    second_moment: ArrayLike,
    variances: Sequence[ArrayLike],
    *,
    tol: float = 1e-4,
    relative: bool = True,
    max_sweeps: int = 10_000,
) -> list[Float64Array]:
    """Sweep until the outer product of the factors settles: the maximisation step, to a tolerance.

    Parameters
    ----------
    second_moment : array-like of shape (N_1, ..., N_d)
        Posterior second moments.
    variances : sequence of array-like of shape (N_i,)
        Positive factors to start from.
    tol : float
        Tolerance, relative to the norm of the outer product if `relative`: stop once a sweep changes it by at most
        this, in the Euclidean norm.
    relative : bool
        Whether the tolerance is relative; otherwise it is absolute.
    max_sweeps : int
        Largest number of sweeps; at least one is done.

    Returns
    -------
    list of ndarray of shape (N_i,)
        All but the last of unit norm.

    Raises
    ------
    ValueError
        As :func:`alternating_sweep`, or if a parameter is out of range.

    See Also
    --------
    newton_update : The same minimiser in a handful of iterations.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import alternating_update
    >>> second_moment = np.random.default_rng(0).uniform(0.5, 2, (3, 4))
    >>> T = second_moment / np.outer(*alternating_update(second_moment, [np.ones(3), np.ones(4)], tol=1e-14))
    >>> np.allclose(T.mean(axis=0), 1), np.allclose(T.mean(axis=1), 1)
    (True, True)
    """
    moments = check_moments("second_moment", second_moment)
    start = check_positive_factors("variances", variances, moments.shape)
    NONNEGATIVE.check("tol", tol)
    FLAG.check("relative", relative)
    return sweep_until(moments, start, tol, relative, COUNT.check("max_sweeps", max_sweeps))[0]
