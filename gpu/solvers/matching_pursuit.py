"""Orthogonal matching pursuit of many targets at once, from inner products alone."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from sparsetheory.constraints import COUNT, NONNEGATIVE
from sparsetheory.gpu.solvers.arguments import finite_tensor, in_memory_chunks, together, working_dtype

__all__ = ["omp_gram"]

# Columns per target for which memory is planned, where a tolerance decides how many there are.
_EXPECTED = 32
# Room for so many columns per target is made at first; it doubles when it is full.
_FIRST_ROOM = 8
# Correlations below this many roundings of what is explained already are rounding.
_ROUNDINGS = 10


def omp_gram(
    gram: Tensor,
    correlations: Tensor,
    *,
    n_nonzero: int | None = None,
    tol: float | None = None,
    squares: Tensor | None = None,
    excluded: Tensor | None = None,
) -> Tensor:
    """Select and fit few columns for each of many targets, from inner products alone.

    Parameters
    ----------
    gram : Tensor of shape (n_features, n_features) or (..., n_features, n_features)
        ``X.T @ X``; or one matrix for each entry of a batch.
    correlations : Tensor of shape (..., n_targets, n_features) or (n_features,)
        ``Y.T @ X``. All targets share one Gram matrix, unless `gram` is a batch; then the leading axes are its own.
    n_nonzero : int or None
        Largest number of columns per target; by default as many as there are if `tol` is given, else a tenth.
    tol : float or None
        Tolerance in the unit of `squares`: a target is done once its squared residual is at most this.
    squares : Tensor of shape (..., n_targets), or of no axis, optional
        Squared norms of the targets; needed with `tol`.
    excluded : Tensor of int64 of shape (..., n_targets), or of no axis, optional
        One column for each target that it may not take, such as the target itself where targets are columns.

    Returns
    -------
    Tensor
        Coefficients, in the shape, dtype and device of `correlations`.

    Raises
    ------
    TypeError
        If an array is not a tensor of floating-point numbers.
    ValueError
        If shapes or devices do not fit, values are not finite or out of range, or `tol` comes without `squares`.

    See Also
    --------
    sparsetheory.regression.omp_gram : The same on arrays, where the steps are explained.

    Notes
    -----
    About ``n_features * k**2 / 2`` operations per target of k columns, in k steps that all targets take together; a
    target that is done leaves the batch. Temporary memory is ``k n_features`` numbers per target, for as many targets
    at a time as fit in some megabytes (a gigabyte on a device). Float64 takes the decisions of the compiled solver;
    lower precisions are computed in single precision, where columns that fit almost equally well may change places.

    Examples
    --------
    >>> import torch
    >>> X = torch.tensor([[1.0, 0.6, 0.0], [0.0, 0.8, 0.0], [0.0, 0.0, 2.0]])
    >>> Y = torch.tensor([[3.0, 0.0, 2.0], [0.0, 4.0, 0.5]]).T
    >>> omp_gram(X.T @ X, Y.T @ X, n_nonzero=2).round(decimals=4)
    tensor([[ 3.,  0.,  1.],
            [-3.,  5.,  0.]])
    """
    G, rows = finite_tensor("gram", gram, least_axes=2), finite_tensor("correlations", correlations, least_axes=1)
    together(gram=G, correlations=rows, squares=squares, excluded=excluded)
    n = G.shape[-1]
    if G.shape[-2] != n or n == 0:
        raise ValueError(f"gram must be a square matrix, or a batch of them; got shape {tuple(G.shape)}")
    if rows.shape[-1] != n or (G.ndim > 2 and G.shape[:-2] != rows.shape[:-2]):
        raise ValueError(
            f"correlations must have {n} entries per target and the batch of gram, {tuple(G.shape[:-2])}; "
            f"got shape {tuple(rows.shape)}"
        )
    if n_nonzero is not None and COUNT.check("n_nonzero", n_nonzero) > n:
        raise ValueError(f"n_nonzero must be at most the number of columns of gram, {n}; got {n_nonzero!r}")
    count = n_nonzero or (max(1, n // 10) if tol is None else n)
    energies = _energies(squares, tol, rows)
    taboo = None if excluded is None else _excluded(excluded, rows).reshape(-1, 1)
    dtype = working_dtype(G, rows)
    grams, which = _unit_grams(G.reshape(-1, n, n).to(dtype), rows)
    flat, scales = rows.reshape(-1, n).to(dtype), grams.scales[which]
    found = torch.zeros_like(flat)
    for part in in_memory_chunks(flat.shape[0], min(count, _EXPECTED) * n * flat.element_size(), flat.device):
        barred = None if taboo is None else taboo[part]
        state = _Pursuit.start(grams.unit, which[part], flat[part] * scales[part], energies.reshape(-1)[part], barred)
        state.run(count, -1.0 if tol is None else tol, found[part])
    return (found * scales).reshape(rows.shape).to(rows.dtype)


def _energies(squares: Tensor | None, tol: float | None, rows: Tensor) -> Tensor:
    """Return the squared norms of the targets; zeros where no tolerance reads them."""
    shape = rows.shape[:-1]
    if tol is None:
        return rows.new_zeros(shape)
    NONNEGATIVE.check("tol", tol)
    if squares is None:
        raise ValueError("squares, the squared norms of the targets, are needed with tol; got None")
    energies = finite_tensor("squares", squares)
    if energies.shape != shape:
        raise ValueError(
            f"squares must hold one number per target, shape {tuple(shape)}; got shape {tuple(energies.shape)}"
        )
    if bool((energies < 0).any()):
        raise ValueError(f"squares must not be negative; got {float(energies.min()):.3g}")
    return energies


def _excluded(excluded: Tensor, rows: Tensor) -> Tensor:
    """Return the column that each target may not take."""
    shape, n = rows.shape[:-1], rows.shape[-1]
    if not isinstance(excluded, Tensor) or excluded.dtype != torch.int64 or excluded.shape != shape:
        got = f"{excluded.dtype}, {tuple(excluded.shape)}" if isinstance(excluded, Tensor) else type(excluded).__name__
        raise ValueError(f"excluded must be a tensor of int64 of shape {tuple(shape)}, one per target; got {got}")
    if bool(((excluded < 0) | (excluded >= n)).any()):
        raise ValueError(f"excluded must hold numbers of columns, from 0 to {n - 1}")
    return excluded


@dataclass(frozen=True)
class _Grams:
    """Gram matrices of unit columns, and one over the norm of each column; zero for a column of zeros."""

    unit: Tensor
    scales: Tensor


def _unit_grams(G: Tensor, rows: Tensor) -> tuple[_Grams, Tensor]:
    """Return the Gram matrices in units of their columns, and which of them each target reads."""
    diagonal = G.diagonal(dim1=-2, dim2=-1)
    scales = torch.where(diagonal > 0, diagonal, torch.inf).rsqrt()
    n_targets = rows[..., 0].numel()
    which = torch.arange(n_targets, device=G.device) // max(n_targets // G.shape[0], 1)
    return _Grams(G * scales.unsqueeze(-1) * scales.unsqueeze(-2), scales), which


@dataclass
class _Pursuit:
    """Targets that have all taken the same number of steps.

    The selected columns of a target are orthonormalised one by one. Of each direction its inner products with all
    columns are kept: the Gram row of the column less its components along the earlier directions.
    """

    unit: Tensor
    which: Tensor
    rows: Tensor
    squares: Tensor
    place: Tensor
    directions: Tensor
    factor: Tensor
    values: Tensor
    chosen: Tensor
    excluded: Tensor | None

    @classmethod
    def start(cls, unit: Tensor, which: Tensor, rows: Tensor, squares: Tensor, excluded: Tensor | None) -> "_Pursuit":
        size, n, room = *rows.shape, _FIRST_ROOM
        if excluded is not None:
            rows = rows.scatter(1, excluded, 0.0)
        return cls(
            unit,
            which,
            rows,
            squares.to(rows.dtype),
            torch.arange(size, device=rows.device),
            rows.new_empty(size, room, n),
            rows.new_zeros(size, room, room),
            rows.new_zeros(size, room),
            torch.zeros(size, room, dtype=torch.int64, device=rows.device),
            excluded,
        )

    def run(self, count: int, tol: float, out: Tensor) -> None:
        """Step until every target is done; coefficients of unit columns are written into rows of zeros."""
        epsilon = torch.finfo(self.rows.dtype).eps
        dependent, exhausted = epsilon**0.5, (_ROUNDINGS * epsilon) ** 2
        alive = torch.ones_like(self.squares, dtype=torch.bool)
        for step in range(count):
            if step == self.values.shape[1]:
                self._make_room()
            explained = self.values[:, :step].square().sum(-1)
            index, weights, left = self._next(step)
            root = left.clamp(min=dependent).sqrt()
            value = self.rows.gather(1, index.unsqueeze(1)).squeeze(1) / root
            done = (left <= dependent) | (value.square() <= exhausted * explained)
            if tol >= 0:
                done |= self.squares - explained <= tol
            done &= alive
            if bool(done.any()):
                self._write(done, step, out)
                alive &= ~done
                if not bool(alive.any()):
                    return
            self.factor[:, step, :step], self.factor[:, step, step] = weights, root
            self.values[:, step], self.chosen[:, step] = value, index
            if step + 1 < count:
                self._turn(step, index, weights, root, value)
                # Targets that are done cost as much as others until a quarter of the batch is; then it is packed.
                if int(alive.sum()) <= 0.75 * alive.numel():
                    self._keep(alive)
                    alive = alive[alive]
        self._write(alive, count, out)

    def _next(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the column most correlated with each residual, its components, and the square they leave of it."""
        index = self.rows.abs().argmax(-1)
        spread = index.view(-1, 1, 1).expand(-1, step, 1)
        weights = self.directions[:, :step].gather(2, spread).squeeze(2)
        return index, weights, self.unit[self.which, index, index] - weights.square().sum(-1)

    def _turn(self, step: int, index: Tensor, weights: Tensor, root: Tensor, value: Tensor) -> None:
        """Add the direction of a column, and take it out of the correlations."""
        start = self.unit[self.which, index]
        if step:
            start = torch.baddbmm(
                start.unsqueeze(1), weights.unsqueeze(1), self.directions[:, :step], alpha=-1
            ).squeeze(1)
        direction = start / root.unsqueeze(1)
        self.directions[:, step] = direction
        self.rows.addcmul_(value.unsqueeze(1), direction, value=-1)
        if self.excluded is not None:
            self.rows.scatter_(1, self.excluded, 0.0)

    def _write(self, done: Tensor, size: int, out: Tensor) -> None:
        """Turn coordinates of some targets into coefficients, by back substitution."""
        if size and bool(done.any()):
            factor, values = self.factor[done, :size, :size], self.values[done, :size]
            coefficients = torch.linalg.solve_triangular(factor.mT, values.unsqueeze(-1), upper=True).squeeze(-1)
            out[self.place[done].unsqueeze(1), self.chosen[done, :size]] = coefficients

    def _make_room(self) -> None:
        """Double the number of columns that each target can have."""
        room = self.values.shape[1]
        self.directions = functional.pad(self.directions, (0, 0, 0, room))
        self.factor = functional.pad(self.factor, (0, room, 0, room))
        self.values, self.chosen = functional.pad(self.values, (0, room)), functional.pad(self.chosen, (0, room))

    def _keep(self, alive: Tensor) -> None:
        for name in ("which", "rows", "squares", "place", "directions", "factor", "values", "chosen"):
            setattr(self, name, getattr(self, name)[alive])
        if self.excluded is not None:
            self.excluded = self.excluded[alive]
