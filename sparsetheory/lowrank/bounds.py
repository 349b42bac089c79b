"""Bounds on the error of a concatenation from its parts."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsetheory.constraints import COUNT
from sparsetheory.lowrank.blocks import Blocks
from sparsetheory.lowrank.extension import extend_basis
from sparsetheory.lowrank.interval import ErrorInterval
from sparsetheory.lowrank.operands import Matrix, gram, pairwise_sum, squared_norm
from sparsetheory.lowrank.spectra import captured, compact, squared_spectrum, tail, thin_svd

__all__ = [
    "centroid_bound",
    "leading_seed",
    "pair_bounds",
    "residual_bound",
    "union_bound",
    "weyl_bound",
]


def leading_seed(blocks: Blocks, rank: int, candidates: Sequence[int] | None = None) -> list[int]:
    """Return the blocks that start a cluster: the largest, and the next largest while the columns fit in `rank`.

    Parameters
    ----------
    blocks : Blocks
        Checked blocks.
    rank : int
        Column budget; the first block may exceed it.
    candidates : sequence of int, optional
        Blocks to choose from, largest energy first; all blocks by default.
    """
    if candidates is None:
        candidates = np.argsort(-blocks.energies, kind="stable").tolist()
    seed = [candidates[0]]
    used = blocks.widths[candidates[0]]
    for k in candidates[1:]:
        used += blocks.widths[k]
        if used > rank:
            break
        seed.append(k)
    return seed


def _interval(blocks: Blocks, lo: float, cap: float, method: str) -> ErrorInterval:
    shape = (blocks.n_rows, blocks.n_columns)
    return ErrorInterval.from_bounds(lo, blocks.energy - cap, blocks.energy, shape, method, blocks.unit)


def weyl_bound(blocks: Sequence[Any], rank: int, subset: Sequence[int] | None = None) -> ErrorInterval:
    r"""Bound the error by the energy that a few blocks capture alone.

    Adding columns lowers no singular value, so
    :math:`E_r(C_S)^2 \le E_r(C)^2 \le e(C) - \sum_{i\le r}\sigma_i(C_S)^2`.

    Parameters
    ----------
    blocks : sequence of array-like of shape (m, n_k)
        Real or complex blocks.
    rank : int
        Target rank r.
    subset : sequence of int, optional
        The blocks S; by default the largest ones that fit in r columns.

    Returns
    -------
    ErrorInterval

    Notes
    -----
    Shamrai, arXiv:2601.11626 (first bound). Written there with the whole energy of S in place of what r directions
    capture, which is false when a single block of S is wider than r. The lower end is ours.

    Examples
    --------
    >>> import numpy as np
    >>> weyl_bound([np.diag([2.0, 0.0]), np.diag([0.0, 1.0])], rank=1, subset=[0]).upper
    1.0...
    """
    checked, rank = Blocks(blocks), COUNT.check("rank", rank)
    chosen = leading_seed(checked, rank) if subset is None else list(subset)
    whole = all(isinstance(k, int | np.integer) for k in chosen)
    if not chosen or not whole or len(set(chosen)) < len(chosen) or not set(chosen) <= set(range(len(checked))):
        raise ValueError(f"subset must be distinct elements of range({len(checked)}), at least one; got {chosen!r}")
    squares = squared_spectrum(checked, chosen)
    return _interval(checked, tail(squares, rank), captured(squares, rank), "weyl")


def residual_bound(
    blocks: Sequence[Any], rank: int, order: str | Sequence[int] = "given", *, count_in_span: bool = False
) -> ErrorInterval:
    r"""Bound the error by what each block adds to the span of those before it.

    With :math:`R_k` the part of block k outside that span, the r largest of all :math:`\sigma^2(R_k)` sum to at
    most what the best rank-r approximation captures.

    Parameters
    ----------
    blocks : sequence of array-like of shape (m, n_k)
        Real or complex blocks.
    rank : int
        Target rank r.
    order : "given", "norm" or sequence of int
        Order of processing; "norm" takes the largest block first.
    count_in_span : bool
        Count also the energy that later blocks have in the directions of earlier ones, which is sharper (exact for
        duplicates) and costs a second pass.

    Returns
    -------
    ErrorInterval

    Notes
    -----
    Costs O(m d N) with d the dimension of the span. Shamrai, arXiv:2601.11626 (second bound, reconstructed); only
    the sum is a bound, single values are not. ``count_in_span=True`` is ours.

    Examples
    --------
    >>> import numpy as np
    >>> copies = [np.eye(3)[:, :1]] * 4
    >>> plain, sharp = (residual_bound(copies, rank=1, count_in_span=count) for count in (False, True))
    >>> round(plain.relative()[1], 6), sharp.upper < 1e-9
    (0.866025, True)
    """
    checked, rank = Blocks(blocks), COUNT.check("rank", rank)
    groups = _innovations(checked, _processing_order(checked, order))
    if count_in_span:
        squares = np.concatenate([_pinched(checked, directions) for directions, _ in groups])
    else:
        squares = np.concatenate([t**2 for _, t in groups])
    cap = float(np.sort(squares)[::-1][:rank].sum())
    return _interval(checked, 0.0, cap, "residual in span" if count_in_span else "residual")


def _processing_order(blocks: Blocks, order: str | Sequence[int]) -> list[int]:
    if isinstance(order, str):
        if order not in ("given", "norm"):
            raise ValueError(f"order must be 'given', 'norm' or a permutation of the blocks; got {order!r}")
        return list(range(len(blocks))) if order == "given" else np.argsort(-blocks.energies, kind="stable").tolist()
    if sorted(order) != list(range(len(blocks))):
        raise ValueError(f"order must be a permutation of range({len(blocks)}); got {list(order)!r}")
    return [int(k) for k in order]


def _innovations(blocks: Blocks, order: Sequence[int]) -> list[tuple[Any, Any]]:
    """Orthonormal directions and singular values of each block outside the span of its predecessors."""
    span = np.zeros((blocks.n_rows, 0))
    groups = []
    for k in order:
        found = extend_basis(span, compact(blocks[k]))
        groups.append((found.directions, found.values))
        span = np.hstack([span, found.directions])
    return groups


def _pinched(blocks: Blocks, directions: Any) -> Any:
    compressed = pairwise_sum(gram(directions.conj().T @ block) for block in blocks)
    return np.linalg.eigvalsh(compressed) if directions.shape[1] else np.zeros(0)


def union_bound(blocks: Sequence[Any], rank: int, groups: Sequence[Sequence[int]] | None = None) -> ErrorInterval:
    r"""Bound the error by approximating groups of blocks separately with ranks that add up to r.

    :math:`\sum_g E_r(C_g)^2 \le E_r(C)^2 \le \min_{\sum r_g = r} \sum_g E_{r_g}(C_g)^2`, and the minimum is the
    energy less the r largest of the union of the groups' squared spectra.

    Parameters
    ----------
    blocks : sequence of array-like of shape (m, n_k)
        Real or complex blocks.
    rank : int
        Target rank r.
    groups : sequence of sequences of int, optional
        A partition of the blocks; every block alone by default.

    Returns
    -------
    ErrorInterval

    Notes
    -----
    Never looser than :func:`weyl_bound` on a group of the partition, nor than :func:`residual_bound`. Provenance:
    ours.

    Examples
    --------
    >>> import numpy as np
    >>> union_bound([np.diag([2.0, 0.0]), np.diag([0.0, 1.0])], rank=1).upper
    1.0...
    """
    checked, rank = Blocks(blocks), COUNT.check("rank", rank)
    parts = [[k] for k in range(len(checked))] if groups is None else [list(g) for g in groups]
    if not all(parts) or sorted(k for part in parts for k in part) != list(range(len(checked))):
        raise ValueError(f"groups must partition range({len(checked)}) into non-empty parts; got {parts!r}")
    spectra = [squared_spectrum(checked, part) for part in parts]
    cap = float(np.sort(np.concatenate(spectra))[::-1][:rank].sum())
    return _interval(checked, sum(tail(s, rank) for s in spectra), cap, "union")


def pair_bounds(first: Any, second: Any, rank: int) -> ErrorInterval:
    r"""Bound the error of two blocks side by side without factoring the pair.

    With :math:`W` the r largest of both squared spectra together,
    :math:`W \le \sum_{i\le r}\sigma_i([A,B])^2 \le W + \sum_{i\le r}\sigma_i(A^H B)`; the upper end also uses
    that A's leading directions may serve B, and the reverse.

    Parameters
    ----------
    first, second : array-like of shapes (m, n_A) and (m, n_B)
        Real or complex blocks.
    rank : int
        Target rank r.

    Returns
    -------
    ErrorInterval

    Notes
    -----
    Provenance: ours.

    Examples
    --------
    >>> import numpy as np
    >>> a = np.eye(4)[:, :2]
    >>> pair_bounds(a, a, rank=2).upper < 1e-9
    True
    """
    checked, rank = Blocks([first, second]), COUNT.check("rank", rank)
    first, second = (compact(block) for block in checked)
    (u, s), (v, t) = (thin_svd(block)[:2] for block in (first, second))
    union = float(np.sort(np.concatenate([s, t]) ** 2)[::-1][:rank].sum())
    overlap = float(np.linalg.svd(first.conj().T @ second, compute_uv=False)[:rank].sum())
    shared = max(
        captured(s**2, rank) + squared_norm(u[:, :rank].conj().T @ second),
        captured(t**2, rank) + squared_norm(v[:, :rank].conj().T @ first),
    )
    superadditive = tail(s**2, rank) + tail(t**2, rank)
    lo = max(superadditive, checked.energy - union - overlap)
    return _interval(checked, lo, max(union, float(shared)), "pair")


def centroid_bound(blocks: Sequence[Any], rank: int) -> ErrorInterval:
    r"""Bound the error of blocks of equal shape by their distance from the mean block.

    :math:`E_r(C) \le \sqrt p\, E_r(\bar A) + (\sum_k \|A_k - \bar A\|_F^2)^{1/2}`: it turns the result of k-means on
    flattened blocks into a certificate.

    Parameters
    ----------
    blocks : sequence of p array-like of one shape (m, n)
        Real or complex blocks.
    rank : int
        Target rank r.

    Returns
    -------
    ErrorInterval

    Notes
    -----
    Provenance: ours.

    Examples
    --------
    >>> import numpy as np
    >>> centroid_bound([np.eye(3)[:, :2]] * 5, rank=2).upper < 1e-9
    True
    """
    checked, rank = Blocks(blocks), COUNT.check("rank", rank)
    if np.unique(checked.widths).size > 1:
        raise ValueError(f"blocks must have one shape; got widths {np.unique(checked.widths).tolist()}")
    p = len(checked)
    mean: Matrix = pairwise_sum(checked) / p
    spread = np.sqrt(sum(squared_norm(block - mean) for block in checked))
    error = np.sqrt(p * tail(np.linalg.svd(compact(mean), compute_uv=False) ** 2, rank)) + spread
    shape = (checked.n_rows, checked.n_columns)
    return ErrorInterval.from_tails(0.0, float(error) ** 2, checked.energy, shape, "centroid", checked.unit)
