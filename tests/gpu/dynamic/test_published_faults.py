"""Faults of published codes of dynamic sparsity, each beside what happens here."""

import math

import numpy as np
import pytest
import torch

from sparsetheory.gpu.core import Snapshot, TopologyController, rewire
from sparsetheory.gpu.dynamic import find_score, magnitude, magnitude_by_sign, random_order

N, ACTIVE, RATE = 10_000, 1000, 0.3


def _snapshot(weight, mask):
    return Snapshot(0, 1, mask, mask, (weight,), (None,), {}, torch.Generator())


def _published_sign_rule(weight, rate):
    """Keep, as the code of a continual method does: of the negative weights it keeps the k - 1 most negative ones."""
    values = weight[weight != 0].sort().values
    k = math.ceil(math.ceil(rate * len(values)) / 2)
    cut_positive = values[values > 0][k - 1]
    cut_negative = values[values < 0][k - 1]
    return (weight > cut_positive) | (weight < cut_negative)


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.5])
def test_a_share_of_each_sign_is_dropped_and_not_all_negative_weights_but_a_few(rate):
    weight = torch.randn(400, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(400, dtype=torch.bool)
    n_negative = int((weight < 0).sum())
    # Whatever the rate, the published rule removes one entry more than there are negative weights.
    assert int((~_published_sign_rule(weight, rate)).sum()) == n_negative + 1
    n_drop = int(rate * 400)
    found = rewire(mask, magnitude_by_sign(_snapshot(weight, mask)), torch.zeros(400), n_drop, 0)
    assert int(found.dropped.sum()) == n_drop
    for sign in (weight < 0, weight >= 0):
        gone, kept = weight[found.dropped & sign].abs(), weight[~found.dropped & sign].abs()
        assert abs(len(gone) - rate * int(sign.sum())) < 1
        assert float(gone.max()) < float(kept.min())


def test_one_sign_alone_is_ranked_too():
    mask = torch.tensor([True, True, True, False])
    scores = magnitude_by_sign(_snapshot(torch.tensor([3.0, 1.0, 1.0, 0.0]), mask))
    assert scores[mask].argsort().tolist() == [1, 2, 0]
    assert not magnitude_by_sign(_snapshot(torch.zeros(3), torch.zeros(3, dtype=torch.bool))).any()


def test_growth_by_a_probability_for_each_entry_loses_the_budget_and_exact_counts_keep_it():
    """Each update adds a binomial number of entries: a random walk of variance k (1 - p) a step."""
    rng = np.random.default_rng(0)
    n_runs, n_updates = 200, 60
    active = np.full(n_runs, ACTIVE)
    for _ in range(n_updates):
        dropped = (RATE * active).astype(int)
        free = N - active + dropped
        active = active - dropped + rng.binomial(free, dropped / free)
    expected = math.sqrt(n_updates * RATE * ACTIVE * (1 - RATE * ACTIVE / (N - 0.7 * ACTIVE)))
    assert active.std() == pytest.approx(expected, rel=0.3)
    assert active.std() > 100
    weight = torch.nn.Parameter(torch.ones(N))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    controller = TopologyController(
        optimizer, {weight: torch.arange(N) < ACTIVE}, drop=magnitude, grow=random_order, fraction=RATE, every=1
    )
    for _ in range(n_updates):
        weight.grad = torch.zeros(N)
        optimizer.step()
        assert int(controller.masks["mask 0"].sum()) == ACTIVE
    assert all(event.n_dropped + event.n_regrown == RATE * ACTIVE for event in controller.history)


def test_death_by_a_threshold_removes_all_ties_and_a_count_does_not():
    weight = torch.tensor([1.0, 0.5, 0.5, 0.5, 2.0])
    threshold = weight.sort().values[0]
    assert int((weight <= threshold).sum()) == 3
    found = rewire(torch.ones(5, dtype=torch.bool), weight, torch.zeros(5), 1, 0)
    assert found.dropped.tolist() == [False, True, False, False, False]


def test_a_growth_rule_that_is_not_known_is_an_error_and_no_growth():
    with pytest.raises(ValueError, match=r"name must be one of .*momentum.*; got 'momentum_neuron'"):
        find_score("momentum_neuron")
