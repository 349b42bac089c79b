import copy

import pytest
import torch
from torch import nn

from sparsetheory.gpu.core import class_loss
from sparsetheory.gpu.core.models import MLP, VisionTransformer
from sparsetheory.gpu.weights import grasp_scores, snip_scores


def _batch(device="cpu", n_per_class=30, n_classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(n_classes).repeat(n_per_class)
    x = torch.randn(len(targets), 6, generator=generator, dtype=torch.float64) + targets[:, None]
    return x.to(device), targets.to(device)


def _model(device="cpu"):
    return MLP([6, 5, 3], activation="tanh", generator=1).to(device, torch.float64)


def _masked(model, masks, x):
    return torch.func.functional_call(model, {name: p * masks[name] for name, p in _weights(model).items()}, (x,))


def _weights(model):
    return {name: p for name, p in model.named_parameters() if name.endswith("weight")}


def test_snip_is_the_gradient_by_a_mask(device):
    model, (x, y) = _model(device), _batch(device)
    masks = {name: torch.ones_like(p, requires_grad=True) for name, p in _weights(model).items()}
    wanted = torch.autograd.grad(class_loss(_masked(model, masks, x), y), list(masks.values()))
    found = snip_scores(model, (x, y), class_loss)
    assert list(found) == ["0.weight", "2.weight"]
    for score, gradient in zip(found.values(), wanted, strict=True):
        torch.testing.assert_close(score, gradient.abs())


def _hessian_scores(model, halves, temperature):
    """Build the Hessian as a matrix, and multiply."""
    weights = _weights(model)
    shapes = {name: p.shape for name, p in weights.items()}
    sizes = [p.numel() for p in weights.values()]

    def loss(flat):
        parts = dict(zip(weights, flat.split(sizes), strict=True))
        shaped = {name: part.reshape(shapes[name]) for name, part in parts.items()}
        return sum(class_loss(torch.func.functional_call(model, shaped, (x,)) / temperature, y) for x, y in halves)

    flat = torch.cat([p.detach().reshape(-1) for p in weights.values()])
    hessian, gradient = torch.func.jacrev(torch.func.grad(loss))(flat), torch.func.grad(loss)(flat)
    parts = (flat * (hessian @ gradient)).split(sizes)
    return {name: part.reshape(shapes[name]) for name, part in zip(weights, parts, strict=True)}


@pytest.mark.parametrize("temperature", [1.0, 200.0])
def test_grasp_is_the_product_with_an_explicit_hessian(device, temperature):
    model, (x, y) = _model(device), _batch(device)
    halves = [(x[:45], y[:45]), (x[45:], y[45:])]
    found = grasp_scores(model, (x, y), class_loss, n_per_class=None, temperature=temperature)
    wanted = _hessian_scores(model, halves, temperature)
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-9, atol=0)
    assert (found["0.weight"] < 0).any()


def test_grasp_takes_the_first_of_each_class_spread_over_the_halves():
    model, (x, y) = _model(), _batch()
    order = torch.cat([torch.where(y == c)[0] for c in range(3)])  # sorted by class
    found = grasp_scores(model, (x[order], y[order]), class_loss, n_per_class=4)
    wanted = grasp_scores(model, (x[:12], y[:12]), class_loss, n_per_class=None)
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name])


class Awkward(nn.Module):
    """Has batch statistics, dropout, and a weight that does not train."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Linear(6, 5), nn.BatchNorm1d(5)
        self.drop, self.last = nn.Dropout(0.5), nn.Linear(5, 3)
        self.first.weight.requires_grad_(False)

    def forward(self, x):
        return self.last(self.drop(self.norm(self.first(x)).relu()))


@pytest.mark.parametrize("scores", [snip_scores, grasp_scores])
@pytest.mark.parametrize("initialisation", [None, "glorot_normal"])
def test_the_model_and_the_generators_stay_as_they_are(scores, initialisation):
    model, batch = Awkward().double().eval(), _batch()
    model.last.weight.grad = torch.ones_like(model.last.weight)
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    with torch.no_grad():
        first, again, other = (
            scores(model, batch, class_loss, initialisation=initialisation, random_state=seed) for seed in (3, 3, 4)
        )
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    assert not model.training
    assert torch.equal(model.last.weight.grad, torch.ones_like(model.last.weight))
    assert model.first.weight.grad is None
    assert not model.first.weight.requires_grad
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)
    assert not any(score.requires_grad for score in first.values())


def test_initialisation_is_drawn_on_a_copy():
    model, batch = _model(), _batch()
    from sparsetheory.gpu.core.models import initialise

    drawn = copy.deepcopy(model)
    initialise(drawn, "glorot_normal", 7)
    found = snip_scores(model, batch, class_loss, initialisation="glorot_normal", random_state=7)
    for name, score in snip_scores(drawn, batch, class_loss).items():
        assert torch.equal(found[name], score)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtype_is_kept(dtype):
    model, (x, y) = _model().to(dtype), _batch()
    for scores in (snip_scores, grasp_scores):
        assert {score.dtype for score in scores(model, (x.to(dtype), y), class_loss).values()} == {dtype}


def test_attention_has_a_second_derivative():
    model = VisionTransformer(8, 4, width=8, n_layers=1, n_heads=2, n_classes=3)
    x = torch.randn(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = grasp_scores(model, (x, torch.arange(3).repeat(4)), class_loss, n_per_class=4)
    assert all(bool(score.isfinite().all()) and bool(score.any()) for score in found.values())


def test_inputs_may_be_positional_or_named():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 3, dtype=torch.float64)

        def forward(self, a, b):
            return self.layer(a - b)

    model, (x, y) = Two(), _batch()
    named = snip_scores(model, ({"b": x.flip(0), "a": x}, y), class_loss)
    assert torch.equal(named["layer.weight"], snip_scores(model, ((x, x.flip(0)), y), class_loss)["layer.weight"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: grasp_scores(_model(), _batch(), class_loss, n_per_class=31), "31 samples of each class; got 30"),
        (lambda: grasp_scores(_model(), _batch(), class_loss, temperature=0.0), "temperature must be"),
        (lambda: grasp_scores(_model(), (torch.ones(3, 6), torch.ones(2)), class_loss), "as many targets; got 3 and 2"),
        (
            lambda: snip_scores(_model(), _batch(), lambda *_: torch.ones((), requires_grad=True)),
            "0.weight, 2.weight",
        ),
        (lambda: snip_scores(_model(), torch.ones(3, 6), class_loss), "batch must be a pair of inputs and targets"),
        (lambda: snip_scores(_model(), _batch(), class_loss, random_state=-1), "random_state must be"),
        (lambda: snip_scores(_model(), _batch(), class_loss, initialisation="he"), "initialisation must be one of"),
        (
            lambda: snip_scores(nn.utils.parametrizations.weight_norm(nn.Linear(6, 3)), _batch(), class_loss),
            "weight must be a parameter; got one that is computed",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
