"""PST: counts, gradients in both parts, what stays frozen, and what is exported."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from sparsetheory.gpu.core import Cubic, Gram, find_layers, layer_mask
from sparsetheory.gpu.core.patterns import PerTensor
from sparsetheory.gpu.weights import (
    PST,
    StepCounter,
    finalize,
    hard_masked,
    live_masks,
    merge,
    move_prices,
    scale_weights,
    set_sparsity,
    sparsify,
)


def _linear(rows=6, columns=10, dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Linear(columns, rows, dtype=dtype)


def _with_pst(layer, **options):
    sparsify(layer, lambda weight: PST(weight.shape, **({"weight_rank": 2, "score_rank": 3, "generator": 1} | options)))
    return layer.parametrizations.weight[0]


def _shaken(pst):
    """Give all parts that start at zero other values."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in pst.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return pst


def test_it_starts_at_the_weight_without_its_smallest_entries(device):
    layer = _linear(dtype=torch.float32).to(device)
    before = layer.weight.detach().clone()
    _with_pst(layer)
    assert torch.equal(layer.weight, before)
    set_sparsity(layer, 0.7)
    assert torch.equal(layer.weight, PerTensor(0.3).project(before))


@pytest.mark.parametrize("sparsity", [0.0, 0.05, 0.29, 0.5, 0.9, 0.99, 1.0])
def test_the_published_count_is_pruned(sparsity):
    layer = nn.Linear(100, 10)
    _shaken(_with_pst(layer))
    set_sparsity(layer, sparsity)
    pruned = int(1000 * sparsity)
    (mask,) = live_masks(layer).values()
    assert int((~mask).sum()) == int((layer.weight == 0).sum()) == pruned
    assert int((~finalize(layer)["weight"]).sum()) == pruned


def test_among_ties_the_first_are_kept():
    layer = nn.Linear(8, 2, bias=False)
    for value in (0.0, 0.3):
        nn.init.constant_(layer.weight, value)
        copied = copy.deepcopy(layer)
        _with_pst(copied)
        set_sparsity(copied, 0.75)
        assert live_masks(copied)["weight"].flatten().tolist() == 4 * [True] + 12 * [False]


def test_gradients_are_those_written_out():
    layer = _linear()
    pst = _shaken(_with_pst(layer, beta=0.5, a1=0.3, a2=0.7))
    set_sparsity(layer, 0.6)
    generator = torch.Generator().manual_seed(2)
    x, y = (torch.randn(7, size, generator=generator, dtype=torch.float64) for size in (10, 6))
    (layer(x) * y).sum().backward()
    U, V, A, B = pst.weight_left, pst.weight_right, pst.score_left, pst.score_right
    w = layer.parametrizations.weight.original + 0.5 * U @ V
    S = w.abs() + 0.3 * A @ B + 0.7 * (pst.row_scores + pst.column_scores)
    M = layer_mask(PerTensor(n_nonzero=60 - 36), S)
    D = y.T @ x  # the gradient of the masked weight
    dS = D * w
    dw = M * D + dS * w.sign()
    expected = {
        "weight_left": 0.5 * dw @ V.T,
        "weight_right": 0.5 * U.T @ dw,
        "score_left": 0.3 * dS @ B.T,
        "score_right": 0.3 * A.T @ dS,
        "row_scores": 0.7 * dS.sum(1, keepdim=True),
        "column_scores": 0.7 * dS.sum(0, keepdim=True),
    }
    assert expected.keys() == dict(pst.named_parameters()).keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(pst.get_parameter(name).grad, gradient.detach(), rtol=1e-12, atol=1e-12)


def test_gradients_are_those_of_autograd_where_the_mask_is_a_smooth_function_of_the_score():
    # With M(S) = M0 + S - S0 the derivative of the mask is one, as the estimator pretends.
    layer = _linear()
    pst = _shaken(_with_pst(layer))
    set_sparsity(layer, 0.6)
    cotangent = torch.randn(6, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    (layer.weight * cotangent).sum().backward()
    W = layer.parametrizations.weight.original.detach()
    pretended = {name: p.detach().clone().requires_grad_() for name, p in pst.named_parameters()}

    def parts(of):
        w = W + of["weight_left"] @ of["weight_right"]
        return w, w.abs() + of["score_left"] @ of["score_right"] + of["row_scores"] + of["column_scores"]

    w, S = parts(pretended)
    smooth = pst.mask(W) + S - S.detach()
    (w * smooth * cotangent).sum().backward()
    for name, parameter in pst.named_parameters():
        torch.testing.assert_close(parameter.grad, pretended[name].grad, rtol=1e-12, atol=1e-12)


def test_weight_and_bias_are_frozen_until_the_end_and_few_numbers_are_trained():
    layer = nn.Linear(40, 24)
    layer.bias.requires_grad_(False)
    other = nn.Linear(40, 24)
    weights = [each.weight.detach().clone() for each in (layer, other)]
    for each, before in zip((layer, other), weights, strict=True):
        sparsify(each, lambda weight: PST(weight.shape))
        trained = [p for p in each.parameters() if p.requires_grad]
        assert sum(p.numel() for p in trained) == 17 * (40 + 24)
        optimizer = torch.optim.SGD(each.parameters(), lr=0.01)
        set_sparsity(each, 0.5)
        for _ in range(3):
            optimizer.zero_grad()
            each(torch.eye(40)).square().sum().backward()
            optimizer.step()
        assert torch.equal(each.parametrizations.weight.original, before)
        assert not torch.equal(each.weight[each.weight != 0], before[each.weight != 0])
        finalize(each)
        assert each.weight.requires_grad
    assert not layer.bias.requires_grad
    assert other.bias.requires_grad


def test_the_exported_layer_computes_what_was_trained():
    layer = _linear(dtype=torch.float32)
    _shaken(_with_pst(layer))
    set_sparsity(layer, 0.4)
    x = torch.randn(3, 10)
    with hard_masked(layer):
        hard = layer(x)
    training = layer(x)
    masks = live_masks(layer)
    found = merge(layer)
    assert torch.equal(layer(x), training)
    assert torch.equal(layer(x), hard)
    assert list(found) == ["weight"]
    assert torch.equal(found["weight"], masks["weight"])
    assert list(layer.state_dict()) == ["weight", "bias"]


def test_merge_leaves_other_parametrisations():
    model = nn.Sequential(_linear(), _linear(4, 6))
    sparsify(model, lambda weight: PST(weight.shape), include="0")
    scale_weights(model, include="1")
    merge(model)
    assert [parametrize.is_parametrized(layer) for layer in model] == [False, True]
    with pytest.raises(ValueError, match="must have weights with PST to merge"):
        merge(model)
    with pytest.raises(ValueError, match="must have weights with PST; got none"):
        set_sparsity(model, 0.5)


def test_a_schedule_moves_with_the_steps_and_survives_a_state_dict():
    layer = nn.Linear(100, 10)
    _with_pst(layer)
    schedule = Cubic(0.1, 20, 0.8, warmup=0.1, cooldown=0.4)
    set_sparsity(layer, schedule)
    optimizer = torch.optim.SGD([p for p in layer.parameters() if p.requires_grad], lr=0.0)
    StepCounter(optimizer, layer)
    pruned, state = [], None
    for step in range(21):
        pruned.append(int((layer.weight == 0).sum()))
        if step == 7:
            state = copy.deepcopy(layer.state_dict())
        layer(torch.ones(1, 100)).sum().backward()
        optimizer.step()
    assert pruned == [int(1000 * schedule(step)) for step in range(21)]
    assert pruned == sorted(pruned)
    assert pruned[0] == 100
    assert pruned[-1] == 800
    for resumed, later in ((True, schedule), (False, None)):
        again = nn.Linear(100, 10)
        pst = _with_pst(again, generator=2)
        if resumed:
            set_sparsity(again, later)
        again.load_state_dict(state)
        assert int((again.weight == 0).sum()) == pruned[7]
        pst.advance()
        assert int((again.weight == 0).sum()) == (pruned[8] if resumed else pruned[7])


def test_a_sparsity_outside_the_unit_interval_is_refused():
    layer = _linear()
    _with_pst(layer)
    for value in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="sparsity must be"):
            set_sparsity(layer, value)
    set_sparsity(layer, lambda step: 2.0)
    with pytest.raises(ValueError, match="sparsity must be"):
        layer(torch.ones(1, 10))


def test_scores_that_dwarf_the_weights_decide_unless_they_are_scaled_down():
    layer = nn.Linear(64, 32)  # weights below 1/8
    before = layer.weight.detach().clone()
    overlaps = []
    for a1 in (1.0, 1e-3):
        copied = copy.deepcopy(layer)
        pst = _with_pst(copied, a1=a1, score_rank=8)
        nn.init.constant_(pst.score_right, 0.1)  # fifty steps of Adam at 0.002
        set_sparsity(copied, 0.5)
        by_magnitude = PerTensor(n_nonzero=1024).mask(before.abs())
        overlaps.append(float((live_masks(copied)["weight"] == by_magnitude).float().mean()))
    assert overlaps[0] < 0.65
    assert overlaps[1] > 0.95


def _correlated_rows(features):
    normal = {"generator": torch.Generator().manual_seed(0), "dtype": torch.float64}
    return torch.randn(4 * features, features, **normal) @ torch.randn(features, features, **normal)


@pytest.mark.parametrize("transposed", [False, True])
def test_exact_prices_in_place_of_the_learnt_score(transposed):
    gram = Gram.empty(6)
    gram.update(_correlated_rows(6))
    layer = pytest.importorskip("transformers").pytorch_utils.Conv1D(6, 6).double() if transposed else _linear(6, 6)
    weight = (layer.weight.T if transposed else layer.weight).detach().clone()
    kept = torch.ones(6, dtype=torch.bool)
    prices = torch.stack([move_prices(row, gram.matrix, kept).drop for row in weight])
    for given in (gram, gram.matrix):
        copied = copy.deepcopy(layer)
        pst = _with_pst(copied, gram=given)
        assert set(dict(pst.named_parameters())) == {"weight_left", "weight_right"}
        score = pst.score(copied.parametrizations.weight.original)
        torch.testing.assert_close(score.T if transposed else score, prices, rtol=1e-9, atol=0)
        set_sparsity(copied, 0.5)
        expected = PerTensor(n_nonzero=18).mask(prices)
        mask = live_masks(copied)["weight"]
        assert torch.equal(mask.T if transposed else mask, expected)
        # The straight-through gradient goes through the price: 2 w / (G^-1)_jj.
        with torch.no_grad():
            pst.weight_right.fill_(0.01)
        w = pst.current(copied.parametrizations.weight.original)
        copied.weight.sum().backward()
        kept_now = pst.mask(copied.parametrizations.weight.original)
        dw = kept_now + w * 2 * pst.score(w) / w
        torch.testing.assert_close(pst.weight_right.grad, (pst.weight_left.T @ dw).detach(), rtol=1e-9, atol=1e-12)


def test_what_cannot_be_attached_is_refused_by_name():
    model = nn.Sequential(nn.Linear(4, 4), nn.Conv2d(4, 4, 3))

    def attempt(make, match, include="*"):
        with pytest.raises(ValueError, match=match):
            sparsify(model, make, include=include)
        assert not any(map(parametrize.is_parametrized, model.modules()))

    attempt(lambda weight: PST((4, 4)), r"1.weight must have shape \(4, 4\); got \(4, 4, 3, 3\)")
    attempt(lambda weight: PST(weight.shape, gram=torch.eye(3)), "0.weight must have 3 inputs, as the gram", "0")
    attempt(lambda weight: PST(weight.shape, gram=torch.eye(4)), "1.weight must have 4 inputs, as the gram", "1")
    attempt(lambda weight: PST(weight.shape, gram=torch.ones(4, 4)), "gram must be positive definite", "0")
    attempt(lambda weight: PST(weight.shape, weight_rank=0), "weight_rank must be", "0")
    attempt(lambda weight: PST((4,)), "shape must have at least two axes", "0")


def test_convolutions_and_dtypes():
    model = nn.Sequential(nn.Conv2d(4, 6, 3), nn.Flatten(), nn.Linear(6, 2)).to(torch.bfloat16)
    sparsify(model, lambda weight: PST(weight.shape, weight_rank=2, score_rank=2))
    set_sparsity(model, 0.5)
    model(torch.ones(2, 4, 3, 3, dtype=torch.bfloat16)).square().sum().backward()
    for name, layer in find_layers(model).items():
        pst = layer.parametrizations.weight[0]
        assert all(p.dtype == torch.bfloat16 for p in pst.parameters()), name
        assert pst.weight_right.grad.abs().sum() > 0
    assert {name: int(mask.sum()) for name, mask in finalize(model).items()} == {"0.weight": 108, "2.weight": 6}


def test_the_mask_under_autocast_is_that_without():
    layer = nn.Linear(64, 64)
    _shaken(_with_pst(layer, a1=0.1, a2=0.1))
    set_sparsity(layer, 0.5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        seen = layer.weight != 0
    assert torch.equal(seen, live_masks(layer)["weight"])
