"""Which columns of a matrix are best kept apart, and what is left without them, in the plain norm or that of a Gram."""

from functools import cache

import torch
from torch import Tensor

__all__ = ["ColumnMetric"]

# What of a column the chosen ones do not explain, relative to its square; below it the rest is rounding.
_DEPENDENT = 1e-12


class ColumnMetric:
    """The norm ``tr E G E'`` of an error E, with F such that ``F F' = G``; without a Gram matrix both are the identity.

    Parameters
    ----------
    gram : Tensor of float64 of shape (in, in), optional
    """

    def __init__(self, gram: Tensor | None) -> None:
        self.gram = gram
        self._factor = None if gram is None else _square_root(gram)
        self._parts = cache(self._row_space)

    def seen(self, matrix: Tensor) -> Tensor:
        """Return ``E F``, whose plain norm is that of E here."""
        return matrix if self._factor is None else matrix @ self._factor

    def without(self, matrix: Tensor, indices: Tensor) -> Tensor:
        """Return what is left of ``E F`` when the columns of some indices are free.

        Free columns C take away ``C F_I``: the rows of ``E F`` keep what is orthogonal to the rows of F_I.
        """
        if self._factor is None:
            return matrix.index_fill(1, indices, 0.0)
        seen = self.seen(matrix)
        rows, _ = self._parts(tuple(indices.tolist()))
        return seen - (seen @ rows.mT) @ rows

    def fill(self, matrix: Tensor, indices: Tensor) -> Tensor:
        """Return the columns C of some indices that come nearest to a matrix, of shape (out, len(indices))."""
        if self._factor is None:
            return matrix[:, indices]
        _, inverse = self._parts(tuple(indices.tolist()))
        return self.seen(matrix) @ inverse

    def choose(self, matrix: Tensor, n_columns: int) -> Tensor:
        """Return indices of columns to free, ascending, so that little is left; ties go to the lowest index.

        In the plain norm the largest columns are best. With a Gram matrix G columns do not stay separate: orthogonal
        matching pursuit adds, one after the other, the column with the largest ``|R G_:j|^2 / S_jj``, with R the
        current rest and S the Schur complement of the columns that are chosen.
        """
        if self.gram is None:
            order = matrix.square().sum(0).argsort(descending=True, stable=True)
            return order[:n_columns].sort().values
        return _matching_pursuit(matrix @ self.gram, self.gram, n_columns)

    def _row_space(self, indices: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Return an orthonormal basis of the rows of F_I, and the pseudo-inverse of F_I."""
        assert self._factor is not None
        left, values, rows = torch.linalg.svd(self._factor[list(indices)], full_matrices=False)
        apart = values > _DEPENDENT**0.5 * values.max() if len(indices) else values > 0
        left, values, rows = left[:, apart], values[apart], rows[apart]
        return rows, (rows.mT / values) @ left.mT


def _square_root(gram: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(gram)
    return vectors * values.clamp(min=0.0).sqrt()


def _matching_pursuit(correlations: Tensor, gram: Tensor, n_columns: int) -> Tensor:
    """Choose columns by orthogonal matching pursuit for all outputs together."""
    left, schur = correlations.clone(), gram.clone()
    least = _DEPENDENT * gram.diagonal()
    chosen = torch.zeros(len(gram), dtype=torch.bool, device=gram.device)
    for _ in range(n_columns):
        apart = schur.diagonal() > least
        gains = torch.where(apart, left.square().sum(0) / torch.where(apart, schur.diagonal(), 1.0), 0.0)
        best = int(torch.where(chosen, -1.0, gains).argmax())
        chosen[best] = True
        if bool(apart[best]):
            row = schur[best] / schur[best, best]
            left -= torch.outer(left[:, best], row)
            schur -= torch.outer(schur[:, best], row)
    return chosen.nonzero().squeeze(1)
