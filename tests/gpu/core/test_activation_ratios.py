"""Shares of active hidden units: counts, padding, names of layers, and errors."""

import pytest
import torch
from torch import nn

from sparsetheory.gpu.core import activation_ratio, hidden_layers
from sparsetheory.gpu.core.models import MLP, CharacterDecoder, GatedFFN


class _Tokens(nn.Module):
    """A feed-forward network of texts that gets a mask of its tokens, as those of transformers do."""

    def __init__(self):
        super().__init__()
        self.ffn = GatedFFN(4, 10, activation="relu")

    def forward(self, x, attention_mask):
        return self.ffn(x)


def test_it_counts_what_is_not_zero(device):
    network, x = GatedFFN(4, 10, activation="relu").to(device), torch.randn(6, 3, 4, device=device)
    hidden = torch.relu(network.gate(x)) * network.up(x)
    expected = float((hidden != 0).double().mean())
    assert activation_ratio(network, [x]) == {"down": expected}
    # Batches of unequal sizes count by their entries.
    assert activation_ratio(network, x.split(4))["down"] == pytest.approx(expected, abs=1e-15)


def test_padding_does_not_count():
    model, x = _Tokens(), torch.randn(2, 5, 4)
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 0, 0, 0, 0]])
    expected = activation_ratio(model.ffn, [x[mask.bool()]])["down"]
    found = activation_ratio(model, [{"x": x, "attention_mask": mask}])
    assert found == {"ffn.down": expected}
    x[~mask.bool()] = 1e3
    assert activation_ratio(model, [{"x": x, "attention_mask": mask}]) == found
    assert activation_ratio(model, [(x, None)], mask=lambda batch: mask) == found


def test_layers_by_name_and_by_default():
    model = CharacterDecoder(9, width=8, hidden=12, n_layers=3, n_heads=2, context=4)
    assert hidden_layers(model) == [f"blocks.{i}.feed_forward.down" for i in range(3)]
    assert hidden_layers(nn.TransformerEncoderLayer(8, 2, 16)) == ["linear2"]
    with pytest.raises(ValueError, match="model must have feed-forward networks whose last layer has a known name"):
        hidden_layers(MLP([4, 8, 2]))
    assert list(activation_ratio(MLP([4, 8, 2]), [torch.ones(1, 4)], layers="2")) == ["2"]


def test_blocks_of_attention_are_not_taken_for_networks():
    attention, output = (nn.ModuleDict({"dense": nn.Linear(2, 2)}) for _ in range(2))
    block = nn.ModuleDict({"attention": nn.ModuleDict({"output": attention}), "output": output})
    assert hidden_layers(block) == ["output.dense"]
    block["crossattention"] = nn.ModuleDict({"output": nn.ModuleDict({"dense": nn.Linear(2, 2)})})
    assert hidden_layers(block) == ["output.dense"]


def test_nothing_to_count_is_an_error():
    model, x = _Tokens(), torch.randn(1, 2, 4)
    with pytest.raises(ValueError, match=r"batches must hold tokens that count for every layer; got none for ffn.down"):
        activation_ratio(model, [{"x": x, "attention_mask": torch.zeros(1, 2)}])
    with pytest.raises(ValueError, match="batches must hold tokens"):
        activation_ratio(model, [])
    with pytest.raises(TypeError, match="batches must be an iterable of batches; got one Tensor"):
        activation_ratio(model, x)


def test_the_mode_and_the_hooks_are_as_before():
    network = GatedFFN(4, 10).train()
    activation_ratio(network, [torch.ones(1, 4)])
    assert network.training
    assert not network.down._forward_pre_hooks
