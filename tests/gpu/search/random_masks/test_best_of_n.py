"""Random search over masks: the best of a stream, on a model that stays as it is."""

import copy
import math

import pytest
import torch
from torch import nn

from sparsetheory.gpu import core
from sparsetheory.gpu.search import (
    MaskedRun,
    NodeSampler,
    SearchComparison,
    WeightSampler,
    compare_search,
    random_mask_search,
)


def _problem(n=80, seed=0):
    x = torch.randn(n, 6, generator=torch.Generator().manual_seed(seed))
    return x, (x[:, 0] * x[:, 1] > 0).long()


def _loss(x, y):
    return lambda masked: core.class_loss(masked(x), y)


def test_the_result_is_the_best_of_all_candidates():
    model, (x, y), source = core.models.MLP([6, 12, 2]), _problem(), torch.Generator().manual_seed(3)
    found = random_mask_search(model, WeightSampler(0.3), _loss(x, y), 12, 3)
    drawn = [WeightSampler(0.3)(model, source) for _ in range(12)]
    scores = []
    for masks in drawn:
        masked = copy.deepcopy(model)
        masks.apply(masked)
        scores.append(float(core.class_loss(masked(x), y).detach()))
    torch.testing.assert_close(found.scores, torch.tensor(scores, dtype=torch.float64), rtol=1e-5, atol=1e-6)
    assert found.mask == drawn[int(found.scores.argmin())]
    assert torch.equal(found.best_so_far, torch.tensor([min(found.scores[: i + 1]) for i in range(12)]).double())


def test_of_equal_scores_the_first_candidate_wins():
    model = core.models.MLP([6, 12, 2])
    assert random_mask_search(model, NodeSampler(0.5), lambda _: 1.0, 5, 0).mask == NodeSampler(0.5)(model, 0)


def test_an_infinite_score_is_worse_than_any_other_and_does_not_fail():
    model = core.models.MLP([6, 12, 2])
    scores = iter([float("inf"), 2.0, float("inf")])
    found = random_mask_search(model, NodeSampler(0.5), lambda _: next(scores), 3, 0)
    assert found.scores.tolist() == [float("inf"), 2.0, float("inf")]
    source = torch.Generator().manual_seed(0)
    assert found.mask == [NodeSampler(0.5)(model, source) for _ in range(2)][1]


def test_the_model_stays_as_it_is_also_where_a_score_fails():
    model = nn.Sequential(nn.Linear(6, 12), nn.Dropout(0.5), nn.ReLU(), nn.Linear(12, 2))
    model[1].eval()
    before = copy.deepcopy(model.state_dict())
    modes = []

    def score(masked):
        modes.append((masked.training, torch.is_grad_enabled()))
        masked(torch.ones(1, 6))
        if len(modes) == 3:
            raise KeyboardInterrupt
        return 0.0

    with pytest.raises(KeyboardInterrupt):
        random_mask_search(model, NodeSampler(0.5), score, 5, 0)
    assert modes == [(False, False)] * 3
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == [True, True, False, True, True]
    assert all(parameter.grad is None for parameter in model.parameters())


def test_bad_searches_are_refused():
    model, (x, y) = core.models.MLP([6, 12, 2]), _problem()
    for n_candidates in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match="n_candidates must be an integer from 1"):
            random_mask_search(model, NodeSampler(0.5), _loss(x, y), n_candidates)
    with pytest.raises(ValueError, match="score must return a number; got nan for candidate 0"):
        random_mask_search(model, NodeSampler(0.5), lambda _: float("nan"), 3)


def test_one_candidate_is_random_search_in_a_comparison_bit_for_bit():
    seen = []

    def trial(model, masks):
        seen.append(masks)
        return 1.0 + len(seen)

    models = [core.models.MLP([6, 12, 2], generator=seed) for seed in range(3)]
    found = compare_search(models, NodeSampler(0.5), lambda _: 0.0, trial, 1)
    assert seen[0::2] == seen[1::2]
    assert found.differences.tolist() == [-1.0, -1.0, -1.0]
    assert (found.mean_difference, found.standard_error) == (-1.0, 0.0)


def test_a_comparison_trains_the_best_the_first_and_those_of_peers():
    x, y = _problem()
    models = [core.models.MLP([6, 12, 2], generator=seed) for seed in range(3)]
    judged = []

    def trial(model, masks):
        judged.append((models.index(model), masks))
        return float(masks.n_nonzero)

    whole = {"dense": lambda model: core.MaskSet.of(model)}
    found = compare_search(models, NodeSampler(0.5), _loss(x, y), trial, 6, peers=whole, generator=4)
    assert found.peers["dense"].tolist() == [6 * 12 + 12 * 2] * 3
    source = torch.Generator().manual_seed(4)
    for number, model in enumerate(models):
        drawn = [NodeSampler(0.5)(model, source) for _ in range(6)]
        scores = [random_mask_search(model, lambda *_, m=m: m, _loss(x, y), 1).scores[0] for m in drawn]
        best = drawn[int(torch.stack(scores).argmin())]
        masks = [one for which, one in judged if which == number]
        assert best in masks
        assert drawn[0] in masks
        assert found.best_scores[number] == min(scores)
        torch.testing.assert_close(found.mean_scores[number], torch.stack(scores).mean())
    with pytest.raises(ValueError, match="models must hold at least one"):
        compare_search([], NodeSampler(0.5), _loss(x, y), trial)


def test_a_run_keeps_its_zeros_and_goes_on_where_it_stopped():
    x, y = _problem(60)
    model = core.models.MLP([6, 12, 2])
    before = copy.deepcopy(model.state_dict())
    masks = WeightSampler(0.4)(model, 0)
    at_once = MaskedRun(model, masks, (x[:40], y[:40]), (x[40:], y[40:]))
    in_parts = MaskedRun(model, masks, (x[:40], y[:40]), (x[40:], y[40:]))
    last = at_once(30)
    in_parts(10)
    assert in_parts(20) == last == in_parts.accuracy()
    assert (in_parts.n_steps, at_once.n_steps) == (30, 30)
    for name, value in at_once.model.state_dict().items():
        assert torch.equal(value, in_parts.model.state_dict()[name])
    # Weights off the mask have gradients here, as biases of their nodes are trained.
    assert core.MaskSet.of(at_once.model) == masks
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("part", ["train_data", "validation_data"])
def test_runs_refuse_data_that_are_empty_or_do_not_fit(part):
    x, y = _problem(20)
    model = core.models.MLP([6, 12, 2])
    good = {"train_data": (x, y), "validation_data": (x, y)}
    for bad, message in (((x[:0], y[:0]), "got 0 inputs"), ((x, y[:5]), "got 20 inputs and 5 labels"), (x, "pair")):
        with pytest.raises(ValueError, match=f"{part} must .*{message}"):
            MaskedRun(model, {}, **{**good, part: bad})


def test_one_model_has_no_standard_error(recwarn):
    x, y = _problem()
    found = compare_search([core.models.MLP([6, 8, 2])], NodeSampler(0.5), _loss(x, y), lambda model, masks: 1.0, 2)
    assert math.isnan(found.standard_error)
    assert found.mean_difference == 0.0
    assert not recwarn


def test_runs_give_single_modules_back_in_their_modes():
    x, y = _problem()
    model = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Linear(6, 2))
    model[1].eval()
    run = MaskedRun(model, {}, (x, y), (x, y))
    run(2)
    assert [module.training for module in run.model] == [True, False, True]
    run.accuracy()
    assert [module.training for module in run.model] == [True, False, True]


def test_the_standard_error_is_that_of_the_mean_of_differences():
    searched, random = torch.tensor([0.5, 0.7, 0.9, 0.5]).double(), torch.tensor([0.5, 0.6, 0.6, 0.7]).double()
    found = SearchComparison(searched, random, searched, random, {})
    # Differences 0, 0.1, 0.3 and -0.2: mean 0.05, squared deviations 0.0025 + 0.0025 + 0.0625 + 0.0625.
    assert found.mean_difference == pytest.approx(0.05)
    assert found.standard_error == pytest.approx(math.sqrt(0.13 / 3 / 4))


def test_calls_of_a_run_go_through_the_rows_in_orders_of_their_own_with_adams_steps_of_a_hundredth():
    x, y = _problem()
    model, seen = core.models.MLP([6, 8, 2]), []
    before = model[0].weight.detach().clone()
    run = MaskedRun(model, {}, (x, y), (x[:1], y[:1]), batch_size=4)
    handle = run.model.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    run(1)
    # The first step of Adam is its rate.
    assert float((run.model[0].weight.detach() - before).abs().max()) == pytest.approx(0.01, rel=1e-3)
    run(1)
    handle.remove()
    batches = [rows for rows in seen if len(rows) == 4]
    assert len(batches) == 2
    assert not torch.equal(*batches)
