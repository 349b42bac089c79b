"""Bounds on the error of a concatenation from its parts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsetheory.arguments import is_finite
from sparsetheory.lowrank.blocks import Blocks, check_rank
from sparsetheory.lowrank.extension import extend_basis
from sparsetheory.lowrank.interval import ErrorInterval
from sparsetheory.lowrank.operands import gram, pairwise_sum, squared_norm
from sparsetheory.lowrank.spectra import captured, compact, squared_spectrum, tail, thin_svd

__all__ = [
    "centroid_bound",
    "leading_seed",
    "pair_bounds",
    "perturbation_bound",
    "residual_bound",
    "scalar_bounds",
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


def weyl_bound(blocks: Sequence[Any], rank: int, seed: Sequence[int] | None = None) -> ErrorInterval:
    r"""Bound the error by the energy that a few blocks capture alone.

    Adding columns lowers no singular value, so
    :math:`E_r(C_S)^2 \le E_r(C)^2 \le e(C) - \sum_{i\le r}\sigma_i(C_S)^2`.

    Parameters
    ----------
    blocks : sequence of array-like of shape (m, n_k)
        Real or complex blocks.
    rank : int
        Target rank r.
    seed : sequence of int, optional
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
    >>> weyl_bound([np.diag([2.0, 0.0]), np.diag([0.0, 1.0])], rank=1, seed=[0]).hi
    1.0...
    """
    checked, rank = Blocks(blocks), check_rank(rank)
    chosen = leading_seed(checked, rank) if seed is None else list(seed)
    whole = all(isinstance(k, int | np.integer) for k in chosen)
    if not chosen or not whole or len(set(chosen)) < len(chosen) or not set(chosen) <= set(range(len(checked))):
        raise ValueError(f"seed must be distinct elements of range({len(checked)}), at least one, got {chosen!r}")
    squares = squared_spectrum(checked, chosen)
    return _interval(checked, tail(squares, rank), captured(squares, rank), "weyl")


def residual_bound(
    blocks: Sequence[Any], rank: int, order: str | Sequence[int] = "given", *, in_span: bool = False
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
    in_span : bool
        Count also the energy that later blocks have in the directions of earlier ones, which is sharper (exact for
        duplicates) and costs a second pass.

    Returns
    -------
    ErrorInterval

    Notes
    -----
    Costs O(m d N) with d the dimension of the span. Shamrai, arXiv:2601.11626 (second bound, reconstructed); only
    the sum is a bound, single values are not. ``in_span=True`` is ours.

    Examples
    --------
    >>> import numpy as np
    >>> copies = [np.eye(3)[:, :1]] * 4
    >>> round(residual_bound(copies, rank=1).relative()[1], 6), residual_bound(copies, rank=1, in_span=True).hi < 1e-9
    (0.866025, True)
    """
    checked, rank = Blocks(blocks), check_rank(rank)
    groups = _innovations(checked, _processing_order(checked, order))
    if in_span:
        squares = np.concatenate([_pinched(checked, directions) for directions, _ in groups])
    else:
        squares = np.concatenate([t**2 for _, t in groups])
    cap = float(np.sort(squares)[::-1][:rank].sum())
    return _interval(checked, 0.0, cap, "residual in span" if in_span else "residual")


def _processing_order(blocks: Blocks, order: str | Sequence[int]) -> list[int]:
    if isinstance(order, str):
        if order not in ("given", "norm"):
            raise ValueError(f"order must be 'given', 'norm' or a permutation of the blocks, got {order!r}")
        return list(range(len(blocks))) if order == "given" else np.argsort(-blocks.energies, kind="stable").tolist()
    if sorted(order) != list(range(len(blocks))):
        raise ValueError(f"order must be a permutation of range({len(blocks)}), got {list(order)!r}")
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
    >>> union_bound([np.diag([2.0, 0.0]), np.diag([0.0, 1.0])], rank=1).hi
    1.0...
    """
    checked, rank = Blocks(blocks), check_rank(rank)
    parts = [[k] for k in range(len(checked))] if groups is None else [list(g) for g in groups]
    if not all(parts) or sorted(k for part in parts for k in part) != list(range(len(checked))):
        raise ValueError(f"groups must partition range({len(checked)}) into non-empty parts, got {parts!r}")
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
    >>> pair_bounds(a, a, rank=2).hi < 1e-9
    True
    """
    checked, rank = Blocks([first, second]), check_rank(rank)
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


def scalar_bounds(energy: float, overlap: float, n: int, rank: int) -> tuple[float, float]:
    r"""Bound the energy captured by r directions from two traces.

    Parameters
    ----------
    energy : float
        :math:`t = \|C\|_F^2`.
    overlap : float
        :math:`q = \|C C^H\|_F^2`.
    n : int
        :math:`\min(m, N)`, at least `rank`.
    rank : int
        r.

    Returns
    -------
    lo, hi : float
        With :math:`lo \le \sum_{i\le r}\sigma_i^2 \le hi`, the rounding of `energy` and `overlap` included: where the
        squares are nearly equal, it moves the upper end by about 1e-8 of the energy.

    Raises
    ------
    ValueError
        If no matrix has these traces.

    Notes
    -----
    The upper end is that of Wolkowicz and Styan (1980).

    Examples
    --------
    >>> lo, hi = scalar_bounds(energy=5.0, overlap=17.0, n=2, rank=1)  # squares 4 and 1
    >>> round(lo, 9), round(hi, 9)
    (3.4, 4.0)
    """
    rank = check_rank(rank)
    if check_rank(n, "n") < rank:
        raise ValueError(f"n must be at least rank={rank}, got {n!r}")
    for name, value in (("energy", energy), ("overlap", overlap)):
        if not (is_finite(value) and value >= 0):
            raise ValueError(f"{name} must be finite and must not be negative, got {value!r}")
    if energy == 0:
        return 0.0, 0.0
    # Of unit energy, so that nothing overflows. Sums of n squares and of n fourth powers round by so much.
    allowance = 4 * (8 + n) * float(np.finfo(float).eps)
    q = float(overlap) / float(energy) / float(energy)
    if not (1 - allowance) / n <= q <= 1 + allowance:
        raise ValueError(
            f"overlap must be between energy**2 / n and energy**2, as for every matrix; got energy={energy!r}, "
            f"overlap={overlap!r}, n={n}"
        )
    variance = max(q - 1 / n, 0.0) + allowance * q
    hi = min(rank / n + np.sqrt(variance * rank * (n - rank) / n), np.sqrt(rank * q), 1.0) * (1 + allowance)
    lo = q
    if rank > 1:
        # The captured share c satisfies q <= a c^2 + c / r with a = 1 - 1/r.
        a, mean = 1 - 1 / rank, 1 / rank
        lo = max(lo, (-mean + np.sqrt(mean**2 + 4 * a * q)) / (2 * a))
    return float(min(lo * (1 - allowance), hi)) * float(energy), float(hi) * float(energy)


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
    >>> centroid_bound([np.eye(3)[:, :2]] * 5, rank=2).hi < 1e-9
    True
    """
    checked, rank = Blocks(blocks), check_rank(rank)
    if np.unique(checked.widths).size > 1:
        raise ValueError(f"blocks must have one shape, got widths {np.unique(checked.widths).tolist()}")
    p = len(checked)
    mean = sum(checked) / p
    spread = np.sqrt(sum(squared_norm(block - mean) for block in checked))
    error = np.sqrt(p * tail(np.linalg.svd(compact(mean), compute_uv=False) ** 2, rank)) + spread
    shape = (checked.n_rows, checked.n_columns)
    return ErrorInterval.from_tails(0.0, float(error) ** 2, checked.energy, shape, "centroid", checked.unit)


def perturbation_bound(block_norms: ArrayLike, noise_norms: ArrayLike, sigma: ArrayLike) -> NDArray[np.float64]:
    r"""Bound how far noise in the blocks moves the singular values of their concatenation.

    :math:`|\tilde\sigma_i - \sigma_i| \le \min\{(\sum_k \|E_k\|_2^2)^{1/2},\ \Delta/\sigma_i\}` with
    :math:`\Delta = \sum_k (2\|A_k\|_2\|E_k\|_2 + \|E_k\|_2^2)`.

    Parameters
    ----------
    block_norms, noise_norms : array-like of shape (p,)
        Spectral norms of the blocks and of their perturbations (or upper bounds).
    sigma : array-like of shape (n,)
        Singular values of the unperturbed concatenation.

    Returns
    -------
    ndarray of shape (n,)

    Raises
    ------
    ValueError
        If norms are negative or of different lengths.

    Notes
    -----
    Shape of the statement: Shamrai, arXiv:2505.01427; formulas reconstructed by us.

    Examples
    --------
    >>> perturbation_bound([1.0, 1.0], [0.1, 0.1], [1.4, 0.0]).round(4)
    array([0.1414, 0.1414])
    """
    norms, noise, sigma = (np.atleast_1d(np.asarray(x, float)) for x in (block_norms, noise_norms, sigma))
    if norms.shape != noise.shape:
        raise ValueError(f"block_norms and noise_norms must have one length, got {norms.shape} and {noise.shape}")
    for name, values in (("block_norms", norms), ("noise_norms", noise), ("sigma", sigma)):
        if not (np.isfinite(values).all() and (values >= 0).all()):
            raise ValueError(f"{name} must be finite and not negative, got {values!r}")
    # In units of the largest number, whose square may leave the range of float64.
    unit = max(x.max(initial=0.0) for x in (norms, noise, sigma)) or 1.0
    norms, noise, sigma = norms / unit, noise / unit, sigma / unit
    plain = np.sqrt(np.sum(noise**2))
    delta = np.sum(2 * norms * noise + noise**2)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        relative = np.where(sigma > 0, delta / sigma, np.sqrt(delta))
    return np.minimum(plain, relative) * unit
