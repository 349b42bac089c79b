import copy

import pytest
import torch
from torch import nn

from sparsetheory.gpu.analysis import depth_report, residual_layers, skip_layer, swapped
from sparsetheory.gpu.core.models import MLP, CharacterDecoder


def decoder(n_layers=3, **options):
    return CharacterDecoder(11, width=8, n_layers=n_layers, n_heads=2, hidden=12, context=6, **options)


def test_the_longest_list_of_equal_blocks_is_taken():
    assert residual_layers(decoder()) == ["blocks.0", "blocks.1", "blocks.2"]
    short, long = (nn.ModuleList(nn.Linear(2, 2) for _ in range(n)) for n in (2, 3))
    model = nn.ModuleDict(
        {"short": short, "mixed": nn.Sequential(*map(nn.Dropout, [0.1] * 2), nn.ReLU()), "long": long}
    )
    assert residual_layers(model) == ["long.0", "long.1", "long.2"]
    assert residual_layers(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))) == ["0", "1"]


def test_a_model_without_repeated_blocks_must_be_told_its_layers():
    with pytest.raises(ValueError, match="layers must be named"):
        residual_layers(MLP([4, 4, 2]))


def test_numbers_and_names_mean_the_same_layer():
    model, tokens = decoder(), torch.arange(6)[None]
    with skip_layer(model, 1):
        by_number = model(tokens)
    with skip_layer(model, "blocks.1"):
        by_name = model(tokens)
    assert torch.equal(by_number, by_name)
    assert not torch.equal(by_name, model(tokens))


@pytest.mark.parametrize("i", [-1, 3, 1.0, True])
def test_a_layer_that_is_not_there_is_named(i):
    with pytest.raises(ValueError, match="i must be an integer"), skip_layer(decoder(), i):
        pass
    with pytest.raises(ValueError, match="j must be an integer"), swapped(decoder(), 0, i):
        pass


def test_patterns_do_not_reach_into_layers():
    tokens = torch.randint(11, (2, 6), generator=torch.Generator().manual_seed(0))
    report = depth_report(decoder(), "blocks.*", tokens, jacobian=False)
    assert report.layers == ("blocks.0", "blocks.1", "blocks.2")
    with pytest.raises(ValueError, match=r"'block\.0' matches none; near are .*blocks"):
        depth_report(decoder(), "block.0", tokens)


def test_one_module_in_two_places_is_refused():
    model = decoder()
    model.blocks[2] = model.blocks[0]
    with (
        pytest.raises(ValueError, match=r"module of their own; got blocks\.0, which is blocks\.2"),
        skip_layer(model, 0),
    ):
        pass
    tokens = torch.arange(6)[None]
    with pytest.raises(ValueError, match="module of their own"):
        depth_report(model, None, tokens)
    # A copy is a layer of its own.
    model.blocks[2] = copy.deepcopy(model.blocks[0])
    assert depth_report(model, None, tokens, jacobian=False).permutation[0, 2] == 0


def test_the_first_of_equally_long_lists_wins():
    first, second = (nn.ModuleList(nn.Linear(2, 2) for _ in range(2)) for _ in range(2))
    assert residual_layers(nn.ModuleDict({"first": first, "second": second})) == ["first.0", "first.1"]


def test_one_layer_is_not_named_by_a_pattern_of_several():
    with pytest.raises(ValueError, match=r"i must name one layer; 'blocks\.\*' matches 3, the first of them blocks\.0"):
        skip_layer(decoder(), "blocks.*").__enter__()
