"""Forward-backward splitting for many codes at once: the reference algorithm, for every penalty."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.coding.codes.objective import SquaredResidual, objective_rows
from sparsetheory.coding.codes.problem import check_codes, check_signals, check_tolerance, row_chunks
from sparsetheory.coding.proximal_gradient.batch import AcceleratedBatch, Batch, GuardedBatch
from sparsetheory.coding.proximal_gradient.step_sizes import choose_step, squared_spectral_norm
from sparsetheory.coding.proximal_gradient.trajectory import Recorder, Trajectory
from sparsetheory.constraints import COUNT
from sparsetheory.penalties.base import Penalty
from sparsetheory.penalties.per_feature import PenaltyRows
from sparsetheory.typing import BoolArray, Float64Array, FloatArray, IndexArray, Int64Array

__all__ = ["ForwardBackwardInfo", "forward_backward"]


# Threshold and regulariser of the published stop rule.
_PAPER_EPS = 1e-2


@dataclass(frozen=True)
class ForwardBackwardInfo:
    """How a run of :func:`forward_backward` went.

    Attributes
    ----------
    n_iter : ndarray of shape (n_samples,)
        Steps that the code of each signal took.
    converged : ndarray of bool of shape (n_samples,)
        Which codes met the stop rule.
    step : float
        Step size.
    lipschitz : float
        Squared spectral norm of the atoms, the Lipschitz constant of the gradient.
    objective : ndarray of shape (n_samples,)
        Half the squared residual plus penalty, in double precision.
    history : Trajectory or None
        What happened at every step, where asked for.
    """

    n_iter: Int64Array
    converged: BoolArray
    step: float
    lipschitz: float
    objective: Float64Array
    history: Trajectory | None


def forward_backward(
    X: ArrayLike,
    D: ArrayLike,
    penalty: Penalty,
    *,
    step: float | str = "auto",
    accel: bool = False,
    restart: bool = True,
    tol: float = 1e-6,
    max_iter: int = 2000,
    inner: str = "converged",
    return_history: bool = False,
    check_step: bool = True,
    warm: ArrayLike | None = None,
) -> tuple[FloatArray, ForwardBackwardInfo]:
    r"""Minimise :math:`\frac12\|x - Dc\|^2 + \phi(c)` per signal by gradient steps followed by thresholding.

    One step is :math:`c \leftarrow \mathrm{prox}_{\tau\phi}(c + \tau D^T(x - Dc))`. With l1 this is ISTA, with l0
    iterative hard thresholding.

    Parameters
    ----------
    X : array-like of shape (n_samples, m)
        Signals, one per row.
    D : array-like of shape (m, n_atoms)
        Atoms, one per column; they need not be of unit norm.
    penalty : Penalty
        One of :mod:`sparsetheory.penalties.separable`.
    step : float or "auto"
        Step size. "auto" takes 0.99 of the limit :math:`2 / (L + \min(\rho, L))`, below which the objective never
        increases; L is :math:`\|D\|_2^2` and :math:`\rho` the weak convexity of the penalty. That is 2/L for l1 and
        1/L for l0 and lq. With l1 and `accel` it is 1/L.
    accel : bool
        Extrapolate: FISTA for l1. For other penalties an extrapolated point is kept only where it lowers the objective
        by a share of its squared distance; else the plain step is taken.
    restart : bool
        Forget the momentum of a code whose last move points uphill (O'Donoghue and Candès, 2015); with other penalties
        than l1, of one whose extrapolated point was refused.
    tol : float
        A code has converged once a step of 1/L or longer moves no entry by more than `tol` times the largest entry;
        shorter steps must move it by proportionally less. Not used by ``inner="paper"``.
    max_iter : int
        Most steps.
    inner : {"converged", "paper"}
        Stop every code by itself when it has converged, or stop all as the code published with Rentzeperis,
        Calatroni, Perrinet and Prandi (2023) does; see Notes.
    return_history : bool
        Record objective, move and support changes of every step.
    check_step : bool
        Refuse a step at which the objective may increase. ``inner="paper"`` warns of it instead.
    warm : array-like of shape (n_samples, n_atoms), optional
        Codes to start from; zero by default.

    Returns
    -------
    C : ndarray of shape (n_samples, n_atoms)
        Codes, in single precision if `X` and `D` are, else in double.
    info : ForwardBackwardInfo
        Steps, convergence and objectives.

    Raises
    ------
    ValueError
        If shapes do not fit, entries are not finite, an atom is zero, the step is not below its limit, or another
        number is out of range.
    TypeError
        If `penalty` is no Penalty, or an array does not hold real numbers.

    Warns
    -----
    ConvergenceWarning
        If codes have not converged after `max_iter` steps, with their count.
    RuntimeWarning
        If `tol` is below what single precision can resolve, and is raised to 1e-6; or if the step of
        ``inner="paper"`` is not safe.

    See Also
    --------
    sparsetheory.coding.criticality : How far a code is from being a fixed point.

    Notes
    -----
    A step costs 4 m n operations per code of n atoms, or 2 n^2 where n < 2m. Codes that have converged leave the batch.

    At a step :math:`\tau` the objective falls by at least
    :math:`\frac12 ((1/\tau - L) + \max(1/\tau - \rho, 0)) \|c_{k+1} - c_k\|^2`: what a step minimises majorises the
    objective by :math:`\frac12 (1/\tau - L) \|\cdot\|^2`, and is strongly convex with constant :math:`1/\tau - \rho`
    where that is positive (our short form of two known cases). For semialgebraic penalties, which all but log-sum and
    irrational powers are, bounded sequences converge to a critical point (Attouch, Bolte and Svaiter, 2013). FISTA is
    due to Beck and Teboulle (2009); the guard of the accelerated nonconvex step follows Li and Lin (2015).

    ``inner="paper"`` starts at zero, steps with all signals as one batch, and stops when
    :math:`\|C_{k+1} - C_k\|_2 \le 0.01 (0.01 + \|C_k\|_2)` holds strictly in spectral norms; then it takes one more
    step. It reproduces this rule and nothing else: not the learning of atoms, not the normalisation of atoms, and not
    the decay of the step with which the authors ran CEL0 on more than 500 atoms. The rule does not detect convergence,
    as a small step moves the codes little wherever they are: with hard thresholding it can stop at zero at once.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.coding import forward_backward
    >>> from sparsetheory.penalties import L1
    >>> C, info = forward_backward([[3.0, 0.5, -2.0]], np.eye(3), L1(1.0), step=1.0)
    >>> C
    array([[ 2.,  0., -1.]])
    >>> info.n_iter.tolist(), info.objective.tolist()
    ([2], [4.125])
    """
    X, D = check_signals(X, D)
    COUNT.check("max_iter", max_iter)
    tol = check_tolerance(tol, X.dtype)
    _check_rule(inner, accel, warm)
    rows = PenaltyRows(penalty, D.shape[1], X.dtype)
    lipschitz = squared_spectral_norm(D)
    size = choose_step(step, lipschitz, penalty, accel=accel, check=check_step, only_warn=inner == "paper")
    C = np.zeros((X.shape[0], D.shape[1]), X.dtype) if warm is None else check_codes(warm, X, D, "warm").copy()
    if penalty.positive:
        np.maximum(C, 0.0, out=C)
    n_iter, converged = np.zeros(X.shape[0], np.int64), np.ones(X.shape[0], np.bool_)
    recorders = []
    chunks = list(row_chunks(X.shape[0], X.itemsize * sum(D.shape))) if inner == "converged" else []
    for chunk in chunks or [slice(None)]:
        batch = _batch(SquaredResidual(X[chunk], D), rows, C[chunk], size, accel, restart)
        recorder = Recorder(batch.objectives()) if return_history else None
        recorders += [recorder] if recorder else []
        if inner == "converged":
            least = tol * min(1.0, size * lipschitz)
            C[chunk], n_iter[chunk], converged[chunk] = _run(batch, least, max_iter, recorder)
        else:
            C[chunk], n_iter[chunk], converged[chunk] = _run_paper(batch, max_iter, recorder)
    _warn_of_unconverged(converged, max_iter)
    history = Trajectory.beside([r.trajectory() for r in recorders]) if recorders else None
    return C, ForwardBackwardInfo(n_iter, converged, size, lipschitz, objective_rows(X, D, C, penalty), history)


def _check_rule(inner: str, accel: bool, warm: Any) -> None:
    if inner not in ("converged", "paper"):
        raise ValueError(f"inner must be 'converged' or 'paper'; got {inner!r}")
    if inner == "paper" and (accel or warm is not None):
        raise ValueError("inner='paper' starts at zero and takes plain steps; it goes with neither warm nor accel")


def _warn_of_unconverged(converged: BoolArray, max_iter: int) -> None:
    if not converged.all():
        warnings.warn(
            f"forward_backward: {np.count_nonzero(~converged)} of {converged.size} codes have not converged after "
            f"max_iter={max_iter} steps; increase max_iter or tol, or use accel=True",
            ConvergenceWarning,
            stacklevel=3,
        )


def _batch(
    loss: SquaredResidual, rows: PenaltyRows, start: FloatArray, step: float, accel: bool, restart: bool
) -> Batch:
    if not accel:
        return Batch(loss, rows, start, step)
    kind = AcceleratedBatch if rows.convex else GuardedBatch
    return kind(loss, rows, start, step, restart=restart)


def _run(
    batch: Batch, least: float, max_iter: int, recorder: Recorder | None
) -> tuple[FloatArray, Int64Array, BoolArray]:
    """Step until every code has converged by itself; return codes, steps and convergence."""
    codes, moving = batch.codes.copy(), np.arange(batch.codes.shape[0])
    n_iter, converged = np.full(moving.size, max_iter), np.zeros(moving.size, np.bool_)
    for iteration in range(1, max_iter + 1):
        still = _advance(batch, moving, recorder) <= least
        if still.any():
            codes[moving[still]] = batch.codes[still]
            n_iter[moving[still]], converged[moving[still]] = iteration, True
            batch.keep(~still)
            moving = moving[~still]
        if moving.size == 0:
            break
    codes[moving] = batch.codes
    return codes, n_iter, converged


def _run_paper(batch: Batch, max_iter: int, recorder: Recorder | None) -> tuple[FloatArray, int, bool]:
    """Step until the published rule stops the whole batch, and once more; return codes, steps and convergence."""
    everyone = np.arange(batch.codes.shape[0])
    for iteration in range(1, max_iter + 1):
        old = batch.codes
        _advance(batch, everyone, recorder)
        if not np.isfinite(np.einsum("ij,ij->", batch.codes, batch.codes, dtype=np.float64)):
            # The step is too long, and squares have left the range of floating point.
            return old, iteration - 1, False
        change, size = (np.sqrt(squared_spectral_norm(matrix)) for matrix in (batch.codes - old, old))
        if change / (_PAPER_EPS + size) < _PAPER_EPS:
            _advance(batch, everyone, recorder)
            return batch.codes, iteration + 1, True
    return batch.codes, max_iter, False


def _advance(batch: Batch, rows: IndexArray, recorder: Recorder | None) -> Float64Array:
    old = batch.codes
    moved = batch.advance()
    if recorder:
        recorder.add(rows, old, batch.codes, batch.objectives())
    return moved
