"""Reports of models: exact entries, what does not change them, and what is refused."""

import dataclasses
import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from sparsetheory.gpu.core import check_claim, fair_baselines, sparsity_report, training_flops

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture(params=DEVICES)
def device(request):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return request.param


def _model(widths=(16, 12, 8, 4), density=0.15, seed=0):
    generator = torch.Generator().manual_seed(seed)
    parts, masks = [], {}
    for i, (inputs, outputs) in enumerate(pairwise(widths)):
        layer = nn.Linear(inputs, outputs)
        masks[f"{2 * i}.weight"] = torch.rand(outputs, inputs, generator=generator) < density
        with torch.no_grad():
            layer.weight.mul_(masks[f"{2 * i}.weight"])
        parts += [layer, nn.ReLU()]
    return nn.Sequential(*parts[:-1]), masks


def _untimed(report):
    layers = [dataclasses.replace(layer, dense_seconds=None, sparse_seconds=None) for layer in report.layers]
    return dataclasses.replace(report, layers=tuple(layers))


def test_entries_of_a_small_model(device):
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).to(device)
    first = torch.tensor([[1, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]], dtype=torch.bool, device=device)
    second = torch.tensor([[0, 1, 1], [0, 0, 0]], dtype=torch.bool, device=device)
    with torch.no_grad():
        model[0].weight.mul_(first)
        model[2].weight.mul_(second)
    report = sparsity_report(model, {"2": second, "0.weight": first}, batch=torch.ones(5, 4, device=device))
    one, two = report.layers
    assert (one.name, one.shape, one.n_weights, one.n_nonzero, one.density) == ("0.weight", (3, 4), 12, 3, 0.25)
    assert (one.n_dead_rows, one.n_dead_columns, two.n_dead_rows, two.n_dead_columns) == (1, 1, 1, 1)
    # The first neuron is read by nobody, the third one reads nothing.
    assert (one.n_effective, two.n_effective) == (2, 1)
    assert (one.patterns, two.patterns) == (((2, 4),), ())
    assert (report.density, report.overall_density) == (5 / 18, 10 / 23)
    assert (report.n_parameters, report.n_nonzero) == (23, 10)
    assert (report.flops.flops, report.flops.sparse_flops) == (5 * 36, 5 * 10)
    assert [(layer.flops, layer.sparse_flops) for layer in report.layers] == [(120, 30), (60, 20)]
    assert report.storage.dense == 18 * 4
    assert report.storage.csr == 5 * 8 + 4 * 4 + 3 * 4
    assert report.taxonomy is None
    assert all(layer.dense_seconds > 0 and layer.sparse_seconds > 0 for layer in report.layers)
    assert {run.kind: run.per_step for run in report.training}["rigl"] == pytest.approx((302 * 10 + 36) / 101)


def test_other_rules_spread_the_same_number_of_weights():
    model, masks = _model((64, 48, 32, 4))
    report = sparsity_report(model, masks)
    total = sum(layer.n_nonzero for layer in report.layers)
    for rule in ("uniform_density", "er_density", "erk_density"):
        spread = sum(getattr(layer, rule) * layer.n_weights for layer in report.layers)
        assert spread == pytest.approx(total, rel=1e-12)
    assert report.layers[2].er_density > report.layers[0].er_density


def test_full_masks_cost_what_the_dense_model_costs():
    model, _ = _model(density=2.0)
    masks = {name: torch.ones_like(p, dtype=torch.bool) for name, p in model.named_parameters() if p.ndim > 1}
    report = sparsity_report(model, masks, batch=torch.ones(2, 16))
    assert report.density == report.overall_density == 1.0
    assert report.flops.flops == report.flops.sparse_flops
    assert all(layer.n_effective == layer.n_weights for layer in report.layers)
    assert all(layer.er_density == layer.uniform_density == 1.0 for layer in report.layers)


def test_permuted_neurons_and_other_names_give_the_same_report():
    model, masks = _model()
    batch = torch.ones(3, 16)
    report = _untimed(sparsity_report(model, masks, batch=batch))
    moved, moved_masks = _model()
    order: dict[int, torch.Tensor] = {}
    for i, layer in enumerate(moved[::2]):
        rows, columns = (
            order.setdefault(i, torch.randperm(layer.out_features, generator=torch.Generator().manual_seed(i))),
            order.get(i - 1, slice(None)),
        )
        with torch.no_grad():
            layer.weight.copy_(model[2 * i].weight[rows][:, columns])
        moved_masks[f"{2 * i}.weight"] = masks[f"{2 * i}.weight"][rows][:, columns]
    renamed = nn.ModuleDict({"inner": moved})
    renamed.forward = moved.forward
    other = _untimed(sparsity_report(renamed, {f"inner.{name}": m for name, m in moved_masks.items()}, batch=batch))
    for one, two in zip(report.layers, other.layers, strict=True):
        same = {"name": one.name, "patterns": one.patterns}
        assert dataclasses.replace(two, **same, storage=dataclasses.replace(two.storage, nm=one.storage.nm)) == one
    assert (other.density, other.overall_density, other.training) == (
        report.density,
        report.overall_density,
        report.training,
    )
    assert sum(layer.n_effective for layer in report.layers) < sum(layer.n_nonzero for layer in report.layers)


@pytest.mark.parametrize("density", [0.05, 0.3, 2.0])
@pytest.mark.parametrize("seed", range(5))
def test_effective_weights_are_at_most_the_kept_ones(density, seed):
    report = sparsity_report(*_model(density=density, seed=seed))
    assert all(0 <= layer.n_effective <= layer.n_nonzero for layer in report.layers)
    assert (density > 1) <= all(layer.n_effective == layer.n_nonzero for layer in report.layers)


class _Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x):
        return self.b(self.a(x))


def test_chains_of_other_models_can_be_given():
    model = _Plain()
    masks = {"a": torch.eye(3) > 0, "b": torch.zeros(3, 3) > 0}
    with torch.no_grad():
        for name, mask in masks.items():
            getattr(model, name).weight.mul_(mask)
    assert sparsity_report(model, masks).layers[0].n_effective == 3
    assert sparsity_report(model, masks, chains=[["a", "b"]]).layers[0].n_effective == 0
    with pytest.raises(ValueError, match="chains must name parameters of the model; got 'c'"):
        sparsity_report(model, masks, chains=[["a", "c"]])


def test_history_tells_the_kind_and_the_steps():
    model, masks = _model()
    history = [(step, step, 0.15) for step in (0, 50, 100, 150, 200)]
    report = sparsity_report(model, masks, history, torch.ones(2, 16))
    assert report.taxonomy.kind == "during/dynamic"
    dense = next(run for run in report.training if run.kind == "dense")
    assert dense.total == 200 * 3 * report.flops.flops / 2
    rigl = next(run for run in report.training if run.kind == "rigl")
    f_dense, f_sparse = report.flops.flops / 2, report.flops.sparse_flops / 2
    assert rigl == training_flops("rigl", f_dense, f_sparse, 200, period=50)


def test_gpt2_weights_have_their_outputs_second(tiny_gpt2):
    name = "transformer.h.0.mlp.c_fc.weight"
    mask = torch.ones(8, 32, dtype=torch.bool)
    mask[:, 5] = False
    mask[1::2] = False
    with torch.no_grad():
        tiny_gpt2.get_parameter(name).mul_(mask)
    layer = sparsity_report(tiny_gpt2, {name: mask}, batch={"input_ids": torch.ones(2, 3, dtype=torch.long)}).layers[0]
    assert (layer.n_dead_rows, layer.n_dead_columns, layer.shape) == (1, 4, (8, 32))
    assert layer.patterns == ((1, 2), (2, 4), (4, 8))
    assert layer.flops == 2 * 6 * 256
    assert layer.sparse_flops == 2 * 6 * 4 * 31


@pytest.fixture
def tiny_gpt2():
    transformers = pytest.importorskip("transformers")
    ends = {"bos_token_id": 1, "eos_token_id": 1, "vocab_size": 20}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(n_embd=8, n_head=2, n_layer=1, **ends))


class _Masked(nn.Module):
    def __init__(self, mask):
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight):
        return weight * self.mask


def test_a_masked_parametrisation_applies_its_mask():
    model, mask = nn.Sequential(nn.Linear(4, 4)), torch.eye(4) > 0
    with pytest.raises(ValueError, match=r"0.weight must be zero off its mask; got 12 other entries"):
        sparsity_report(model, {"0.weight": mask})
    parametrize.register_parametrization(model[0], "weight", _Masked(mask))
    report = sparsity_report(model, {"0.weight": mask}, batch=torch.ones(1, 4))
    assert (report.layers[0].n_nonzero, report.flops.sparse_flops, report.n_parameters) == (4, 8, 20)


def test_no_mask_and_masks_without_weights():
    model, _ = _model()
    empty = sparsity_report(model, {})
    assert (empty.layers, empty.density, empty.overall_density, empty.storage.dense) == ((), 1.0, 1.0, 0)
    assert len(empty.to_frame()) == 0
    with torch.no_grad():
        model[0].weight.zero_()
    none = sparsity_report(model, {"0": torch.zeros(12, 16) > 0})
    assert (none.density, none.layers[0].er_density, none.layers[0].n_dead_rows) == (0.0, 0.0, 12)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({"nothing": torch.ones(1, 1) > 0}, "masks must name parameters of the model; got 'nothing'"),
        ({"0.weight": torch.ones(16, 12) > 0}, r"masks\['0.weight'\] must be a bool tensor of shape \(12, 16\)"),
        ({"0.bias": torch.ones(12) > 0}, r"at least 2 axes; got shape \(12,\) for 0.bias"),
    ],
)
def test_bad_masks_are_refused(masks, message):
    with pytest.raises(ValueError, match=message):
        sparsity_report(_model()[0], masks)


def test_tables_hold_the_numbers_and_say_what_they_count():
    model, masks = _model()
    report = sparsity_report(model, masks, [(0, "a", 0.15), (9, "b", 0.15)], torch.ones(2, 16))
    table = report.to_frame()
    assert list(table.index) == list(masks)
    assert table["n_nonzero"].sum() == sum(int(mask.sum()) for mask in masks.values())
    assert table["sparse_flops"].sum() == report.flops.sparse_flops
    page = report.to_markdown()
    assert f"of all parameters {report.overall_density:.4g}" in page
    assert f"density of the masked weights {report.density:.4g}" in page
    assert "one multiply-add is 2 FLOPs" in page
    assert "during/dynamic" in page
    rows = [line.count("|") for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) == 3
    assert len(set(rows)) == 1
    assert "FLOPs" not in sparsity_report(model, masks).to_markdown()


def test_the_page_names_patterns_that_do_not_follow_from_others():
    layer = nn.Linear(16, 8)
    mask = torch.zeros(8, 16) > 0
    mask[:, ::4] = True
    mask[:, 1] = True
    with torch.no_grad():
        layer.weight.mul_(mask)
    # Two of the first four, one of every other four: 2:4, and 3:8 says more than the 4:8 that follows from it.
    report = sparsity_report(layer, {"weight": mask})
    assert report.layers[0].patterns == ((2, 4), (3, 8), (5, 16))
    assert "| 2:4, 3:8, 5:16 |" in report.to_markdown()
    mask[:, 1] = False
    with torch.no_grad():
        layer.weight.mul_(mask)
    assert "| 1:2, 1:4 |" in sparsity_report(layer, {"weight": mask}).to_markdown()


def test_convolutions_and_layers_at_the_top_are_measured(device):
    layer = nn.Conv2d(2, 4, 3).to(device)
    report = sparsity_report(layer, {"weight": layer.weight != 0}, batch=torch.ones(1, 2, 8, 8, device=device))
    assert report.layers[0].dense_seconds > 0
    assert report.layers[0].sparse_seconds is None
    assert not layer._forward_pre_hooks
    recurrent = nn.LSTM(4, 3)
    masks = {"weight_hh_l0": recurrent.weight_hh_l0 != 0}
    report = sparsity_report(recurrent, masks, batch=torch.ones(6, 1, 4))
    assert (report.layers[0].flops, report.layers[0].dense_seconds) == (6 * 72, None)
    half = nn.Linear(4, 4).bfloat16()
    report = sparsity_report(half, {"weight": half.weight != 0}, batch=torch.ones(1, 4, dtype=torch.bfloat16))
    assert report.layers[0].dense_seconds > 0
    assert report.layers[0].storage.dense == 32


def test_baselines_have_the_numbers_of_the_report():
    model, masks = _model((64, 48, 32, 4))
    report = sparsity_report(model, masks, batch=torch.ones(2, 64))
    found = {one.name: one.settings for one in fair_baselines(model, report)}
    dense, sparse = report.flops.flops / 2, report.flops.sparse_flops / 2
    assert found["dense"] == {"n_parameters": report.n_parameters, "flops": dense}
    assert found["dense_equal_parameters"]["n_parameters"] == report.n_nonzero
    assert found["dense_equal_flops"] == {"flops": sparse, "width": math.sqrt(sparse / dense)}
    assert found["dense_equal_training"]["steps"] == pytest.approx(sparse / dense)
    for rule in ("random_uniform", "random_erk"):
        spread = sum(found[rule]["densities"][layer.name] * layer.n_weights for layer in report.layers)
        assert spread == pytest.approx(sum(layer.n_nonzero for layer in report.layers))
    rigl = training_flops("rigl", dense, sparse, 1000, period=100)
    with_rigl = {one.name: one.settings for one in fair_baselines(model, report, rigl)}
    assert with_rigl["dense_equal_training"]["steps"] == pytest.approx(rigl.per_step / (3 * dense))


def test_baselines_need_a_batch_and_the_same_model():
    model, masks = _model()
    with pytest.raises(ValueError, match="made without a batch"):
        fair_baselines(model, sparsity_report(model, masks))
    report = sparsity_report(model, masks, batch=torch.ones(2, 16))
    with pytest.raises(ValueError, match="report must be of the same model"):
        fair_baselines(_model((16, 5, 8, 4))[0], report)


def test_a_claim_needs_every_baseline_three_seeds_and_what_density_means():
    model, masks = _model()
    report = sparsity_report(model, masks, batch=torch.ones(2, 16))
    names = ["method", *(one.name for one in fair_baselines(model, report))]
    results = {name: [0.9, 0.8, 0.85] for name in names} | {"density_of": "masked"}
    check_claim(results)
    for name in names:
        with pytest.raises(ValueError, match=rf"missing: scores of {name} \("):
            check_claim({key: value for key, value in results.items() if key != name})
        with pytest.raises(ValueError, match=rf"3 seeds \(got 2\) of {name}$"):
            check_claim(results | {name: [0.9, 0.8]})
        with pytest.raises(ValueError, match=rf"finite scores of {name}$"):
            check_claim(results | {name: [0.9, 0.8, math.nan]})
    with pytest.raises(ValueError, match="density_of, 'masked' or 'all'"):
        check_claim(results | {"density_of": "some"})
    with pytest.raises(ValueError, match=r"scores of dense \(.*; 3 seeds \(got 1\) of magnitude; density_of"):
        check_claim({name: results[name] for name in names if name != "dense"} | {"magnitude": [1.0]})
