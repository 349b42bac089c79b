"""Columns that explain all others best: a greedy choice on the Gram matrix, with a lower bound of the error."""

from dataclasses import dataclass

from numpy.typing import ArrayLike

from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["ColumnSubset", "greedy_column_subset"]


@dataclass(frozen=True, eq=False)
class ColumnSubset:
    """Columns of a matrix X in the order of their choice, and how well they explain all columns.

    Parameters
    ----------
    indices : ndarray of int of shape (n_columns,)
    errors : ndarray of shape (n_columns + 1,)
        For the first k columns the squared Frobenius norm of X minus its projection on them, over that of X.
    bounds : ndarray of shape (n_columns + 1,)
        What no k columns can fall below: the share of the energy that the best matrix of rank k leaves.
    """

    indices: IndexArray
    errors: Float64Array
    bounds: Float64Array


def greedy_column_subset(gram: ArrayLike, n_columns: int) -> ColumnSubset:
    """Choose columns of X one by one, each the one that lowers the error of all most."""
    raise NotImplementedError
