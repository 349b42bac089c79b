"""What every method of the torch floor must do, driven by its row in the table of methods."""

import copy

import pytest
import torch
from house.torch_methods import TARGET, page
from torch import nn
from typer.testing import CliRunner

from sparsetheory.cli import app
from sparsetheory.gpu.core import NM, BlockNM, PerRow, PerTensor, RowBlock
from sparsetheory.gpu.methods import METHODS
from sparsetheory.proofs_checks.registry import find_claims

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
EXAMPLES = {
    NM: NM(2, 4),
    PerRow: PerRow(density=0.5),
    PerTensor: PerTensor(0.4),
    RowBlock: RowBlock(2, 0.5),
    BlockNM: BlockNM(2, 2, 4),
}
DENSE = {
    NM: NM(4, 4),
    PerRow: PerRow(density=1.0),
    PerTensor: PerTensor(1.0),
    RowBlock: RowBlock(2, 1.0),
    BlockNM: BlockNM(2, 4, 4),
}
# The others make layers of their own, and have tests of their own.
MASKING = [method for method in METHODS if method.apply is not None]
CASES = [(method, kind) for method in MASKING for kind in method.patterns]
# Masks that share one budget among all layers; each layer has a density of its own.
SHARED = {"weights.random_er", "weights.random_erk", "weights.one_shot"}


def _name(value):
    return getattr(value, "name", getattr(value, "__name__", str(value)))


def _model(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 8)).to(dtype)


def _batches(dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(64, 16, generator=generator).cumsum(1).to(dtype) for _ in range(4)]


def _applied(method, pattern, dtype=torch.float32, device="cpu"):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    model = _model(dtype).to(device)
    return model, method.apply(model, [batch.to(device) for batch in _batches(dtype)], pattern, 0)


def _kept(masks):
    return sum(int(mask.sum()) for mask in masks.values())


@pytest.mark.parametrize(("method", "kind"), CASES, ids=_name)
@pytest.mark.parametrize("device", DEVICES)
def test_density_is_exact_and_pruned_weights_are_zero(method, kind, device):
    model, masks = _applied(method, EXAMPLES[kind], device=device)
    assert set(masks) == {"0.weight", "2.weight"}
    for name, mask in masks.items():
        weight = model.get_parameter(name)
        assert mask.shape == weight.shape
        assert mask.device.type == weight.device.type == device
        assert not weight[~mask].any()
        if method.name == "weights.sparsegpt" and kind is PerTensor:
            # As published: the share is rounded down, and one entry more of every block of columns is pruned.
            assert int((~mask).sum()) == mask.numel() * 6 // 10 + 1
        elif method.name not in SHARED:
            assert int(mask.sum()) == EXAMPLES[kind].count(mask.shape)
    if method.name in SHARED:
        assert _kept(masks) == sum(EXAMPLES[kind].count(mask.shape) for mask in masks.values())


@pytest.mark.parametrize(("method", "kind"), CASES, ids=_name)
def test_full_density_changes_nothing_but_rounding(method, kind):
    if method.name == "weights.sparsegpt" and kind is PerTensor:
        pytest.skip("as published it prunes one entry of every block at any density")
    model, masks = _applied(method, DENSE[kind])
    assert all(bool(mask.all()) for mask in masks.values())
    for name, parameter in _model().named_parameters():
        torch.testing.assert_close(model.get_parameter(name), parameter, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", MASKING, ids=_name)
def test_the_same_seed_gives_the_same_weights(method):
    first, again = (_applied(method, EXAMPLES[method.patterns[0]])[0] for _ in range(2))
    for one, other in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("method", MASKING, ids=_name)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_dtype_is_kept_or_refused(method, dtype):
    pattern = EXAMPLES[method.patterns[0]]
    if dtype == torch.bfloat16 and not method.half_precision:
        with pytest.raises(TypeError, match=r"0\.weight must be float32 or float64"):
            _applied(method, pattern, dtype)
        return
    model, masks = _applied(method, pattern, dtype)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    assert _kept(masks) == sum(pattern.count(mask.shape) for mask in masks.values())
    assert method.name in SHARED or all(int(mask.sum()) == pattern.count(mask.shape) for mask in masks.values())


@pytest.mark.parametrize("method", MASKING, ids=_name)
def test_a_state_dict_carries_everything(method):
    model, _ = _applied(method, EXAMPLES[method.patterns[0]])
    other = copy.deepcopy(_model())
    other.load_state_dict(model.state_dict())
    x = _batches()[0]
    assert torch.equal(model(x), other(x))


def test_a_method_that_produces_patterns_can_be_applied():
    assert all(bool(method.patterns) == (method.apply is not None) for method in METHODS)


def test_names_are_unique_and_claims_exist():
    names = [method.name for method in METHODS]
    assert len(names) == len(set(names))
    for method in METHODS:
        assert bool(method.patterns) == (method.apply is not None)
        for claim in method.claims:
            assert find_claims([claim])


def test_the_table_of_methods_is_that_of_the_code():
    assert TARGET.read_text(encoding="utf-8") == page(), "run make docs"


def test_the_command_line_prints_the_table():
    done = CliRunner().invoke(app, ["methods"])
    assert done.exit_code == 0
    assert page().endswith(f"{done.output}")
