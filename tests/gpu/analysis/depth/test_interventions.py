import copy

import pytest
import torch
from torch import nn

from sparsetheory.gpu.analysis import linearised, skip_layer, swapped
from sparsetheory.gpu.core.models import CharacterDecoder


class Scale(nn.Module):
    """A layer that gives a tuple or list, as layers of transformers do."""

    def __init__(self, factor, kind):
        super().__init__()
        self.factor, self.kind = nn.Parameter(torch.tensor(factor)), kind

    def forward(self, hidden_states, shift=0.0):
        return self.kind([hidden_states * self.factor + shift, "attention"])


class Stack(nn.Module):
    def __init__(self, kind=tuple, by_name=False):
        super().__init__()
        self.layers = nn.ModuleList(Scale(factor, kind) for factor in (2.0, 3.0, 5.0))
        self.by_name, self.rest = by_name, []

    def forward(self, x):
        self.rest = []
        for place, layer in enumerate(self.layers):
            output = self._call(layer, x, float(place))
            x = output[0]
            self.rest.append((type(output), output[1]))
        return x

    def _call(self, layer, x, shift):
        return layer(hidden_states=x, shift=shift) if self.by_name else layer(x, shift=shift)


def decoder(dtype=torch.float32, device="cpu"):
    model = CharacterDecoder(11, width=8, n_layers=4, n_heads=2, hidden=12, context=6)
    return model.to(device, dtype).eval()


@pytest.mark.parametrize("kind", [tuple, list])
@pytest.mark.parametrize("by_name", [False, True])
def test_what_a_layer_gives_besides_the_stream_stays(kind, by_name):
    model, x = Stack(kind, by_name), torch.tensor([[1.0]])
    assert model(x).item() == ((1 * 2) * 3 + 1) * 5 + 2
    with skip_layer(model, 1):
        assert model(x).item() == (1 * 2) * 5 + 2
        assert model.rest == [(kind, "attention")] * 3
    # Each runs in the place of the other, with the arguments of that place.
    with swapped(model, 0, 2):
        assert model(x).item() == ((1 * 5) * 3 + 1) * 2 + 2
        assert model.rest == [(kind, "attention")] * 3
    with linearised(model, 2, torch.tensor([[10.0]]), torch.tensor([1.0])):
        assert model(x).item() == 7 * 10 + 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_an_exchange_is_that_of_a_model_built_so(device, dtype):
    model, tokens = decoder(dtype, device), torch.arange(6, device=device)[None]
    other = copy.deepcopy(model)
    other.blocks[1], other.blocks[3] = model.blocks[3], model.blocks[1]
    with torch.no_grad():
        expected, before = other(tokens), model(tokens)
        with swapped(model, 1, 3):
            assert torch.equal(model(tokens), expected)
        with swapped(model, 2, 2):
            assert torch.equal(model(tokens), before)
    assert not torch.equal(expected, before)


def test_maps_are_applied_as_they_are_given_and_not_transposed(device):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).to(device)
    W, b = torch.tensor([[1.0, 2.0], [0.0, 1.0]], dtype=torch.float64), torch.tensor([10.0, 20.0])
    x = torch.tensor([[1.0, 1.0]], device=device)
    with linearised(model, 0, W, b):
        expected = model[1](torch.tensor([[13.0, 21.0]], device=device))
        assert torch.equal(model(x), expected)
    with linearised(model, 1, W):
        assert model(x).dtype == torch.float32


def test_interventions_nest_and_pass_gradients():
    model, tokens = decoder(), torch.arange(6)[None]
    with skip_layer(model, 0), skip_layer(model, 1), skip_layer(model, 2):
        loss = model(tokens).square().sum()
    loss.backward()
    assert model.blocks[1].attention.out.weight.grad is None or not model.blocks[1].attention.out.weight.grad.any()
    assert model.blocks[3].attention.out.weight.grad.any()
    x = model.characters(tokens) + model.positions.weight[:6]
    torch.testing.assert_close(loss, model.head(model.norm(model.blocks[3](x))).square().sum())


def interrupted(model, tokens):
    model(tokens)
    raise RuntimeError("interrupted")


@pytest.mark.parametrize(
    "change",
    [
        lambda model: skip_layer(model, 1),
        lambda model: swapped(model, 0, 3),
        lambda model: linearised(model, 2, torch.ones(8, 8), torch.ones(8)),
        lambda model: linearised(model, 2, torch.ones(3, 3)),
    ],
    ids=["skip", "swap", "map", "map of a wrong shape"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_keep_their_bits_and_hooks_go_also_on_errors(change, dtype):
    model, tokens = decoder(dtype), torch.arange(6)[None]
    with torch.no_grad():
        model.head.weight[0, 0] = -0.0
    before = copy.deepcopy(model.state_dict())
    with pytest.raises((RuntimeError, ValueError), match=r"interrupted|W must have"), change(model):
        interrupted(model, tokens)
    bits = torch.int32 if dtype == torch.float32 else torch.int16
    for name, value in model.state_dict().items():
        assert torch.equal(value.view(bits), before[name].view(bits))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_wrong_shapes_are_named():
    model, x = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3)), torch.ones(1, 2)
    with pytest.raises(ValueError, match=r"outputs of its shape \(1, 3\); got \(1, 2\)"), skip_layer(model, 0):
        model(x)
    wide, short = linearised(model, 1, torch.ones(3, 2)), linearised(model, 1, torch.ones(3, 3), torch.ones(2))
    with pytest.raises(ValueError, match="W must have 3 columns, one per input; got 2"), wide:
        model(x)
    with pytest.raises(ValueError, match=r"W must have shape \(width, width\) and b shape"), short:
        pass


@pytest.mark.parametrize("output", [None, {"hidden": torch.ones(1, 2)}])
def test_outputs_without_a_stream_are_refused(output):
    class Odd(nn.Linear):
        def forward(self, x):
            return output

    model = nn.Sequential(Odd(2, 2), Odd(2, 2))
    with pytest.raises(TypeError, match="a tensor, or a tuple that begins with one"), skip_layer(model, 0):
        model(torch.ones(1, 2))
