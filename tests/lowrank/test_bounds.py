"""Bounds contain the truth, dominate each other as proved, and know their counterexamples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lowrank.references import energy, random_blocks, tail_energy

from sparsetheory.lowrank import (
    SVDSummary,
    centroid_bound,
    pair_bounds,
    perturbation_bound,
    residual_bound,
    scalar_bounds,
    union_bound,
    weyl_bound,
)


def test_the_smallest_counterexample_to_the_elementwise_reading():
    blocks = [np.array([[1.0], [0.0]]), np.array([[1.0], [1.0]])]
    sigma = np.linalg.svd(np.hstack(blocks), compute_uv=False)
    residuals = np.array([1.0, 1.0])
    assert sigma == pytest.approx([1.618034, 0.618034], abs=1e-6)
    assert (residuals > sigma).any()
    assert (np.cumsum(residuals**2) <= np.cumsum(sigma**2) + 1e-12).all()
    assert residual_bound(blocks, 1).contains(tail_energy(blocks, 1))


@pytest.mark.parametrize(("copies", "predicted"), [(2, 0.707), (5, 0.894), (20, 0.975)])
def test_residual_bound_throws_in_span_energy_away(rng, copies, predicted):
    block = rng.standard_normal((10, 1))
    blocks = [block] * copies
    assert residual_bound(blocks, 1).relative()[1] == pytest.approx(predicted, abs=1e-3)
    assert residual_bound(blocks, 1, count_in_span=True).relative()[1] < 1e-6


@given(st.integers(0, 10**6), st.integers(1, 6), st.booleans())
def test_every_bound_contains_truth(seed, rank, complex_valued):
    rng = np.random.default_rng(seed)
    blocks = random_blocks(seed, complex_valued)
    truth, order = tail_energy(blocks, rank), rng.permutation(len(blocks)).tolist()
    for bound in (
        weyl_bound(blocks, rank),
        weyl_bound(blocks, rank, order[:2]),
        residual_bound(blocks, rank, order),
        residual_bound(blocks, rank, "norm", count_in_span=True),
        union_bound(blocks, rank),
        union_bound(blocks, rank, [part for part in (order[:2], order[2:]) if part]),
    ):
        assert bound.contains(truth), bound.method
        assert bound.energy == pytest.approx(energy(blocks))
    first, second = blocks[0], blocks[-1]
    assert pair_bounds(first, second, rank).contains(tail_energy([first, second], rank))
    equal = [rng.standard_normal(first.shape) + 3 for _ in range(3)]
    assert centroid_bound(equal, rank).contains(tail_energy(equal, rank))


@given(st.integers(0, 10**6), st.integers(1, 6), st.booleans())
def test_each_bound_dominates_the_next(seed, rank, complex_valued):
    blocks = random_blocks(seed, complex_valued)
    order = np.argsort([-np.linalg.norm(b) for b in blocks], kind="stable").tolist()
    summary = SVDSummary.empty(len(blocks[0]), rank + 2, target_rank=rank)
    for k in order:
        summary.append(blocks[k])
    chain = [
        tail_energy(blocks, rank),
        summary.interval().upper,
        union_bound(blocks, rank).upper,
        residual_bound(blocks, rank, order).upper,
        weyl_bound(blocks, rank, order[:1]).upper,
    ]
    assert (np.diff(chain) >= -weyl_bound(blocks, rank).slack).all()


@given(st.integers(0, 10**6), st.integers(1, 6))
def test_scalar_bounds_contain_what_is_captured(seed, rank):
    values = np.random.default_rng(seed).exponential(size=rank + seed % 5) ** 3
    lo, hi = scalar_bounds(values.sum(), np.sum(values**2), values.size, rank)
    captured = np.sort(values)[::-1][:rank].sum()
    assert lo * (1 - 1e-12) <= captured <= hi * (1 + 1e-12)


@given(st.integers(0, 10**6), st.sampled_from([1e-6, 1e-2, 1.0]))
def test_noise_moves_singular_values_no_further_than_the_bound(seed, size):
    rng = np.random.default_rng(seed)
    blocks = random_blocks(seed)
    noise = [size * np.linalg.norm(b) * rng.standard_normal(b.shape) for b in blocks]
    clean, noisy = (
        np.linalg.svd(np.hstack(x), compute_uv=False)
        for x in (blocks, [b + e for b, e in zip(blocks, noise, strict=True)])
    )
    norms = [[np.linalg.norm(b, 2) for b in x] for x in (blocks, noise)]
    assert (np.abs(noisy - clean) <= perturbation_bound(*norms, clean) + 1e-12 * clean[0]).all()


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_scale(rng, scale):
    blocks = [rng.standard_normal((6, 2)) for _ in range(4)]
    for bound in (weyl_bound, residual_bound, union_bound, centroid_bound, lambda b, r: pair_bounds(b[0], b[1], r)):
        plain, scaled = bound(blocks, 2), bound([scale * b for b in blocks], 2)
        assert scaled.relative() == pytest.approx(plain.relative(), rel=1e-9)


def test_a_wide_seed_is_credited_with_what_r_directions_capture(rng):
    block = rng.standard_normal((12, 8))
    assert weyl_bound([block, 0.01 * block], 3, [0]).upper >= tail_energy([block], 3)


def test_perturbation_bound_values():
    plain = np.sqrt(2) * 0.1
    delta = 2 * (2 * 0.1 + 0.01)
    bound = perturbation_bound([1, 1], [0.1, 0.1], [10.0, 1.0, 0.0])
    assert bound == pytest.approx([delta / 10, plain, plain])


def test_scalar_bounds_are_attained_by_equal_values():
    lo, hi = scalar_bounds(energy=4.0, overlap=4.0, n_directions=4, rank=2)
    assert lo <= 2.0 <= hi
    assert hi == pytest.approx(2.0)


E3 = [np.eye(3)[:, :2], np.ones((3, 1))]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: residual_bound(E3, 1, "best"), "order must be"),
        (lambda: residual_bound(E3, 1, [0, 0]), "permutation"),
        (lambda: union_bound(E3, 1, [[0]]), "groups must partition"),
        (lambda: union_bound(E3, 1, [[], [0, 1]]), "non-empty parts"),
        (lambda: weyl_bound(E3, 1, [0, 0]), r"subset must be distinct.*\[0, 0\]"),
        (lambda: weyl_bound(E3, 1, []), "subset must be"),
        (lambda: weyl_bound(E3, 1, [2]), r"subset must be distinct elements of range\(2\)"),
        (lambda: pair_bounds(np.eye(2), np.eye(3), 1), "block 0 has 2 rows, block 1 has 3"),
        (lambda: centroid_bound(E3, 1), "one shape"),
        (lambda: scalar_bounds(1.0, 1.0, 1, 2), "n_directions must be at least rank=2"),
        (lambda: scalar_bounds(-1.0, 1.0, 1, 1), "energy must be a finite non-negative number; got -1.0"),
        (lambda: perturbation_bound([1], [1, 2], [1]), "one length"),
        (lambda: perturbation_bound([1], [-1], [1]), "perturbation_norms must be"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
