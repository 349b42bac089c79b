"""Forward-backward splitting for many codes at once: the reference algorithm, for every penalty."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.coding.codes.encoding import Encoding
from sparsetheory.coding.codes.objective import SquaredResidual
from sparsetheory.coding.codes.problem import check_codes, check_signals, check_tolerance, row_chunks
from sparsetheory.coding.codes.trajectory import Recorder, Trajectory
from sparsetheory.coding.proximal_gradient.batch import AcceleratedBatch, Batch, GuardedBatch
from sparsetheory.coding.proximal_gradient.step_sizes import choose_step, squared_spectral_norm
from sparsetheory.constraints import COUNT, FLAG, Choice
from sparsetheory.penalties.base import Penalty
from sparsetheory.penalties.per_feature import PenaltyRows
from sparsetheory.penalties.separable import as_penalty
from sparsetheory.typing import BoolArray, Float64Array, FloatArray, IndexArray, Int64Array

__all__ = ["forward_backward"]


# Threshold and regulariser of the published stop rule.
_PUBLISHED_EPS = 1e-2


def forward_backward(
    X: ArrayLike,
    D: ArrayLike,
    penalty: str | Penalty,
    *,
    alpha: float | None = None,
    step: float | str = "auto",
    accelerated: bool = False,
    restart: bool = True,
    tol: float = 1e-6,
    max_iter: int = 2000,
    stop_rule: str = "converged",
    keep_history: bool = False,
    check_step: bool = True,
    init: ArrayLike | None = None,
    **shape: Any,
) -> Encoding:
    r"""Minimise :math:`\frac12\|x - D^T c\|^2 + \phi(c)` per signal by gradient steps followed by thresholding.

    One step is :math:`c \leftarrow \mathrm{prox}_{\tau\phi}(c + \tau D (x - D^T c))`. With l1 this is ISTA, with l0
    iterative hard thresholding.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Signals, one per row.
    D : array-like of shape (n_atoms, n_features)
        Atoms, one per row; they need not be of unit norm.
    penalty : Penalty or str
        One of :mod:`sparsetheory.penalties`, or its name with `alpha` and, where it has one, its other number.
    alpha : float, optional
        Strength of the penalty; in a penalty object it replaces the strength.
    step : float or "auto"
        Step size. "auto" takes 0.99 of the limit :math:`2 / (L + \min(\rho, L))`, below which the objective never
        increases; L is :math:`\|D\|_2^2` and :math:`\rho` the weak convexity of the penalty. That is 2/L for l1 and
        1/L for l0 and lq. With l1 and `accelerated` it is 1/L.
    accelerated : bool
        Extrapolate: FISTA for l1. For other penalties an extrapolated point is kept only where it lowers the objective
        by a fraction of its squared distance; else the plain step is taken.
    restart : bool
        Forget the momentum of a code whose last move points uphill (O'Donoghue and Candès, 2015); with other penalties
        than l1, of one whose extrapolated point was refused.
    tol : float
        Tolerance, relative to the largest entry of the code: it has converged once a step of 1/L or longer moves no
        entry by more. Shorter steps must move it by proportionally less. Not used by ``stop_rule="published"``.
    max_iter : int
        Most steps.
    stop_rule : {"converged", "published"}
        Stop every code by itself when it has converged, or stop all as the code published with Rentzeperis,
        Calatroni, Perrinet and Prandi (2023) does; see Notes.
    keep_history : bool
        Keep objective, move and support changes of every step in ``history``.
    check_step : bool
        Refuse a step at which the objective may increase. ``stop_rule="published"`` warns of it instead.
    init : array-like of shape (n_samples, n_atoms), optional
        Codes to start from; zero by default.
    **shape : float
        The other number of a penalty given by name: `q`, `gamma`, `a`, `eps`, `theta` or `norms`.

    Returns
    -------
    Encoding
        The codes, in single precision if `X` and `D` are, else in double, with steps taken, convergence and objectives.

    Raises
    ------
    ValueError
        If shapes do not fit, entries are not finite, an atom is zero, the step is not below its limit, or another
        number is out of range.
    TypeError
        If `penalty` is no penalty, one of its numbers is missing or not its own, or an array does not hold real
        numbers.

    Warns
    -----
    ConvergenceWarning
        If codes have not converged after `max_iter` steps, with their count.
    RuntimeWarning
        If `tol` is below what single precision can resolve, and is raised to 1e-6; or if the step of
        ``stop_rule="published"`` is not safe.

    See Also
    --------
    sparsetheory.coding.criticality : How far a code is from being a fixed point.

    Notes
    -----
    A step costs ``4 n_features n_atoms`` operations per code, or ``2 n_atoms^2`` where there are fewer than twice as
    many atoms as features. Codes that have converged leave the batch.

    At a step :math:`\tau` the objective falls by at least
    :math:`\frac12 ((1/\tau - L) + \max(1/\tau - \rho, 0)) \|c_{k+1} - c_k\|^2`: what a step minimises majorises the
    objective by :math:`\frac12 (1/\tau - L) \|\cdot\|^2`, and is strongly convex with constant :math:`1/\tau - \rho`
    where that is positive (our short form of two known cases). For semialgebraic penalties, which all but log-sum and
    irrational powers are, bounded sequences converge to a critical point (Attouch, Bolte and Svaiter, 2013). FISTA is
    due to Beck and Teboulle (2009); the guard of the accelerated nonconvex step follows Li and Lin (2015).

    ``stop_rule="published"`` starts at zero, steps with all signals as one batch, and stops when
    :math:`\|C_{k+1} - C_k\|_2 \le 0.01 (0.01 + \|C_k\|_2)` holds strictly in spectral norms; then it takes one more
    step. It reproduces this rule and nothing else: not the learning of atoms, not the normalisation of atoms, and not
    the decay of the step with which the authors ran CEL0 on more than 500 atoms. The rule does not detect convergence,
    as a small step moves the codes little wherever they are: with hard thresholding it can stop at zero at once.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.coding import forward_backward
    >>> result = forward_backward([[3.0, 0.5, -2.0]], np.eye(3), "l1", alpha=1.0, step=1.0)
    >>> result.codes
    array([[ 2.,  0., -1.]])
    >>> result.n_iter.tolist(), result.objective.tolist()
    ([2], [4.125])
    """
    X, A = check_signals(X, D)
    COUNT.check("max_iter", max_iter)
    FLAG.require(accelerated=accelerated, restart=restart, keep_history=keep_history, check_step=check_step)
    tol = check_tolerance(tol, X.dtype)
    published = _is_published(stop_rule, accelerated, init)
    penalty = as_penalty(penalty, alpha, **shape)
    rows = PenaltyRows(penalty, A.shape[1], X.dtype)
    lipschitz = squared_spectral_norm(A)
    size = choose_step(step, lipschitz, penalty, accelerated=accelerated, check=check_step, only_warn=published)
    C = np.zeros((X.shape[0], A.shape[1]), X.dtype) if init is None else check_codes(init, X, A, "init").copy()
    if penalty.positive:
        np.maximum(C, 0.0, out=C)
    n_iter, converged = np.zeros(X.shape[0], np.int64), np.ones(X.shape[0], np.bool_)
    recorders: list[Recorder] = []
    chunks = [] if published else list(row_chunks(X.shape[0], X.itemsize * sum(A.shape)))
    for chunk in chunks or [slice(None)]:
        batch = _batch(SquaredResidual(X[chunk], A), rows, C[chunk], size, accelerated, restart)
        recorder = Recorder(batch.objectives()) if keep_history else None
        recorders += [recorder] if recorder else []
        if published:
            C[chunk], n_iter[chunk], converged[chunk] = _run_published(batch, max_iter, recorder)
        else:
            least = tol * min(1.0, size * lipschitz)
            C[chunk], n_iter[chunk], converged[chunk] = _run(batch, least, max_iter, recorder)
    _warn_of_unconverged(converged, max_iter)
    history = Trajectory.beside([r.trajectory() for r in recorders]) if recorders else None
    return Encoding(C, n_iter, converged, "fb", X, A.T, penalty, tol, step=size, history=history)


def _is_published(stop_rule: str, accelerated: bool, init: Any) -> bool:
    """Return whether the published rule is asked for, once all that goes with it is known to fit."""
    Choice("converged", "published").check("stop_rule", stop_rule)
    if stop_rule == "published" and (accelerated or init is not None):
        raise ValueError(
            "stop_rule='published' starts at zero and takes plain steps; it goes with neither init nor accelerated"
        )
    return stop_rule == "published"


def _warn_of_unconverged(converged: BoolArray, max_iter: int) -> None:
    if not converged.all():
        warnings.warn(
            f"forward_backward: {np.count_nonzero(~converged)} of {converged.size} codes have not converged after "
            f"max_iter={max_iter} steps; increase max_iter or tol, or use accelerated=True",
            ConvergenceWarning,
            stacklevel=3,
        )


def _batch(
    loss: SquaredResidual, rows: PenaltyRows, start: FloatArray, step: float, accelerated: bool, restart: bool
) -> Batch:
    if not accelerated:
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


def _run_published(batch: Batch, max_iter: int, recorder: Recorder | None) -> tuple[FloatArray, int, bool]:
    """Step until the published rule stops the whole batch, and once more; return codes, steps and convergence."""
    everyone = np.arange(batch.codes.shape[0])
    for iteration in range(1, max_iter + 1):
        old = batch.codes
        _advance(batch, everyone, recorder)
        if not np.isfinite(np.einsum("ij,ij->", batch.codes, batch.codes, dtype=np.float64)):
            # The step is too long, and squares have left the range of floating point.
            return old, iteration - 1, False
        change, size = (np.sqrt(squared_spectral_norm(matrix)) for matrix in (batch.codes - old, old))
        if change / (_PUBLISHED_EPS + size) < _PUBLISHED_EPS:
            _advance(batch, everyone, recorder)
            return batch.codes, iteration + 1, True
    return batch.codes, max_iter, False


def _advance(batch: Batch, rows: IndexArray, recorder: Recorder | None) -> Float64Array:
    old = batch.codes
    moved = batch.advance()
    if recorder:
        recorder.add(rows, old, batch.codes, batch.objectives())
    return moved
