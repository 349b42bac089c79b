"""Differentiable search: which parameters move when, by which gradients, and what is said of the result."""

import copy
import math
import warnings

import pytest
import torch

from sparsetheory.gpu import core
from sparsetheory.gpu.search import SkipDominanceWarning, SparseLinear, SuperChain, derive, search

OPS = ["identity", "dense", "sparse:0.25"]


def _data(n=60, seed=0):
    x = torch.randn(n, 6, generator=torch.Generator().manual_seed(seed))
    return x, (x[:, 0] * x[:, 1] > 0).long()


def _chain(ops=OPS, seed=0):
    return SuperChain(6, [8, 8, 8], 2, ops, generator=seed)


def test_one_step_moves_alpha_by_the_validation_gradient_then_weights_by_the_training_gradient():
    model, train, val = _chain(), _data(seed=1), _data(seed=2)
    reference = copy.deepcopy(model)
    # By hand: the first step of Adam is the rate times g / (|g| + eps), and sees only its own gradients.
    aim = core.class_loss(reference(val[0]), val[1]) + 0.3 * reference.expected_cost()
    for alpha, gradient in zip(reference.alphas, torch.autograd.grad(aim, reference.alphas), strict=True):
        alpha.data -= 0.05 * gradient / (gradient.abs() + 1e-8)
    weights = [p for p in reference.parameters() if all(p is not alpha for alpha in reference.alphas)]
    gradients = torch.autograd.grad(core.class_loss(reference(train[0]), train[1]), weights)
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.data -= 0.01 * gradient / (gradient.abs() + 1e-8)
    search(model, train, val, 1, cost=0.3, lr=0.01, alpha_lr=0.05)
    for (name, found), expected in zip(model.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6, msg=name)
        assert found.grad is None


def test_masks_act_in_every_forward_pass_and_keep_their_count():
    model, seen = _chain(), []
    layers = [module for module in model.modules() if isinstance(module, SparseLinear)]
    for layer in layers:
        layer.register_forward_hook(lambda layer, *_: seen.append(int(layer.weight.count_nonzero())))
    masks = [layer.mask.clone() for layer in layers]
    search(model, _data(seed=1), _data(seed=2), 30, lr=0.05)
    assert set(seen) == {16}
    assert len(seen) == 2 * 2 * 30
    # Scores learn, so that masks change.
    assert any(not torch.equal(layer.mask, mask) for layer, mask in zip(layers, masks, strict=True))


def test_a_warm_up_trains_dense_weights_alone_and_scores_start_from_them():
    model, seen = _chain(), []
    layer = model.edges[0].ops[2][0]
    layer.register_forward_hook(lambda layer, *_: seen.append(int(layer.weight.count_nonzero())))
    with torch.no_grad():
        # What was there before the warm-up does not matter.
        layer.score.fill_(5.0)
    alphas = []
    model.stem.register_forward_hook(lambda *_: alphas.append(model.alphas[0].detach().clone()))
    search(model, _data(seed=1), _data(seed=2), 1, warmup=4)
    assert seen == [64] * 4 + [16] * 2
    assert all(not alpha.any() for alpha in alphas[:5])
    W = layer.parametrizations.weight.original.detach()
    # One step of Adam at 2e-3 moves scores and weights away from that by little.
    assert float((layer.score.detach() - W.abs() / W.abs().max()).abs().max()) < 0.02


def test_what_is_reported_is_what_the_parameters_say():
    model = _chain()
    model.eval()
    found = search(model, _data(seed=1), _data(seed=2), 20, cost=0.2)
    assert not model.training
    assert found.losses.shape == (20, 2)
    assert found.losses.dtype == torch.float64
    assert bool(found.losses.isfinite().all())
    for row, alpha, entropy, name, costs in zip(
        found.probabilities, model.alphas, found.entropy, found.ops, model.costs, strict=True
    ):
        torch.testing.assert_close(row, alpha.detach().double().softmax(0), rtol=1e-5, atol=1e-7)
        assert entropy == pytest.approx(float(-(row * row.log()).sum()), rel=1e-4)
        assert 0 < entropy < math.log(3)
        assert name == OPS[int(row.argmax())]
        assert costs == (0.0, 1.0, 0.25)
    prices = torch.tensor([0.0, 1.0, 0.25], dtype=torch.float64)
    assert found.expected_cost == pytest.approx(float((found.probabilities @ prices).sum()), rel=1e-5)
    assert found.cost == sum(float(prices[OPS.index(name)]) for name in found.ops)


def test_a_high_price_buys_the_cheapest_operations_and_says_so():
    with pytest.warns(SkipDominanceWarning, match="every edge chose the identity"):
        found = search(_chain(), _data(seed=1), _data(seed=2), 40, cost=20.0, alpha_lr=0.1)
    assert (found.ops, found.cost) == (("identity", "identity"), 0.0)
    assert found.probabilities[:, 0].min() > 0.8
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = search(_chain(OPS[1:]), _data(seed=1), _data(seed=2), 40, cost=20.0, alpha_lr=0.1)
    assert found.ops == ("sparse:0.25", "sparse:0.25")


def test_searches_repeat_and_depend_on_the_generator_by_batches_alone():
    results = []
    for generator in (3, torch.Generator().manual_seed(3), 4):
        model = _chain()
        search(model, _data(seed=1), _data(seed=2), 4, batch_size=16, generator=generator)
        results.append(model.state_dict())
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])
    assert not torch.equal(results[0]["head.weight"], results[2]["head.weight"])


def test_digits_are_learned_by_what_is_derived():
    digits = core.datasets.load_digits()
    order = torch.randperm(1797, generator=torch.Generator().manual_seed(0))
    x = torch.from_numpy(digits.images).flatten(1)[order]
    y = torch.from_numpy(digits.labels)[order]
    model = SuperChain(64, [32, 32, 32], 10, ["dense", "sparse:0.1"])
    search(model, (x[:500], y[:500]), (x[500:1000], y[500:1000]), 60, cost=1.0, batch_size=100, lr=1e-2, alpha_lr=0.1)
    network = derive(model)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    core.train(network, x[:1000], y[:1000], optimizer=optimizer, n_steps=60, batch_size=100)
    with torch.no_grad():
        assert core.accuracy(network(x[1000:]), y[1000:]) > 0.85
    assert core.MaskSet.of(network).density < 0.8


def test_a_failure_leaves_the_mode_and_the_masks():
    model = _chain()
    model.eval()
    x, y = _data()
    layer = model.edges[0].ops[2][0]
    with pytest.raises(FloatingPointError, match="the loss is nan during the search"):
        search(model, (x * math.nan, y), (x, y), 3, warmup=2)
    assert not model.training
    assert layer.masked


def test_bad_searches_are_refused():
    model, (x, y) = _chain(), _data()
    with pytest.raises(ValueError, match="val must have as many inputs as labels, at least 1; got 0 inputs"):
        search(model, (x, y), (x[:0], y[:0]), 3)
    with pytest.raises(ValueError, match="train must have as many inputs as labels, at least 1; got 60 inputs and 5"):
        search(model, (x, y[:5]), (x, y), 3)
    with pytest.raises(ValueError, match="steps must be an integer from 1"):
        search(model, (x, y), (x, y), 0)
    with pytest.raises(ValueError, match="cost must be a finite non-negative number"):
        search(model, (x, y), (x, y), 3, cost=-1.0)
    with pytest.raises(ValueError, match="model must be a SuperChain"):
        search(torch.nn.Linear(6, 2), (x, y), (x, y), 3)
    with pytest.raises(ValueError, match="model must be a SuperChain"):
        derive(torch.nn.Linear(6, 2))


def test_frozen_parameters_stay_and_the_others_are_searched():
    model, (x, y) = _chain(), _data()
    model.stem.requires_grad_(False)
    model.alphas[0].requires_grad_(False)
    layer = model.edges[1].ops[2][0]
    layer.score.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    search(model, (x, y), (x, y), 3, warmup=2)
    stayed = [name for name, value in model.state_dict().items() if torch.equal(value, before[name])]
    assert stayed == [
        "stem.0.weight",
        "stem.0.bias",
        "edges.0.alpha",
        "edges.1.ops.2.0.parametrizations.weight.0.score",
    ]
    for alpha in model.alphas:
        alpha.requires_grad_(False)
    with pytest.raises(ValueError, match="weights and alphas that require gradients"):
        search(model, (x, y), (x, y), 3)


def test_a_mask_that_a_user_took_off_stays_off_after_a_warm_up():
    model, (x, y) = _chain(), _data()
    first, second = (edge.ops[2][0] for edge in model.edges)
    first.masked = False
    search(model, (x, y), (x, y), 1, warmup=1)
    assert (first.masked, second.masked) == (False, True)


def test_single_modules_keep_their_modes():
    model, (x, y) = _chain(), _data()
    model.head.eval()
    search(model, (x, y), (x, y), 1)
    assert model.training
    assert not model.head.training


def test_one_edge_without_identity_is_no_collapse(recwarn):
    model, (x, y) = _chain(), _data()
    with torch.no_grad():
        model.alphas[0][0] = model.alphas[1][1] = 3.0
    assert search(model, (x, y), (x, y), 1).ops == ("identity", "dense")
    assert not [warning for warning in recwarn if warning.category is SkipDominanceWarning]


def test_the_first_steps_are_the_default_rates():
    model, (x, y) = _chain(), _data()
    before = copy.deepcopy(model)
    search(model, (x, y), (x, y), 1)
    for old, new, rate in ((before.alphas[0], model.alphas[0], 0.02), (before.head.weight, model.head.weight, 0.002)):
        assert float((new - old).detach().abs().max()) == pytest.approx(rate, rel=1e-3)
