"""Summaries contain the truth, whatever the input looks like."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lowrank.references import defect, energy, random_blocks, tail_energy
from scipy import sparse

from sparsetheory.lowrank import SVDSummary, tree_summary
from sparsetheory.lowrank.datasets.families import advection_blocks
from sparsetheory.lowrank.interval import rounding_slack


def _chain(blocks, rank, **options):
    summary = SVDSummary.from_block(blocks[0], rank, **options)
    for block in blocks[1:]:
        summary.append(block)
    return summary


def _random_tree(blocks, rng, rank, **options):
    nodes = [SVDSummary.from_block(b, rank, **options) for b in blocks]
    while len(nodes) > 1:
        first = nodes.pop(int(rng.integers(len(nodes))))
        if rng.random() < 0.3:
            first.append(blocks[0])
            blocks.append(blocks[0])
        second = nodes.pop(int(rng.integers(len(nodes))))
        nodes.append(first.merge(second))
    return nodes[0]


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(0, 5), st.booleans())
def test_interval_contains_truth_at_every_rank(seed, rank, extra, complex_valued):
    blocks = random_blocks(seed, complex_valued)
    seen = list(blocks)
    options = {"rank": rank + extra, "target_rank": rank}
    summaries = [
        (_chain(blocks, **options), blocks),
        (tree_summary(blocks, **options), blocks),
        (_random_tree(seen, np.random.default_rng(seed), **options), seen),
    ]
    for summary, part in summaries:
        assert defect(summary.basis) < 1e-12
        assert summary.n_columns == sum(b.shape[1] for b in part)
        for r in range(1, rank + 1):
            interval, truth = summary.interval(r), tail_energy(part, r)
            assert interval.contains(truth)
            assert interval.energy == pytest.approx(energy(part))
        # No direction is credited with more than the data have, nor with less than the truncations took.
        sigma = np.linalg.svd(np.hstack(part), compute_uv=False)
        squares = sigma[: summary.singular_values.size] ** 2
        slack = rounding_slack(summary.n_rows, summary.n_columns, summary.energy)
        assert (summary.singular_values**2 <= squares + slack).all()
        assert (squares <= summary.singular_values**2 + summary.discarded_top + slack).all()
        posterior = summary.posterior(part)
        assert posterior.contains(tail_energy(part, rank))
        assert posterior.upper <= summary.interval().upper + slack


def test_interval_is_exact_when_nothing_is_discarded(rng):
    blocks = [rng.standard_normal((30, 2)) for _ in range(4)]
    interval = _chain(blocks, 8).interval(3)
    assert interval.upper - interval.lower <= 3 * interval.slack
    assert interval.contains(tail_energy(blocks, 3))


@pytest.mark.parametrize("scale", [1e-150, 1e-8, 1.0, 1e8, 1e150])
def test_relative_interval_does_not_depend_on_scale(rng, scale):
    blocks = [rng.standard_normal((12, 3)) for _ in range(5)]
    scaled = _chain([scale * b for b in blocks], 6, target_rank=4).interval().relative()
    assert scaled == pytest.approx(_chain(blocks, 6, target_rank=4).interval().relative(), rel=1e-9)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_basis_stays_orthonormal_over_repeated_low_rank_single_precision_updates(rng, scale):
    base = rng.standard_normal((50, 3))
    summary = SVDSummary.empty(50, 10, target_rank=5)
    for _ in range(1500):
        summary.append((scale * base @ rng.standard_normal((3, 4))).astype(np.float32))
    assert defect(summary.basis) < 1e-12


def test_basis_stays_orthonormal_where_spectra_decay_smoothly():
    # Directions between 1e-13 and 1e-3 of a block are where projecting the block alone loses orthogonality.
    blocks = advection_blocks(64, n_time=96, n_space=256, width=48, random_state=0)
    summary = _chain(blocks, 60, target_rank=20)
    assert defect(summary.basis) < 1e-12


def test_energy_hidden_behind_a_zero_column_is_found():
    # A QR factorisation without pivoting has a zero on the diagonal and the energy to its right.
    block = np.column_stack([np.zeros(6), np.eye(6)[:, 2], np.eye(6)[:, 4]])
    summary = _chain([np.eye(6)[:, :1], block], 3)
    assert summary.singular_values == pytest.approx([1, 1, 1])


def test_single_precision_duplicates_are_not_understated(rng):
    base = rng.standard_normal((40, 6)).astype(np.float32)
    blocks = [base, base, base, 0.3 * rng.standard_normal((40, 6)).astype(np.float32)]
    interval = _chain(blocks, 9, target_rank=4).interval()
    assert interval.lower <= tail_energy(blocks, 4) <= interval.upper
    assert interval.upper > 0


@pytest.mark.parametrize(
    "convert",
    [
        np.asfortranarray,
        lambda b: np.repeat(b, 2, axis=1)[:, ::2],
        sparse.csc_matrix,
        sparse.coo_array,
        lambda b: b.tolist(),
        lambda b: b.astype(np.longdouble).astype(float),
    ],
    ids=["fortran", "strided", "csc", "coo", "list", "float"],
)
def test_layout_does_not_matter(rng, convert):
    block = rng.integers(-3, 4, (9, 4)).astype(float)
    assert SVDSummary.from_block(convert(block), 3).interval() == SVDSummary.from_block(block, 3).interval()


def test_integers_and_read_only_memory_maps(tmp_path, rng):
    block = rng.integers(-3, 4, (9, 4))
    np.save(tmp_path / "block.npy", block)
    mapped = np.load(tmp_path / "block.npy", mmap_mode="r")
    assert SVDSummary.from_block(mapped, 3).interval() == SVDSummary.from_block(block.astype(float), 3).interval()


def test_merge_leaves_operands_alone_and_counts_everything(rng):
    a, b = (SVDSummary.from_block(rng.standard_normal((8, 5)), 3) for _ in range(2))
    before = pickle.dumps((a, b))
    merged = a.merge(b)
    assert pickle.dumps((a, b)) == before
    assert merged.n_columns == 10
    assert merged.energy == pytest.approx(a.energy + b.energy)


def test_append_changes_the_summary_and_returns_it(rng):
    summary = SVDSummary.from_block(rng.standard_normal((8, 5)), 3)
    assert summary.append(np.ones((8, 1))) is summary
    assert summary.n_columns == 6


def test_pickle_round_trip(rng):
    summary = SVDSummary.from_block(rng.standard_normal((8, 5)), 3)
    assert pickle.loads(pickle.dumps(summary)).interval() == summary.interval()


def test_zero_blocks():
    summary = SVDSummary.from_block(np.zeros((5, 3)), 2)
    assert summary.interval().relative() == (0.0, 0.0)
    summary.append(np.eye(5)[:, :3])
    assert summary.interval().contains(1.0)


def test_posterior_is_sharper_and_contains_truth():
    rng = np.random.default_rng(3)
    basis = np.linalg.qr(rng.standard_normal((60, 60)))[0]
    blocks = [basis @ (rng.standard_normal((60, 20)) / np.arange(1, 61)[:, None]) for _ in range(12)]
    summary = _chain(blocks, 13, target_rank=8)
    one_pass, posterior = summary.interval(), summary.posterior(blocks)
    assert posterior.lower <= tail_energy(blocks, 8) <= posterior.upper <= one_pass.upper
    assert posterior.upper - posterior.lower < 0.5 * (one_pass.upper - one_pass.lower)


def test_posterior_refuses_other_blocks(rng):
    summary = SVDSummary.from_block(rng.standard_normal((8, 5)), 3)
    with pytest.raises(ValueError, match="5 columns; got 4"):
        summary.posterior([np.ones((8, 4))])


def test_minimal_rank_is_the_smallest_certified(rng):
    block = np.diag([10.0, 5.0, 1.0, 0.1])
    summary = SVDSummary.from_block(block, 4)
    energy = np.sum(np.diag(block) ** 2)
    assert summary.minimal_rank(np.sqrt(1.02 / energy)) == 2
    assert summary.minimal_rank(np.sqrt(0.99 / energy)) == 3
    assert SVDSummary.from_block(block, 2).minimal_rank(0.01) is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: SVDSummary.from_block(np.ones((3, 2)), 0), "rank must be an integer from 1 to .*; got 0"),
        (lambda s: SVDSummary.from_block(np.ones((3, 2)), 2, target_rank=3), "target_rank must be at most rank=2"),
        (lambda s: SVDSummary.from_block(np.ones(3), 2), "two-dimensional.*reshape"),
        (lambda s: SVDSummary.from_block(np.ones((3, 0)), 2), "at least one row and one column"),
        (lambda s: SVDSummary.from_block([[np.nan]], 2), "NaN"),
        (lambda s: SVDSummary.from_block([[1e200]], 2), "scale all blocks"),
        (lambda s: s.append(np.ones((4, 1))), "the summary has 3; got 4"),
        (lambda s: s.merge(SVDSummary.from_block(np.ones((3, 1)), 4)), r"agree in rank.*\(2, 2\) and \(4, 4\)"),
        (lambda s: s.merge(SVDSummary.from_block(np.ones((4, 1)), 2)), "the summary has 3; got 4"),
        (lambda s: s.interval(3), "at most target_rank=2; got 3"),
        (lambda s: s.interval(0), "rank must be an integer"),
        (lambda s: s.minimal_rank(-0.1), "eps must be at least 0; got -0.1"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(SVDSummary.from_block(np.ones((3, 2)), 2))


def test_other_dtypes_are_refused():
    with pytest.raises(TypeError, match="dtype object"):
        SVDSummary.from_block(np.array([[object()]]), 1)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_basis_stays_orthonormal_over_updates_of_rank_three(rng, scale):
    summary = SVDSummary.empty(40, 8, target_rank=4)
    for _ in range(1500):
        summary.append(scale * rng.standard_normal((40, 3)) @ rng.standard_normal((3, 4)))
    assert defect(summary.basis) < 1e-12


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
def test_single_precision_is_converted_before_anything_is_squared(rng, dtype):
    blocks = [(1e-25 * rng.standard_normal((9, 3))).astype(dtype) for _ in range(4)]
    interval = _chain(blocks, 5, target_rank=3).interval()
    assert interval.contains(tail_energy(blocks, 3))
    assert interval.lower > 0


def test_nothing_is_the_neutral_element(rng):
    empty, summary = SVDSummary.empty(6, 3), SVDSummary.from_block(rng.standard_normal((6, 5)), 3)
    for merged in (empty.merge(summary), summary.merge(empty)):
        assert merged.interval().upper == pytest.approx(summary.interval().upper)
        assert merged.n_columns == 5
    assert empty.merge(empty).interval().relative() == (0.0, 0.0)


def test_append_does_not_touch_the_block(rng):
    block = rng.standard_normal((6, 4))
    block.setflags(write=False)
    before = block.copy()
    SVDSummary.from_block(block, 2).append(block)
    assert np.array_equal(block, before)


def test_complex_blocks_join_real_ones(rng):
    blocks = [rng.standard_normal((6, 4)), rng.standard_normal((6, 4)) * 1j]
    assert _chain(blocks, 3).interval().contains(tail_energy(blocks, 3))


def test_what_truncations_take_adds_up_over_several_directions():
    # Two directions stay just below two others three times in a row; together they outgrow them unseen.
    e = np.eye(6)
    weak = np.sqrt(0.9) * e[:, 2:4]
    summary = _chain([np.hstack([e[:, :2], weak]), weak, weak], 2)
    assert summary.discarded == pytest.approx(5.4)
    assert summary.discarded_top == pytest.approx(2.7)
    assert summary.discarded_kyfan == pytest.approx(5.4)
    assert summary.interval().contains(2.0)


def test_the_lower_end_knows_that_one_direction_more_takes_one_square_only():
    # At rank 1 of squares 9, 4, 1, 1, 1, two of them kept: the best rank-1 error is 7, of which truncation hides 1.
    interval = SVDSummary.from_block(np.diag([3.0, 2.0, 1.0, 1.0, 1.0]), 2, target_rank=1).interval()
    assert (interval.lower, interval.upper) == (pytest.approx(6.0, rel=1e-9), pytest.approx(7.0, rel=1e-9))


@pytest.mark.parametrize("n_rows", [0, -1, 2.5])
def test_row_counts_are_positive_integers(n_rows):
    with pytest.raises(ValueError, match="n_rows must be an integer from 1 to"):
        SVDSummary.empty(n_rows, 2)


def test_only_summaries_are_merged():
    with pytest.raises(TypeError, match="other must be an SVDSummary; got ndarray"):
        SVDSummary.from_block(np.eye(3), 2).merge(np.eye(3))
