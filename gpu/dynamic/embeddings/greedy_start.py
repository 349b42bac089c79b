"""Sparse tables to start from: greedy rows of a factorisation of the observed matrix."""

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, Real
from sparsetheory.gpu.dynamic.embeddings.row_pursuit import greedy_rows
from sparsetheory.gpu.solvers.arguments import finite_tensor, working_dtype

__all__ = ["greedy_tables"]

_DENSITY = Real(0.0, 1.0, closed="right")


def greedy_tables(observed: Tensor, dim: int, density: float, *, n_rounds: int = 1) -> tuple[Tensor, Tensor]:
    """Factorise a matrix into two sparse tables, each with one budget for all of its rows.

    The tables start as the truncated singular value decomposition, with the root of the singular values on both sides.
    Then items are replaced by greedy rows with users fixed, and users with items fixed; see :func:`greedy_rows`. This
    is dictionary learning with a budget for the whole table, and rows that explain much get many entries. Of the
    result :meth:`SparseEmbedding.set_rows` takes mask and values.

    Parameters
    ----------
    observed : Tensor of shape (n_users, n_items)
        Floating-point numbers, such as ones and zeros.
    dim : int
        Columns of the tables, at most the smaller side of the matrix.
    density : float
        Share of the entries of each table, in (0, 1].
    n_rounds : int
        How often both tables are replaced.

    Returns
    -------
    users : Tensor of shape (n_users, dim)
    items : Tensor of shape (n_items, dim)
        In the dtype of `observed`.

    Raises
    ------
    TypeError
        If `observed` does not hold floating-point numbers.
    ValueError
        If it is no matrix or not finite, or an argument is out of range.

    Notes
    -----
    One dense singular value decomposition, and ``O((n_users + n_items) * dim**3)`` operations for each round.

    Examples
    --------
    >>> import torch
    >>> observed = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    >>> users, items = greedy_tables(observed, 2, 0.5)
    >>> torch.allclose(users @ items.T, observed, atol=1e-6), int((items != 0).sum())
    (True, 3)
    """
    matrix = finite_tensor("observed", observed)
    if matrix.ndim != 2:
        raise ValueError(f"observed must be a matrix; got shape {tuple(matrix.shape)}")
    COUNT.require(dim=dim, n_rounds=n_rounds)
    if dim > min(matrix.shape):
        raise ValueError(f"dim must be at most {min(matrix.shape)}, the smaller side of observed; got {dim}")
    _DENSITY.check("density", density)
    # Half precision has no singular value decomposition.
    given, matrix = matrix.dtype, matrix.to(working_dtype(matrix))
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    users, items = left[:, :dim] * values[:dim].sqrt(), right[:dim].T * values[:dim].sqrt()
    for _ in range(n_rounds):
        items = _sparse(users, matrix.T, density)
        users = _sparse(items, matrix, density)
    return users.to(given), items.to(given)


def _sparse(other: Tensor, targets: Tensor, density: float) -> Tensor:
    """Return greedy rows for the rows of a matrix, with the other table fixed."""
    n_nonzero = max(1, round(density * len(targets) * other.shape[1]))
    return greedy_rows(other.T @ other, targets @ other, n_nonzero).coefficients
