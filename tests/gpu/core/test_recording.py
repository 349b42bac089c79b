"""Inputs of layers while a model runs: masks of attention, shared inputs, calls, ends, and nothing left behind."""

import pytest
import torch
from torch import nn

from sparsetheory.gpu.core import Gram, capture, collect_grams
from sparsetheory.gpu.core.recording import InputGroup, input_groups, run_batches

# 16 rows of entries of order 1, summed in another order.
CLOSE = {"rtol": 0.0, "atol": 1e-12}


def _normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(4, 3)).double()


def _hooks(model):
    return sum(len(module._forward_pre_hooks) + len(module._forward_hooks) for module in model.modules())


def test_grams_are_those_of_the_inputs(device):
    model, x = _mlp().to(device), _normal(16, 5).to(device)
    grams = collect_grams(model, x.split(5), n_shards=2)
    hidden = torch.relu(model[0](x))
    assert list(grams) == ["0", "3"]
    for name, rows in (("0", x), ("3", hidden)):
        assert grams[name].n_samples == 16
        assert grams[name].n_shards == 2
        assert grams[name].sums.device == rows.device
        assert torch.allclose(grams[name].matrix, rows.T @ rows / 16, **CLOSE)


def test_batches_are_tensors_tuples_or_mappings():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2, dtype=torch.float64)

        def forward(self, x, scale):
            return self.layer(input=x * scale)

    x, model = _normal(4, 2), Two()
    for batch in ((x, 2.0), [x, 2.0], {"x": x, "scale": 2.0}):
        assert torch.allclose(collect_grams(model, [batch])["layer"].matrix, 4 * x.T @ x / 4, **CLOSE)
    outputs = list(run_batches(model, [(x, 1.0), (x, 2.0)]))
    assert len(outputs) == 2
    assert not outputs[0].requires_grad


def test_convolutions_are_collected_as_patches():
    layer = nn.Conv2d(2, 3, 3, padding=1, stride=2).double()
    x = _normal(3, 2, 6, 5)
    gram = collect_grams(nn.Sequential(layer), [x], n_shards=1)["0"]
    assert (gram.n_features, gram.n_samples) == (18, 3 * 9)
    # The sum of squares of the output without its bias is the trace of W G W'.
    with torch.no_grad():
        layer.bias.zero_()
        energy = float((layer(x) ** 2).sum())
        rows = layer.weight.permute(0, 2, 3, 1).reshape(3, -1)
    assert float(torch.trace(rows @ gram.sums[0] @ rows.T)) == pytest.approx(energy, rel=1e-12)


def test_a_layer_called_twice_has_the_rows_of_both_calls():
    layer = nn.Linear(3, 3, dtype=torch.float64)
    model, x = nn.Sequential(layer, nn.Tanh(), layer), _normal(4, 3)
    second = torch.tanh(layer(x))
    gram = collect_grams(model, [x])["0"]
    assert gram.n_samples == 8
    assert torch.allclose(gram.matrix, (x.T @ x + second.T @ second) / 8, **CLOSE)
    with capture(model) as inputs:
        model(x)
    assert [len(calls) for calls in inputs.values()] == [2]
    assert input_groups(model, x) == [InputGroup(("0",), False)]
    assert torch.equal(inputs["0"][1], second)


class _Tokens(nn.Module):
    """Layers on tokens, on tokens of all samples one after the other, and on one row per sample."""

    def __init__(self):
        super().__init__()
        self.tokens, self.flat, self.pooled = (nn.Linear(3, 3, dtype=torch.float64) for _ in range(3))

    def forward(self, x, attention_mask=None):
        x = self.tokens(x)
        x = self.flat(x.reshape(-1, 3)).reshape(x.shape)
        return self.pooled(x[:, 0])


def test_masked_tokens_do_not_count():
    model, x = _Tokens(), _normal(4, 6, 3)
    mask = torch.arange(6) < torch.tensor([[6], [2], [4], [1]])
    garbage = torch.where(mask.unsqueeze(-1), x, 1e6)
    grams = collect_grams(model, [{"x": x, "attention_mask": mask.long()}])
    other = collect_grams(model, [{"x": garbage, "attention_mask": mask.long()}])
    assert {name: gram.n_samples for name, gram in grams.items()} == {"tokens": 13, "flat": 13, "pooled": 4}
    for name in grams:
        assert torch.equal(grams[name].sums, other[name].sums)
    kept = x[mask]
    assert torch.allclose(grams["tokens"].matrix, kept.T @ kept / 13, **CLOSE)
    # Without a mask, and with one from elsewhere.
    assert collect_grams(model, [{"x": x}])["tokens"].n_samples == 24
    assert collect_grams(model, [x], mask=lambda batch: batch[:, :, 0] > 0)["flat"].n_samples == int(
        (x[:, :, 0] > 0).sum()
    )


def test_modes_are_restored_and_dropout_is_off_meanwhile():
    model, x = _mlp().train(), _normal(8, 5)
    model[2].eval()
    one, two = (collect_grams(model, [x])["3"].matrix for _ in range(2))
    assert torch.equal(one, two)
    assert [module.training for module in model] == [True, True, False, True]
    assert model[0].weight.grad is None


class _Breaks(nn.Module):
    def forward(self, x):
        raise ArithmeticError("broken")


def test_nothing_is_left_behind_after_an_exception():
    model = nn.Sequential(nn.Linear(2, 2), _Breaks()).train()
    with pytest.raises(ArithmeticError, match="broken"):
        collect_grams(model, [torch.ones(1, 2)])
    with pytest.raises(ArithmeticError, match="broken"), capture(model) as inputs:
        model(torch.ones(1, 2))
    with pytest.raises(ArithmeticError, match="broken"):
        input_groups(model, torch.ones(1, 2))
    assert _hooks(model) == 0
    assert model.training
    assert model[1].training
    assert len(inputs["0"]) == 1


def test_no_hooks_are_left_behind():
    model = _mlp()
    collect_grams(model, [_normal(2, 5)])
    with capture(model):
        assert _hooks(model) == 2
    assert _hooks(model) == 0


class _InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = (nn.Linear(3, 3, dtype=torch.float64) for _ in range(2))

    def forward(self, x):
        x = x.clone()
        x += self.first(x)
        x += self.second(x)
        return x


def test_what_changes_in_place_is_recorded_as_it_was():
    model, x = _InPlace(), _normal(2, 3)
    with torch.no_grad(), capture(model) as inputs:
        model(x)
    assert torch.equal(inputs["first"][0], x)
    assert torch.equal(inputs["second"][0], x + model.first(x))
    # One tensor, but no longer one input.
    assert input_groups(model, x) == [InputGroup(("first",), True), InputGroup(("second",), True)]


def test_captured_inputs_have_no_graph():
    model = _mlp()
    with capture(model, "3") as inputs:
        model(_normal(2, 5))
    assert list(inputs) == ["3"]
    assert not inputs["3"][0].requires_grad


class _Counts(nn.Module):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return x


def test_a_pass_may_end_after_the_last_layer():
    rest = _Counts()
    model, x = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2), rest, nn.Linear(2, 1)).train(), torch.ones(4, 3)
    whole = collect_grams(model, [x, x], ["0", "1"])
    assert rest.calls == 2
    early = collect_grams(model, [x, x], ["0", "1"], last="1")
    assert rest.calls == 2
    assert all(torch.equal(early[name].sums, whole[name].sums) for name in whole)
    assert model.training
    assert _hooks(model) == 0
    with pytest.raises(ValueError, match="last must be None or one of '0', '1'; got '3'"):
        collect_grams(model, [x], ["0", "1"], last="3")
    with pytest.raises(ValueError, match="layers must be called by the model; 1, 3 was not"):
        collect_grams(model, [x], last="0")


def test_layers_that_are_not_called_are_named():
    model = nn.ModuleDict({"used": nn.Linear(2, 2), "unused": nn.Linear(2, 2)})
    model.forward = lambda x: model["used"](x)
    with pytest.raises(ValueError, match="layers must be called by the model; unused was not, in any batch"):
        collect_grams(model, [torch.ones(1, 2)])
    with pytest.raises(ValueError, match="layers must be called by the model; used, unused was not"):
        collect_grams(model, [])
    assert list(collect_grams(model, [torch.ones(1, 2)], "used")) == ["used"]
    assert input_groups(model, torch.ones(1, 2)) == [InputGroup(("used",), True)]


@pytest.fixture(scope="module")
def tiny():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"num_attention_heads": 2, "intermediate_size": 16, "num_hidden_layers": 2, "vocab_size": 20}
    ends = {"bos_token_id": 1, "eos_token_id": 1, "vocab_size": 20}
    bert = transformers.BertModel(transformers.BertConfig(hidden_size=8, **sizes))
    gpt2 = transformers.GPT2LMHeadModel(transformers.GPT2Config(n_embd=8, n_head=2, n_layer=1, **ends))
    return bert.double(), gpt2.double()


def test_query_key_and_value_of_bert_share_their_input(tiny):
    groups = input_groups(tiny[0], {"input_ids": torch.tensor([[1, 2, 3]])})
    attention = [f"encoder.layer.{{}}.attention.self.{part}" for part in ("query", "key", "value")]
    expected: list[tuple[str, ...]] = []
    for layer in range(2):
        expected.append(tuple(name.format(layer) for name in attention))
        expected += [(f"encoder.layer.{layer}.{part}",) for part in ("attention.output.dense", "intermediate.dense")]
        expected.append((f"encoder.layer.{layer}.output.dense",))
    assert groups == [InputGroup(layers, True) for layers in [*expected, ("pooler.dense",)]]


def test_padding_of_bert_does_not_change_the_grams(tiny):
    tokens = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    other = torch.where(mask == 1, tokens, 17)
    one, two = (collect_grams(tiny[0], [{"input_ids": ids, "attention_mask": mask}]) for ids in (tokens, other))
    for name, gram in one.items():
        assert gram.n_samples == (2 if name == "pooler.dense" else 6)
        # What attends to padding does so with a weight below the smallest number.
        assert torch.allclose(gram.matrix, two[name].matrix, **CLOSE)


def test_gpt2_keeps_its_weights_transposed(tiny):
    batch = {"input_ids": torch.tensor([[1, 2, 3, 4]])}
    name = "transformer.h.0.mlp.c_fc"
    grams = collect_grams(tiny[1], [batch], n_shards=1)
    assert {one: gram.n_features for one, gram in grams.items()} == {
        "transformer.h.0.attn.c_attn": 8,
        "transformer.h.0.attn.c_proj": 8,
        name: 8,
        "transformer.h.0.mlp.c_proj": 32,
        "lm_head": 8,
    }
    with capture(tiny[1], name) as inputs:
        next(run_batches(tiny[1], [batch]))
    assert torch.allclose(Gram.of(inputs[name][0], n_shards=1).matrix, grams[name].matrix, **CLOSE)
