"""Claims about truncated summaries and the range finder: T5 to T7, T10 and T11."""

import numpy as np

from sparsetheory.lowrank import SVDSummary, range_finder_summary, residual_bound, tree_summary, union_bound, weyl_bound
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.concatenated_svd.instances import (
    ROUNDING,
    Concatenation,
    concatenations,
    paper,
)
from sparsetheory.proofs_checks.verdicts import Always


def chain(c: Concatenation) -> SVDSummary:
    """Summarise the blocks one after another."""
    summary = SVDSummary.from_block(c.blocks[0], c.sketch, target_rank=c.rank)
    for block in c.blocks[1:]:
        summary.append(block)
    return summary


def tree(c: Concatenation) -> SVDSummary:
    """Summarise the blocks by a balanced tree."""
    return tree_summary(c.blocks, c.sketch, target_rank=c.rank)


def _one_sided(c: Concatenation) -> Measurement:
    """Compare all squares of the summary with the truth: truncation only removes positive semidefinite parts."""
    kept = chain(c).singular_values ** 2
    truth = np.pad(c.squares, (0, max(kept.size - c.squares.size, 0)))[: kept.size]
    return Measurement.worst(kept, truth, c.energy)


incremental_one_sided = Claim(
    name="concatenated_svd.incremental_one_sided",
    summary="A summary never overstates a singular value, in whatever order the blocks come.",
    statement=r"s_i \le \sigma_i(C) \text{ for all } i, \text{ any sketch size, any order}",
    source=Source.ours("the incremental estimate is a certificate, not only an approximation"),
    verdict=Always(ROUNDING),
    instances=concatenations,
    evaluate=_one_sided,
    near_miss=0.9,
)


def _dominance(c: Concatenation) -> Measurement:
    """Measure the chain: truth, incremental, union, residual, and also union against Weyl's bound of every block.

    The union bound applied to [U diag(s), A] and induction over the blocks give incremental <= union.
    """
    incremental = chain(c).interval().upper
    union, residual = union_bound(c.blocks, c.rank).upper, residual_bound(c.blocks, c.rank).upper
    weyl = weyl_bound(c.blocks, c.rank, [c.rng_seed % len(c.blocks)]).upper
    return Measurement.worst([c.error, incremental, union, union], [incremental, union, residual, weyl], c.energy)


def _dominance_swapped(c: Concatenation) -> Measurement:
    return Measurement(union_bound(c.blocks, c.rank).upper, chain(c).interval().upper, c.energy)


dominance = Claim(
    name="concatenated_svd.dominance",
    summary="Each of four estimates of the error is an upper bound on the one before it.",
    statement=r"E_r(C) \le \text{incremental} \le \text{union} \le \min(\text{residual}, \text{Weyl})",
    source=Source.ours("order of the estimators, for sketch sizes of at least r"),
    verdict=Always(ROUNDING),
    instances=concatenations,
    evaluate=_dominance,
    near_miss=_dominance_swapped,
)


def _two_sided(c: Concatenation) -> Measurement:
    """Measure both ends of chain and tree at every rank up to the target.

    The discarded part is positive semidefinite; its r largest eigenvalues sum to at most the sum of those of every
    truncation (Ky Fan).
    """
    intervals = [s.interval(r) for s in (chain(c), tree(c)) for r in range(1, c.rank + 1)]
    truth = [c.squares[r:].sum() for _ in range(2) for r in range(1, c.rank + 1)]
    return Measurement.worst([*(i.lower for i in intervals), *truth], [*truth, *(i.upper for i in intervals)], c.energy)


def _two_sided_largest_loss_only(c: Concatenation) -> Measurement:
    """Charge only the largest direction that each truncation dropped: false for r above 1."""
    summary = chain(c)
    hi = summary.interval().upper - summary.interval().slack
    return Measurement(hi - summary.discarded_top / max(c.rank, 1), c.error, c.energy)


summary_interval = Claim(
    name="concatenated_svd.summary_interval",
    summary="The interval of a summary contains the error, at every rank.",
    statement=r"\max\Big(hi - \kappa, \sum_{i>r} s_i^2\Big) \le E_r(C)^2 \le hi,"
    r"\quad hi = e - \sum_{i \le r} s_i^2",
    source=Source.ours("two-sided interval of mergeable summaries"),
    verdict=Always(ROUNDING),
    instances=concatenations,
    evaluate=_two_sided,
    near_miss=_two_sided_largest_loss_only,
)


def levels(count: int, balanced: bool) -> int:
    """Levels on which truncation happens: all blocks of a chain, the logarithm plus one of a tree."""
    return int(np.ceil(np.log2(count))) + 1 if balanced else count


def _a_priori(c: Concatenation) -> Measurement:
    """Measure chain and tree.

    A node discards at most E_l^2 of the columns below it; nodes of one level are disjoint, and E_l^2 is superadditive.
    """
    outer = c.squares[c.sketch :].sum()
    bounds = [c.error + (levels(len(c.blocks), b) - 1) * outer for b in (False, True)]
    # A chain of one block truncates once as well.
    bounds = [max(b, c.error) for b in bounds]
    return Measurement.worst([chain(c).interval().upper, tree(c).interval().upper], bounds, c.energy)


def _no_level_factor(c: Concatenation) -> Measurement:
    return Measurement(chain(c).interval().upper, c.error, c.energy)


levels_envelope = Claim(
    name="concatenated_svd.levels_envelope",
    summary="A summary loses at most a fixed share on every level of its chain or tree.",
    statement=r"hi \le E_r(C)^2 + (L - 1) E_l(C)^2,"
    r"\quad L = p \text{ (chain)},\ \lceil\log_2 p\rceil + 1 \text{ (tree)}",
    source=Source.ours("a-priori error of chains and trees"),
    verdict=Always(ROUNDING),
    instances=concatenations,
    evaluate=_a_priori,
    near_miss=_no_level_factor,
)


def _range_finder(c: Concatenation) -> Measurement:
    """Measure both ends for a random sketch with and without a power step; no probability is involved."""
    intervals = [
        range_finder_summary(c.blocks, c.rank, oversampling=c.sketch - c.rank, n_power=p, random_state=c.rng_seed)
        .interval(c.rank)
        for p in (0, 1)
    ]  # fmt: skip
    return Measurement.worst(
        [*(i.lower for i in intervals), c.error, c.error], [c.error, c.error, *(i.upper for i in intervals)], c.energy
    )


def _range_finder_without_residual(c: Concatenation) -> Measurement:
    found = range_finder_summary(c.blocks, c.rank, oversampling=c.sketch - c.rank, n_power=0, random_state=c.rng_seed)
    return Measurement(c.error, float((found.singular_values[c.rank :] ** 2).sum()), c.energy)


range_finder_interval = Claim(
    name="concatenated_svd.range_finder_interval",
    summary="The interval of a random sketch contains the error, whatever was drawn.",
    statement=r"E_r(Q^H C)^2 \le E_r(C)^2 \le E_r(Q^H C)^2 + \|C - QQ^H C\|_F^2 \text{ for every orthonormal } Q",
    source=Source.ours("deterministic interval of the randomised range finder"),
    verdict=Always(ROUNDING),
    instances=concatenations,
    evaluate=_range_finder,
    near_miss=_range_finder_without_residual,
)


def _posterior(c: Concatenation) -> Measurement:
    """Measure both ends for chain and tree, and that the upper end is not above the one-pass one.

    In the basis (U_r, complement) the Gram matrix is below [[M, R^H], [R, nu I]]; an eigenvalue x of that less nu I is
    one of M - nu I + R^H R / x, which gives the square root.
    """
    left, right = [], []
    for summary in (chain(c), tree(c)):
        interval = summary.posterior(c.blocks, c.rank)
        left += [interval.lower, c.error, interval.upper, summary.interval().lower]
        right += [c.error, interval.upper, summary.interval().upper, interval.lower]
    return Measurement.worst(left, right, c.energy)


def _posterior_lower_end_is_upper(c: Concatenation) -> Measurement:
    return Measurement(chain(c).posterior(c.blocks, c.rank).upper, c.error, c.energy)


posterior_interval = Claim(
    name="concatenated_svd.posterior_interval",
    summary="One more pass over the blocks gives an interval that contains the error, too.",
    statement=r"e - \sum_{i \le r}\Big[\nu + \tfrac12\big(\eta_i + \sqrt{\eta_i^2 + 4\rho^2}\big)\Big] \le E_r(C)^2"
    r" \le e - \operatorname{tr} M",
    source=Source.ours("second-pass certificate"),
    verdict=Always(ROUNDING),
    instances=concatenations,
    evaluate=_posterior,
    near_miss=_posterior_lower_end_is_upper,
)

incremental_error = Claim(
    name="concatenated_svd.incremental_error",
    summary="What a summary kept bounds the relative error from above.",
    statement=r"\epsilon_r(C)^2 \le 1 - \sum_{i \le r} s_i^2 / e",
    source=paper("incremental truncated SVD, predicted error"),
    verdict=Always(ROUNDING),
    instances=concatenations,
    evaluate=lambda c: Measurement(c.error, chain(c).interval().upper, c.energy),
    near_miss=0.9,
)
