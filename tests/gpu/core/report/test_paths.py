"""Weights on a path from an input to an output, against the definition by products of counts of paths."""

import pytest
import torch
from torch import nn

from sparsetheory.gpu.core import effective_mask
from sparsetheory.gpu.core.report.paths import sequential_chains


def _random(shape, density, seed, device="cpu"):
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < density).to(device)


@pytest.mark.parametrize("seed", range(20))
def test_a_weight_is_effective_if_a_path_goes_through_it(device, seed):
    widths = [5, 7, 6, 4, 3]
    masks = {str(i): _random((widths[i + 1], widths[i]), 0.2, 10 * seed + i, device) for i in range(4)}
    found = effective_mask(masks)
    # Numbers of paths from the inputs to a neuron, and from it to the outputs.
    forward = [torch.ones(widths[0], dtype=torch.float64)]
    for mask in masks.values():
        forward.append(mask.cpu().double() @ forward[-1])
    backward = [torch.ones(widths[-1], dtype=torch.float64)]
    for mask in reversed(masks.values()):
        backward.append(mask.cpu().double().T @ backward[-1])
    backward.reverse()
    for i, (name, mask) in enumerate(masks.items()):
        paths = mask.cpu() * forward[i][None, :] * backward[i + 1][:, None]
        assert torch.equal(found[name].cpu(), paths > 0)
        assert found[name].device == mask.device


def test_dense_masks_are_effective_and_masks_are_not_changed():
    masks = {"a": torch.ones(3, 2) > 0, "b": torch.ones(4, 3) > 0, "c": torch.zeros(2, 4) > 0}
    before = {name: mask.clone() for name, mask in masks.items()}
    full = effective_mask({"a": masks["a"], "b": masks["b"]})
    assert all(bool(mask.all()) for mask in full.values())
    assert not any(bool(mask.any()) for mask in effective_mask(masks).values())
    assert all(torch.equal(masks[name], before[name]) for name in masks)


def test_a_convolution_is_its_channels_and_flattening_keeps_places_together():
    first, head = torch.zeros(3, 2, 3, 3) > 0, torch.ones(5, 3 * 4) > 0
    first[1, 0, 2, 2] = True
    found = effective_mask({"conv": first, "head": head})
    assert torch.equal(found["conv"], first)
    assert found["head"][:, 4:8].all()
    assert int(found["head"].sum()) == 5 * 4
    head[:, 4:8] = False
    assert not effective_mask({"conv": first, "head": head})["conv"].any()


def test_weights_outside_of_chains_keep_their_masks():
    masks = {"a": torch.zeros(2, 2) > 0, "b": torch.ones(2, 2) > 0, "c": torch.eye(2) > 0}
    found = effective_mask(masks, [["a", "b"]])
    assert not found["b"].any()
    assert torch.equal(found["c"], masks["c"])
    assert torch.equal(effective_mask(masks, [])["b"], masks["b"])


@pytest.mark.parametrize(
    ("chains", "message"),
    [
        ([["a", "z"]], "chains must name masks; got z"),
        ([["a", "b"], ["b"]], "each mask once"),
        ([["b", "a"]], "a must have a multiple of the 5 outputs of b; got 3"),
    ],
)
def test_bad_chains_are_refused(chains, message):
    with pytest.raises(ValueError, match=message):
        effective_mask({"a": torch.ones(2, 3) > 0, "b": torch.ones(5, 2) > 0}, chains)


def test_chains_of_a_model_end_where_features_mix():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3),
        nn.BatchNorm2d(2),
        nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(8, 6)),
        nn.LayerNorm(6),
        nn.Linear(6, 4),
        nn.Tanh(),
        nn.Linear(4, 3),
        nn.Softmax(-1),
    )
    names = [name for name, _ in model.named_parameters()]
    assert sequential_chains(model, names) == [["0.weight", "2.2.weight"], ["4.weight", "6.weight"]]
    assert sequential_chains(nn.ModuleDict({"net": model}), [f"net.{name}" for name in names])[1] == [
        "net.4.weight",
        "net.6.weight",
    ]
    # Without a mask a layer is dense and connects everything, so that a chain ends there.
    assert sequential_chains(model, ["0.weight", "4.weight"]) == []
