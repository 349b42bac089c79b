import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

from sparsetheory.gpu.core import NM, BlockNM, capture, collect_grams
from sparsetheory.gpu.weights import FewRowsWarning, prune_model_layerwise, relative_error


class _Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.query, self.key = nn.Linear(8, 8), nn.Linear(8, 8)
        self.out = nn.Linear(8, 4)

    def forward(self, x):
        return self.out(torch.relu(self.query(x) * self.key(x)))


def _data(seed=1, rows=80):
    return torch.randn(rows, 8, generator=torch.Generator().manual_seed(seed)).cumsum(1)


def test_later_layers_see_the_inputs_that_pruned_layers_produce():
    model = _Net()
    dense = {name: layer.weight.detach().clone() for name, layer in model.named_children()}
    results = prune_model_layerwise(model, [_data()], NM(2, 4))
    assert list(results) == ["query", "key", "out"]
    with capture(model, "out") as seen:
        model(_data())
    found = relative_error(dense["out"], model.out.weight, _gram(seen["out"][0]))
    assert found == pytest.approx(results["out"].relative_error, rel=1e-5)


def _gram(x):
    x = x.double()
    return x.T @ x / len(x)


def test_without_sequence_all_layers_see_the_dense_model():
    grams = collect_grams(_Net(), [_data()])
    model, dense = _Net(), _Net()
    results = prune_model_layerwise(model, [_data()], NM(2, 4), sequential=False)
    for name, result in results.items():
        weight = dense.get_submodule(name).weight
        assert relative_error(weight, result.weight, grams[name]) == pytest.approx(result.relative_error, rel=1e-6)


def test_a_layer_that_is_called_twice_is_pruned_on_both_inputs():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.layer = nn.Linear(8, 8)

        def forward(self, x):
            return self.layer(torch.relu(self.layer(x)))

    model = Twice()
    grams = collect_grams(Twice(), [_data()])
    assert grams["layer"].n_samples == 160
    results = prune_model_layerwise(model, [_data()], NM(2, 4))
    assert relative_error(Twice().layer.weight, results["layer"].weight, grams["layer"]) == pytest.approx(
        results["layer"].relative_error, rel=1e-6
    )


def test_few_rows_warn_with_the_number_needed():
    with pytest.warns(FewRowsWarning, match="query has 10 calibration rows for 8 inputs; use at least 16"):
        prune_model_layerwise(_Net(), [_data(rows=10)], NM(2, 4), layers="query")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": "qery"}, "near names are query"),
        ({"batches": []}, "batches must hold at least 1 batch"),
        ({"pattern": NM(2, 5)}, "query.weight must have a multiple of 5 entries along axis -1"),
    ],
)
def test_bad_arguments_change_nothing(options, message):
    model = _Net()
    given = {"batches": [_data()], "pattern": NM(2, 4), **options}
    with pytest.raises(ValueError, match=message):
        prune_model_layerwise(model, given.pop("batches"), given.pop("pattern"), **given)
    for name, parameter in _Net().named_parameters():
        assert torch.equal(parameter, model.get_parameter(name))


@pytest.mark.parametrize("pattern", [NM(2, 4), BlockNM(2, 2, 4)])
def test_groups_over_two_places_of_a_filter_are_refused(pattern):
    # 3 channels at 16 places: 48 inputs, which groups of 4 would divide.
    model = nn.Sequential(nn.Conv2d(3, 8, 4), nn.ReLU(), nn.Conv2d(8, 4, 1))
    before = model[0].weight.detach().clone()
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=r"0\.weight must have a multiple of 4 entries along axis -1 .*; got 3"):
        prune_model_layerwise(model, [x], pattern)
    assert torch.equal(model[0].weight, before)
    results = prune_model_layerwise(model, [x], NM(2, 4, axis=0), method="magnitude", layers="0")
    assert (results["0"].mask.reshape(2, 4, 48).sum(1) == 2).all()
    assert list(prune_model_layerwise(model, [x], NM(2, 4, axis=1), method="magnitude", layers="2")) == ["2"]


def test_a_layer_that_is_never_called_is_an_error():
    model = _Net()
    model.idle = nn.Linear(8, 8)
    with pytest.raises(ValueError, match="idle was not"):
        prune_model_layerwise(model, [_data()], NM(2, 4))


def test_convolutions_are_pruned_along_their_channels():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 2, 1))
    x = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    dense = model(x)
    results = prune_model_layerwise(model, [x], NM(2, 4), layers="0")
    weight = model[0].weight
    assert bool(((weight != 0).sum(1) <= 2).all())
    # The error of the layer itself, from its outputs.
    fresh = nn.Conv2d(4, 6, 3, padding=1)
    torch.manual_seed(0)
    fresh = nn.Conv2d(4, 6, 3, padding=1)
    bias = fresh.bias.detach().reshape(1, -1, 1, 1)
    before, after = fresh(x) - bias, model[0](x) - bias
    error = ((before - after) ** 2).sum() / (before**2).sum()
    assert float(error) == pytest.approx(results["0"].relative_error, rel=1e-4)
    assert dense.shape == model(x).shape


class _Halved(nn.Module):
    def forward(self, weight):
        return weight / 2


def _parametrised(layer):
    parametrize.register_parametrization(layer, "weight", _Halved())


def _masked(layer):
    prune.random_unstructured(layer, "weight", 0.3)


@pytest.mark.parametrize("change", [_parametrised, _masked, nn.utils.parametrizations.weight_norm])
def test_a_computed_weight_is_refused_before_anything_is_changed(change):
    model = _Net()
    change(model.out)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for sequential in (True, False):
        with pytest.raises(ValueError, match=r"out\.weight must be a parameter"):
            prune_model_layerwise(model, [_data()], NM(2, 4), sequential=sequential)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_shared_weight_is_refused():
    model = _Net()
    model.key.weight = model.query.weight
    with pytest.raises(ValueError, match=r"query\.weight must belong to query alone; key has it, too"):
        prune_model_layerwise(model, [_data()], NM(2, 4), layers="*")
    with pytest.raises(ValueError, match="query has it, too"):
        prune_model_layerwise(model, [_data()], NM(2, 4), layers="key")
    # What nobody shares is what is pruned by default.
    assert list(prune_model_layerwise(model, [_data()], "2:4")) == ["out"]


def test_an_unknown_padding_is_refused_before_anything_is_changed():
    model = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, padding="same"))
    before = model[0].weight.detach().clone()
    with pytest.raises(ValueError, match=r"1\.padding must be given as numbers"):
        prune_model_layerwise(model, [torch.randn(2, 4, 5, 5)], NM(2, 4))
    assert torch.equal(model[0].weight, before)


def test_a_failing_model_keeps_its_mode_and_no_hooks():
    class Failing(_Net):
        def forward(self, x):
            if len(x) == 3:
                raise RuntimeError("three rows")
            return super().forward(x)

    model = Failing().train()
    with pytest.raises(RuntimeError, match="three rows"):
        prune_model_layerwise(model, [_data(), _data(rows=3)], NM(2, 4))
    assert all(module.training and not module._forward_pre_hooks for module in model.modules())
    for name, parameter in _Net().named_parameters():
        assert torch.equal(parameter, model.get_parameter(name))


def test_layers_without_usable_rows_are_named():
    model = _Net()
    with pytest.raises(ValueError, match="query must see at least 1 row"):
        prune_model_layerwise(model, [_data()], NM(2, 4), mask=lambda batch: torch.zeros(len(batch)))
    with pytest.raises(ValueError, match="inputs of query: x must be finite"):
        prune_model_layerwise(model, [_data() / 0], NM(2, 4))
