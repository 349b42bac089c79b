import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from sparsetheory.gpu.core import NM, MaskDecay, MaskSet
from sparsetheory.gpu.weights import SparseSTE, StepCounter, WeightScaling, finalize, hard_masked, live_masks, sparsify


def _model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 4))


def _fading(weight):
    return SparseSTE(NM(1, 4), mask_decay=MaskDecay("exp", 0.1))


_X = torch.randn(5, 8, generator=torch.Generator().manual_seed(1))


def test_the_final_model_is_what_hard_masks_showed(device):
    model = _model().to(device)
    sparsify(model, _fading)
    soft = model(_X.to(device))
    with hard_masked(model) as same:
        assert same is model
        shown = model(_X.to(device))
    assert torch.equal(model(_X.to(device)), soft)
    assert not torch.equal(shown, soft)
    masks = live_masks(model)
    with pytest.warns(RuntimeWarning, match=r"schedules of 2 weights are at step 0, such as that of 0\.weight"):
        assert finalize(model) == masks == MaskSet.of(model)
    assert torch.equal(model(_X.to(device)), shown)


def test_a_final_model_is_a_plain_one():
    model, plain = _model(), _model()
    sparsify(model, "2:4")
    stored = model[0].parametrizations.weight.original
    finalize(model)
    assert model[0].weight is stored
    assert [type(module) for module in model.modules()] == [type(module) for module in plain.modules()]
    assert list(model.state_dict()) == list(plain.state_dict())
    assert [name for name, _ in model.named_parameters()] == [name for name, _ in plain.named_parameters()]
    plain.load_state_dict(model.state_dict())
    assert torch.equal(plain(_X), model(_X))


def test_hard_masks_end_with_their_context_even_after_an_error():
    model = _model()
    sparsify(model, _fading)
    with pytest.raises(RuntimeError), hard_masked(model), hard_masked(model):
        raise RuntimeError
    assert int(model[0].weight.count_nonzero()) == 96


def test_what_is_off_the_mask_learns_nothing_within_hard_masks():
    model = _model()
    masks = sparsify(model, _fading)
    with hard_masked(model):
        model(_X).sum().backward()
    assert not model[0].parametrizations.weight.original.grad[~masks["0.weight"]].any()


def test_live_masks_are_copies():
    model = _model()
    sparsify(model, {"0.weight": torch.ones(12, 8) > 0})
    live_masks(model)["0.weight"].zero_()
    assert live_masks(model).density == 1.0


def test_live_masks_follow_any_way_of_writing():
    model = _model()
    sparsify(model, "2:4", include="0")
    model(_X)
    stored = model[0].parametrizations.weight.original
    stored.data = torch.arange(96.0).reshape(12, 8)
    assert live_masks(model)["0.weight"].tolist() == [[False, False, True, True] * 2] * 12
    stored.data.neg_().add_(96)
    assert live_masks(model)["0.weight"].tolist() == [[True, True, False, False] * 2] * 12


def test_other_parametrisations_are_left_alone():
    model = _model()
    nn.utils.parametrizations.weight_norm(model[2])
    sparsify(model, "2:4", include="0")
    finalize(model)
    assert not parametrize.is_parametrized(model[0])
    assert parametrize.is_parametrized(model[2])


def test_scales_alone_are_folded_without_masks():
    model = _model()
    parametrize.register_parametrization(model[0], "weight", WeightScaling())
    nn.init.constant_(model[0].parametrizations.weight[0].scales, 3.0)
    expected = model(_X)
    assert len(finalize(model)) == 0
    assert not parametrize.is_parametrized(model[0])
    assert torch.equal(model(_X), expected)


@pytest.mark.parametrize("after", [True, False])
def test_scales_beside_masks_are_folded(after):
    model = _model()
    steps = [
        lambda: sparsify(model, "2:4", include="0"),
        lambda: parametrize.register_parametrization(model[0], "weight", WeightScaling()),
    ]
    steps[0]()
    if after:
        steps[1]()
        nn.init.constant_(model[0].parametrizations.weight[1].scales, 3.0)
    expected = model(_X)
    masks = finalize(model)
    assert masks.densities == {"0.weight": 0.5}
    assert torch.equal(model(_X), expected)


def test_masks_of_an_optimiser_are_applied():
    model = _model()
    mask = torch.rand(12, 8, generator=torch.Generator().manual_seed(2)) < 0.5
    dense = copy.deepcopy(model)
    found = finalize(model, {model[0].weight: mask})
    assert found == MaskSet({"0.weight": mask})
    assert torch.equal(model[0].weight, dense[0].weight * mask)


def test_what_cannot_be_finalized():
    with pytest.raises(ValueError, match="model must have sparse weights to finalize; got none"):
        finalize(_model())
    with pytest.raises(ValueError, match="masks must hold one at least; got none"):
        finalize(_model(), {})
    with pytest.raises(ValueError, match=r"masks must be given for parameters of the model; number 0, \(2, 2\), is"):
        finalize(_model(), {torch.ones(2, 2): torch.ones(2, 2) > 0})


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (torch.ones(8, dtype=torch.bool), ValueError, r"number 1 has \(8,\), not \(12, 8\)"),
        (torch.ones(12, 8), TypeError, "number 1 is torch.float32"),
    ],
    ids=["broadcast", "numbers"],
)
def test_masks_that_do_not_fit_change_nothing(mask, error, message):
    model = _model()
    before = copy.deepcopy(model.state_dict())
    fits = {model[0].bias: torch.zeros(12, dtype=torch.bool)}
    with pytest.raises(error, match=message):
        finalize(model, {**fits, model[0].weight: mask})
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_sparse_weight_that_others_parametrise_too_is_not_passed_over():
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    sparsify(model, "2:4")
    nn.utils.parametrizations.spectral_norm(model[1])
    with pytest.raises(ValueError, match=r"1\.weight must have no other parametrisation; got _SpectralNorm, too"):
        finalize(model)
    assert parametrize.is_parametrized(model[0])
    parametrize.remove_parametrizations(model[1], "weight")
    nn.utils.parametrizations.spectral_norm(model[1])
    assert finalize(model).densities == {"0.weight": 0.5}
    assert parametrize.is_parametrized(model[1])


def test_schedules_that_moved_are_silent(recwarn):
    model = _model()
    sparsify(model, _fading)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    StepCounter(optimizer, model)
    model(_X).sum().backward()
    optimizer.step()
    finalize(model)
    assert not recwarn
