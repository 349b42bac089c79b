"""Sparse codes of many signals in one dictionary, for convex penalties."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, POSITIVE, Choice
from sparsetheory.gpu.solvers.accelerated_gradient import accelerated_codes
from sparsetheory.gpu.solvers.arguments import finite_tensor, together, working_dtype
from sparsetheory.gpu.solvers.coding_problem import CodingProblem, duality_gaps, objectives
from sparsetheory.gpu.solvers.feature_sign import signed_codes
from sparsetheory.penalties import Penalty, as_penalty

__all__ = ["Encoding", "encode"]

# Single precision does not resolve smaller relative gaps.
_LEAST_SINGLE_TOL = 1e-6
# With more active atoms the factorisations of the search cost more than gradient steps (benchmarks/gpu_twins.py).
_MOST_ACTIVE = 32
# Codes and steps from a problem, codes to start from, and most steps.
_Solver = Callable[[CodingProblem, Tensor, int], tuple[Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class Encoding:
    """Sparse codes of signals, and how far they are from optimal.

    Attributes
    ----------
    codes : Tensor of shape (n_samples, n_atoms)
        One code per signal, in the dtype of the signals.
    n_iter : Tensor of int64 of shape (n_samples,)
        Rounds of the active-set search, or gradient steps, per signal.
    converged : Tensor of bool of shape (n_samples,)
        Whether the duality gap, before codes are rounded to 16 bits, is at most `tol` times the objective, or no more
        than rounding errors of the correlations account for.
    gap : Tensor of float64 of shape (n_samples,)
        Upper bound on the objective minus its minimum, as :func:`sparsetheory.coding.duality_gap` gives it.
    objective : Tensor of float64 of shape (n_samples,)
        Half the squared residual plus the penalty.
    solver : str
        The solver that was asked for.
    """

    codes: Tensor
    n_iter: Tensor
    converged: Tensor
    gap: Tensor
    objective: Tensor
    solver: str


def encode(
    X: Tensor,
    D: Tensor,
    penalty: str | Penalty,
    *,
    alpha: float | None = None,
    solver: str = "auto",
    init: Tensor | None = None,
    gram: Tensor | None = None,
    tol: float = 1e-6,
    max_iter: int = 1000,
    **shape: Any,
) -> Encoding:
    r"""Minimise :math:`\frac12\|x - D^T c\|^2 + \phi(c)` over the code c of every signal x, for convex penalties.

    Parameters
    ----------
    X : Tensor of shape (n_samples, n_features)
        Signals, one per row.
    D : Tensor of shape (n_atoms, n_features)
        Atoms, one per row; they need not be of unit norm.
    penalty : Penalty or str
        :class:`~sparsetheory.penalties.L1` or :class:`~sparsetheory.penalties.ElasticNet`, with or without
        ``positive=True``, or the name "l1" or "elastic_net" with `alpha` and the other number.
    alpha : float, optional
        Strength of the penalty, above 0; in a penalty object it replaces the strength.
    solver : {"auto", "fss", "fista"}
        "fss" is an active-set search, exact up to rounding. "fista" takes accelerated gradient steps with restarts.
        "auto" searches, and takes gradient steps for codes that come to more than 32 active atoms.
    init : Tensor of shape (n_samples, n_atoms), optional
        Codes to start from; zero by default, and where they are negative but must not be.
    gram : Tensor of shape (n_atoms, n_atoms), optional
        ``D @ D.T``, where it is known already.
    tol : float
        Tolerance, relative to the objective of the code: its duality gap is at most that fraction of it.
    max_iter : int
        Most rounds of the search, and most gradient steps, per signal.
    **shape : float
        The other number of a penalty given by name, `l1_ratio`.

    Returns
    -------
    Encoding

    Raises
    ------
    TypeError
        If an array is not a tensor of floating-point numbers, `penalty` is no penalty, or a number is missing.
    ValueError
        If shapes or devices do not fit, entries are not finite, an atom is zero, the penalty is not convex, or a number
        is out of range.

    Warns
    -----
    ConvergenceWarning
        If codes have not converged, with their count.

    See Also
    --------
    sparsetheory.coding.encode : On arrays, for every penalty.

    Notes
    -----
    A round of the search costs one product with the Gram matrix for codes that look for atoms, and the Cholesky
    factorisation of a k x k matrix for k active atoms. A gradient step costs ``2 n_atoms^2`` operations per code, or
    ``4 n_features n_atoms``. Codes that the search leaves, because active atoms depend on each other, are finished by
    gradient steps.

    The gap is computed in double precision from the codes as they are returned. In single precision and below,
    the search runs in single precision, `tol` is at least 1e-6, or ``2e-6 max|D x| / alpha`` where that is more, and
    codes that do not reach it are coded again in double precision. What rounding to 16 bits then adds is in `gap`.

    Examples
    --------
    >>> import torch
    >>> D = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    >>> result = encode(torch.tensor([[3.0, 0.5], [3.0, 4.0]]), D, "l1", alpha=0.5)
    >>> result.codes
    tensor([[2.3125, 0.3125],
            [0.0000, 4.5000]])
    >>> result.converged
    tensor([True, True])
    """
    chosen, name = as_penalty(penalty, alpha, **shape), Choice("auto", "fss", "fista").check("solver", solver)
    if not chosen.convex:
        raise ValueError(f"penalty must be convex, L1 or ElasticNet; got {chosen!r}")
    POSITIVE.check("alpha", chosen.alpha)
    COUNT.check("max_iter", max_iter)
    problem, start = _checked(X, D, chosen, POSITIVE.check("tol", tol), init, gram)
    codes, n_iter = _solved(_SOLVERS[name], problem, start, max_iter)
    converged = problem.is_solved(codes)
    left = int((~converged).sum())
    if left:
        from sklearn.exceptions import ConvergenceWarning

        warnings.warn(
            f"{left} of {converged.numel()} codes did not reach tol={tol:g} within max_iter={max_iter}",
            ConvergenceWarning,
            stacklevel=2,
        )
    codes = codes.to(X.dtype)
    return Encoding(codes, n_iter, converged, duality_gaps(problem, codes), objectives(problem, codes), name)


def _checked(
    X: Tensor, D: Tensor, penalty: Penalty, tol: float, init: Tensor | None, gram: Tensor | None
) -> tuple[CodingProblem, Tensor]:
    """Return the problem in the precision of the coder, and the codes to start from."""
    signals, atoms = finite_tensor("X", X), finite_tensor("D", D)
    together(X=X, D=D, init=init, gram=gram)
    for name, tensor in (("X", signals), ("D", atoms)):
        if tensor.ndim != 2 or (name == "D" and 0 in tensor.shape):
            raise ValueError(f"{name} must be two-dimensional and not empty; got shape {tuple(tensor.shape)}")
    if signals.shape[1] != atoms.shape[1]:
        raise ValueError(
            f"X and D must have as many columns as a signal has entries; "
            f"got shapes {tuple(signals.shape)} and {tuple(atoms.shape)}"
        )
    if not bool(atoms.any(1).all()):
        raise ValueError(f"D must have no row of zeros; row {int((~atoms.any(1)).nonzero()[0])} is one")
    sizes = {"init": (signals.shape[0], atoms.shape[0]), "gram": (atoms.shape[0], atoms.shape[0])}
    given = {"init": init, "gram": gram}
    for name, value in given.items():
        if value is not None and finite_tensor(name, value).shape != sizes[name]:
            raise ValueError(f"{name} must have shape {sizes[name]}; got {tuple(value.shape)}")
    dtype = working_dtype(signals, atoms)
    single = dtype == torch.float32
    problem = CodingProblem.of(
        signals.to(dtype), atoms.to(dtype), penalty, max(tol, _LEAST_SINGLE_TOL) if single else tol, gram
    )
    start = problem.X.new_zeros(sizes["init"]) if init is None else init.detach().to(dtype)
    return problem, start.clamp(min=0.0) if penalty.positive else start


def _solved(solve: _Solver, problem: CodingProblem, start: Tensor, max_iter: int) -> tuple[Tensor, Tensor]:
    """Solve, and in double precision again what single precision does not resolve."""
    codes, n_iter = solve(problem, start, max_iter)
    if problem.X.dtype == torch.float64:
        return codes, n_iter
    left = ~problem.is_solved(codes)
    if bool(left.any()):
        double = problem.rows(left).doubled()
        again, more = solve(double, codes[left].double(), max_iter)
        codes[left], n_iter[left] = again.to(codes.dtype), n_iter[left] + more
    return codes, n_iter


def _by_signs(
    problem: CodingProblem, start: Tensor, max_iter: int, most_active: int | None = None
) -> tuple[Tensor, Tensor]:
    """Search for signs, and finish by gradient steps what the search leaves."""
    codes, n_iter, done = signed_codes(problem, start, max_iter, most_active)
    left = ~done
    if bool(left.any()):
        finished, steps = accelerated_codes(problem.rows(left), codes[left], max_iter)
        codes[left], n_iter[left] = finished, n_iter[left] + steps
    return codes, n_iter


_SOLVERS: dict[str, _Solver] = {
    "auto": partial(_by_signs, most_active=_MOST_ACTIVE),
    "fss": _by_signs,
    "fista": accelerated_codes,
}
