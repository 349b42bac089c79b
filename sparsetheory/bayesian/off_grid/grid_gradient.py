"""Sensing matrices that depend on a parameter per column: the expected log likelihood and its gradient."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.constraints import POSITIVE
from sparsetheory.typing import Float64Array

__all__ = ["dynamic_grid_objective", "dynamic_grid_step"]


def dynamic_grid_step(
    slopes: ArrayLike,
    F: ArrayLike,
    y: ArrayLike,
    *,
    mean: ArrayLike,
    covariance_columns: ArrayLike,
    noise_precision: float,
    exponent: float,
    indices: ArrayLike | None = None,
) -> Float64Array:
    r"""Return the gradient of the expected log likelihood in the parameters of columns.

    If column :math:`f_q` depends on :math:`\theta_q` alone, the derivative of
    :math:`-\beta\kappa (\|y - F\mu\|^2 + \mathrm{tr}\, F \Sigma F^H)` is
    :math:`2 \beta\kappa\, \mathrm{Re}\, f_q'^H [(y - F\mu)\, \bar\mu_q - F \Sigma_q]`.

    Parameters
    ----------
    slopes : array-like of shape (M, Q)
        Derivatives of the columns.
    F : array-like of shape (M, N)
        Sensing matrix.
    y : array-like of shape (M,)
        Data.
    mean : array-like of shape (N,)
        Posterior mean.
    covariance_columns : array-like of shape (N, Q)
        Columns of the posterior covariance that belong to the Q parameters, as ``state_.x.columns(indices)`` gives
        them.
    noise_precision : float
        Noise precision.
    exponent : float
        1/2 for real data, 1 for complex data.
    indices : array-like of int, shape (Q,), optional
        Which columns have parameters; the first Q by default, which are all of them if ``Q = N``.

    Returns
    -------
    ndarray of shape (Q,)
        Step uphill and fit again. A step that does not lower :func:`dynamic_grid_objective` cannot lower the bound of
        the fixed posterior, but with little noise such steps are tiny; steps of fixed size along the sign, which the
        published code takes, cross a cell in some dozens of fits.

    Raises
    ------
    ValueError
        If shapes do not fit, or a number is not positive.

    Notes
    -----
    O(M N Q). Derived here; the published method maximises a surrogate with this gradient.

    Examples
    --------
    The column of a sinusoid moves towards the frequency of the data:

    >>> import numpy as np
    >>> from sparsetheory.bayesian import dynamic_grid_step
    >>> t = np.arange(8)
    >>> F, y = np.exp(1j * 0.30 * t)[:, None], np.exp(1j * 0.31 * t)
    >>> posterior = {"mean": [1.0], "covariance_columns": [[0.0]], "noise_precision": 1.0}
    >>> float(dynamic_grid_step(1j * t[:, None] * F, F, y, **posterior, exponent=1.0)[0]) > 0
    True
    """
    F, y, mu = np.asarray(F), np.asarray(y), np.asarray(mean)
    derivatives, columns = np.asarray(slopes), np.asarray(covariance_columns)
    q = np.arange(derivatives.shape[-1]) if indices is None else np.asarray(indices, dtype=np.intp)
    if y.ndim != 1 or F.shape != (y.size, mu.size) or mu.ndim != 1:
        raise ValueError(f"F must have one row per entry of y and one column per entry of mean; got shape {F.shape}")
    if derivatives.shape != (y.size, q.size) or columns.shape != (mu.size, q.size) or q.ndim != 1:
        raise ValueError(
            f"slopes and covariance_columns must have {q.size} columns, one per index; "
            f"got {derivatives.shape} and {columns.shape}"
        )
    if q.size and not (q.min() >= 0 and q.max() < mu.size):
        raise ValueError(f"indices must be columns of F, 0 to {mu.size - 1}; got {indices!r}")
    scale = 2.0 * POSITIVE.check("exponent", exponent) * POSITIVE.check("noise_precision", noise_precision)
    inner = (y - F @ mu)[:, None] * mu[q].conj() - F @ columns
    return np.asarray(scale * np.einsum("mq,mq->q", derivatives.conj(), inner).real)


def dynamic_grid_objective(F: ArrayLike, y: ArrayLike, state: Any) -> float:
    r"""Return the expected log likelihood, up to a constant, for another sensing matrix and a fixed posterior.

    Parameters
    ----------
    F : array-like of shape (M, N)
        Sensing matrix.
    y : array-like of shape (M,) or (M, L)
        Data.
    state : TurboState
        As in ``TurboVBI.state_``; all columns of its matrix must have been different from zero.

    Returns
    -------
    float
        :math:`-\beta \langle\kappa\rangle (\|y - F\mu\|^2 + L\, \mathrm{tr}\, F \Sigma F^H)`.

    Raises
    ------
    ValueError
        If F does not have the columns of the fit.

    Notes
    -----
    O(M^2 N).

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import TurboVBI, dynamic_grid_objective
    >>> F, y = np.eye(4), np.array([1.0, 1.0, 0.0, 0.0])
    >>> state = TurboVBI(noise_variance=0.01).fit(F, y).state_
    >>> dynamic_grid_objective(F, y, state) > dynamic_grid_objective(2 * F, y, state)
    True
    """
    F, Y = np.asarray(F), np.asarray(y)
    Y = Y.reshape(Y.shape[0], -1)
    if F.shape != (Y.shape[0], state.x.precisions.size):
        raise ValueError(f"F must be of shape {(Y.shape[0], state.x.precisions.size)}; got {F.shape}")
    misfit = np.sum(np.abs(Y - F @ state.x.mean) ** 2) + Y.shape[1] * state.x.variances_along(F).sum()
    return float(-state.model.exponent * state.noise.mean * misfit)
