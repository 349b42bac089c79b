import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from sparsetheory.gpu.core.masks import MaskSet, check_alike


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Conv2d(3, 4, 2, bias=False), nn.Linear(5, 2))


def _random(model, seed=0, density=0.5):
    generator = torch.Generator().manual_seed(seed)
    return MaskSet({name: torch.rand(mask.shape, generator=generator) < density for name, mask in _all(model).items()})


def _all(model):
    return {name: p for name, p in model.named_parameters() if p.ndim > 1}


def test_apply_then_of_gives_the_same_masks(model):
    masks = _random(model)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    masks.apply(model)
    assert MaskSet.of(model) == masks
    for name, p in model.named_parameters():
        kept = masks.get(name, torch.ones_like(p, dtype=torch.bool))
        assert torch.equal(p.detach(), torch.where(kept, before[name], 0))


def test_densities_and_counts(model):
    masks = _random(model)
    counts = {name: mask.numpy().sum() for name, mask in masks.items()}
    assert masks.n_nonzero == sum(counts.values())
    assert masks.size == 6 * 5 + 3 * 4 * 4 + 10
    assert masks.density == masks.n_nonzero / masks.size
    assert masks.densities == {name: counts[name] / mask.numel() for name, mask in masks.items()}


def test_distance_is_a_metric_and_counts_a_move_twice(model):
    a, b, c = (_random(model, seed) for seed in range(3))
    assert a.distance(a) == 0
    assert a.distance(b) == b.distance(a) > 0
    assert a.distance(c) <= a.distance(b) + b.distance(c)
    assert a.distance(b, normalised=True) == a.distance(b) / a.size
    moved = MaskSet({"weight": torch.tensor([True, False])})
    assert moved.distance(MaskSet({"weight": torch.tensor([False, True])})) == 2


def test_overlap_and_set_operations(model):
    a, b = _random(model, 1, 0.3), _random(model, 2, 0.6)
    both = a & b
    assert a.overlap(b) * a.n_nonzero == pytest.approx(b.overlap(a) * b.n_nonzero) == pytest.approx(both.n_nonzero)
    assert (a | b).n_nonzero == a.n_nonzero + b.n_nonzero - both.n_nonzero
    assert (a & ~a).n_nonzero == 0
    assert np.isnan((a & ~a).overlap(b))


def test_digest_is_that_of_the_entries():
    mask = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)) < 0.5
    one = MaskSet({"a": mask, "b": mask[0]})
    other = MaskSet({"b": mask[0].clone(), "a": mask.to(memory_format=torch.channels_last)})
    assert one.digest() == other.digest()
    assert one == other
    changed = mask.clone()
    changed[1, 2, 3, 4] ^= True
    assert one.digest() != MaskSet({"a": changed, "b": mask[0]}).digest()
    assert MaskSet({"a": mask.reshape(6, 20)}).digest() != MaskSet({"a": mask}).digest()


def test_digest_is_stable():
    assert MaskSet({"w": torch.tensor([[True, False, True]])}).digest() == "cb38b72f496883f544511681fa072934"


def test_a_shared_weight_is_one_weight():
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    model = nn.Sequential(first, second)
    assert list(MaskSet.of(model)) == ["0.weight"]
    mask = torch.eye(3, dtype=torch.bool)
    MaskSet({"0.weight": mask, "1.weight": mask}).apply(model)
    assert torch.equal(model[1].weight != 0, mask)
    assert model[0].weight is model[1].weight
    assert list(MaskSet({"0.weight": mask, "1.weight": mask}).by_parameter(model)) == [first.weight]
    for use in (MaskSet.apply, MaskSet.by_parameter):
        with pytest.raises(ValueError, match="masks must agree where weights are shared"):
            use(MaskSet({"0.weight": mask, "1.weight": ~mask}), model)


def test_layers_stand_for_their_weights(model):
    assert list(MaskSet.of(model, ["3", "0.bias"])) == ["3.weight", "0.bias"]
    with pytest.raises(ValueError, match="names must name parameters of the model; got '7'"):
        MaskSet.of(model, ["7"])


def test_weights_that_torch_prunes_are_masked_beneath():
    layer = nn.Linear(3, 2)
    prune.l1_unstructured(layer, "weight", amount=2)
    first = MaskSet.of(layer)
    assert first.n_nonzero == 4
    masks = MaskSet({"weight": torch.tensor([[True, False, True], [False, True, True]])})
    masks.apply(layer)
    assert MaskSet.of(layer) == first & masks
    assert list(masks.by_parameter(layer)) == [layer.weight_orig]
    layer(torch.ones(3))
    assert MaskSet({"weight": layer.weight != 0}) == first & masks


class _Doubled(nn.Module):
    def forward(self, x):
        return 2 * x


def test_parametrised_weights_are_masked_in_what_the_layer_computes_with():
    mask = torch.tensor([[True, False, True], [False, True, True]])
    entrywise = nn.Linear(3, 2)
    parametrize.register_parametrization(entrywise, "weight", _Doubled())
    normed = parametrizations.weight_norm(nn.Linear(3, 2))
    for layer in (entrywise, normed):
        before = layer.weight.detach().clone()
        masks = MaskSet({"weight": mask})
        masks.apply(layer)
        torch.testing.assert_close(layer.weight.detach(), torch.where(mask, before, 0), rtol=1e-5, atol=0)
        assert MaskSet.of(layer) == masks


def test_a_parametrisation_that_cannot_be_masked_is_refused_and_left_alone():
    layer = parametrizations.orthogonal(nn.Linear(3, 3))
    before = [p.detach().clone() for p in layer.parameters()]
    with pytest.raises(ValueError, match="weight cannot be masked"):
        MaskSet({"weight": torch.ones(3, 3).triu() > 0}).apply(layer)
    assert all(torch.equal(p, old) for p, old in zip(layer.parameters(), before, strict=True))


def test_by_parameter_names_what_an_optimiser_trains(model):
    masks = _random(model)
    found = masks.by_parameter(model)
    assert {id(p) for p in found} == {id(p) for p in _all(model).values()}
    assert all(torch.equal(found[model.get_parameter(name)], mask) for name, mask in masks.items())


def test_by_parameter_of_parametrised_weights_is_their_original():
    layer = nn.Linear(3, 2)
    parametrize.register_parametrization(layer, "weight", _Doubled())
    masks = MaskSet({"weight": torch.ones(2, 3) > 0})
    assert list(masks.by_parameter(layer)) == [layer.parametrizations.weight.original]
    with pytest.raises(ValueError, match="weight must be stored as one tensor"):
        masks.by_parameter(parametrizations.weight_norm(nn.Linear(3, 2)))


def test_state_dict_round_trip(model, tmp_path):
    masks, other = _random(model, 0), _random(model, 1)
    held = other["0.weight"]
    torch.save(masks.state_dict(), tmp_path / "masks.pt")
    other.load_state_dict(torch.load(tmp_path / "masks.pt"))
    assert other == masks
    assert other["0.weight"] is held


def test_files_hold_one_bit_an_entry(model, tmp_path):
    masks = MaskSet({**_random(model), "empty": torch.zeros(0, 3, dtype=torch.bool), "one": torch.tensor(True)})
    masks.save(tmp_path / "masks.safetensors")
    assert MaskSet.load(tmp_path / "masks.safetensors") == masks
    large = MaskSet({"weight": torch.rand(400, 400) < 0.5})
    large.save(tmp_path / "large.safetensors")
    assert (tmp_path / "large.safetensors").stat().st_size < 160_000 / 8 + 500


def test_other_files_are_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"a file that MaskSet\.save wrote"):
        MaskSet.load(tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: MaskSet({"a": torch.ones(2)}), TypeError, r"masks must hold tensors of bool; a is torch\.float32"),
        (
            lambda m: MaskSet({"5.weight": torch.ones(2) > 0}).apply(m),
            ValueError,
            r"masks must name parameters of the model; got '5\.weight'",
        ),
        (
            lambda m: MaskSet({"0.weight": torch.ones(2) > 0}).apply(m),
            ValueError,
            r"a bool tensor of shape \(5, 6\)",
        ),
        (lambda m: _random(m).distance(MaskSet({})), ValueError, r"missing are \['0\.weight', .* unknown are none"),
        (lambda m: _random(m).load_state_dict({"a": torch.ones(2)}), ValueError, r"unknown are \['a'\]"),
    ],
)
def test_bad_input(model, call, error, message):
    with pytest.raises(error, match=message):
        call(model)


def test_check_alike_lists_both_differences():
    tensor = torch.zeros(1)
    with pytest.raises(ValueError, match=r"b must have the names of a; missing are \['x'\], unknown are \['y'\]"):
        check_alike("b", {"y": tensor}, {"x": tensor}, "a")


def test_masks_do_not_load_safetensors():
    code = "import sys; from sparsetheory.gpu.core.masks import MaskSet; print('safetensors' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
