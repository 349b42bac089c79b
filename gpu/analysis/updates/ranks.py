"""Ranks of the changes of matrices, next to those of random matrices that are as sparse."""

from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from typing import Any

import torch
from torch import Tensor

from sparsetheory.constraints import MISSING, NONNEGATIVE, Real
from sparsetheory.gpu.analysis.updates.states import State, matrix_pairs
from sparsetheory.gpu.core.randomness import cpu_generator

__all__ = ["MatrixRank", "UpdateRank", "update_rank"]


@dataclass(frozen=True)
class MatrixRank:
    """Rank of the change of one matrix.

    Parameters
    ----------
    name : str
    shape : tuple of int
    n_changed : int
        Entries of the change that are not zero.
    rank : int
    energy_rank : int
        Fewest directions that hold the given share of the squared norm of the change. A full rank may be one of tiny
        singular values.
    random_rank, random_energy_rank : int
        Both of a matrix with as many entries at random places, of Gaussian values.
    """

    name: str
    shape: tuple[int, int]
    n_changed: int
    rank: int
    energy_rank: int
    random_rank: int
    random_energy_rank: int

    @property
    def fraction(self) -> float:
        """Rank over the largest possible one."""
        return self.rank / min(self.shape)

    @property
    def random_fraction(self) -> float:
        """Rank of the random matrix over the largest possible one."""
        return self.random_rank / min(self.shape)


@dataclass(frozen=True)
class UpdateRank:
    """What :func:`update_rank` returns.

    Parameters
    ----------
    matrices : tuple of MatrixRank
        One for each tensor of at least two axes.
    """

    matrices: tuple[MatrixRank, ...]

    @property
    def fraction(self) -> float:
        """Mean over matrices of the rank relative to the largest possible one."""
        return sum(matrix.fraction for matrix in self.matrices) / len(self.matrices)

    @property
    def random_fraction(self) -> float:
        """The same for the random matrices."""
        return sum(matrix.random_fraction for matrix in self.matrices) / len(self.matrices)

    def to_frame(self) -> Any:
        """Return a DataFrame of pandas with one row for each matrix, indexed by name."""
        import pandas as pd

        fields = [*(field.name for field in dataclass_fields(MatrixRank)), "fraction", "random_fraction"]
        rows = [{field: getattr(matrix, field) for field in fields} for matrix in self.matrices]
        return pd.DataFrame(rows).set_index("name")


def update_rank(
    a: State,
    b: State,
    rtol: float | None = None,
    *,
    energy: float = 0.99,
    dtype: torch.dtype | None = None,
    generator: torch.Generator | int | None = 0,
) -> UpdateRank:
    """Measure the rank of the change of every matrix, and what chance gives at its sparsity.

    A sparse update of full rank is no surprise: a random matrix of side n with more than n log n entries has nearly
    full rank. So every rank comes with that of a random matrix of as many entries, and with the number of directions
    that hold most of the change.

    Parameters
    ----------
    a, b : torch.nn.Module or mapping of str to Tensor
        As for :func:`update_sparsity`. Tensors of more than two axes count as matrices with a row for each output.
    rtol : float, optional
        Singular values above this share of the largest one count; by default the larger side of the matrix times the
        spacing of float32 at 1, as ``torch.linalg.matrix_rank`` has it for float32 changes.
    energy : float
        Share of the squared norm that `energy_rank` is to hold, above 0, at most 1.
    dtype : torch.dtype, optional
        Precision to which both states are rounded first.
    generator : torch.Generator, int or None
        Source of the random matrices, drawn on the CPU.

    Returns
    -------
    UpdateRank

    Raises
    ------
    ValueError
        If the states do not match, see :func:`update_sparsity`, hold no matrices or entries that are not finite.

    Notes
    -----
    Two singular value decompositions in float64 for each matrix.

    Examples
    --------
    >>> import torch
    >>> before = {"weight": torch.zeros(3, 3)}
    >>> after = {"weight": torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])}
    >>> update_rank(before, after).matrices[0].rank
    2
    """
    (MISSING | NONNEGATIVE).check("rtol", rtol)
    Real(0.0, 1.0, closed="right").check("energy", energy)
    source = cpu_generator(generator)
    found = []
    for pair in matrix_pairs(a, b, dtype):
        before, after = (values.to(torch.float64) for values in pair.values(dtype))
        change = after - before
        if not bool(torch.isfinite(change).all()):
            raise ValueError(f"a and b must be finite; {pair.name} has infinite entries or NaN")
        rows, columns = change.shape
        n_changed = int(change.count_nonzero())
        chance = _random_matrix(rows, columns, n_changed, source)
        ranks = (*_ranks(change, rtol, energy), *_ranks(chance, rtol, energy))
        found.append(MatrixRank(pair.name, (rows, columns), n_changed, *ranks))
    return UpdateRank(tuple(found))


def _ranks(matrix: Tensor, rtol: float | None, energy: float) -> tuple[int, int]:
    """Return the number of singular values above the tolerance, and of those that hold the share of the energy."""
    share = max(matrix.shape) * torch.finfo(torch.float32).eps if rtol is None else rtol
    values = torch.linalg.svdvals(matrix)
    # Sums of small squares from the end: the largest ones would swallow them.
    tails = values.square().flip(0).cumsum(0)
    left_out = int((tails <= (1.0 - energy) * tails[-1]).sum())
    return int((values > share * values[0]).sum()), len(values) - left_out


def _random_matrix(rows: int, columns: int, n_nonzero: int, generator: torch.Generator) -> Tensor:
    matrix = torch.zeros(rows * columns, dtype=torch.float64)
    places = torch.randperm(rows * columns, generator=generator)[:n_nonzero]
    matrix[places] = torch.randn(n_nonzero, generator=generator, dtype=torch.float64)
    return matrix.view(rows, columns)
