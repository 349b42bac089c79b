import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

from sparsetheory.gpu.core import NM, MaskDecay, MaskSet, PerRow, StructureDecay
from sparsetheory.gpu.weights import MaskedWeight, SparseSTE, finalize, live_masks, sparsify
from sparsetheory.gpu.weights.training.masked_weight import parametrised_weights


def _model(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 4)).to(dtype)


def _x(rows=5, dtype=torch.float32):
    return torch.randn(rows, 8, generator=torch.Generator().manual_seed(1)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_layers_compute_with_sparse_weights_and_keep_their_biases(device, dtype):
    model, dense = _model(dtype).to(device), _model(dtype).to(device)
    masks = sparsify(model, "2:4")
    assert list(masks) == ["0.weight", "2.weight"]
    x = _x(dtype=dtype).to(device)
    hidden = torch.relu(nn.functional.linear(x, dense[0].weight * masks["0.weight"], dense[0].bias))
    assert torch.equal(model(x), nn.functional.linear(hidden, dense[2].weight * masks["2.weight"], dense[2].bias))
    assert {value.dtype for value in model.parameters()} == {dtype}
    assert all(mask.device.type == device for mask in masks.values())


def test_the_layers_of_blocks_are_chosen_and_others_may_be_left_out():
    model = nn.Sequential(nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)]), nn.Linear(8, 4))
    assert list(sparsify(copy.deepcopy(model), "2:4")) == ["0.0.weight", "0.1.weight"]
    assert list(sparsify(copy.deepcopy(model), "2:4", include="*", exclude="0.0")) == ["0.1.weight", "1.weight"]
    sparsify(model, "2:4", include="1")
    # More of them may follow.
    assert list(sparsify(model, "1:4", include="0.*")) == ["0.0.weight", "0.1.weight"]
    assert list(live_masks(model)) == ["0.0.weight", "0.1.weight", "1.weight"]


def test_a_convolution_has_groups_along_its_inputs():
    model = nn.Conv2d(8, 3, (2, 5))
    mask = sparsify(model, "2:4")["weight"]
    assert (mask.reshape(3, 2, 4, 2, 5).sum(2) == 2).all()
    assert model(torch.ones(1, 8, 6, 6)).shape == (1, 3, 5, 2)


@pytest.mark.parametrize(
    ("layer", "pattern", "message"),
    [
        (nn.Linear(6, 4), "2:4", r"0\.weight must have a multiple of 4 entries along axis -1 for 2:4; got 6"),
        (nn.Conv2d(3, 8, 4), "2:4", r"0\.weight must have a multiple of 4 entries along axis -1 for 2:4; got 3"),
        (nn.Linear(8, 6), NM(2, 4, axis=0), r"0\.weight must have a multiple of 4 entries along axis 0"),
        (nn.Linear(8, 6), StructureDecay("geometric", NM(2, 4), 100), r"0\.weight must have a multiple of 32"),
        (nn.Linear(8, 6), {"0.weight": torch.ones(8, 6) > 0}, r"0\.weight must have the shape of its mask, \(8, 6\)"),
        (nn.Linear(8, 6), PerRow(9), r"0\.weight must have at least 9 entries"),
    ],
)
def test_groups_that_do_not_fit_are_refused_and_nothing_is_changed(layer, pattern, message):
    # The layer that does not fit comes last.
    model = nn.Sequential(layer, nn.Linear(32, 4))
    with pytest.raises(ValueError, match=message):
        sparsify(model, pattern, include=["0"] if isinstance(pattern, dict) else ["1", "0"])
    assert not any(parametrize.is_parametrized(module) for module in model.modules())


def _shared():
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    model[1].weight = model[0].weight
    return model


def _pruned():
    model = nn.Sequential(nn.Linear(8, 8))
    prune.l1_unstructured(model[0], "weight", 0.5)
    return model


def _twice():
    model = nn.Sequential(nn.Linear(8, 8))
    sparsify(model, "2:4")
    return model


def _infinite():
    model = nn.Sequential(nn.Linear(8, 8))
    nn.init.constant_(model[0].weight, float("inf"))
    return model


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (_shared, ValueError, r"0\.weight must belong to 0 alone; 1 has it, too"),
        (_pruned, ValueError, r"0\.weight must be a parameter; got one that is computed from others"),
        (_twice, ValueError, r"0\.weight must be a parameter; got one that is computed from others"),
        (_infinite, ValueError, r"0\.weight must be finite"),
        (
            lambda: nn.Sequential(nn.Linear(8, 8, dtype=torch.complex64)),
            TypeError,
            r"0\.weight must hold real floating",
        ),
    ],
)
def test_weights_that_cannot_be_trained_sparse_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        sparsify(make(), "2:4", include="0")


def test_a_weight_that_is_shared_is_left_out_by_default():
    model = nn.Sequential(_shared(), nn.Linear(8, 4))
    assert list(sparsify(model, "2:4")) == ["1.weight"]


@pytest.mark.parametrize(
    ("pattern", "error", "message"),
    [
        (3, TypeError, "pattern must be a pattern, its text, masks or a callable; got int"),
        (lambda weight: nn.Identity(), TypeError, r"parametrisations with masks; got Identity for 0\.weight"),
        ({"0.weight": torch.ones(12, 8)}, TypeError, "pattern must hold bool"),
    ],
)
def test_bad_patterns(pattern, error, message):
    with pytest.raises(error, match=message):
        sparsify(_model(), pattern)


def test_each_layer_needs_a_mask_of_its_own():
    masks = {"0.weight": torch.ones(12, 8) > 0}
    with pytest.raises(ValueError, match=r"a mask for each layer that is included; got none for 2\.weight"):
        sparsify(_model(), masks, include="*")
    one = SparseSTE(NM(2, 4))
    with pytest.raises(ValueError, match=r"a new parametrisation for each weight; got one twice, for 2"):
        sparsify(_model(), lambda weight: one)


class _Narrow(MaskedWeight):
    """Gives half of a weight where that has 12 columns, which no layer can use; freezes what it is given."""

    trains_weight = False

    def mask(self, weight):
        return weight > 0

    def soft(self, weight):
        return weight[:, :6] if weight.shape[1] == 12 else weight


def test_a_parametrisation_that_torch_refuses_leaves_the_model_as_it_was():
    model, dense = _model(), _model()
    with pytest.raises(ValueError, match="shape"):
        sparsify(model, lambda weight: _Narrow())
    assert list(model.state_dict()) == list(dense.state_dict())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert torch.equal(model(_x()), dense(_x()))


def test_fixed_masks_stay(device):
    model = _model().to(device)
    masks = MaskSet({"0.weight": torch.rand(12, 8, generator=torch.Generator().manual_seed(2)) < 0.3})
    sparsify(model, masks)
    assert live_masks(model) == masks
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(_x().to(device)).square().sum().backward()
        optimizer.step()
    assert live_masks(model) == masks
    assert list(sparsify(nn.Linear(8, 12), {"weight": masks["0.weight"]})) == ["weight"]


def test_loading_a_state_does_not_write_to_the_masks_that_were_given():
    masks = MaskSet({"weight": torch.eye(4, 8, dtype=torch.bool)})
    models = [nn.Linear(8, 4) for _ in range(2)]
    for model in models:
        sparsify(model, masks)
    state = {name: ~value if name.endswith("fixed") else value for name, value in models[0].state_dict().items()}
    models[0].load_state_dict(state)
    assert torch.equal(live_masks(models[0])["weight"], ~torch.eye(4, 8, dtype=torch.bool))
    assert torch.equal(live_masks(models[1])["weight"], masks["weight"])
    assert torch.equal(masks["weight"], torch.eye(4, 8, dtype=torch.bool))


@pytest.mark.parametrize("first", [True, False])
def test_the_optimiser_may_be_made_before_or_after(first):
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1) if first else None
    sparsify(model, "2:4")
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.1)
    before = model[0].parametrizations.weight.original.detach().clone()
    model(_x()).square().sum().backward()
    optimizer.step()
    stored = model[0].parametrizations.weight.original
    torch.testing.assert_close(stored, before - 0.1 * stored.grad)
    assert bool(stored.grad[~live_masks(model)["0.weight"]].any())


def test_a_frozen_weight_stays_frozen():
    model = _model()
    model[0].weight.requires_grad_(False)
    sparsify(model, "2:4")
    model(_x()).sum().backward()
    assert model[0].parametrizations.weight.original.grad is None
    finalize(model)
    assert [parameter.requires_grad for parameter in model.parameters()] == [False, True, True, True]


def test_a_copy_is_independent():
    model = _model()
    sparsify(model, lambda weight: SparseSTE(NM(1, 4), mask_decay=MaskDecay("linear", 0.1)))
    model(_x()).sum().backward()
    other = copy.deepcopy(model)
    for one in other.modules():
        if isinstance(one, MaskedWeight):
            one.step = 5
    assert model[0].parametrizations.weight[0].step == 0
    with torch.no_grad():
        other[0].parametrizations.weight.original.neg_().add_(1)
    assert live_masks(other) != live_masks(model)
    assert int(model[0].weight.count_nonzero()) == 96


def test_a_state_dict_holds_weights_masks_and_steps(tmp_path):
    decay = MaskDecay("exp", 0.2)
    model, other = _model(), _model()
    for one in (model, other):
        sparsify(one, lambda weight: SparseSTE(NM(1, 4), mask_decay=decay), include="0")
        sparsify(one, {"2.weight": torch.ones(4, 12) > (0 if one is model else 1)})
    with torch.no_grad():
        model[0].parametrizations.weight.original.mul_(-2).add_(0.3)
    model[0].parametrizations.weight[0].step = 7
    torch.save(model.state_dict(), tmp_path / "state.pt")
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert live_masks(other) == live_masks(model)
    assert other[0].parametrizations.weight[0].step == 7
    assert torch.equal(other(_x()), model(_x()))


def test_functional_calls_take_other_values():
    model = _model()
    sparsify(model, "2:4")
    names = [name for name, _ in model.named_parameters()]
    assert "0.parametrizations.weight.original" in names
    values = {name: 2 * value.detach() for name, value in model.named_parameters()}
    found = torch.func.functional_call(model, values, (_x(),))
    other = _model()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(2)
    sparsify(other, "2:4")
    assert torch.equal(found, other(_x()))


class _Counting(SparseSTE):
    calls = 0

    def mask(self, weight):
        self.calls += 1
        return super().mask(weight)


def test_masks_are_chosen_once_a_pass_and_once_where_torch_caches():
    model = _model()
    sparsify(model, lambda weight: _Counting(NM(2, 4)), include="0")
    one = model[0].parametrizations.weight[0]
    one.calls = 0
    model(_x()).sum().backward()
    assert one.calls == 1
    with parametrize.cached():
        first = model(_x()) + model(_x())
        assert model[0].weight is model[0].weight
    first.sum().backward()
    assert one.calls == 2
    one.mask_decay, one.calls = MaskDecay("linear", 0.1), 0
    model(_x())
    assert one.calls == 0  # The first step of a decay is dense.


def test_an_assigned_weight_is_stored():
    model = _model()
    sparsify(model, "2:4")
    model[0].weight = torch.ones(12, 8)
    assert torch.equal(model[0].parametrizations.weight.original, torch.ones(12, 8))
    assert model[0].weight[0].tolist() == [1.0, 1.0, 0.0, 0.0] * 2
    assert len(list(parametrised_weights(model))) == 2


def test_transposed_layers_of_transformers():
    pytorch_utils = pytest.importorskip("transformers.pytorch_utils")
    layer = pytorch_utils.Conv1D(6, 8)
    mask = sparsify(layer, "1:4")["weight"]
    assert mask.shape == (8, 6)
    assert (mask.reshape(2, 4, 6).sum(1) == 1).all()
    assert layer(_x()).shape == (5, 6)
