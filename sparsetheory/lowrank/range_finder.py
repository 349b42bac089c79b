"""A randomised range finder whose error interval holds for every draw."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from scipy import sparse

from sparsetheory.constraints import COUNT, NONNEGATIVE, SIZE, generator
from sparsetheory.lowrank.blocks import Blocks
from sparsetheory.lowrank.interval import ErrorInterval, rounding_slack
from sparsetheory.lowrank.operands import Matrix, Operand, squared_norm
from sparsetheory.lowrank.spectra import compact, thin_svd
from sparsetheory.typing import Float64Array

__all__ = ["RangeFinderSummary", "range_finder_summary"]

# A difference of energies does where it is this many times its own rounding.
_CANCELLATION = 100
# Entries of a sparse block that are made dense at once, where they have to be.
_PANEL_ENTRIES = 2**24


@dataclass(frozen=True, eq=False)
class RangeFinderSummary:
    r"""The part of C inside a sketched subspace, and the energy outside it.

    Unlike :class:`~sparsetheory.lowrank.SVDSummary` it cannot be merged: projecting different blocks on different
    subspaces does not order their joint Gram matrices.

    Parameters
    ----------
    basis : ndarray of shape (m, l)
        Orthonormal; the left singular vectors of the projected matrix.
    singular_values : ndarray of shape (l,)
        Those of the projected matrix, in units of `unit`; none exceeds the true one.
    residual : float
        :math:`\|C - QQ^H C\|_F^2` in units of ``unit**2``; for sparse blocks up to the rounding of their energy above.
    n_columns : int
        Columns of C.
    unit : float
        As in :class:`~sparsetheory.lowrank.ErrorInterval`.
    """

    basis: Matrix
    singular_values: Float64Array
    residual: float
    n_columns: int
    unit: float = 1.0

    def interval(self, rank: int) -> ErrorInterval:
        r"""Bound the best rank-r error: :math:`E_r(B)^2 \le E_r(C)^2 \le E_r(B)^2 + \mathrm{residual}`.

        Parameters
        ----------
        rank : int
            Any rank; the bounds are of interest below the number of columns of `basis`.
        """
        squares = self.singular_values**2
        rank = COUNT.check("rank", rank)
        kept = float(squares[rank:].sum())
        energy = float(squares.sum()) + self.residual
        shape = (self.basis.shape[0], self.n_columns)
        if rank >= min(shape):
            return ErrorInterval(0.0, 0.0, energy, "range finder", 0.0, self.unit)
        return ErrorInterval.from_tails(kept, kept + self.residual, energy, shape, "range finder", self.unit)


def range_finder_summary(
    blocks: Sequence[Any],
    rank: int,
    *,
    oversampling: int = 5,
    n_power: int = 1,
    eps: float | None = None,
    random_state: Any = None,
) -> RangeFinderSummary:
    """Sketch the column space of blocks placed side by side by Gaussian test matrices.

    Parameters
    ----------
    blocks : sequence of array-like of shape (m, n_k)
        Real or complex blocks; each is read ``2 + 2 n_power`` times. Sparse ones are only multiplied.
    rank : int
        Target rank; the sketch starts with ``rank + oversampling`` directions.
    oversampling, n_power : int
        Extra directions and power steps, at least 0.
    eps : float, optional
        Enlarge the sketch until the interval decides whether the relative rank-r error is at most `eps`.
    random_state : None, int, RandomState or Generator
        Seed of the sketch. The interval holds whatever it is.

    Returns
    -------
    RangeFinderSummary

    Raises
    ------
    ValueError, TypeError
        On invalid blocks or parameters.

    Notes
    -----
    Costs O(m N l) per pass, or O(nnz l) for sparse blocks, and memory O(m l). What a sparse block has outside the
    sketch is the difference of two energies, and is computed from dense panels only where that loses too many digits.
    Halko, Martinsson, Tropp (2011) for the sketch; that the interval needs no probability follows from
    :math:`C^H C = C^H QQ^H C + C^H (I - QQ^H) C` with a positive semidefinite last term, and Ky Fan.

    Examples
    --------
    >>> import numpy as np
    >>> blocks = [np.diag([3.0, 2.0, 1.0, 0.0])]
    >>> range_finder_summary(blocks, rank=1, random_state=0).interval(1).contains(5.0)
    True
    """
    checked, rank = Blocks(blocks), COUNT.check("rank", rank)
    SIZE.check("oversampling", oversampling)
    SIZE.check("n_power", n_power)
    if eps is not None:
        NONNEGATIVE.check("eps", eps)
    rng = generator(random_state)
    largest = min(checked.n_rows, checked.n_columns)
    size = min(rank + oversampling, largest)
    basis = _sketch(checked, size, n_power, rng)
    summary = _project(checked, basis)
    while eps is not None and basis.shape[1] < largest and summary.interval(rank).decide(eps) is None:
        extra = _sketch(checked, min(basis.shape[1], largest - basis.shape[1]), n_power, rng, basis)
        basis = np.hstack([basis, extra])
        summary = _project(checked, basis)
    return summary


def _sketch(blocks: Blocks, size: int, n_power: int, rng: Any, found: Matrix | None = None) -> Matrix:
    """Orthonormal directions of the range of the blocks, orthogonal to those already found."""
    sample = sum(block @ rng.standard_normal((block.shape[1], size)) for block in blocks.operands())
    basis = _orthonormal(sample, found)
    for _ in range(n_power):
        image = sum(block @ _coefficients(basis, block).conj().T for block in blocks.operands())
        basis = _orthonormal(image, found)
    return basis


def _coefficients(basis: Matrix, block: Operand) -> Matrix:
    # A sparse factor stands on the left, where every format takes a dense one on the right.
    return (block.conj().T @ basis).conj().T if sparse.issparse(block) else basis.conj().T @ block


def _orthonormal(sample: Matrix, found: Matrix | None) -> Matrix:
    if found is None:
        return scipy.linalg.qr(sample, mode="economic", check_finite=False)[0]
    # Columns of a rank-deficient sample are noise: factoring them behind what was found keeps all orthonormal.
    joint = scipy.linalg.qr(np.hstack([found, sample]), mode="economic", check_finite=False)[0]
    return joint[:, found.shape[1] :]


def _project(blocks: Blocks, basis: Matrix) -> RangeFinderSummary:
    # The Gram matrix of B has only l rows, but squares its spectrum: put B together and compact it block by block.
    triangle = np.zeros((basis.shape[1], 0), basis.dtype)
    residual = 0.0
    for k, block in enumerate(blocks.operands()):
        coefficients = _coefficients(basis, block)
        residual += _missed(block, float(blocks.energies[k]), basis, coefficients)
        triangle = compact(np.hstack([triangle, coefficients]))
    rotation, values, _ = thin_svd(triangle)
    count = min(values.size, basis.shape[1])
    return RangeFinderSummary(basis @ rotation[:, :count], values[:count], residual, blocks.n_columns, blocks.unit)


def _missed(block: Operand, energy: float, basis: Matrix, coefficients: Matrix) -> float:
    """Squared norm of what a block has outside the basis, from above where it is sparse."""
    if not sparse.issparse(block):
        return squared_norm(block - basis @ coefficients)
    slack = rounding_slack(block.shape[0], block.shape[1], energy)
    missed = energy - squared_norm(coefficients)
    if missed > _CANCELLATION * slack:
        return missed + slack
    width = max(_PANEL_ENTRIES // block.shape[0], 1)
    panels = (slice(start, start + width) for start in range(0, block.shape[1], width))
    return sum(squared_norm(block[:, part].toarray() - basis @ coefficients[:, part]) for part in panels)
