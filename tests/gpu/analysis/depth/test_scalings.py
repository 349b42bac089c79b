import copy

import pytest
import torch
from torch import nn

from sparsetheory.gpu.analysis import BranchScaling, LayerNormScaling, residual_statistics
from sparsetheory.gpu.core.models import CharacterDecoder


def decoder(device="cpu"):
    return CharacterDecoder(11, width=8, n_layers=4, n_heads=2, hidden=12, context=6).double().to(device)


def test_normalisations_are_scaled_by_depth(device):
    model, tokens = decoder(device), torch.arange(6, device=device)[None]
    scaled = copy.deepcopy(model)
    with torch.no_grad():
        for place, block in enumerate(scaled.blocks):
            for norm in (block.attention_norm, block.feed_forward_norm):
                norm.weight /= (place + 1) ** 0.5
                norm.bias /= (place + 1) ** 0.5
    before = model(tokens)
    scaling = LayerNormScaling(model)
    assert list(scaling.scales.values()) == pytest.approx([1.0, 2**-0.5, 3**-0.5, 0.5])
    torch.testing.assert_close(model(tokens), scaled(tokens))
    scaling.remove()
    assert torch.equal(model(tokens), before)
    assert not any(module._forward_hooks for module in model.modules())


def test_branches_are_scaled_each_by_itself(device):
    model, tokens = decoder(device), torch.arange(6, device=device)[None]
    scaled = copy.deepcopy(model)
    with torch.no_grad():
        for block in scaled.blocks:
            block.attention.out.weight *= 0.25
            block.feed_forward.down.weight *= 0.25
    with BranchScaling(model, 0.25):
        torch.testing.assert_close(model(tokens), scaled(tokens))
        small = residual_statistics(model, tokens).variance
    assert (residual_statistics(model, tokens).variance[1:] > small[1:]).all()


def test_gradients_see_the_scales():
    model, tokens = decoder(), torch.arange(6)[None]
    with LayerNormScaling(model, ["blocks.2", "blocks.3"]) as scaling:
        assert list(scaling.scales) == ["blocks.2", "blocks.3"]
        model(tokens).square().sum().backward()
    with_scales = model.blocks[3].attention.value.weight.grad.clone()
    model.zero_grad()
    model(tokens).square().sum().backward()
    assert not torch.allclose(with_scales, model.blocks[3].attention.value.weight.grad)


def test_layers_without_their_parts_are_named():
    model = nn.Sequential(nn.Sequential(nn.ReLU()), nn.Sequential(nn.ReLU()))
    with pytest.raises(ValueError, match="normalisations of their own; 0 has none"):
        LayerNormScaling(model)
    with pytest.raises(ValueError, match="branches, parts with parameters; 0 has none"):
        BranchScaling(model, 0.5)
    with pytest.raises(ValueError, match="scale must be"):
        BranchScaling(decoder(), -1.0)


class _Block(nn.Module):
    """Normalises first, and the inputs of its branch again inside."""

    def __init__(self):
        super().__init__()
        self.norm, self.branch = nn.LayerNorm(4), nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 4))

    def forward(self, x):
        return x + self.branch(self.norm(x))


def test_normalisations_inside_a_branch_are_left_alone():
    model = nn.Sequential(_Block(), _Block())
    with LayerNormScaling(model):
        hooked = [name for name, module in model.named_modules() if module._forward_hooks]
    assert hooked == ["0.norm", "1.norm"]
