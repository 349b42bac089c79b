import pytest
import torch
from torch import nn

from sparsetheory.gpu.analysis import mean_jacobian
from sparsetheory.gpu.core.models import CharacterDecoder


def test_it_is_the_mean_of_the_full_jacobian(device):
    model = CharacterDecoder(11, width=4, n_layers=2, n_heads=2, hidden=6, context=3).double().to(device).train()
    tokens = torch.tensor([[0, 4, 5], [6, 7, 1]], device=device)
    found = mean_jacobian(model, 1, tokens)
    assert model.training
    x = model.blocks[0](model.characters(tokens) + model.positions.weight).detach()
    full = torch.autograd.functional.jacobian(model.blocks[1], x)  # (2, 3, 4, 2, 3, 4)
    torch.testing.assert_close(found, full.sum((0, 1)).mean((1, 2)))
    # Tokens that do not count give nothing, and take nothing.
    mask = torch.tensor([[1, 1, 0], [0, 1, 1]], device=device)
    masked = mean_jacobian(model, 1, tokens, lambda _: mask)
    kept = mask.double()
    expected = torch.einsum("abiptj,ab,pt->ij", full, kept, kept) / 4
    torch.testing.assert_close(masked, expected)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_linear_layer_gives_its_matrix(dtype):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)).to(dtype)
    torch.testing.assert_close(
        mean_jacobian(model, 0, torch.ones(2, 5, 3, dtype=dtype)).to(dtype), model[0].weight.data
    )


def test_a_constant_layer_has_none():
    class Constant(nn.Module):
        def forward(self, x):
            return torch.ones_like(x)

    class Constants(nn.Sequential):
        pass

    model = Constants(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight.data.zero_()
    assert not mean_jacobian(model, 1, torch.ones(2, 3)).any()
