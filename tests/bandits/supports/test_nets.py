"""Nets: near every action on every support, and no larger than they have to be."""

from itertools import combinations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from sparsetheory.bandits.supports import nets
from sparsetheory.bandits.supports.enumeration import all_supports
from sparsetheory.bandits.supports.nets import greedy_net, grid_net


@pytest.mark.parametrize("find", [grid_net, greedy_net])
@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize("s", [1, 2, 3])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_every_action_is_near_the_net_on_every_support(find, reuse, s, dtype, rng):
    features = rng.uniform(-1, 1, (300, 5)).astype(dtype)
    chosen, largest = find(np.ascontiguousarray(features.T), all_supports(5, s), 0.5, reuse)
    assert len(set(chosen.tolist())) == len(chosen)
    for support in combinations(range(5), s):
        points = features[:, support].astype(float)
        assert cdist(points, points[chosen]).min(axis=1).max() <= 0.5 + 1e-6
    if not reuse and find is greedy_net:
        assert largest <= (1 + 2 * np.sqrt(s) / 0.5) ** s


def test_reuse_saves_queries(rng):
    columns = np.ascontiguousarray(rng.uniform(-1, 1, (6, 2000)))
    for find in (grid_net, greedy_net):
        counts = [len(find(columns, all_supports(6, 2), 0.4, reuse)[0]) for reuse in (False, True)]
        assert counts[1] < 0.9 * counts[0]


def test_grids_with_too_many_cells_are_sorted_and_give_the_same(rng, monkeypatch):
    columns, supports = np.ascontiguousarray(rng.standard_normal((5, 400))), all_supports(5, 3)
    for reuse in (False, True):
        stamped, largest = grid_net(columns, supports, 0.7, reuse)
        monkeypatch.setattr(nets, "_CELLS", 1)
        in_order, same = grid_net(columns, supports, 0.7, reuse)
        monkeypatch.undo()
        assert (stamped.tolist(), largest) == (in_order.tolist(), same)


def test_copies_lie_in_one_cell(rng):
    features = np.repeat(rng.standard_normal((20, 3)), 5, axis=0)
    for find in (grid_net, greedy_net):
        chosen, _ = find(np.ascontiguousarray(features.T), all_supports(3, 2), 1e-3, True)
        assert len(set((chosen // 5).tolist())) == len(chosen) == 20
