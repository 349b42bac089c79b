"""Iterative hard thresholding of many targets at once, for every pattern."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, FLAG, MISSING, NONNEGATIVE, POSITIVE, Instance
from sparsetheory.gpu.core.patterns import NM, Pattern, PerRow
from sparsetheory.gpu.solvers.arguments import finite_tensor, together, working_dtype
from sparsetheory.gpu.solvers.restricted import restricted_least_squares

__all__ = ["HardThresholding", "hard_thresholding"]

# Longest step that never raises the objective, and the one that pays most with refits, in units of one over curvature.
_SAFE_STEP, _LONG_STEP = 1.0, 16.0


@dataclass(frozen=True, eq=False)
class HardThresholding:
    """Coefficients of a pattern, and how the search for them went.

    Attributes
    ----------
    coef : Tensor of shape (n_targets, n_features)
        In the dtype of the correlations.
    mask : Tensor of bool of shape (n_targets, n_features)
        The positions that the pattern keeps.
    objective : Tensor of float64 of shape (n_targets,)
        ``s G s' - 2 b s'``, plus the square of the target if it was given.
    n_iter : Tensor of int64 of shape (n_targets,)
        Steps that lowered the objective.
    converged : Tensor of bool of shape (n_targets,)
        Whether the last step lowered it no more.
    """

    coef: Tensor
    mask: Tensor
    objective: Tensor
    n_iter: Tensor
    converged: Tensor


def hard_thresholding(
    gram: Tensor,
    correlations: Tensor,
    pattern: Pattern,
    *,
    init: Tensor | None = None,
    squares: Tensor | None = None,
    preconditioned: bool = True,
    refit: bool = True,
    step: float | None = None,
    tol: float = 1e-8,
    max_iter: int = 100,
) -> HardThresholding:
    r"""Fit sparse rows s by gradient steps after which only what a pattern allows is kept.

    Minimises :math:`s G s^T - 2 b s^T` for every row b of the correlations. With ``G = X'X`` and ``b = y'X`` that is
    least squares on few columns; with ``b = w G`` it is the nearest sparse row to w in the norm of G, as in pruning.

    Parameters
    ----------
    gram : Tensor of shape (n_features, n_features)
        Symmetric and positive semidefinite; shared by all targets.
    correlations : Tensor of shape (n_targets, n_features)
        Of the columns with each target.
    pattern : Pattern
        ``PerRow(k)`` for k nonzeros in every row, ``NM(2, 4)`` for N:M, or any other pattern.
    init : Tensor of shape (n_targets, n_features), optional
        Coefficients to start from, zero by default; what the pattern does not keep of them is dropped, and with
        `refit` the rest is fitted anew.
    squares : Tensor of shape (n_targets,), optional
        Squared norms of the targets, a constant that is added to the objective.
    preconditioned : bool
        Scale the gradient by the diagonal of G, and compare coefficients by what they contribute in that scale.
    refit : bool
        Least squares on the support after every step.
    step : float, optional
        Length of a step in units of one over the largest eigenvalue of G, scaled by its diagonal if `preconditioned`.
        By default 16 with `refit`, and 1 without, where no step can raise the objective.
    tol : float
        Tolerance, relative to how far the objective is below that of zero: a row is done at the first step that lowers
        it by no more than this, and keeps the better of the two.
    max_iter : int
        Most steps.

    Returns
    -------
    HardThresholding

    Raises
    ------
    TypeError, ValueError
        If shapes, devices or entries do not fit, the pattern does not fit the shape, or a number is out of range.

    See Also
    --------
    sparsetheory.regression.NIHT, sparsetheory.regression.HTP : For one response, on a design.

    Notes
    -----
    A step costs ``2 n_features^2`` operations per row, and a refit of k columns ``k^3 / 3``. Where rows are bound by
    the pattern together, as by blocks of rows, they also stop together. The largest eigenvalue of a Gram matrix of
    correlated inputs is far above its diagonal, so that plain steps hardly move the support; scaled and longer ones do,
    and the refit makes up for their length. Blumensath and Davies (2009); with refits, Foucart (2011).

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core import PerRow
    >>> gram = torch.tensor([[1.0, 0.6], [0.6, 1.0]])
    >>> hard_thresholding(gram, torch.tensor([[1.0, 0.9]]), PerRow(1)).coef
    tensor([[1., 0.]])
    """
    G, b = finite_tensor("gram", gram), finite_tensor("correlations", correlations)
    together(gram=gram, correlations=correlations, init=init, squares=squares)
    if b.ndim != 2 or G.shape != (b.shape[1], b.shape[1]):
        raise ValueError(
            f"gram must have one row and one column per column of correlations; "
            f"got shapes {tuple(G.shape)} and {tuple(b.shape)}"
        )
    Instance(Pattern).check("pattern", pattern)
    pattern.check_shape(b.shape, name="correlations")
    FLAG.require(preconditioned=preconditioned, refit=refit)
    (MISSING | POSITIVE).check("step", step)
    NONNEGATIVE.check("tol", tol)
    COUNT.check("max_iter", max_iter)
    dtype = working_dtype(G, b)
    problem = _Problem.of(G.to(dtype), b.to(dtype), pattern, preconditioned, refit, step)
    coef, mask, n_iter, converged = problem.descend(_start(init, b, dtype), tol, max_iter)
    coef = coef.to(correlations.dtype)
    objective = _objective(G.double(), b.double(), coef.double())
    if squares is not None:
        if finite_tensor("squares", squares).shape != b.shape[:1]:
            raise ValueError(f"squares must hold one number per target, {b.shape[0]}; got shape {tuple(squares.shape)}")
        objective = objective + squares.double()
    return HardThresholding(coef, mask, objective, n_iter, converged)


def _start(init: Tensor | None, b: Tensor, dtype: torch.dtype) -> Tensor:
    if init is None:
        return torch.zeros_like(b, dtype=dtype)
    if finite_tensor("init", init).shape != b.shape:
        raise ValueError(f"init must have the shape of correlations, {tuple(b.shape)}; got {tuple(init.shape)}")
    return init.detach().to(dtype)


@dataclass(frozen=True)
class _Problem:
    """Gram matrix, correlations and pattern, and the step along each coordinate."""

    gram: Tensor
    correlations: Tensor
    pattern: Pattern
    refit: bool
    weights: Tensor
    steps: Tensor

    @classmethod
    def of(
        cls, gram: Tensor, correlations: Tensor, pattern: Pattern, preconditioned: bool, refit: bool, step: float | None
    ) -> "_Problem":
        diagonal = gram.diagonal() if preconditioned else torch.ones_like(gram.diagonal())
        inverse = torch.where(diagonal > 0, 1.0 / diagonal, 0.0)
        scale = inverse.sqrt()
        curvature = torch.linalg.eigvalsh(gram * scale * scale.unsqueeze(1))[-1].clamp(min=torch.finfo(gram.dtype).tiny)
        length = step if step is not None else _LONG_STEP if refit else _SAFE_STEP
        return cls(gram, correlations, pattern, refit, diagonal, length / curvature * inverse)

    @property
    def rows_are_free(self) -> bool:
        """Whether the pattern binds entries of one row only."""
        return isinstance(self.pattern, PerRow) or (isinstance(self.pattern, NM) and self.pattern.axis in (-1, 1))

    def descend(self, start: Tensor, tol: float, max_iter: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Step while the objective falls; return coefficients, masks, steps and convergence."""
        coef, mask = self._kept(start, self.correlations, self.refit and bool(start.any()))
        value = _objective(self.gram, self.correlations, coef)
        n_iter = torch.zeros(coef.shape[0], dtype=torch.int64, device=coef.device)
        active = torch.ones_like(n_iter, dtype=torch.bool)
        for _ in range(max_iter):
            rows = active.nonzero().squeeze(1)
            if not rows.numel():
                break
            moved = coef.clone()
            moved[rows] += self.steps * torch.addmm(self.correlations[rows], coef[rows], self.gram, alpha=-1)
            new, kept = self._kept(moved, self.correlations, self.refit, rows)
            reached = _objective(self.gram, self.correlations, new)
            better = self._falls(reached, value, tol) & active
            coef, mask = torch.where(better.unsqueeze(1), new, coef), torch.where(better.unsqueeze(1), kept, mask)
            value, n_iter, active = torch.where(better, reached, value), n_iter + better, better
        return coef, mask, n_iter, ~active

    def _kept(
        self, points: Tensor, correlations: Tensor, refit: bool, rows: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return what the pattern keeps, refitted on some rows where that is wanted, and where it is."""
        mask = self.pattern.mask(self.weights * points.square())
        coef = torch.where(mask, points, 0.0)
        if refit:
            which = slice(None) if rows is None else rows
            coef[which] = restricted_least_squares(self.gram, correlations[which], mask[which])
        return coef, mask

    def _falls(self, reached: Tensor, value: Tensor, tol: float) -> Tensor:
        if self.rows_are_free:
            return value - reached > tol * value.abs()
        return (value.sum() - reached.sum() > tol * value.sum().abs()).expand(value.shape)


def _objective(gram: Tensor, correlations: Tensor, coef: Tensor) -> Tensor:
    """Return ``s G s' - 2 b s'`` of every row."""
    return ((coef @ gram - 2.0 * correlations) * coef).sum(1)
