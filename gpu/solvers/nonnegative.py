"""Least squares with weights that are not negative, of many targets at once, each with a Gram matrix of its own."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, FLAG
from sparsetheory.gpu.solvers.arguments import finite_tensor, in_memory_chunks, together
from sparsetheory.gpu.solvers.nonnegative_compiled import compiled_nnls, warn_of_late
from sparsetheory.gpu.solvers.restricted import packed

__all__ = ["batched_nnls", "nnls_and_few", "nnls_gram"]

# A slope below this many roundings of its terms is rounding.
_ROUNDINGS = 30
# Steps per column before the method gives up; it takes about two per nonzero.
_STEPS_PER_COLUMN = 10
# Fits in a row that may fail to lower the objective, where all that is left of it is rounding.
_STALLS = 3


def nnls_gram(gram: Tensor, correlations: Tensor, *, n_nonzero: int | None = None, sum_to_one: bool = False) -> Tensor:
    """Minimise ``x G x' / 2 - b x'`` over x that are not negative, for many targets at once.

    Parameters
    ----------
    gram : Tensor of shape (..., n, n)
        ``A.T @ A``, one matrix per target.
    correlations : Tensor of shape (..., n)
        ``y @ A``, one row per target; its leading axes are those of `gram`.
    n_nonzero : int, optional
        Largest number of nonzeros of a target; by default any. See the notes for what is promised then.
    sum_to_one : bool
        Whether weights must also sum to one.

    Returns
    -------
    Tensor
        Weights, in the shape, dtype and device of `correlations`.

    Raises
    ------
    TypeError
        If an array is not a tensor of floating-point numbers.
    ValueError
        If shapes or devices do not fit, values are not finite, or `n_nonzero` is not an integer from 1 to n.

    Warns
    -----
    RuntimeWarning
        If some targets are not done after 10 n steps; their weights are allowed, but may not be the best.

    See Also
    --------
    scipy.optimize.nnls : One target, without the sum.
    simplex_project : The case of a Gram matrix that is the identity.

    Notes
    -----
    The method of active sets [1]_: a column joins whose slope is steepest, all columns that are in are fitted, and
    those that would turn negative leave. It ends at a minimiser after finitely many steps. With the sum, the problem
    for ``G = C'C`` and ``b = 0`` is that of the point of least norm in the convex hull of the columns of C, and the
    method is Wolfe's [2]_.

    With `n_nonzero` the minimiser is a start: while it has too many nonzeros, the smallest one is dropped and the
    others are fitted again. The result is the best on its own support; that no other support is better is not
    promised. The minimum without the limit bounds what any support can reach.

    Computed in double precision. A processor takes one target after the other, compiled; a step costs ``n k + k**2``
    operations for a target with k columns. Elsewhere all targets take each step together and those that are done
    leave; a step costs ``n k + k**3``. Gram matrices square the condition of the columns.

    References
    ----------
    .. [1] Lawson, Hanson: Solving least squares problems, 1974, chapter 23.
    .. [2] Wolfe: Finding the nearest point in a polytope, Mathematical Programming 11, 1976.

    Examples
    --------
    >>> import torch
    >>> A = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]], dtype=torch.float64)
    >>> y = torch.tensor([1.0, -0.5], dtype=torch.float64)
    >>> nnls_gram(A.T @ A, y @ A)
    tensor([1., 0., 0.], dtype=torch.float64)
    >>> nnls_gram(A.T @ A, torch.tensor([0.25, 0.75]) @ A.float(), sum_to_one=True)
    tensor([0.2500, 0.7500, 0.0000])
    """
    G, b = finite_tensor("gram", gram, least_axes=2), finite_tensor("correlations", correlations, least_axes=1)
    together(gram=G, correlations=b)
    FLAG.check("sum_to_one", sum_to_one)
    n = b.shape[-1]
    if not n or G.shape != (*b.shape, n):
        raise ValueError(
            f"gram must have shape (..., n, n) for correlations of shape (..., n) with n at least 1; "
            f"got {tuple(G.shape)} and {tuple(b.shape)}"
        )
    if n_nonzero is not None and COUNT.check("n_nonzero", n_nonzero) > n:
        raise ValueError(f"n_nonzero must be at most the number of columns, {n}; got {n_nonzero!r}")
    _, few = nnls_and_few(G.reshape(-1, n, n), b.reshape(-1, n), n_nonzero or n, sum_to_one=sum_to_one)
    return few.reshape(b.shape).to(b.dtype)


def nnls_and_few(grams: Tensor, rows: Tensor, n_nonzero: int, *, sum_to_one: bool) -> tuple[Tensor, Tensor]:
    """Return the minimisers of :func:`nnls_gram` in double precision, and what is left of them with few nonzeros.

    Parameters
    ----------
    grams : Tensor of shape (n_targets, n, n)
    rows : Tensor of shape (n_targets, n)
    n_nonzero : int
    sum_to_one : bool

    Returns
    -------
    minimum, few : Tensor of float64 of shape (n_targets, n)
    """
    if rows.device.type == "cpu":
        return compiled_nnls(grams, rows, n_nonzero, sum_to_one=sum_to_one)
    return batched_nnls(grams, rows, n_nonzero, sum_to_one=sum_to_one)


def batched_nnls(grams: Tensor, rows: Tensor, n_nonzero: int, *, sum_to_one: bool) -> tuple[Tensor, Tensor]:
    """Do what :func:`nnls_and_few` does on any device, with all targets together at each step."""
    minimum = torch.empty(rows.shape, dtype=torch.float64, device=rows.device)
    few, late, n = torch.empty_like(minimum), 0, rows.shape[-1]
    for part in in_memory_chunks(len(rows), 4 * n * n * few.element_size(), rows.device):
        problem = _Problem(grams[part].to(torch.float64), rows[part].to(torch.float64), sum_to_one)
        minimum[part], unfinished = problem.minimum()
        few[part], more = problem.with_few(minimum[part], n_nonzero)
        late += unfinished + more
    warn_of_late(late, len(rows))
    return minimum, few


@dataclass(frozen=True)
class _Problem:
    gram: Tensor
    rows: Tensor
    sum_to_one: bool

    def minimum(self) -> tuple[Tensor, int]:
        """Return the minimisers, and how many of them are unfinished."""
        x = torch.zeros_like(self.rows)
        if self.sum_to_one:
            best = (self.gram.diagonal(dim1=-2, dim2=-1) / 2 - self.rows).argmin(-1, keepdim=True)
            x.scatter_(1, best, 1.0)
        return _ActiveSets(self, x, torch.ones_like(x, dtype=torch.bool)).run()

    def with_few(self, x: Tensor, n_nonzero: int) -> tuple[Tensor, int]:
        """Drop the smallest weight of those that have too many, fit again, and so on."""
        x, late = x.clone(), 0
        while True:
            many = ((x > 0).sum(-1) > n_nonzero).nonzero().squeeze(1)
            if not many.numel():
                return x, late
            kept = x[many]
            smallest = torch.where(kept > 0, kept, torch.inf).argmin(-1, keepdim=True)
            kept = kept.scatter(1, smallest, 0.0)
            if self.sum_to_one:
                kept = kept / kept.sum(-1, keepdim=True)
            part = _Problem(self.gram[many], self.rows[many], self.sum_to_one)
            x[many], unfinished = _ActiveSets(part, kept, kept > 0).run()
            late += unfinished


class _ActiveSets:
    """Targets on their way: weights, the columns that are in, and those that may come in."""

    _MOVING = ("place", "gram", "rows", "x", "inside", "allowed", "refused", "newest", "lengths", "least", "stalls")

    def __init__(self, problem: _Problem, x: Tensor, allowed: Tensor) -> None:
        self.gram, self.rows, self.sum_to_one = problem.gram, problem.rows, problem.sum_to_one
        self.x, self.out = x, x.clone()
        self.inside, self.allowed = x > 0, allowed
        self.place = torch.arange(len(x), device=x.device)
        # The column that has just come in; -1 where none has.
        self.newest = torch.full((len(x),), -1, device=x.device)
        # Columns that came in and brought nothing; they may try again after the next step down.
        self.refused = torch.zeros_like(self.inside)
        # The least objective so far, and how many fits have not lowered it since.
        self.least = torch.full((len(x),), torch.inf, dtype=x.dtype, device=x.device)
        self.stalls = torch.zeros_like(self.newest)
        self.lengths = self.gram.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()

    def run(self) -> tuple[Tensor, int]:
        for _ in range(_STEPS_PER_COLUMN * self.x.shape[1]):
            if not len(self.x):
                return self.out, 0
            z, solved = self._fitted()
            good = solved & ((z > 0) | ~self.inside).all(-1)
            at = self.newest.clamp(min=0).unsqueeze(1)
            useless = ~good & (self.newest >= 0) & (~solved | (z.gather(1, at).squeeze(1) <= 0))
            self._refuse(useless, at)
            self._step_to_the_border(z, solved & ~good & ~useless)
            self.x = torch.where(good.unsqueeze(1), z, self.x)
            self.refused &= ~good.unsqueeze(1)
            self.newest.fill_(-1)
            self._bring_in(good | useless)
        self.out[self.place] = self.x
        return self.out, len(self.x)

    def _fitted(self) -> tuple[Tensor, Tensor]:
        """Fit all columns that are in, whatever the signs, and say where that worked."""
        size = max(int(self.inside.sum(-1).max()), 1)
        index, valid = packed(self.inside, size)
        both = valid.unsqueeze(1) & valid.unsqueeze(2)
        gram = self.gram.gather(1, index.unsqueeze(2).expand(-1, -1, self.gram.shape[-1]))
        gram = torch.where(both, gram.gather(2, index.unsqueeze(1).expand(-1, size, -1)), 0.0)
        # In units of the largest diagonal entry, so that the border of ones is of the size of the rest.
        scale = gram.diagonal(dim1=-2, dim2=-1).amax(-1, keepdim=True)
        scale = torch.where(scale > 0, scale, 1.0)
        gram = gram / scale.unsqueeze(2) + torch.diag_embed((~valid).to(gram.dtype))
        target = self.rows.gather(1, index) * valid / scale
        if self.sum_to_one:
            border = valid.to(gram.dtype).unsqueeze(2)
            corner = gram.new_zeros(len(gram), 1, 1)
            gram = torch.cat([torch.cat([gram, border], 2), torch.cat([border.mT, corner], 2)], 1)
            target = torch.cat([target, target.new_ones(len(target), 1)], 1)
        found, info = torch.linalg.solve_ex(gram, target)
        solved = (info == 0) & found.isfinite().all(-1)
        z = torch.zeros_like(self.x).scatter(1, index, torch.where(valid, found[:, :size], 0.0))
        return z, solved

    def _refuse(self, useless: Tensor, at: Tensor) -> None:
        """Send the newest column out again where it brought nothing: its slope was rounding."""
        rows = useless.nonzero().squeeze(1)
        self.inside[rows, at[rows, 0]] = False
        self.refused[rows, at[rows, 0]] = True

    def _step_to_the_border(self, z: Tensor, infeasible: Tensor) -> None:
        """Go towards the fit until a weight becomes zero, which then leaves."""
        rows = infeasible.nonzero().squeeze(1)
        x, z, inside = self.x[rows], z[rows], self.inside[rows]
        share = torch.where(inside & (z <= 0), x / (x - z), torch.inf)
        least = share.amin(-1, keepdim=True)
        moved = x + least * (z - x)
        # Others may reach zero by rounding, together with the first one.
        leaving = (share <= least) | (moved <= 0)
        self.x[rows] = torch.where(leaving, 0.0, moved)
        self.inside[rows] = inside & ~leaving

    def _bring_in(self, settled: Tensor) -> None:
        """Let the column of steepest slope in, where the columns that are in are fitted; those without one are done."""
        pulled = (self.gram @ self.x.unsqueeze(2)).squeeze(2)
        slopes = self.rows - pulled
        objective = (self.x * (pulled / 2 - self.rows)).sum(-1)
        lower = objective < self.least
        self.stalls = torch.where(settled, torch.where(lower, 0, self.stalls + 1), self.stalls)
        self.least = torch.where(settled & lower, objective, self.least)
        rounding = self.lengths * (self.x * self.lengths).sum(-1, keepdim=True) + self.rows.abs()
        if self.sum_to_one:
            slopes = slopes - (slopes * self.x).sum(-1, keepdim=True)
            rounding = rounding + (rounding * self.x).sum(-1, keepdim=True)
        steep = slopes > _ROUNDINGS * torch.finfo(slopes.dtype).eps * rounding
        steep &= self.allowed & ~self.inside & ~self.refused
        index = torch.where(steep, slopes, -torch.inf).argmax(-1)
        joins = settled & steep.any(-1) & (self.stalls < _STALLS)
        rows = joins.nonzero().squeeze(1)
        self.inside[rows, index[rows]] = True
        self.newest[rows] = index[rows]
        done = settled & ~joins
        if bool(done.any()):
            self.out[self.place[done]] = self.x[done]
            for name in self._MOVING:
                setattr(self, name, getattr(self, name)[~done])
