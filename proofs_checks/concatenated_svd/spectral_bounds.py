"""Claims about what the blocks tell of their concatenation: T1 to T4, T12 to T14, T18 and T19."""

from itertools import pairwise

import numpy as np
from hypothesis import strategies as st

from sparsetheory.lowrank import (
    block_svd_error,
    centroid_bound,
    pair_bounds,
    perturbation_bound,
    residual_bound,
    scalar_bounds,
    union_bound,
    weyl_bound,
)
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.concatenated_svd.instances import (
    ROUNDING,
    ROUNDING_OF_TRACES,
    Concatenation,
    concatenations,
    level_matrices,
    paper,
    squares,
)
from sparsetheory.proofs_checks.verdicts import Always


def _eckart_young(c: Concatenation) -> Measurement:
    """Compare the package's exact error with the distance to the truncated SVD."""
    u, s, vh = np.linalg.svd(c.matrix, full_matrices=False)
    best = (u[:, : c.rank] * s[: c.rank]) @ vh[: c.rank]
    distance = float(np.linalg.norm(c.matrix - best) ** 2)
    return Measurement(abs(block_svd_error(c.blocks, c.rank).absolute ** 2 - distance), 0.0, c.energy)


def _eckart_young_one_rank_off(c: Concatenation) -> Measurement:
    u, s, vh = np.linalg.svd(c.matrix, full_matrices=False)
    kept = max(c.rank - 1, 0)
    distance = float(np.linalg.norm(c.matrix - (u[:, :kept] * s[:kept]) @ vh[:kept]) ** 2)
    return Measurement(abs(block_svd_error(c.blocks, c.rank).absolute ** 2 - distance), 0.0, c.energy)


eckart_young = Claim(
    name="concatenated_svd.eckart_young",
    summary="The least squared error at a rank is the sum of the squared singular values beyond it.",
    statement=r"\min_{\operatorname{rank} X \le r} \|C - X\|_F^2 = \sum_{i>r} \sigma_i(C)^2",
    source=Source.classic("Eckart, Young (1936); Mirsky (1960)", "best approximation"),
    verdict=Always(ROUNDING),
    instances=concatenations,
    evaluate=_eckart_young,
    near_miss=_eckart_young_one_rank_off,
)


def _random_rank_r(c: Concatenation) -> Measurement:
    """Compare the error with that of a competitor: the projection on random combinations of the columns."""
    mixed = c.matrix @ c.rng().standard_normal((c.matrix.shape[1], c.rank))
    q = np.linalg.qr(mixed)[0]
    competitor = float(np.linalg.norm(c.matrix - q @ (q.conj().T @ c.matrix)) ** 2)
    return Measurement(block_svd_error(c.blocks, c.rank).absolute ** 2, competitor, c.energy)


best_approximation = Claim(
    name="concatenated_svd.best_approximation",
    summary="No other matrix of the same rank comes closer than the truncated SVD.",
    statement=r"E_r(C) \le \|C - X\|_F \text{ for every } X \text{ of rank } r",
    source=Source.classic("Eckart, Young (1936); Mirsky (1960)", "optimality"),
    verdict=Always(ROUNDING),
    instances=concatenations,
    evaluate=_random_rank_r,
    near_miss=0.9,
)


def _weyl(c: Concatenation) -> Measurement:
    """Compare error and bound; adding columns adds a positive semidefinite Gram matrix."""
    seed = sorted(c.rng().choice(len(c.blocks), c.rng().integers(1, len(c.blocks) + 1), replace=False))
    return Measurement(c.error, weyl_bound(c.blocks, c.rank, seed).upper, c.energy)


def _weyl_whole_energy(c: Concatenation) -> Measurement:
    """Credit the seed with its whole energy, as published code does: false for seeds of rank above r."""
    largest = max(float(np.linalg.norm(block) ** 2) for block in c.blocks)
    return Measurement(c.error, c.energy - largest, c.energy)


weyl_error = Claim(
    name="concatenated_svd.weyl_error",
    summary="Some of the blocks give an upper bound on the error of all of them.",
    statement=r"E_r(C)^2 \le e(C) - \sum_{i \le r} \sigma_i(C_S)^2 \text{ for every set } S \text{ of blocks}",
    source=paper("first bound, with the captured energy of the seed made explicit"),
    verdict=Always(ROUNDING),
    instances=concatenations,
    evaluate=_weyl,
    near_miss=_weyl_whole_energy,
)


def _monotone(c: Concatenation) -> Measurement:
    """Compare all singular values of a leading part with those of the whole."""
    part = squares(np.hstack(c.blocks[: 1 + c.rng_seed % len(c.blocks)]))
    return Measurement.worst(part, c.squares[: part.size], c.energy)


weyl_monotonicity = Claim(
    name="concatenated_svd.weyl_monotonicity",
    summary="More blocks never make a singular value smaller.",
    statement=r"\sigma_i(C_S) \le \sigma_i(C) \text{ for all } i",
    source=Source.classic("Weyl (1912)", "monotonicity"),
    verdict=Always(ROUNDING),
    instances=concatenations,
    evaluate=_monotone,
    near_miss=0.9,
)


def _innovation_squares(c: Concatenation) -> np.ndarray:
    span = np.zeros((c.matrix.shape[0], 0))
    found = []
    for block in c.blocks:
        residual = block - span @ (span.conj().T @ block)
        residual -= span @ (span.conj().T @ residual)
        u, s, _ = np.linalg.svd(residual, full_matrices=False)
        new = s > 1e-13 * np.linalg.norm(block)
        found.append(s[new] ** 2)
        span = np.hstack([span, u[:, new]])
    return np.sort(np.concatenate(found))[::-1]


def _residual_partial_sums(c: Concatenation) -> Measurement:
    """Compare partial sums for every length.

    Project each block on the left singular vectors of its part outside the span of its predecessors: these groups of
    vectors are orthonormal, and the energy of C along j of them is at most what its best j directions capture.
    """
    t = np.cumsum(_innovation_squares(c))
    truth = np.cumsum(np.pad(c.squares, (0, max(t.size - c.squares.size, 0))))[: t.size]
    return Measurement.worst(t, truth, c.energy)


def _residual_elementwise(c: Concatenation) -> Measurement:
    """Read the bound value by value: false, A_1=(1,0), A_2=(1,1) gives (1, 1) against (1.62, 0.62)."""
    t = _innovation_squares(c)
    truth = np.pad(c.squares, (0, max(t.size - c.squares.size, 0)))[: t.size]
    return Measurement.worst(t, truth, c.energy)


residual_partial_sums = Claim(
    name="concatenated_svd.residual_partial_sums",
    summary="What blocks add to the blocks before them is at most what the leading singular values capture.",
    statement=r"\sum_{i \le j} t_i \le \sum_{i \le j} \sigma_i(C)^2,"
    r"\quad t = \text{sorted } \sigma^2((I - P_{k-1})A_k)",
    source=paper("second bound, reconstructed from the authors' code", "authors' code"),
    verdict=Always(ROUNDING),
    instances=concatenations,
    evaluate=_residual_partial_sums,
    near_miss=_residual_elementwise,
)


residual_error = Claim(
    name="concatenated_svd.residual_error",
    summary="What blocks add to the blocks before them bounds the error of all of them.",
    statement=r"E_r(C)^2 \le e(C) - \sum_{i \le r} t_i",
    source=paper("second bound, reconstructed from the authors' code", "authors' code"),
    verdict=Always(ROUNDING),
    instances=concatenations,
    evaluate=lambda c: Measurement(c.error, residual_bound(c.blocks, c.rank).upper, c.energy),
    near_miss=0.9,
)


def _union(c: Concatenation) -> Measurement:
    """Compare with a random grouping: approximate each group separately, and ranks and squared errors add."""
    groups_of = c.rng().integers(0, 3, len(c.blocks))
    groups = [np.flatnonzero(groups_of == g).tolist() for g in np.unique(groups_of)]
    return Measurement(c.error, union_bound(c.blocks, c.rank, groups).upper, c.energy)


union_error = Claim(
    name="concatenated_svd.union_error",
    summary="The errors of groups of blocks, with the rank shared out among them, bound the error of all.",
    statement=r"E_r(C)^2 \le \min_{\sum r_g = r} \sum_g E_{r_g}(C_g)^2",
    source=Source.ours("rank allocation"),
    verdict=Always(ROUNDING),
    instances=concatenations,
    evaluate=_union,
    near_miss=0.9,
)


def _pinching(c: Concatenation) -> Measurement:
    """Compare the pinched bound with the truth.

    Directions of different blocks are orthonormal, so the diagonal blocks of the compressed Gram matrix are a pinching
    of it, and pinching lowers sums of largest eigenvalues (Ky Fan).
    """
    return Measurement(c.error, residual_bound(c.blocks, c.rank, count_in_span=True).upper, c.energy)


pinching_error = Claim(
    name="concatenated_svd.pinching_error",
    summary="Counting all energy along what each block adds gives an upper bound on the error, too.",
    statement=r"E_r(C)^2 \le e(C) - \sum_{i \le r} \lambda_i\Big(\bigoplus_k Q_k^H C C^H Q_k\Big)",
    source=Source.ours("residual bound with in-span energy"),
    verdict=Always(ROUNDING),
    instances=concatenations,
    evaluate=_pinching,
    near_miss=0.9,
)


pinching_dominates = Claim(
    name="concatenated_svd.pinching_dominates_residual",
    summary="Counting all energy along what each block adds never makes the bound worse.",
    statement=r"\text{the pinched bound is never looser than the residual bound}",
    source=Source.ours("residual bound with in-span energy"),
    verdict=Always(ROUNDING),
    instances=concatenations,
    evaluate=lambda c: Measurement(
        residual_bound(c.blocks, c.rank, count_in_span=True).upper, residual_bound(c.blocks, c.rank).upper, c.energy
    ),
    near_miss=0.9,
)


def _scalars(c: Concatenation) -> Measurement:
    """Compare both ends with the captured energy, all from singular values.

    Upper end: the deviations of the squares from their mean have sum zero and squared sum ``q - t^2/n``, and r of them
    with the same sum r d have the least squared sum if the others share -r d. Lower end: the r leading squares have
    sum a at least r times the largest of the others, so that ``q <= a^2 + (t - a) a / r`` with ``a <= t``, and
    for r > 1 by the same token ``q <= (1 - 1/r) a^2 + a t / r``.
    """
    s2 = c.squares
    rank = min(c.rank, s2.size)
    captured = s2[:rank].sum()
    lo, hi = scalar_bounds(float(s2.sum()), float((s2**2).sum()), s2.size, rank)
    return Measurement.worst([captured, lo], [hi, captured], c.energy)


def _largest_first(c: Concatenation) -> Measurement:
    """Claim that the lower end for one direction bounds each of r directions, like their mean."""
    s2 = c.squares
    rank = min(c.rank, s2.size)
    return Measurement(min(rank * float((s2**2).sum() / s2.sum()), float(s2.sum())), s2[:rank].sum(), c.energy)


scalar_error = Claim(
    name="concatenated_svd.scalar_bounds",
    summary="Two traces bound what the leading singular values capture, from both sides.",
    statement=r"\max\Big(\frac q t, \frac{\sqrt{t^2/r^2 + 4 (1 - 1/r) q} - t/r}{2 (1 - 1/r)}\Big)"
    r" \le \sum_{i \le r}\sigma_i^2 \le \tfrac{r t}{n} + \sqrt{(q - t^2/n)\, r (n - r)/n},"
    r"\quad t = \|C\|_F^2,\ q = \|C C^H\|_F^2",
    source=Source.classic("Wolkowicz, Styan (1980)", "bounds from traces; lower end for r > 1 ours"),
    # The ends include the rounding of the traces, whose root they take.
    verdict=Always(ROUNDING),
    instances=lambda: st.one_of(concatenations(), level_matrices()).filter(lambda c: c.energy > 0),
    evaluate=_scalars,
    near_miss=_largest_first,
)


def _pair(c: Concatenation) -> Measurement:
    """Measure the worse end.

    The column Gram matrix of the pair is block diagonal plus an off-diagonal part whose r largest eigenvalues sum to
    at most the r largest singular values of A^H B.
    """
    first, second = c.blocks[0], np.hstack(c.blocks[1:])
    error = squares(c.matrix)[c.rank :].sum()
    interval = pair_bounds(first, second, c.rank)
    return Measurement.worst([interval.lower, error], [error, interval.upper], c.energy)


def _pair_without_overlap(c: Concatenation) -> Measurement:
    first, second = c.blocks[0], np.hstack(c.blocks[1:])
    union = np.sort(np.concatenate([squares(first), squares(second)]))[::-1][: c.rank].sum()
    return Measurement(c.energy - union, c.error, c.energy)


pair_error = Claim(
    name="concatenated_svd.pair_bounds",
    summary="The overlap of two blocks bounds their common error from both sides.",
    statement=r"e - W - \sum_{i \le r}\sigma_i(A^H B) \le E_r([A, B])^2 \le e - W",
    source=Source.ours("pair bounds"),
    verdict=Always(ROUNDING_OF_TRACES),
    instances=lambda: concatenations(min_blocks=2),
    evaluate=_pair,
    near_miss=_pair_without_overlap,
)


def _superadditive(c: Concatenation) -> Measurement:
    """Restrict a best approximation of the whole to each part: ranks do not grow, squared errors add."""
    parts = sum(squares(block)[c.rank :].sum() for block in c.blocks)
    return Measurement(parts, c.error, c.energy)


def _relative_heredity(c: Concatenation) -> Measurement:
    """Claim heredity of the relative error: false for [10 e_1, e_2, e_3] and its last two columns."""
    parts = [squares(np.hstack(pair)) for pair in pairwise(c.blocks)]
    relative = [p[c.rank :].sum() / max(p.sum(), 1e-300) for p in parts]
    return Measurement(max(relative, default=0.0), c.error / max(c.energy, 1e-300), 1.0)


superadditivity = Claim(
    name="concatenated_svd.superadditivity",
    summary="The errors of blocks add up to no more than the error of all of them side by side.",
    statement=r"\sum_k E_r(A_k)^2 \le E_r(C)^2",
    source=Source.ours("superadditivity; absolute errors are hereditary, relative ones are not"),
    verdict=Always(ROUNDING),
    instances=concatenations,
    evaluate=_superadditive,
    near_miss=_relative_heredity,
)


def _centroid(c: Concatenation) -> Measurement:
    """Compare with the distance from the mean; E_r is 1-Lipschitz in Frobenius norm."""
    return Measurement(c.error, centroid_bound(c.blocks, c.rank).upper, c.energy)


def _centroid_without_spread(c: Concatenation) -> Measurement:
    mean = np.mean(c.blocks, axis=0)
    return Measurement(c.error, len(c.blocks) * squares(mean)[c.rank :].sum(), c.energy)


centroid_error = Claim(
    name="concatenated_svd.centroid_error",
    summary="The mean of the blocks and their distances from it bound the error.",
    statement=r"E_r(C) \le \sqrt p\, E_r(\bar A) + \Big(\sum_k \|A_k - \bar A\|_F^2\Big)^{1/2}",
    source=Source.ours("centroid bound"),
    verdict=Always(ROUNDING),
    instances=lambda: concatenations(same_shape=True),
    evaluate=_centroid,
    near_miss=_centroid_without_spread,
)


def _perturbed(c: Concatenation) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = c.rng()
    noise = [10.0 ** rng.uniform(-6, 0) * np.linalg.norm(b, 2) * rng.standard_normal(b.shape) for b in c.blocks]
    sigma = np.sqrt(c.squares)
    moved = np.sqrt(squares(np.hstack([b + e for b, e in zip(c.blocks, noise, strict=True)])))
    norms = np.array([np.linalg.norm(b, 2) for b in c.blocks])
    return sigma, moved, norms, np.array([np.linalg.norm(e, 2) for e in noise])


def _perturbation(c: Concatenation) -> Measurement:
    """Compare how far singular values move with the smaller of two bounds.

    The first is Weyl's. For the second, the Gram matrix moves by at most Delta in spectral norm, so squared singular
    values do, and a difference of squares is the difference times the sum.
    """
    sigma, moved, norms, noise = _perturbed(c)
    # Singular values at rounding level count as zero in theory and would divide by noise in practice.
    sigma = np.where(sigma > 1e-12 * sigma[0], sigma, 0.0)
    return Measurement.worst(np.abs(moved - sigma), perturbation_bound(norms, noise, sigma), float(sigma[0]))


def _perturbation_first_order(c: Concatenation) -> Measurement:
    sigma, moved, norms, noise = _perturbed(c)
    with np.errstate(divide="ignore", invalid="ignore"):
        bound = np.where(sigma > 0, np.sum(norms * noise) / np.maximum(sigma[0], 1e-300), 0.0)
    return Measurement.worst(np.abs(moved - sigma), bound, float(sigma[0]))


perturbation = Claim(
    name="concatenated_svd.perturbation",
    summary="Small changes of the blocks move singular values by a known amount at most.",
    statement=r"|\tilde\sigma_i - \sigma_i| \le \min\{(\textstyle\sum_k \|E_k\|_2^2)^{1/2}, \Delta / \sigma_i\},"
    r"\quad \Delta = \textstyle\sum_k (2 \|A_k\|_2 \|E_k\|_2 + \|E_k\|_2^2)",
    source=Source.ours("formulas reconstructed; the shape of the statement is that of arXiv:2505.01427"),
    verdict=Always(ROUNDING),
    instances=concatenations,
    evaluate=_perturbation,
    near_miss=_perturbation_first_order,
)
