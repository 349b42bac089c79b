"""Sparse codes of many signals in one dictionary, for every penalty of the package."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.arguments import check_count, check_number
from sparsetheory.coding.coding_objective import PenaltyRows
from sparsetheory.coding.coding_problem import (
    check_codes,
    check_gram,
    check_signals,
    check_tolerance,
    one_blas_thread,
    row_chunks,
)
from sparsetheory.coding.encode_info import EncodeInfo, Encoding
from sparsetheory.coding.l0_coordinate_descent import descend
from sparsetheory.coding.penalty import Penalty
from sparsetheory.coding.penalty_table import penalty_table
from sparsetheory.coding.proximal_gradient import forward_backward
from sparsetheory.coding.single_replacement import replace_singly
from sparsetheory.coding.stability import Stability
from sparsetheory.coding.stability import polish as polish_codes
from sparsetheory.numba_kernels import penalty_tags
from sparsetheory.numba_kernels.code_descent import code_descent
from sparsetheory.numba_kernels.feature_sign import feature_sign

__all__ = ["EncodeInfo", "Encoding", "encode"]

_Floats = NDArray[np.floating]
_Mask = NDArray[np.bool_]
_Counts = NDArray[np.int64]
# Replaces correlations by codes; takes guesses and a limit, and writes passes and convergence.
_Coder = Callable[[_Floats, _Floats, int, _Counts, _Mask], None]

_SOLVERS = ("auto", "fss", "cd", "fb", "sbr", "greedy")
_L0_TAGS = (penalty_tags.L0, penalty_tags.CEL0)
# Violations of this many roundings of the largest correlation are rounding errors.
_ROUNDINGS = 8
# Passes after which a signal in single precision is coded in double.
_SINGLE_ITER = 100
# Atoms enter together within this share of the largest excess; one by one, objectives with jumps end lower.
_SHARE, _SHARE_OF_JUMPS = 0.7, 0.9


@dataclass(frozen=True)
class _Problem:
    """Checked arguments of :func:`encode`."""

    X: _Floats
    D: _Floats
    penalty: Penalty
    warm: _Floats | None
    gram: _Floats
    tol: float
    max_iter: int
    n_jobs: int | None
    out: _Floats


_Solver = Callable[[_Problem], tuple[_Counts, _Mask]]


def encode(
    X: ArrayLike,
    D: ArrayLike,
    penalty: Penalty,
    solver: str = "auto",
    *,
    warm: ArrayLike | None = None,
    gram: ArrayLike | None = None,
    tol: float = 1e-6,
    max_iter: int = 1000,
    polish: bool = False,
    n_jobs: int | None = None,
    out: _Floats | None = None,
) -> Encoding:
    r"""Minimise :math:`\frac12\|x - Dc\|^2 + \phi(c)` over the code c of every signal x.

    Parameters
    ----------
    X : array-like of shape (n_samples, m)
        Signals, one per row.
    D : array-like of shape (m, n_atoms)
        Atoms, one per column; they need not be of unit norm.
    penalty : Penalty
        One of :mod:`sparsetheory.coding.penalties`.
    solver : {"auto", "fss", "cd", "fb", "sbr", "greedy"}
        "fss" is a block active-set method for l1, exact up to rounding. "cd" takes coordinate and Newton steps on an
        active set; no change of a single entry improves its codes. "fb" is
        :func:`~sparsetheory.coding.forward_backward`. For l0 and CEL0, "sbr" is :func:`~sparsetheory.coding.sbr`, and
        "greedy" :func:`~sparsetheory.coding.cd_l0`. "auto" takes "fss" for l1 and "cd" for all else.
    warm : array-like of shape (n_samples, n_atoms), optional
        Codes to start from; zero by default. `out` may be the same array.
    gram : array-like of shape (n_atoms, n_atoms), optional
        ``D.T @ D``, where it is known already.
    tol : float
        For "fss", the relative duality gap: the share of its objective by which a code may be above the minimum. For
        "cd", how far an entry times the squared norm of its atom may be from best, as a share of the largest
        correlation of an atom with the signal. For "fb" and "greedy" as documented there; "sbr" does not use it.
    max_iter : int
        Most passes over the atoms per signal; for "fb" and "sbr" most steps, for "greedy" a hundredth of them.
    polish : bool
        For l0 and CEL0, improve the codes by :func:`~sparsetheory.coding.polish`.
    n_jobs : int or None
        Threads, in the sense of joblib. Codes do not depend on it.
    out : ndarray of shape (n_samples, n_atoms), optional
        Where to put the codes, for example a memory map: C-ordered, of the dtype of the result.

    Returns
    -------
    codes : ndarray of shape (n_samples, n_atoms)
        In single precision if `X` and `D` are, else in double; `out` if given.
    info : EncodeInfo
        Convergence, objectives and certificates.

    Raises
    ------
    TypeError
        If `penalty` is no Penalty, or an array does not hold real numbers.
    ValueError
        If shapes do not fit, entries are not finite, an atom is zero, the solver is not for this penalty, or another
        argument is out of range.

    Warns
    -----
    ConvergenceWarning
        If codes have not converged, with their count; or if ``lam=0`` and there are more atoms than samples, so that
        codes are not unique, and coordinate steps may take long.
    RuntimeWarning
        If `tol` is below what single precision can resolve, and is raised to 1e-6.

    See Also
    --------
    sparsetheory.coding.duality_gap, sparsetheory.coding.criticality : Certificates of codes of any origin.

    Notes
    -----
    Both methods see a signal through its correlations with the atoms, one product per signal, and the Gram matrix. With
    k active atoms a pass costs O(k n_atoms) operations, and an atom that enters or leaves O(k^2). Beside `X`, the codes
    and the Gram matrix the memory is constant.

    "fss" is the feature-sign search of Lee, Battle, Raina and Ng (2007) with atoms that enter in blocks, the inverse of
    the active Gram matrix, and exchanges of dependent atoms (ours). In single precision its gap is limited by the
    rounding errors of the correlations, about ``1e-7 max|D'x| / lam`` times the objective.

    CEL0 is taken as it is given, with `norms` that should be those of the atoms: then, and where they are larger,
    coordinate steps are hard thresholding, and codes are those of l0. Where they are smaller, entries between zero and
    ``sqrt(2 lam) / norms`` can remain, and the equivalence with l0 is lost.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.coding import L0, L1
    >>> D = np.array([[1.0, 0.6], [0.0, 0.8]])
    >>> C, info = encode([[3.0, 0.5], [3.0, 4.0]], D, L1(0.5))
    >>> C.round(4)
    array([[2.3125, 0.3125],
           [0.    , 4.5   ]])
    >>> info.solver, info.converged.tolist(), bool(info.gap.max() < 1e-12)
    ('fss', [True, True], True)
    >>> encode([[3.0, 0.5], [3.0, 4.0]], D, L0(0.5)).codes.round(4)
    array([[3., 0.],
           [0., 5.]])
    """
    X, D = check_signals(X, D)
    PenaltyRows(penalty, D.shape[1], X.dtype)
    solver = _chosen(solver, penalty, polish)
    problem = _Problem(
        X,
        D,
        penalty,
        None if warm is None else check_codes(warm, X, D, "warm"),
        # Kernels are compiled for arrays that can be written to.
        np.require(check_gram(gram, D), requirements="W"),
        check_tolerance(check_number("tol", tol, positive=True), X.dtype),
        check_count("max_iter", max_iter),
        n_jobs,
        _checked_out(out, (X.shape[0], D.shape[1]), X.dtype),
    )
    if penalty.lam == 0 and D.shape[1] > D.shape[0]:
        warnings.warn(
            "lam=0: with more atoms than samples codes are not unique, and may not converge",
            ConvergenceWarning,
            stacklevel=2,
        )
    n_iter, converged = _solvers()[solver](problem)
    # Forward-backward splitting warns itself.
    if solver != "fb" and (left := int(np.count_nonzero(~converged))):
        warnings.warn(
            f"{left} of {converged.size} codes did not reach tol={problem.tol:g} within max_iter={max_iter} passes",
            ConvergenceWarning,
            stacklevel=2,
        )
    polished = None
    if polish:
        polished = polish_codes(X, D, problem.out, penalty.lam, gram=problem.gram, n_jobs=n_jobs)
        problem.out[...] = polished.codes
        converged = polished.after == Stability.SBR
    return Encoding(problem.out, EncodeInfo(solver, n_iter, converged, polished, X, D, problem.out, penalty))


def _chosen(solver: str, penalty: Penalty, polish: bool) -> str:
    if solver not in _SOLVERS:
        raise ValueError(f"solver must be one of {', '.join(map(repr, _SOLVERS))}; got {solver!r}")
    is_l1, is_l0 = penalty.kind == penalty_tags.L1, penalty.kind in _L0_TAGS
    if solver == "auto":
        solver = "fss" if is_l1 else "cd"
    if (solver == "fss" and not is_l1) or (solver in ("sbr", "greedy") and not is_l0):
        raise ValueError(f"solver {solver!r} is for {'l1' if solver == 'fss' else 'l0 and CEL0'}; got {penalty!r}")
    if polish and not is_l0:
        raise ValueError(f"polish is for l0 and CEL0; got {penalty!r}")
    return solver


def _checked_out(out: _Floats | None, shape: tuple[int, int], dtype: np.dtype) -> _Floats:
    if out is None:
        return np.empty(shape, dtype)
    if not (isinstance(out, np.ndarray) and out.shape == shape and out.dtype == dtype):
        raise ValueError(f"out must be an array of shape {shape} and dtype {dtype}; got {out!r:.60}")
    if not (out.flags.c_contiguous and out.flags.writeable):
        raise ValueError("out must be C-ordered and writable")
    return out


def _solvers() -> dict[str, _Solver]:
    return {"fss": _by_feature_sign, "cd": _by_descent, "fb": _by_splitting, "sbr": _by_sbr, "greedy": _by_greedy}


def _by_feature_sign(p: _Problem) -> tuple[_Counts, _Mask]:
    eps = float(np.finfo(p.X.dtype).eps)
    # Violations of a share v of lam leave a relative gap of at most 2 v.
    numbers = p.penalty.lam, p.tol / 2, _ROUNDINGS * eps, eps**0.5

    def code(rows: _Floats, guesses: _Floats, max_iter: int, passes: _Counts, converged: _Mask) -> None:
        feature_sign(p.gram, rows, guesses, *numbers, max_iter, passes, converged)

    return _run(p, code, _by_feature_sign)


def _by_descent(p: _Problem) -> tuple[_Counts, _Mask]:
    rows = PenaltyRows(p.penalty, p.D.shape[1], p.X.dtype)
    table = penalty_table(rows.kind, rows.lam, rows.shape, np.diagonal(p.gram))
    eps = float(np.finfo(p.X.dtype).eps)
    share, entry = (_SHARE_OF_JUMPS, min(p.tol, _ROUNDINGS * eps)) if table.jumps else (_SHARE, p.tol)
    numbers = share, p.tol, entry, eps**0.5

    def code(rows: _Floats, guesses: _Floats, max_iter: int, passes: _Counts, converged: _Mask) -> None:
        code_descent(p.gram, rows, guesses, table, *numbers, max_iter, passes, converged)

    return _run(p, code, _by_descent)


def _run(p: _Problem, code: _Coder, again: _Solver) -> tuple[_Counts, _Mask]:
    """Code all signals chunk by chunk; correlations and codes of a chunk share its rows of the result."""
    n_iter, converged = np.empty(p.X.shape[0], np.int64), np.empty(p.X.shape[0], np.bool_)
    start, single = _guesses(p), p.X.dtype == np.float32
    max_iter = min(p.max_iter, _SINGLE_ITER) if single else p.max_iter

    def run(chunk: slice) -> None:
        # A copy, because the result may be written over the guesses.
        guesses = np.array(start[chunk])
        np.matmul(p.X[chunk], p.D, out=p.out[chunk])
        code(p.out[chunk], guesses, max_iter, n_iter[chunk], converged[chunk])

    chunks = list(row_chunks(p.X.shape[0], p.X.itemsize * p.D.shape[1]))
    n_threads = min(effective_n_jobs(p.n_jobs), max(len(chunks), 1))
    with one_blas_thread():
        if n_threads == 1:
            for chunk in chunks:
                run(chunk)
        else:
            Parallel(n_jobs=n_threads, require="sharedmem")(delayed(run)(chunk) for chunk in chunks)
    left = ~converged
    if single and left.any():
        # Rounding errors keep some signals from converging, where atoms are nearly dependent.
        double = _doubled(p, left)
        passes, converged[left] = again(double)
        n_iter[left] += passes
        p.out[left] = double.out
    return n_iter, converged


def _doubled(p: _Problem, rows: _Mask) -> _Problem:
    """Return the problem of some signals in double precision, from the codes so far."""
    X, D, warm = (array.astype(np.float64) for array in (p.X[rows], p.D, p.out[rows]))
    warm[~np.isfinite(warm)] = 0.0
    return replace(p, X=X, D=D, warm=warm, gram=check_gram(None, D), out=np.empty_like(warm))


def _by_splitting(p: _Problem) -> tuple[_Counts, _Mask]:
    accel = p.penalty.kind == penalty_tags.L1
    p.out[...], info = forward_backward(p.X, p.D, p.penalty, accel=accel, tol=p.tol, max_iter=p.max_iter, warm=p.warm)
    return info.n_iter, info.converged


def _guesses(p: _Problem) -> _Floats:
    return np.empty((0, p.D.shape[1]), p.X.dtype) if p.warm is None else p.warm


def _by_sbr(p: _Problem) -> tuple[_Counts, _Mask]:
    p.out[...], moves = replace_singly(p.X, p.D, p.gram, p.penalty.lam, _guesses(p), p.max_iter, p.n_jobs)
    return moves, moves >= 0


def _by_greedy(p: _Problem) -> tuple[_Counts, _Mask]:
    most = 100 * p.max_iter
    p.out[...], moves = descend(p.X, p.D, p.gram, p.penalty.lam, "greedy", _guesses(p), p.tol, most, p.n_jobs)
    return moves, moves >= 0
