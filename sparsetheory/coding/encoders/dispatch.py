"""The solvers of a checked coding problem, and the signals in chunks that threads share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs

from sparsetheory.blas_threads import blas_threads
from sparsetheory.coding.codes.certificates import duality_gap
from sparsetheory.coding.codes.objective import objective_rows
from sparsetheory.coding.codes.problem import check_gram, row_chunks
from sparsetheory.coding.l0.coordinate_descent import descend
from sparsetheory.coding.l0.single_best_replacement import replace_singly
from sparsetheory.coding.proximal_gradient.forward_backward import forward_backward
from sparsetheory.constraints import Choice
from sparsetheory.numba_kernels.penalties import tags
from sparsetheory.numba_kernels.quadratic.code_descent import code_descent
from sparsetheory.numba_kernels.quadratic.feature_sign import feature_sign
from sparsetheory.penalties.base import Penalty
from sparsetheory.penalties.piecewise import penalty_table
from sparsetheory.penalties.separable import L0, L1
from sparsetheory.typing import BoolArray, FloatArray, IndexArray, Int64Array

__all__ = ["SOLVERS", "CodingProblem", "choose_solver"]

# Replaces correlations by codes; takes guesses and a limit, and writes passes and convergence.
_Coder = Callable[[FloatArray, FloatArray, int, Int64Array, BoolArray], None]

# Violations of this many roundings of the largest correlation are rounding errors.
_ROUNDINGS = 8
# Atoms whose norms differ by more than this factor are coded as unit atoms, where the penalty allows it.
_UNEQUAL = 2.0
# Passes after which a signal in single precision is coded in double.
_SINGLE_ITER = 100
# Atoms enter together within this fraction of the largest excess; one by one, objectives with jumps end lower.
_FRACTION, _FRACTION_OF_JUMPS = 0.7, 0.9


@dataclass(frozen=True)
class CodingProblem:
    """A checked coding problem, its atoms in the columns of `A`, and the array that its codes are written to.

    Solvers replace it as a whole: by some of its signals in double precision, or by the same problem in unit atoms.
    """

    X: FloatArray
    A: FloatArray
    penalty: Penalty
    init: FloatArray | None
    gram: FloatArray
    tol: float
    max_iter: int
    n_jobs: int | None
    out: FloatArray


_Solver = Callable[[CodingProblem], tuple[Int64Array, BoolArray]]


def _by_feature_sign(p: CodingProblem) -> tuple[Int64Array, BoolArray]:
    eps = float(np.finfo(p.X.dtype).eps)
    # Violations of a fraction v of alpha leave a relative gap of at most 2 v.
    numbers = p.penalty.alpha, p.tol / 2, _ROUNDINGS * eps, eps**0.5

    def code(rows: FloatArray, guesses: FloatArray, max_iter: int, passes: Int64Array, converged: BoolArray) -> None:
        feature_sign(p.gram, rows, guesses, *numbers, max_iter, passes, converged)

    n_iter, converged = _run(p, code)
    _decide_by_gaps(p, converged)
    return _again(p, n_iter, converged, _by_feature_sign)


def _decide_by_gaps(p: CodingProblem, converged: BoolArray) -> None:
    """Let gaps decide what passes do not resolve beside rounding errors, where the penalty is convex."""
    if p.penalty.alpha > 0:
        for chunk in row_chunks(p.X.shape[0], 8 * sum(p.A.shape)):
            left = ~converged[chunk] | _unresolved(p, chunk)
            converged[chunk][left] = _gap_is_small(p, np.flatnonzero(left) + chunk.start)


def _unresolved(p: CodingProblem, chunk: slice) -> BoolArray:
    """Say where rounding errors of the terms of the correlations exceed what the tolerance allows."""
    norms = np.sqrt(np.diagonal(p.gram))
    roundings = _ROUNDINGS * float(np.finfo(p.X.dtype).eps) * norms.max()
    allowed = p.penalty.alpha * p.penalty.l1_part * p.tol / 2
    if p.X.dtype == np.float32:
        allowed = np.maximum(allowed, 4 * roundings * np.linalg.norm(p.X[chunk], axis=1))
    return np.asarray(roundings * (np.abs(p.out[chunk]) @ norms) > allowed)


def _gap_is_small(p: CodingProblem, rows: IndexArray) -> BoolArray:
    """Say which codes exceed the minimum of their objective by no more than the tolerance allows."""
    X, C, slope = p.X[rows], p.out[rows], p.penalty.alpha * p.penalty.l1_part
    good: BoolArray = np.asarray(np.isfinite(C).all(axis=1))
    if not good.any():
        return good
    X, C = X[good], C[good]
    eps, norms = float(np.finfo(p.X.dtype).eps), np.sqrt(np.diagonal(p.gram))
    # Correlations are differences of those of the signal and of the code, each with rounding errors of its own size.
    # Those of large codes excuse no more than the root of the precision: beyond, nothing would be proved.
    of_signals = 2 * _ROUNDINGS * eps * np.abs(X @ p.A).max(axis=1) / slope
    of_codes = 2 * _ROUNDINGS * eps * norms.max() * (np.abs(C) @ norms) / slope
    roundings = of_signals + np.minimum(of_codes, eps**0.5)
    gaps = duality_gap(X, p.A.T, C, alpha=p.penalty.alpha, l1_ratio=p.penalty.l1_part, positive=p.penalty.positive)
    good[good] = gaps <= np.maximum(p.tol, roundings) * objective_rows(X, p.A, C, p.penalty)
    return good


def _by_descent(p: CodingProblem) -> tuple[Int64Array, BoolArray]:
    norms = np.sqrt(np.diagonal(p.gram))
    table = penalty_table(p.penalty, np.diagonal(p.gram))
    if table.kind & tags.FAMILY == tags.L0 and norms.max() > _UNEQUAL * norms.min():
        return _in_unit_atoms(p, norms)
    eps = float(np.finfo(p.X.dtype).eps)
    # With a bend of rho, entries that leave zero move 1 / (1 - rho / h) times as far as they are pulled; where rho is
    # larger than h, the operator jumps from one piece to the next, and no pull is small.
    left = 1.0 - p.penalty.weak_convexity() / float(norms.min()) ** 2
    fraction = _FRACTION_OF_JUMPS if table.jumps else _FRACTION
    entry = min(p.tol, _ROUNDINGS * eps) if table.jumps or left <= 0 else p.tol * left
    slope = ridge = 0.0
    if p.penalty.convex:
        slope, ridge = p.penalty.alpha * p.penalty.l1_part, p.penalty.alpha * (1.0 - p.penalty.l1_part)
    # A step moves the correlation by h, and the slope of the penalty by the strength of its square.
    steepness = 1.0 + ridge / float(norms.min()) ** 2

    def code(rows: FloatArray, guesses: FloatArray, max_iter: int, passes: Int64Array, converged: BoolArray) -> None:
        # Violations of a share v of the slope at zero leave a relative gap of at most 2 v.
        sharper = slope / (2.0 * steepness * float(np.abs(rows).max(initial=slope))) if slope > 0 else 1.0
        numbers = fraction, max(sharper * p.tol, eps), max(sharper * entry, eps), eps**0.5
        code_descent(p.gram, rows, guesses, table, *numbers, max_iter, passes, converged)

    n_iter, converged = _run(p, code)
    if p.penalty.convex:
        _decide_by_gaps(p, converged)
    return _again(p, n_iter, converged, _by_descent)


def _in_unit_atoms(p: CodingProblem, norms: FloatArray) -> tuple[Int64Array, BoolArray]:
    """Code with atoms of unit norm, which is the same to a cost per atom, so that one tolerance fits all."""
    init, gram = (None if p.init is None else p.init * norms), p.gram / norms / norms[:, None]
    unit = replace(p, A=p.A / norms, penalty=L0(p.penalty.alpha, positive=p.penalty.positive), init=init, gram=gram)
    counts = _by_descent(unit)
    p.out[...] /= norms
    return counts


def _run(p: CodingProblem, code: _Coder) -> tuple[Int64Array, BoolArray]:
    """Code all signals chunk by chunk; correlations and codes of a chunk share its rows of the result."""
    n_iter, converged = np.empty(p.X.shape[0], np.int64), np.empty(p.X.shape[0], np.bool_)
    start, single = _guesses(p), p.X.dtype == np.float32
    max_iter = min(p.max_iter, _SINGLE_ITER) if single else p.max_iter

    def run(chunk: slice) -> None:
        # A copy, because the result may be written over the guesses.
        guesses = np.array(start[chunk])
        if p.penalty.positive:
            np.maximum(guesses, 0.0, out=guesses)
        np.matmul(p.X[chunk], p.A, out=p.out[chunk])
        code(p.out[chunk], guesses, max_iter, n_iter[chunk], converged[chunk])

    chunks = list(row_chunks(p.X.shape[0], p.X.itemsize * p.A.shape[1]))
    n_threads = min(effective_n_jobs(p.n_jobs), max(len(chunks), 1))
    with blas_threads(0):
        if n_threads == 1:
            for chunk in chunks:
                run(chunk)
        else:
            Parallel(n_jobs=n_threads, require="sharedmem")(delayed(run)(chunk) for chunk in chunks)
    return n_iter, converged


def _again(p: CodingProblem, n_iter: Int64Array, converged: BoolArray, solve: _Solver) -> tuple[Int64Array, BoolArray]:
    """Return counts and convergence once signals in single precision that did not converge are coded in double."""
    left = ~converged
    if p.X.dtype == np.float32 and left.any():
        # Rounding errors keep some signals from converging, where atoms are nearly dependent.
        double = _doubled(p, left)
        passes, converged[left] = solve(double)
        n_iter[left] += passes
        p.out[left] = double.out
    return n_iter, converged


def _doubled(p: CodingProblem, rows: BoolArray) -> CodingProblem:
    """Return the problem of some signals in double precision, from the codes so far."""
    X, A, init = (array.astype(np.float64) for array in (p.X[rows], p.A, p.out[rows]))
    init[~np.isfinite(init)] = 0.0
    return replace(p, X=X, A=A, init=init, gram=check_gram(None, A), out=np.empty_like(init))


def _by_splitting(p: CodingProblem) -> tuple[Int64Array, BoolArray]:
    found = forward_backward(
        p.X,
        p.A.T,
        p.penalty,
        accelerated=p.penalty.convex,
        tol=p.tol,
        max_iter=p.max_iter,
        init=p.init,
    )
    p.out[...] = found.codes
    return found.n_iter, found.converged


def _guesses(p: CodingProblem) -> FloatArray:
    return np.empty((0, p.A.shape[1]), p.X.dtype) if p.init is None else p.init


def _by_sbr(p: CodingProblem) -> tuple[Int64Array, BoolArray]:
    p.out[...], moves, done = replace_singly(p.X, p.A, p.gram, p.penalty.alpha, _guesses(p), p.max_iter, p.n_jobs)
    return moves, done


def _by_greedy(p: CodingProblem) -> tuple[Int64Array, BoolArray]:
    most = 100 * p.max_iter
    p.out[...], moves, done = descend(p.X, p.A, p.gram, p.penalty.alpha, "greedy", _guesses(p), p.tol, most, p.n_jobs)
    return moves, done


# Every solver writes the codes and returns what it counts, and which codes converged.
SOLVERS: Mapping[str, _Solver] = MappingProxyType(
    {"fss": _by_feature_sign, "cd": _by_descent, "fb": _by_splitting, "sbr": _by_sbr, "greedy": _by_greedy}
)


def choose_solver(solver: str, penalty: Penalty, name: str = "solver") -> str:
    """Return the solver that is meant, once it is known to be for the penalty.

    Parameters
    ----------
    solver : str
        "auto", or a key of `SOLVERS`.
    penalty : Penalty
        What it shall minimise.
    name : str
        What errors call the argument.

    Raises
    ------
    ValueError
        If there is no such solver, or it is for other penalties.
    """
    Choice("auto", *SOLVERS).check(name, solver)
    by_signs, by_counts = (
        suits and not penalty.positive for suits in (isinstance(penalty, L1), penalty.counts_nonzeros)
    )
    if solver == "auto":
        return "fss" if by_signs else "cd"
    if (solver == "fss" and not by_signs) or (solver in ("sbr", "greedy") and not by_counts):
        family = "l1" if solver == "fss" else "l0 and CEL0"
        free = " without a sign constraint" if penalty.positive else ""
        raise ValueError(f"{name} {solver!r} is for {family}{free}; got {penalty!r}")
    return solver
