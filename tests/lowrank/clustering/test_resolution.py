"""Small errors are resolved, and nothing below the resolution is called decided, for matrices of any shape."""

import numpy as np
import pytest

from sparsetheory.lowrank import (
    ConcatSVDClustering,
    SVDSummary,
    block_svd_error,
    range_finder_summary,
    tree_summary,
    union_bound,
    weyl_bound,
)
from sparsetheory.lowrank.interval import resolution
from sparsetheory.lowrank.operands import gram, pairwise_sum, squared_norm
from sparsetheory.lowrank.spectra import compact


def _wide(error, n_columns, n_rows=5):
    rng = np.random.default_rng(0)
    block = np.zeros((n_rows, n_columns))
    block[0], block[1] = rng.standard_normal(n_columns), error * rng.standard_normal(n_columns)
    return block


def _summaries(block):
    half = block.shape[1] // 2
    parts = [block[:, :half], block[:, half:]]
    return {
        "block": SVDSummary.from_block(block, 3, target_rank=1).interval(1),
        "chain": SVDSummary.from_block(parts[0], 3, target_rank=1).append(parts[1]).interval(1),
        "tree": tree_summary(parts, 3, target_rank=1).interval(1),
        "posterior": tree_summary(parts, 3, target_rank=1).posterior(parts),
        "exact": block_svd_error(parts, 1).interval,
        "svd": block_svd_error(parts, 1, method="svd").interval,
        "range finder": range_finder_summary(parts, 1, random_state=0).interval(1),
    }


@pytest.mark.parametrize("error", [4e-5, 1e-9])
@pytest.mark.parametrize("transposed", [False, True])
def test_errors_of_long_matrices_keep_their_digits(error, transposed):
    block = _wide(error, 200_000)
    block = np.ascontiguousarray(block.T) if transposed else block
    # Of the two rows, up to the correlation of 1 / sqrt(200 000).
    for name, interval in _summaries(block).items():
        assert interval.relative() == pytest.approx((error, error), rel=0.02), name
        assert [interval.decide(e) for e in (0.9 * error, 1.1 * error)] == [False, True], name


def test_a_tolerance_is_kept_however_many_columns_there_are():
    block = _wide(4e-5, 200_000)
    parts = [block[:, :100_000], block[:, 100_000:]]
    for options in ({}, {"estimator": "exact"}, {"algorithm": "agglomerative"}, {"criterion": "block"}):
        fine, coarse = (ConcatSVDClustering(1, eps=eps, **options).fit(parts) for eps in (1e-6, 1e-4))
        assert [len(f.clusters_) for f in (fine, coarse)] == [2, 1]
        assert [f.certificate_.bound for f in (fine, coarse)] == [1e-6, 1e-4]
        assert "at most 1e-06" in fine.certificate_.statement
        assert coarse.errors_[0] == pytest.approx(4e-5, rel=0.02)
        assert fine.certificate_.valid
        assert coarse.certificate_.valid


def test_resolution_is_a_modest_multiple_of_rounding():
    assert resolution(5, 200_000) < 1e-12
    assert resolution(1000, 10**6) < 1e-10
    assert resolution(3, 10**6, steps=1000) < 1e-11


@pytest.mark.parametrize("shape", [(3, 1_000_000), (1_000_000, 3)])
@pytest.mark.parametrize("value", [0.1, 0.7])
def test_equal_entries_whose_roundings_all_go_one_way(shape, value):
    # Sums of a million equal terms, one after another, are off by ten thousand roundings.
    block = np.full(shape, value)
    exact = 3e6 * float(value) ** 2
    assert abs(squared_norm(block) - exact) <= 30 * 2.0**-53 * exact
    for interval in (
        block_svd_error([block], 1).interval,
        SVDSummary.from_block(block, 2).interval(1),
        weyl_bound([block], 1),
        union_bound([block], 1),
        range_finder_summary([block], 1, oversampling=1, random_state=0).interval(1),
    ):
        assert interval.lower == 0
        assert interval.decide(1e-6) is not False
        assert interval.energy == pytest.approx(exact, rel=1e-12)
    assert SVDSummary.from_block(block, 2).interval(1).decide(1e-11) is True


@pytest.mark.parametrize("shape", [(3, 5000), (40, 1000), (300, 1300), (4, 9), (9, 4)])
@pytest.mark.parametrize("complex_valued", [False, True])
def test_compact_keeps_the_gram_matrix(shape, complex_valued):
    rng = np.random.default_rng(1)
    matrix = rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if complex_valued else 0)
    narrow = compact(matrix)
    expected = matrix @ matrix.conj().T
    assert narrow.shape[1] <= max(4 * shape[0], 1024)
    assert np.linalg.norm(narrow @ narrow.conj().T - expected) <= 1e-14 * np.trace(expected).real
    assert np.linalg.norm(gram(matrix) - expected) <= 1e-14 * np.trace(expected).real


@pytest.mark.parametrize("count", [1, 2, 3, 8, 13])
def test_pairs_add_up(count):
    assert pairwise_sum(iter(range(count))) == sum(range(count))


def test_sums_in_pairs_round_little():
    terms = [0.1] * 2**16
    assert abs(pairwise_sum(terms) - 2**16 * 0.1) <= 2 * np.spacing(2**16 * 0.1)


def test_gram_methods_admit_what_they_do_not_resolve():
    u, v = (np.linalg.qr(np.random.default_rng(k).standard_normal((40, 3)))[0] for k in range(2))
    block = u * [1.0, 1.0, 1e-9] @ v.T
    for method in ("gram_rows", "gram_cols"):
        interval = block_svd_error([block], 2, method=method).interval
        assert interval.contains(1e-18)
        assert interval.decide(1e-8) is None
    for method in ("svd", "auto"):
        interval = block_svd_error([block], 2, method=method).interval
        assert interval.contains(1e-18)
        assert (interval.decide(1e-8), interval.decide(1e-10)) == (True, False)


def test_exact_merges_are_undecided_below_the_resolution_and_accepted_at_it():
    block = np.random.default_rng(0).standard_normal((20, 2))
    interval = SVDSummary.from_block(block, 3, target_rank=2).append(block).interval()
    assert interval.decide(0.0) is None
    assert interval.decide(resolution(20, 4, 2)) is True


def test_what_the_rank_cannot_miss_has_error_zero():
    block = np.random.default_rng(0).standard_normal((6, 2))
    for interval in (
        SVDSummary.from_block(block, 3).interval(2),
        block_svd_error([block], 2).interval,
        range_finder_summary([block], 2, random_state=0).interval(2),
    ):
        assert (interval.lower, interval.upper) == (0.0, 0.0)
        assert interval.decide(0.0) is True


@pytest.mark.parametrize("options", [{"estimator": e} for e in ("max_norm", "residual", "union")], ids=str)
@pytest.mark.parametrize("eps", [0.0, 1e-9])
def test_loose_estimators_certify_seeds_that_fit_into_the_rank(options, eps):
    blocks = [np.eye(9)[:, [k]] for k in range(6)]
    for mode in ("fixed", "minimal"):
        fit = ConcatSVDClustering(3, eps=eps, rank_mode=mode, **options).fit(blocks)
        assert [len(c) for c in fit.clusters_] == [3, 3]
        assert fit.certificate_.valid
