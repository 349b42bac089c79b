"""Networks in a subspace: where they start, what their gradient is, and what is left out of the subspace."""

import copy
import pickle
from functools import partial

import pytest
import torch
from torch import nn

from sparsetheory.gpu.core import train
from sparsetheory.gpu.core.models import MLP
from sparsetheory.gpu.dimension import DenseProjection, FastfoodProjection, SparseProjection, SubspaceModel

KINDS = [DenseProjection, SparseProjection, FastfoodProjection]
SCALES = [False, True, "module"]


class _Tied(nn.Module):
    """An embedding whose table is the head as well, a normalisation in between, and a counter."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(7, 5)
        self.norm = nn.BatchNorm1d(5)
        self.head = nn.Linear(5, 7)
        self.head.weight = self.table.weight
        self.calls = nn.Parameter(torch.tensor([3]), requires_grad=False)

    def forward(self, x):
        return self.head(self.norm(self.table(x)))


def _moved(model, scale=1.0):
    source = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(scale * torch.randn(parameter.shape, generator=source).to(parameter))
    return model


def _data(n=6, width=8):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("layer_scales", SCALES)
@pytest.mark.parametrize("kind", KINDS)
def test_it_starts_at_the_module_to_the_bit(kind, layer_scales, device):
    module = MLP([8, 12, 3]).to(device)
    model = SubspaceModel(module, partial(kind, 20), layer_scales)
    x = _data().to(device)
    assert model.t.device == x.device
    assert torch.equal(model(x), module(x))
    assert torch.equal(model.flat_parameters(), torch.cat([p.flatten() for p in module.parameters()]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_the_adjoint_of_the_gradient_of_the_weights(kind, device):
    module = MLP([8, 12, 3]).to(device, torch.float64)
    make = partial(kind, 20, dtype=torch.float64)
    model = _moved(SubspaceModel(module, make, "tensor"))
    x = _data().double().to(device)
    model(x).square().sum().backward()
    merged = model.merge()
    merged(x).square().sum().backward()
    gradients = [parameter.grad.flatten() for parameter in merged.parameters()]
    scaled = torch.cat([scale * one for scale, one in zip(model.layer_scales, gradients, strict=True)])
    torch.testing.assert_close(model.t.grad, model.projection.to_dense().T @ scaled)
    change = (model.projection.to_dense() @ model.t).split([len(one) for one in gradients])
    expected = torch.stack([part @ one for part, one in zip(change, gradients, strict=True)])
    torch.testing.assert_close(model.layer_scales.grad, expected)


@pytest.mark.parametrize("layer_scales", SCALES)
def test_a_merged_module_is_a_plain_one_with_the_same_outputs(layer_scales):
    module = MLP([8, 12, 3])
    model = _moved(SubspaceModel(module, partial(SparseProjection, 9), layer_scales))
    merged = model.merge()
    assert type(merged) is MLP
    assert list(merged.state_dict()) == list(module.state_dict())
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in merged.parameters())
    assert torch.equal(merged(_data()), model(_data()))
    assert not torch.allclose(merged(_data()), module(_data()))
    # Each has its own memory, as formats of weights want it.
    assert len({parameter.untyped_storage().data_ptr() for parameter in merged.parameters()}) == 4
    with torch.no_grad():
        next(merged.parameters()).zero_()
    assert not torch.equal(merged(_data()), model(_data()))


def test_only_coordinates_and_scales_are_parameters_and_the_module_is_left_alone():
    module = MLP([8, 12, 3])
    before = copy.deepcopy(module.state_dict())
    model = SubspaceModel(module, partial(DenseProjection, 9), True)
    assert {name: len(parameter) for name, parameter in model.named_parameters()} == {"t": 9, "layer_scales": 4}
    assert model.n_trained == 13
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    run = train(model, _data(30), torch.arange(30) % 3, optimizer=optimizer, n_steps=60)
    assert run.losses[-1] < 0.8 * run.losses[0]
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in module.parameters())


def test_weight_decay_pulls_towards_the_starting_weights():
    module = MLP([8, 12, 3])
    model = _moved(SubspaceModel(module, partial(DenseProjection, 9)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, weight_decay=1.0)
    for _ in range(60):
        (0 * model(_data()).sum()).backward()
        optimizer.step()
    torch.testing.assert_close(model(_data()), module(_data()))


def test_the_scales_of_modules_cover_weight_and_bias():
    module = MLP([4, 5, 3])
    model = _moved(SubspaceModel(module, partial(DenseProjection, 6), "module"))
    assert model.layer_names == (("0.weight", "0.bias"), ("2.weight", "2.bias"))
    change = model.projection.apply(model.t)
    start = torch.cat([p.detach().flatten() for p in module.parameters()])
    first, second = model.layer_scales
    factors = torch.cat([first.repeat(4 * 5 + 5), second.repeat(5 * 3 + 3)])
    torch.testing.assert_close(model.flat_parameters(), start + factors * change)


def test_tied_parameters_count_once_and_stay_tied():
    module = _Tied()
    model = _moved(SubspaceModel(module, lambda n: DenseProjection(4, n)))
    assert model.projection.n_features == 7 * 5 + 5 + 5 + 7
    merged = model.eval().merge()
    assert merged.head.weight is merged.table.weight
    x = torch.arange(7)
    assert torch.equal(merged(x), model(x))
    # By hand, with a table that has moved in both places.
    table = module.table.weight + model.projection.apply(model.t)[:35].view(7, 5)
    torch.testing.assert_close(merged.head.weight, table)


def test_buffers_and_integer_parameters_stay_direct():
    module, x = _Tied(), torch.arange(7)
    model = SubspaceModel(module, partial(DenseProjection, 4))
    assert model.changed_buffers() == []
    assert torch.equal(model(x), copy.deepcopy(module)(x))
    module(x)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(getattr(model.module.norm, name), getattr(module.norm, name))
    assert model.changed_buffers() == ["norm.running_mean", "norm.running_var", "norm.num_batches_tracked"]
    assert model.merge().calls.tolist() == [3]
    assert torch.equal(model.merge().norm.running_mean, module.norm.running_mean)


def test_parameters_are_excluded_or_trained_directly_by_name():
    module = MLP([8, 12, 12, 3])
    model = SubspaceModel(module, partial(DenseProjection, 5), True, exclude="0", direct=["4", "2.bi*"])
    assert model.layer_names == (("2.weight",),)
    trained = {name: parameter.numel() for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {"t": 5, "layer_scales": 1, "module.2.bias": 12, "module.4.weight": 36, "module.4.bias": 3}
    assert model.n_trained == sum(trained.values())
    _moved(model)
    merged = model.merge()
    assert torch.equal(merged[0].weight, module[0].weight)
    assert merged[0].weight.requires_grad
    assert not torch.equal(merged[4].weight, module[4].weight)
    assert torch.equal(merged(_data()), model(_data()))
    assert list(merged.state_dict()) == list(module.state_dict())


def test_what_the_user_froze_stays_frozen():
    module = MLP([8, 12, 3])
    module[0].requires_grad_(False)
    model = _moved(SubspaceModel(module, partial(DenseProjection, 5)))
    assert model.projection.n_features == 12 * 3 + 3
    merged = model.merge()
    assert torch.equal(merged[0].weight, module[0].weight)
    assert not merged[0].weight.requires_grad


def test_states_go_round():
    module = MLP([8, 12, 3])
    make = partial(SubspaceModel, module, layer_scales=True)
    model = _moved(make(partial(FastfoodProjection, 5, generator=4)))
    # Another start: the state brings its own.
    other = SubspaceModel(MLP([8, 12, 3], generator=8), partial(FastfoodProjection, 5, generator=4), True)
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    assert torch.equal(other(_data()), model(_data()))
    copied = copy.deepcopy(model)
    assert torch.equal(copied(_data()), model(_data()))
    _moved(copied)
    assert not torch.allclose(copied(_data()), model(_data()))


def test_a_state_of_another_projection_is_refused_and_changes_nothing():
    module = MLP([8, 12, 3])
    model = _moved(SubspaceModel(module, partial(FastfoodProjection, 5, generator=4)))
    for kind, seed in [(FastfoodProjection, 5), (DenseProjection, 4)]:
        other = SubspaceModel(module, partial(kind, 5, generator=seed))
        with pytest.raises(ValueError, match="state_dict must be of a model with the same projection"):
            other.load_state_dict(model.state_dict())
        assert torch.equal(other.t, torch.zeros(5))


@pytest.mark.parametrize("kind", KINDS)
def test_precisions(kind):
    module = MLP([8, 12, 3]).to(torch.bfloat16)
    module[0].float()
    model = SubspaceModel(module, partial(kind, 9))
    tensors = dict(model.merge().named_parameters())
    assert {name: tensor.dtype for name, tensor in tensors.items()} == {
        name: tensor.dtype for name, tensor in module.named_parameters()
    }
    assert all(torch.equal(tensor, module.get_parameter(name)) for name, tensor in tensors.items())
    whole = SubspaceModel(MLP([8, 12, 3]), partial(kind, 9)).to(torch.bfloat16)
    assert whole.t.dtype == torch.bfloat16
    assert _moved(whole)(_data().bfloat16()).dtype == torch.bfloat16
    double = SubspaceModel(MLP([8, 12, 3]), partial(kind, 9)).double()
    assert _moved(double)(_data().double()).dtype == torch.float64


def test_a_model_that_asks_its_parameters_for_their_type_finds_them():
    class Asks(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 3)

        def forward(self, x):
            return self.layer(x.to(next(self.parameters()).dtype))

    module = Asks()
    model = SubspaceModel(module, partial(DenseProjection, 2))
    assert torch.equal(model(_data().double()), module(_data()))


def test_an_error_in_the_module_leaves_the_model_usable():
    module = MLP([8, 12, 3])
    model = _moved(SubspaceModel(module, partial(DenseProjection, 2)))
    before = model(_data())
    with pytest.raises(RuntimeError):
        model(_data(width=9))
    assert torch.equal(model(_data()), before)
    assert [name for name, _ in model.named_parameters()] == ["t"]


def test_all_tensors_follow_a_change_of_type():
    module = MLP([8, 12, 3])
    module[2].bfloat16()
    for convert in (nn.Module.double, nn.Module.float, nn.Module.bfloat16):
        model = convert(SubspaceModel(module, partial(DenseProjection, 9)))
        expected = {name: tensor.dtype for name, tensor in convert(copy.deepcopy(module)).named_parameters()}
        assert {name: tensor.dtype for name, tensor in model.merge().named_parameters()} == expected
        assert model.projection.dtype == model.t.dtype == next(iter(expected.values()))
    kept = SubspaceModel(module, partial(DenseProjection, 9)).to("cpu").merge()
    assert [tensor.dtype for tensor in kept.parameters()] == [torch.float32] * 2 + [torch.bfloat16] * 2


def test_the_projection_follows_a_state_that_is_taken_over_as_it_is():
    make = partial(SubspaceModel, MLP([8, 12, 3]), partial(FastfoodProjection, 5))
    model, other = _moved(make().double()), make()
    other.load_state_dict(copy.deepcopy(model.state_dict()), assign=True)
    assert torch.equal(other(_data().double()), model(_data().double()))


def test_copies_refuse_another_projection_when_the_original_is_gone():
    module = MLP([8, 12, 3])
    state = SubspaceModel(module, partial(FastfoodProjection, 5, generator=1)).state_dict()
    model = SubspaceModel(module, partial(FastfoodProjection, 5))
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    del model
    for copied in copies:
        assert torch.equal(copied(_data()), module(_data()))
        with pytest.raises(ValueError, match="the same projection"):
            copied.load_state_dict(state)


def test_what_was_trained_and_then_frozen_is_still_counted_and_rounded():
    model = SubspaceModel(MLP([8, 12, 3]), partial(DenseProjection, 9), True, direct="2.bias")
    model.requires_grad_(False)
    # Neither t nor the one scale have moved; what is trained directly may have.
    assert model.n_trained == 3
    model = _moved(SubspaceModel(MLP([8, 12, 3]), partial(DenseProjection, 9), True, direct="2.bias"), scale=0.3)
    rounded = model.quantized(4, 2.0)
    model.requires_grad_(False)
    assert model.n_trained == 9 + 3 + 3
    again = model.quantized(4, 2.0)
    assert all(torch.equal(one, two) for one, two in zip(again.parameters(), rounded.parameters(), strict=True))
    # A parameter that was frozen from the start is none that is trained directly.
    module = MLP([8, 12, 3])
    module[2].requires_grad_(False)
    assert SubspaceModel(module, partial(DenseProjection, 9), direct="2").n_trained == 9


def test_rounded_copies():
    model = _moved(SubspaceModel(MLP([8, 12, 3]), partial(DenseProjection, 9), True, direct="2"), scale=0.3)
    rounded = model.quantized(4, 2.0)
    centres = torch.arange(-15, 16, 2) / 8
    for name, parameter in rounded.named_parameters():
        assert torch.isin(parameter, centres).all(), name
        assert (parameter - model.get_parameter(name)).abs().max() <= 2 / 16 + 1e-6
    assert rounded.t.requires_grad
    assert torch.equal(rounded.start, model.start)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"projection": DenseProjection(3, 20)}, "projection must have as many features as .* 147; got 20"),
        ({"projection": partial(DenseProjection, 148)}, "n_components must be .* 147; got 148"),
        ({"projection": partial(DenseProjection, 0)}, "n_components must be .* got 0"),
        ({"projection": 5}, "projection must be a projection, or a function of .*; got 5"),
        ({"projection": lambda n: 2 * n}, "projection must be a projection, or a function of .*; got 294 from <func"),
        ({"layer_scales": "layer"}, "layer_scales must be True or False or one of 'tensor', 'module'; got 'layer'"),
        ({"exclude": "head"}, r"exclude must name parameters, .* as in 0.weight, .*; got 'head'"),
        ({"direct": "3"}, "direct must name parameters"),
        ({"exclude": "0", "direct": "0.bias"}, "exclude and direct must name different parameters; got 0.bias"),
        ({"exclude": ["0", "2"]}, "module must have a parameter that requires gradients"),
        ({"module": "MLP"}, "module must be a torch module; got 'MLP'"),
    ],
)
def test_bad_arguments(options, message):
    good = {"module": MLP([8, 12, 3]), "projection": partial(DenseProjection, 3)}
    with pytest.raises(ValueError, match=message):
        SubspaceModel(**{**good, **options})


def test_parameters_on_several_devices_are_an_error():
    module = MLP([8, 12, 3])
    module[2].to("meta")
    with pytest.raises(ValueError, match=r"projected parameters on one device; got 0\.bias on cpu, 2\.bias on meta"):
        SubspaceModel(module, partial(DenseProjection, 1))
    assert SubspaceModel(module, partial(DenseProjection, 1), exclude="2").layer_names == (("0.weight",), ("0.bias",))


def test_the_map_goes_where_the_module_is():
    model = SubspaceModel(MLP([8, 12, 3]).to("meta"), partial(FastfoodProjection, 5))
    assert {model.t.device.type, model.projection.device.type, model.start.device.type} == {"meta"}


def test_complex_parameters_must_be_named():
    module = nn.Linear(2, 2, dtype=torch.complex64)
    with pytest.raises(ValueError, match="weight must be of real numbers, or be excluded or direct"):
        SubspaceModel(module, partial(DenseProjection, 1))
