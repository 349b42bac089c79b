"""Random search with a budget of training steps."""

import pytest
import torch

from sparsetheory.gpu import core
from sparsetheory.gpu.search import NodeSampler, halving_mask_search


class _Curve:
    """A candidate whose quality rises to a limit."""

    def __init__(self, limit):
        self.limit, self.n_steps = limit, 0

    def __call__(self, n_steps):
        self.n_steps += n_steps
        return self.limit - 1.0 / self.n_steps


def test_the_best_curve_is_found_and_candidates_are_trained_as_long_as_they_last():
    model = core.models.MLP([4, 8, 2])
    limits = iter([0.1, 0.2, 0.9, 0.3, 0.5, 0.4])
    runs = []

    def start(given, masks):
        assert given is model
        runs.append((_Curve(next(limits)), masks))
        return runs[-1][0]

    found = halving_mask_search(model, NodeSampler(0.5), start, 6, 180, generator=2)
    source = torch.Generator().manual_seed(2)
    drawn = [NodeSampler(0.5)(model, source) for _ in range(6)]
    assert [masks for _, masks in runs] == drawn
    assert found.mask == drawn[2]
    assert found.run is runs[2][0]
    # Three rounds of 60 steps: for 6, 3 and 2 candidates.
    assert [(one.arms.tolist(), one.n_plays) for one in found.rounds] == [
        ([0, 1, 2, 3, 4, 5], 10),
        ([2, 4, 5], 20),
        ([2, 4], 30),
    ]
    assert found.n_steps.tolist() == [10, 10, 60, 10, 60, 30] == [run.n_steps for run, _ in runs]


def test_one_candidate_needs_no_training():
    model = core.models.MLP([4, 8, 2])
    found = halving_mask_search(model, NodeSampler(0.5), lambda *_: _Curve(1.0), 1, 10, generator=0)
    assert found.mask == NodeSampler(0.5)(model, 0)
    assert (found.rounds, found.n_steps.tolist(), found.run.n_steps) == ((), [0], 0)


def test_bad_budgets_are_refused():
    model = core.models.MLP([4, 8, 2])
    search = (model, NodeSampler(0.5), lambda *_: _Curve(1.0))
    with pytest.raises(ValueError, match="n_candidates must be an integer from 1"):
        halving_mask_search(*search, 0, 10)
    with pytest.raises(ValueError, match="budget must be at least 24, one play of each of 8 arms in each of 3"):
        halving_mask_search(*search, 8, 23)
    with pytest.raises(ValueError, match="factor must be an integer from 2"):
        halving_mask_search(*search, 8, 100, factor=1)
    with pytest.raises(ValueError, match="play must return one number for each of 8 arms"):
        halving_mask_search(model, NodeSampler(0.5), lambda *_: lambda _: float("nan"), 8, 24)
