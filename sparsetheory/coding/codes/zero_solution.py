"""The strength of a penalty from which on the zero code stays where it is."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.coding.codes.problem import check_signals, row_chunks
from sparsetheory.constraints import POSITIVE
from sparsetheory.numba_kernels.penalties.proximal import zero_threshold
from sparsetheory.penalties.base import Penalty
from sparsetheory.penalties.per_feature import PenaltyRows
from sparsetheory.penalties.separable import make_penalty
from sparsetheory.penalties.zero_solution import least_alpha

__all__ = ["alpha_max"]


def alpha_max(
    X: ArrayLike, D: ArrayLike, penalty: str | type[Penalty], step: float | None = None, **shape: Any
) -> float:
    r"""Return the least strength at which a proximal gradient step leaves the zero code of every signal at zero.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Signals.
    D : array-like of shape (n_atoms, n_features)
        Atoms, one per row.
    penalty : str or type
        A name as of :func:`~sparsetheory.penalties.make_penalty`, or one of the classes of
        :mod:`sparsetheory.penalties.separable`.
    step : float, optional
        Step :math:`\tau`, above 0. By default every entry has its own, one over the squared norm of its atom; then zero
        stays if and only if no change of a single entry improves it.
    **shape : float
        The other number of the penalty, by name; and `positive`, if entries must not be negative.

    Returns
    -------
    float
        0.0 if there are no signals, or all are orthogonal to all atoms.

    Raises
    ------
    ValueError
        If shapes do not fit, entries are not finite, an atom is zero, there is no such penalty, or a number is out of
        range.
    TypeError
        If `penalty` is neither a name nor a class of penalties, or a number is missing.

    Notes
    -----
    Zero stays if :math:`\tau|d_i^Tx|`, or :math:`\tau d_i^Tx` if entries must not be negative, is at most the threshold
    of the operator, which grows with the strength. With :math:`c_0 = \|Dx\|_\infty` the answer is :math:`c_0` for l1,
    MCP and SCAD at small steps, :math:`\tau c_0^2/2` for l0, and :math:`c_0^2/2` for CEL0 with unit norms at steps up
    to 1. It depends on the step for l0 and lq. All penalties are treated alike: thresholds are those that the operator
    itself applies, in the precision of the arrays, and bisection ends at neighbouring floating-point numbers.
    O(n_features n_atoms) operations per signal, and about a hundred thresholds for each different atom.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.penalties import L0, L1
    >>> X, D = [[3.0, -1.0]], np.eye(2)
    >>> alpha_max(X, D, L1), alpha_max(X, D, "l1"), alpha_max(X, D, L0, step=0.5)
    (3.0, 3.0, 2.25)
    """
    X, A = check_signals(X, D)
    if isinstance(penalty, str):
        unit = make_penalty(penalty, 1.0, **shape)
    elif isinstance(penalty, type) and issubclass(penalty, Penalty):
        unit = penalty(1.0, **shape)
    else:
        raise TypeError(f"penalty must be a class of penalties or the name of one; got {penalty!r}")
    if step is not None:
        step = POSITIVE.check("step", step)
    numbers = PenaltyRows(unit, A.shape[1], A.dtype)
    largest = np.zeros(A.shape[1], A.dtype)
    for chunk in row_chunks(X.shape[0], A.itemsize * sum(A.shape)):
        np.maximum(largest, unit.pull(X[chunk] @ A).max(axis=0), out=largest)
    steps = np.full(A.shape[1], step) if step is not None else 1.0 / np.einsum("ij,ij->j", A, A, dtype=np.float64)
    steps = steps.astype(A.dtype)
    cases = np.unique(np.column_stack([steps * largest, steps, numbers.shape])[largest > 0], axis=0)

    def stays(alpha: np.floating) -> bool:
        return all(zero_threshold(numbers.kind, step, alpha, shape) >= target for target, step, shape in cases)

    return least_alpha(stays, A.dtype.type(1)) if len(cases) else 0.0
