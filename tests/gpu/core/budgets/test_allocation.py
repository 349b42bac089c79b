import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import ConvexHull

from sparsetheory.gpu.core import PerRow, allocate, lower_hull

AMOUNTS = st.lists(st.integers(0, 20).map(float), min_size=0, max_size=5)


@pytest.mark.parametrize("seed", range(5))
def test_the_hull_passes_through_the_corners_that_qhull_finds(seed):
    costs = np.concatenate([[0.0], np.cumsum(np.random.default_rng(seed).exponential(size=30))])
    points = np.column_stack([np.arange(31), costs])
    chord = costs[-1] * points[:, 0] / 30
    lower = np.sort([v for v in ConvexHull(points).vertices if costs[v] <= chord[v] + 1e-12])
    np.testing.assert_allclose(lower_hull(costs), np.interp(np.arange(31), lower, costs[lower]), atol=1e-12)


@given(st.lists(st.integers(-9, 20).map(float), min_size=1, max_size=12))
def test_the_hull_is_convex_below_and_touches_the_ends(costs):
    hull = lower_hull(costs)
    assert np.all(hull <= np.array(costs) + 1e-9)
    assert np.all(np.diff(hull, 2) >= -1e-9)
    assert hull[0] == costs[0]
    assert hull[-1] == pytest.approx(costs[-1])


@given(st.lists(AMOUNTS, min_size=1, max_size=3), st.data())
def test_no_other_split_of_the_budget_has_lower_hulls(increments, data):
    lengths = [len(row) for row in increments]
    total = data.draw(st.integers(0, sum(lengths)))
    hulls = [lower_hull(np.concatenate([[0.0], np.cumsum(row)])) for row in increments]

    def cost(kept):
        return sum(hull[n - k] for hull, n, k in zip(hulls, lengths, kept, strict=True))

    found = allocate(increments, total)
    assert sum(found) == total
    splits = itertools.product(*(range(n + 1) for n in lengths))
    assert cost(found) <= min(cost(split) for split in splits if sum(split) == total) + 1e-9


def test_convex_traces_are_split_as_by_sorting_all_increments():
    traces = np.sort(np.random.default_rng(0).exponential(size=(6, 40)), axis=1)
    kept = allocate(traces, 100)
    cut = np.sort(traces, axis=None)[140]
    assert kept == tuple((traces >= cut).sum(1).tolist())


def test_first_rows_keep_more_where_increments_tie():
    assert allocate([[1.0, 1.0], [1.0, 1.0]], 3) == (2, 1)
    assert allocate([[1.0, 1.0], [1.0, 1.0]], 1) == (1, 0)


def test_traces_may_be_tensors_and_counts_make_a_pattern():
    traces = torch.tensor([[1.0, 2.0, 4.0], [3.0, 3.5, 9.0]], dtype=torch.float64)
    assert PerRow(allocate(traces, 4)).count((2, 3)) == 4


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="total must be an integer from 0 to 2"):
        allocate([[1.0], [2.0]], 3)
    with pytest.raises(ValueError, match=r"increments\[1\] must be a finite sequence"):
        allocate([[1.0], [np.nan]], 1)
    with pytest.raises(ValueError, match="costs must hold at least one number"):
        lower_hull([])
