"""The interval of a sketch holds for every draw."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lowrank.references import defect, energy, random_blocks, tail_energy

from sparsetheory.lowrank import block_svd_error, range_finder_summary
from sparsetheory.lowrank.datasets.families import subspace_mixture


def test_adaptive_range_finder_decides():
    blocks = subspace_mixture(20, 60, 4, n_subspaces=4, rank=3, noise=0.05, random_state=0).blocks
    relative = block_svd_error(blocks, 8).relative
    for eps, verdict in ((1.02 * relative, True), (0.98 * relative, False)):
        found = range_finder_summary(blocks, 8, eps=eps, oversampling=0, random_state=0)
        assert found.interval(8).decide(eps) is verdict
        assert np.linalg.norm(found.basis.T @ found.basis - np.eye(found.basis.shape[1])) < 1e-12


def test_range_finder_is_reproducible_and_survives_rank_deficiency(rng):
    block = np.outer(rng.standard_normal(20), rng.standard_normal(30))
    first, second = (range_finder_summary([block], 5, random_state=3) for _ in range(2))
    assert np.array_equal(first.basis, second.basis)
    assert first.interval(1).decide(1e-10)
    assert first.interval(1).decide(0.0) is None


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(0, 3), st.integers(0, 2), st.booleans())
def test_interval_contains_truth(seed, rank, oversampling, n_power, complex_valued):
    blocks = random_blocks(seed, complex_valued)
    found = range_finder_summary(blocks, rank, oversampling=oversampling, n_power=n_power, random_state=seed)
    assert defect(found.basis) < 1e-12
    for r in (1, rank, rank + 3):
        interval = found.interval(r)
        assert interval.contains(tail_energy(blocks, r))
        assert interval.energy == pytest.approx(energy(blocks))


def test_power_steps_sharpen(rng):
    blocks = [rng.standard_normal((60, 60)) / np.arange(1, 61)]
    width = [
        np.diff(range_finder_summary(blocks, 5, oversampling=0, n_power=p, random_state=0).interval(5).relative())
        for p in (0, 3)
    ]
    assert width[1] < 0.8 * width[0]


@pytest.mark.parametrize("state", [3, np.random.default_rng(3), np.random.RandomState(3)], ids=["int", "new", "old"])
def test_every_kind_of_seed(rng, state):
    blocks = [rng.standard_normal((9, 4))]
    assert range_finder_summary(blocks, 2, random_state=state).interval(2).contains(tail_energy(blocks, 2))


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_scale(rng, scale):
    blocks = [rng.standard_normal((9, 4)) for _ in range(4)]
    plain, scaled = (range_finder_summary([s * b for b in blocks], 3, random_state=0) for s in (1.0, scale))
    assert scaled.interval(3).relative() == pytest.approx(plain.interval(3).relative(), rel=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "rank must be"),
        ({"oversampling": -1}, "oversampling must be an integer from 0 to .*; got -1"),
        ({"oversampling": 1.5}, "oversampling must be an integer from 0 to .*; got 1.5"),
        ({"n_power": -1}, "n_power must be"),
        ({"n_power": True}, "n_power must be"),
        ({"eps": -0.1}, "eps must be a finite non-negative number; got -0.1"),
        ({"eps": np.nan}, "eps must be"),
    ],
    ids=str,
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        range_finder_summary([np.eye(3)], **{"rank": 1, **options})
