"""Sparse codes of many signals in one dictionary, for every penalty of the package."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.coding.codes.encoding import Encoding
from sparsetheory.coding.codes.problem import check_codes, check_gram, check_signals, check_tolerance
from sparsetheory.coding.encoders.dispatch import SOLVERS, CodingProblem, choose_solver
from sparsetheory.coding.l0.local_minima import polish as polish_codes
from sparsetheory.constraints import COUNT, FLAG, JOBS, POSITIVE
from sparsetheory.penalties.base import Penalty
from sparsetheory.penalties.per_feature import PenaltyRows
from sparsetheory.penalties.separable import as_penalty
from sparsetheory.typing import FloatArray

__all__ = ["encode"]


def encode(
    X: ArrayLike,
    D: ArrayLike,
    penalty: str | Penalty,
    *,
    alpha: float | None = None,
    solver: str = "auto",
    init: ArrayLike | None = None,
    gram: ArrayLike | None = None,
    tol: float = 1e-6,
    max_iter: int = 1000,
    polish: bool = False,
    n_jobs: int | None = None,
    out: FloatArray | None = None,
    **shape: Any,
) -> Encoding:
    r"""Minimise :math:`\frac12\|x - D^T c\|^2 + \phi(c)` over the code c of every signal x.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Signals, one per row.
    D : array-like of shape (n_atoms, n_features)
        Atoms, one per row; they need not be of unit norm.
    penalty : Penalty or str
        One of :mod:`sparsetheory.penalties`, for example ``L1(0.1, positive=True)``, or its name ("l1", "elastic_net",
        "l0", "lq", "cel0", "mcp", "scad", "log_sum", "capped_l1") with `alpha` and its other number, if it has one.
    alpha : float, optional
        Strength of the penalty; in a penalty object it replaces the strength.
    solver : {"auto", "fss", "cd", "fb", "sbr", "greedy"}
        "fss" is a block active-set method for l1, exact up to rounding. "cd" takes coordinate and Newton steps on an
        active set; no change of a single entry improves its codes. "fb" is
        :func:`~sparsetheory.coding.forward_backward`. For l0 and CEL0, "sbr" is :func:`~sparsetheory.coding.sbr`, and
        "greedy" :func:`~sparsetheory.coding.cd_l0`. "auto" takes "fss" for l1 and "cd" for all else. Where entries must
        not be negative, for example with ``L1(0.1, positive=True)``, there are "cd" and "fb".
    init : array-like of shape (n_samples, n_atoms), optional
        Codes to start from; zero by default, and where they are negative but must not be. `out` may be the same array.
    gram : array-like of shape (n_atoms, n_atoms), optional
        ``D @ D.T``, where it is known already.
    tol : float
        Tolerance, relative to the objective of the code for "fss", and for "cd" with convex penalties: its duality gap
        is at most that fraction of it. For "cd" with other penalties relative to the largest correlation of an atom
        with the signal: how far an entry, times the squared norm of its atom, may be from its best value. For "fb" and
        "greedy" as documented there; "sbr" does not use it.
    max_iter : int
        Most passes over the atoms per signal; for "fb" and "sbr" most steps, for "greedy" a hundredth of them.
    polish : bool
        For l0 and CEL0, improve the codes by :func:`~sparsetheory.coding.polish`.
    n_jobs : int or None
        Threads, in the sense of joblib. Codes do not depend on it.
    out : ndarray of shape (n_samples, n_atoms), optional
        Where to put the codes, for example a memory map: C-ordered, of the dtype of the result, apart from `X` and `D`.
    **shape : float
        The other number of a penalty given by name: `q`, `gamma`, `a`, `eps`, `theta` or `norms`.

    Returns
    -------
    Encoding
        The codes, in single precision if `X` and `D` are, else in double (`out` if given), with convergence, objectives
        and certificates.

    Raises
    ------
    TypeError
        If `penalty` is no penalty, one of its numbers is missing or not its own, or an array does not hold real
        numbers.
    ValueError
        If shapes do not fit, entries are not finite, an atom is zero, the solver is not for this penalty, or another
        argument is out of range.

    Warns
    -----
    ConvergenceWarning
        If codes have not converged, with their count; or if ``alpha=0`` and there are more atoms than features, so that
        codes are not unique, and coordinate steps may take long.
    RuntimeWarning
        If `tol` is below what single precision can resolve, and is raised to 1e-6.

    See Also
    --------
    sparsetheory.coding.duality_gap, sparsetheory.coding.criticality : Certificates of codes of any origin.

    Notes
    -----
    "fss" and "cd" see a signal through its correlations with the atoms, one product per signal, and the Gram matrix.
    With k active atoms a pass costs O(k n_atoms) operations, and an atom that enters or leaves O(k^2). Beside `X`, the
    codes and the Gram matrix the memory is constant.

    "fss" is the feature-sign search of Lee, Battle, Raina and Ng (2007) with atoms that enter in blocks, the inverse of
    the active Gram matrix, and exchanges of dependent atoms (ours). In single precision its gap is limited by the
    rounding errors of the correlations, about ``1e-7 max|D x| / alpha`` times the objective.

    CEL0 is taken as it is given, with `norms` that should be those of the atoms: then, and where they are larger,
    coordinate steps are hard thresholding, and codes are those of l0. Where they are smaller, entries between zero and
    ``sqrt(2 alpha) / norms`` can remain, and the equivalence with l0 is lost.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.penalties import L0
    >>> D = np.array([[1.0, 0.0], [0.6, 0.8]])
    >>> result = encode([[3.0, 0.5], [3.0, 4.0]], D, "l1", alpha=0.5)
    >>> result.codes.round(4)
    array([[2.3125, 0.3125],
           [0.    , 4.5   ]])
    >>> result.solver, result.converged.tolist(), bool(result.gap.max() < 1e-12)
    ('fss', [True, True], True)
    >>> encode([[3.0, 0.5], [3.0, 4.0]], D, L0(0.5)).codes.round(4)
    array([[3., 0.],
           [0., 5.]])
    """
    X, A = check_signals(X, D)
    penalty = as_penalty(penalty, alpha, **shape)
    PenaltyRows(penalty, A.shape[1], X.dtype)
    solver = choose_solver(solver, penalty)
    if FLAG.check("polish", polish) and not (penalty.counts_nonzeros and not penalty.positive):
        free = " without a sign constraint" if penalty.positive else ""
        raise ValueError(f"polish is for l0 and CEL0{free}; got {penalty!r}")
    problem = CodingProblem(
        X,
        A,
        penalty,
        None if init is None else check_codes(init, X, A, "init"),
        # Kernels are compiled for arrays that can be written to.
        np.require(check_gram(gram, A), requirements="W"),
        check_tolerance(POSITIVE.check("tol", tol), X.dtype),
        COUNT.check("max_iter", max_iter),
        JOBS.check("n_jobs", n_jobs),
        _checked_out(out, X, A),
    )
    if penalty.alpha == 0 and A.shape[1] > A.shape[0]:
        warnings.warn(
            "alpha=0: with more atoms than features codes are not unique, and may not converge",
            ConvergenceWarning,
            stacklevel=2,
        )
    n_iter, converged = SOLVERS[solver](problem)
    # Forward-backward splitting warns itself.
    if solver != "fb" and (left := int(np.count_nonzero(~converged))):
        warnings.warn(
            f"{left} of {converged.size} codes did not reach tol={problem.tol:g} within max_iter={max_iter} passes",
            ConvergenceWarning,
            stacklevel=2,
        )
    found = Encoding(problem.out, n_iter, converged, solver, X, A.T, penalty, problem.tol)
    return _polished(found, problem) if polish else found


def _polished(found: Encoding, problem: CodingProblem) -> Encoding:
    """Write better codes for l0 over those found."""
    better = polish_codes(
        found.signals, found.atoms, found.codes, alpha=found.penalty.alpha, gram=problem.gram, n_jobs=problem.n_jobs
    )
    found.codes[...] = better.codes
    return replace(found, converged=better.converged, polished=better.polished)


def _checked_out(out: FloatArray | None, X: FloatArray, A: FloatArray) -> FloatArray:
    shape, dtype = (X.shape[0], A.shape[1]), X.dtype
    if out is None:
        return np.empty(shape, dtype)
    if not (isinstance(out, np.ndarray) and out.shape == shape and out.dtype == dtype):
        raise ValueError(f"out must be an array of shape {shape} and dtype {dtype}; got {out!r:.60}")
    if not (out.flags.c_contiguous and out.flags.writeable):
        raise ValueError("out must be C-ordered and writable")
    # Objectives and certificates are computed later, from signals and atoms that must still be there.
    for name, array in (("X", X), ("D", A)):
        if np.may_share_memory(out, array):
            raise ValueError(f"out must not share memory with {name}")
    return out
