"""A weight matrix as a matrix of low rank and a few whole columns: as LOST splits it, and better by alternation.

Provenance: the split of LOST is that of the paper, of which no code was found. The alternation, its version with a Gram
matrix and the certificate are ours.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, Choice, Integer
from sparsetheory.gpu.core.gram import as_gram
from sparsetheory.gpu.solvers.arguments import finite_tensor
from sparsetheory.gpu.solvers.truncated_svd import truncated_svd_summary
from sparsetheory.gpu.weights.factors.certificate import LowRankColumnsCertificate, certify
from sparsetheory.gpu.weights.factors.column_metric import ColumnMetric

__all__ = ["LowRankPlusColumns", "low_rank_plus_columns"]

# Of the energy; a smaller gain of another set of columns is rounding.
_LEAST_GAIN = 1e-12

# Double precision reaches from 1e-308 to 1e308, and errors are squares of squares below the largest one.
_LEAST_SIZE = 1e-60


@dataclass(frozen=True, eq=False)
class LowRankPlusColumns:
    """The matrix ``outer @ inner``, plus `columns` at some indices.

    Parameters
    ----------
    outer : Tensor of shape (out, rank)
    inner : Tensor of shape (rank, in)
        In the dtype of the weight, as the others. Each row is as long as the column of `outer` it meets, in double
        precision, where `outer` has orthogonal columns.
    columns : Tensor of shape (out, n_columns)
        What is added to the columns of the low-rank matrix.
    indices : Tensor of int64 of shape (n_columns,)
        Which columns these are, ascending.
    error : float
        Squared error relative to the weight, in the norm of the Gram matrix if there is one; before rounding to the
        dtype of the weight.
    trace : tuple of float
        The same after each half of a round of the alternation, from the start that was best; it does not rise. With a
        single start the first number is that of LOST.
    certificate : LowRankColumnsCertificate
        That the error is as stated, and what no such matrix can go below.
    """

    outer: Tensor
    inner: Tensor
    columns: Tensor
    indices: Tensor
    error: float
    trace: tuple[float, ...]
    certificate: LowRankColumnsCertificate

    def approximation(self) -> Tensor:
        """Return the matrix itself, of shape (out, in)."""
        return (self.outer @ self.inner).index_add(1, self.indices, self.columns)


def low_rank_plus_columns(
    weight: Tensor,
    rank: int,
    n_columns: int,
    method: str = "alternating",
    gram: Any = None,
    *,
    n_init: int = 1,
    max_iter: int = 20,
) -> LowRankPlusColumns:
    """Split a weight matrix into one of low rank and some whole columns.

    LOST takes the best matrix of low rank first, and then the columns that it misses most. But columns that are kept
    apart need no room in the low rank. So the alternation, for given columns, takes the best low rank for the others;
    for a given column space, the columns that it misses most; and so on. Both halves are optimal in the plain norm; the
    result is a local optimum, not always the best one.

    Parameters
    ----------
    weight : Tensor of shape (out, in)
        In any floating-point precision; computed in double precision.
    rank : int
        Rank of the first part, from 1 to ``min(out, in) - 1``.
    n_columns : int
        Columns of the second part, from 0 to ``in``.
    method : {"alternating", "lost"}
        "lost" is what the paper does. "alternating" starts there, and is never worse.
    gram : Tensor of shape (in, in) or Gram, optional
        Gram matrix of the inputs of the layer; errors of its outputs count then. Columns are chosen by orthogonal
        matching pursuit, which is a greedy choice: another set is taken only if it is better.
    n_init : int
        Starts of the alternation, of which the best result is taken. The first one is the split of LOST. Others begin
        with the columns that lower ranks miss most, down to the largest columns.
    max_iter : int
        Largest number of rounds of the alternation; two are mostly enough.

    Returns
    -------
    LowRankPlusColumns

    Raises
    ------
    TypeError, ValueError
        If the weight is not a finite real matrix, or its largest entry lies beyond 1e60 or below 1e-60; if the Gram
        matrix does not fit; or a number is out of range.

    See Also
    --------
    sparsetheory.gpu.solvers.truncated_svd_summary : The decomposition that each round takes, with its error bounds.
    sparsetheory.lowrank.block_svd_error : Its classical twin, by which the certificate checks.

    Notes
    -----
    A round is one truncated singular value decomposition, O(out in min(out, in)) operations; with a Gram matrix
    O(n_columns in (out + in) + in^3) more. No matrix of this kind has a rank above ``rank + n_columns``, so the tail of
    the singular values beyond is a lower bound on all errors.

    References
    ----------
    J. Li et al., "LOST: Low-rank and Sparse Pre-training for Large Language Models", arXiv 2508.02668, 2025.

    Examples
    --------
    >>> import torch
    >>> weight = torch.randn(30, 20, generator=torch.Generator().manual_seed(0))
    >>> lost, better = (low_rank_plus_columns(weight, 5, 2, method) for method in ("lost", "alternating"))
    >>> better.error < lost.error, better.certificate.check(weight).valid
    (True, True)
    """
    matrix, metric = _checked(weight, rank, n_columns, method, gram)
    COUNT.require(n_init=n_init, max_iter=max_iter)
    energy = float(metric.seen(matrix).square().sum())
    if method == "lost":
        basis, indices, errors = _first(matrix, metric, rank, n_columns)
    else:
        firsts = (_first(matrix, metric, start, n_columns) for start in _start_ranks(rank, n_init))
        ends = [_improved(matrix, metric, rank, first, _LEAST_GAIN * energy, max_iter) for first in firsts]
        basis, indices, errors = min(ends, key=lambda end: end[2][-1])
    share = [error / energy if energy else 0.0 for error in errors]
    inner, rest = basis.mT @ matrix, matrix - basis @ (basis.mT @ matrix)
    lengths = inner.norm(dim=1).sqrt()
    safe = torch.where(lengths > 0, lengths, 1.0)
    parts = [basis * lengths, inner / safe[:, None], metric.fill(rest, indices)]
    outer, inner, columns = (part.to(weight.dtype) for part in parts)
    certificate = certify(weight, (outer, inner, columns, indices), metric, optimal=method == "alternating")
    return LowRankPlusColumns(outer, inner, columns, indices, share[-1], tuple(share), certificate)


def _checked(weight: Any, rank: Any, n_columns: Any, method: Any, gram: Any) -> tuple[Tensor, ColumnMetric]:
    matrix = finite_tensor("weight", weight, least_axes=2).double()
    if matrix.ndim != 2 or not matrix.numel():
        raise ValueError(f"weight must be a matrix with rows and columns; got shape {tuple(matrix.shape)}")
    Integer(1, min(matrix.shape) - 1).check("rank", rank)
    Integer(0, matrix.shape[1]).check("n_columns", n_columns)
    Choice("alternating", "lost").check("method", method)
    _check_squares(matrix)
    known = None if gram is None else as_gram(gram, matrix.shape[1]).matrix.to(matrix.device)
    return matrix, ColumnMetric(known)


def _check_squares(matrix: Tensor) -> None:
    """Raise where sums of squares would overflow in double precision, or lose digits near zero."""
    largest = float(matrix.abs().max())
    if largest and not _LEAST_SIZE <= largest <= 1 / _LEAST_SIZE:
        raise ValueError(f"weight must be scaled so that its squares can be added up; its largest entry is {largest:g}")


def _start_ranks(rank: int, n_init: int) -> list[int]:
    """Return ranks from the given one down to 0, evenly."""
    return [rank - rank * index // max(n_init - 1, 1) for index in range(n_init)]


def _first(matrix: Tensor, metric: ColumnMetric, rank: int, n_columns: int) -> tuple[Tensor, Tensor, list[float]]:
    """Return the leading directions, the columns that they miss most, and what is left: the split of LOST."""
    basis = truncated_svd_summary(metric.seen(matrix), max(rank, 1)).basis[:, :rank]
    rest = _off(matrix, basis)
    indices = metric.choose(rest, n_columns)
    return basis, indices, [_energy(metric, rest, indices)]


def _improved(
    matrix: Tensor,
    metric: ColumnMetric,
    rank: int,
    start: tuple[Tensor, Tensor, list[float]],
    least_gain: float,
    max_iter: int,
) -> tuple[Tensor, Tensor, list[float]]:
    """Take the best directions for the columns and the best columns for the directions in turn.

    With the columns I free, the error of ``W - U A - C`` is least over A and C where U U' takes all of its own part and
    C takes what it can of the rest. What remains is ``(1 - U U') W F (1 - Q Q')``, with Q a basis of the rows of F_I.
    Its energy is least where U spans the leading left singular vectors of ``W F (1 - Q Q')``.
    """
    basis, indices, errors = start
    for round_ in range(max_iter):
        basis = truncated_svd_summary(metric.without(matrix, indices), rank).basis[:, :rank]
        rest = _off(matrix, basis)
        errors = [*errors, _energy(metric, rest, indices)]
        others = metric.choose(rest, len(indices))
        error = _energy(metric, rest, others)
        # The last round ends with the directions, so that they are the best for the columns.
        if round_ == max_iter - 1 or error >= errors[-1] - least_gain:
            break
        indices, errors = others, [*errors, error]
    return basis, indices, errors


def _off(matrix: Tensor, basis: Tensor) -> Tensor:
    return matrix - basis @ (basis.mT @ matrix)


def _energy(metric: ColumnMetric, rest: Tensor, indices: Tensor) -> float:
    return float(metric.without(rest, indices).square().sum())
