"""Mergeable truncated SVDs that bound their own error from both sides."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Self

import numpy as np

from sparsetheory.constraints import COUNT
from sparsetheory.lowrank.blocks import Blocks
from sparsetheory.lowrank.extension import extend_basis
from sparsetheory.lowrank.interval import ErrorInterval, rounding_slack
from sparsetheory.lowrank.operands import Matrix, as_matrix, is_finite, largest, squared_norm
from sparsetheory.lowrank.spectra import compact, thin_svd
from sparsetheory.typing import Float64Array

__all__ = ["SVDSummary"]

# Norms whose squares, and shares of them down to rounding, stay in the range of float64.
_SMALLEST_NORM, _LARGEST_NORM = 1e-152, 1e153


@dataclass(eq=False)
class SVDSummary:
    r"""A truncated SVD of blocks seen so far, with the energy that truncation has discarded.

    The summary stands for :math:`\hat G = U\,\mathrm{diag}(s^2)\,U^H`, which never exceeds the true Gram matrix
    :math:`G = C C^H`. The discarded part is positive semidefinite; its trace, its largest eigenvalue and the
    sum of its r largest eigenvalues are bounded by `discarded`, `discarded_top` and `discarded_kyfan`.

    Make one with :meth:`from_block`, add to it with :meth:`append` or join two with :meth:`merge`.

    Parameters
    ----------
    basis : ndarray of shape (m, k), k <= rank
        Orthonormal columns U.
    singular_values : ndarray of shape (k,)
        Descending s.
    rank : int
        Number of directions kept (the sketch size).
    target_rank : int
        Largest rank that :meth:`interval` is asked for; at most `rank`.
    n_columns : int
        Columns seen.
    discarded, discarded_top, discarded_kyfan : float
        As above.
    n_steps : int
        Updates and merges, one after another, that the numbers went through; each rounds a little.
    probe : float
        :math:`\|v^H C\|^2` for one fixed vector v: :meth:`posterior` recognises the blocks by it.

    Notes
    -----
    Appending n columns costs O(m (k + n)^2), memory O(m k). Following Shamrai (arXiv:2601.11626); the
    two-sided interval is ours.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> base = rng.standard_normal((50, 3))
    >>> blocks = [base @ rng.standard_normal((3, 8)) for _ in range(4)]
    >>> summary = SVDSummary.from_block(blocks[0], rank=5)
    >>> for block in blocks[1:]:
    ...     summary = summary.append(block)
    >>> summary.interval(3).decide(1e-3)
    True
    """

    basis: Matrix
    singular_values: Float64Array
    rank: int
    target_rank: int
    n_columns: int
    discarded: float = 0.0
    discarded_top: float = 0.0
    discarded_kyfan: float = 0.0
    n_steps: int = 0
    probe: float = 0.0

    @classmethod
    def empty(cls, n_rows: int, rank: int, *, target_rank: int | None = None) -> Self:
        """Return the summary of no columns at all.

        Parameters
        ----------
        n_rows : int
            Row count m of the blocks to come.
        rank : int
            Directions to keep.
        target_rank : int, optional
            Largest rank of interest; a smaller one sharpens the lower end of :meth:`interval`. `rank` by default.
        """
        rank = COUNT.check("rank", rank)
        target = rank if target_rank is None else COUNT.check("target_rank", target_rank)
        if target > rank:
            raise ValueError(f"target_rank must be at most rank={rank}; got {target}")
        return cls(np.zeros((COUNT.check("n_rows", n_rows), 0)), np.zeros(0), rank, target, 0)

    @classmethod
    def from_block(cls, block: Any, rank: int, *, target_rank: int | None = None) -> Self:
        """Summarise one block of shape (m, n).

        Parameters
        ----------
        block : array-like of shape (m, n)
            Real or complex and finite.
        rank, target_rank : int
            As in :meth:`empty`.
        """
        return cls.named(block, "block", rank, target_rank)

    @classmethod
    def named(cls, block: Any, name: str, rank: int, target_rank: int | None) -> Self:
        """Do what :meth:`from_block` does; errors call the block `name`."""
        matrix = _finite(block, name)
        return cls.empty(matrix.shape[0], rank, target_rank=target_rank).absorb(matrix)

    @property
    def n_rows(self) -> int:
        """Row count m."""
        return self.basis.shape[0]

    @property
    def energy(self) -> float:
        """Squared Frobenius norm of everything seen."""
        return float(np.sum(self.singular_values**2)) + self.discarded

    def append(self, block: Any) -> Self:
        """Add the columns of a block, in place.

        Parameters
        ----------
        block : array-like of shape (m, n)
            Real or complex and finite.

        Returns
        -------
        SVDSummary
            The summary itself.
        """
        matrix = _finite(block, "block")
        self._check_rows(matrix.shape[0])
        _require_norm("all blocks together", np.hypot(np.sqrt(self.energy), np.sqrt(squared_norm(matrix))))
        return self.absorb(matrix)

    def merge(self, other: "SVDSummary") -> "SVDSummary":
        """Return the summary of both sets of columns; neither operand changes.

        Parameters
        ----------
        other : SVDSummary
            With the same row count, rank and target rank.

        Raises
        ------
        ValueError
            If the two do not match.
        """
        if not isinstance(other, SVDSummary):
            raise TypeError(f"other must be an SVDSummary; got {type(other).__name__}")
        self._check_rows(other.n_rows)
        if (self.rank, self.target_rank) != (other.rank, other.target_rank):
            raise ValueError(
                "summaries must agree in rank and target_rank to be merged; got "
                f"{(self.rank, self.target_rank)} and {(other.rank, other.target_rank)}"
            )
        _require_norm("all blocks together", np.hypot(np.sqrt(self.energy), np.sqrt(other.energy)))
        merged = replace(self).absorb(other.basis * other.singular_values)
        merged.n_columns = self.n_columns + other.n_columns
        merged.n_steps = max(self.n_steps, other.n_steps) + 1
        merged.probe = self.probe + other.probe
        merged.discarded += other.discarded
        merged.discarded_top += other.discarded_top
        merged.discarded_kyfan += other.discarded_kyfan
        return merged

    def interval(self, rank: int | None = None) -> ErrorInterval:
        """Bound the best rank-r error of everything seen.

        Parameters
        ----------
        rank : int, optional
            At most `target_rank`, which is the default.

        Returns
        -------
        ErrorInterval
            ``upper`` is the error of keeping the leading r directions as the summary knows them.
        """
        rank = self.target_rank if rank is None else COUNT.check("rank", rank)
        if rank > self.target_rank:
            raise ValueError(f"rank must be at most target_rank={self.target_rank}; got {rank}")
        kept = float(np.sum(self.singular_values[rank:] ** 2))
        hi = kept + self.discarded
        shape = (self.n_rows, self.n_columns)
        if rank >= min(shape):
            return ErrorInterval(0.0, 0.0, self.energy, "summary")
        # Both terms of the difference may be as large as the energy: it keeps a slack of its own.
        lo = max(hi - self.discarded_kyfan - rounding_slack(*shape, hi), kept)
        return ErrorInterval.from_tails(lo, hi, self.energy, shape, "summary", steps=self.n_steps)

    def minimal_rank(self, eps: float) -> int | None:
        """Return the smallest rank whose relative error is certainly at most `eps`, or None if there is none."""
        ranks = range(1, self.target_rank + 1)
        return next((r for r in ranks if self.interval(r).decide(eps)), None)

    def posterior(self, blocks: Sequence[Any], rank: int | None = None) -> ErrorInterval:
        r"""Sharpen :meth:`interval` by one more pass over the blocks.

        With :math:`Z = G U_r`, :math:`M = U_r^H Z` and :math:`R = Z - U_r M`, the upper end is the error that
        the stored basis achieves, and the lower end is off by terms quadratic in :math:`\|R\|_2` only, or that of
        :meth:`interval` where that is higher.

        Parameters
        ----------
        blocks : sequence of array-like
            Exactly the columns that were summarised, in any order and cut into blocks in any way.
        rank : int, optional
            At most `target_rank`, which is the default.

        Returns
        -------
        ErrorInterval

        Raises
        ------
        ValueError
            If the blocks are not those summarised: their number of columns, energy or probe differs.

        Notes
        -----
        Costs two products with every block, O(m N r). Provenance: ours.
        """
        rank = self.target_rank if rank is None else COUNT.check("rank", rank)
        checked = Blocks(blocks)
        self._check_rows(checked.n_rows)
        self._check_contents(checked)
        basis = self.basis[:, :rank]
        # Blocks divides extreme data by a power of two; the summary's own numbers follow.
        own = self.singular_values / checked.unit
        above = float(own[rank] ** 2) if rank < own.size else 0.0
        product = np.zeros(basis.shape, np.result_type(basis, checked[0]))
        missed = 0.0
        for block in map(compact, checked):
            coefficients = basis.conj().T @ block
            product += block @ coefficients.conj().T
            missed += squared_norm(block - basis @ coefficients)
        inner = basis.conj().T @ product
        coupling = np.linalg.norm(product - basis @ inner, 2) if basis.size else 0.0
        outside = min(above + self.discarded_top / checked.unit**2, missed)
        excess = np.linalg.eigvalsh((inner + inner.conj().T) / 2) - outside
        # Directions that the summary lacks may hold up to `outside` each.
        excess = np.concatenate([excess, np.zeros(rank - excess.size)])
        gained = np.sum(outside + (excess + np.sqrt(excess**2 + 4 * coupling**2)) / 2)
        shape = (self.n_rows, self.n_columns)
        # Neither lower end dominates: the coupling is large where the kept directions are not settled.
        lo = checked.energy - float(gained) - rounding_slack(*shape, checked.energy)
        found = ErrorInterval.from_tails(max(lo, 0.0), missed, checked.energy, shape, "posterior", checked.unit)
        return replace(found, lower=min(max(found.lower, self.interval(rank).lower / checked.unit**2), found.upper))

    def _check_rows(self, n_rows: int) -> None:
        if n_rows != self.n_rows:
            raise ValueError(f"row counts must agree: the summary has {self.n_rows}; got {n_rows}")

    def _check_contents(self, blocks: Blocks) -> None:
        if blocks.n_columns != self.n_columns:
            raise ValueError(f"blocks must be those summarised: {self.n_columns} columns; got {blocks.n_columns}")
        # The probe is a quadratic form of the Gram matrix, which any cut into blocks leaves alone.
        probe = sum(_probed(block) for block in blocks)
        energy, unit = self.energy / blocks.unit**2, blocks.unit
        allowed = 2 * rounding_slack(self.n_rows, self.n_columns, energy) * (1 + self.n_steps)
        for name, own, given in (("energy", energy, blocks.energy), ("probe", self.probe / unit**2, probe)):
            if not abs(own - given) <= allowed:
                raise ValueError(f"blocks must be those summarised: {name} {own:.17g}; got {given:.17g}")

    def absorb(self, matrix: Matrix) -> Self:
        """Do what :meth:`append` does for a matrix that is known to be valid."""
        self.probe += _probed(matrix)
        self.n_steps += 1
        self.n_columns += matrix.shape[1]
        u, s = _extended_svd(self.basis, self.singular_values, compact(matrix))
        dropped = s[self.rank :] ** 2
        # Contiguous copies: a view would keep the directions that were dropped alive.
        self.basis = np.ascontiguousarray(u[:, : self.rank])
        self.singular_values = s[: self.rank].copy()
        if dropped.size:
            self.discarded += float(dropped.sum())
            self.discarded_top += float(dropped[0])
            self.discarded_kyfan += float(dropped[: self.target_rank].sum())
        return self


def _finite(block: Any, name: str) -> Matrix:
    matrix = as_matrix(block, name)
    if not is_finite(matrix):
        raise ValueError(f"{name} contains NaN or infinity")
    peak = largest(matrix)
    if peak:
        _require_norm(name, peak * squared_norm(matrix / peak) ** 0.5)
    return matrix


def _require_norm(name: str, norm: float) -> None:
    if norm and not _SMALLEST_NORM <= norm <= _LARGEST_NORM:
        raise ValueError(
            f"{name}: squares leave the range of float64 at a norm of {norm:.1e}, which must be 0 or between "
            f"{_SMALLEST_NORM:g} and {_LARGEST_NORM:g}; scale all blocks alike by a power of two"
        )


@lru_cache(maxsize=8)
def _direction(n_rows: int) -> Float64Array:
    gaussian = np.random.default_rng(n_rows).standard_normal(n_rows)
    return gaussian / np.linalg.norm(gaussian)


def _probed(matrix: Matrix) -> float:
    return squared_norm(_direction(matrix.shape[0]) @ matrix)


def _extended_svd(basis: Matrix, s: Float64Array, matrix: Matrix) -> tuple[Matrix, Float64Array]:
    """Left singular vectors and singular values of ``[basis * s, matrix]``, without squaring anything."""
    found = extend_basis(basis, matrix)
    k, n_new = s.size, found.values.size
    if k + n_new == 0:
        return basis, s
    small = np.zeros((k + n_new, k + matrix.shape[1]), np.result_type(basis, matrix))
    small[:k, :k] = np.diag(s)
    small[:k, k:] = found.inside
    small[k:, k:] = found.outside
    rotation, values, _ = thin_svd(small)
    return np.hstack([basis, found.directions]) @ rotation, values
