"""Rotations are orthogonal, sort energy, ignore padding; models run with pruned keys and values."""

import pytest
import torch

from sparsetheory.gpu.attention import AttentionCall, head_rotation, prune_tokens, pruned_attention


def test_rotations_sort_the_energy_of_each_head_by_coordinates(device):
    mix = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0)).to(device)
    x = torch.randn(2, 3, 50, 8, generator=torch.Generator().manual_seed(1)).to(device) @ mix
    rotation = head_rotation(x)
    assert rotation.dtype == x.dtype
    assert torch.allclose(rotation @ rotation.mT, torch.eye(8, device=device).expand(3, 8, 8), atol=1e-5)
    energy = (x @ rotation).double().square().sum((0, 2))
    assert bool((energy[:, 1:] <= energy[:, :-1] * (1 + 1e-5)).all())
    values = torch.linalg.svdvals(x.double().transpose(0, 1).flatten(1, 2)).square()
    assert torch.allclose(energy, values, rtol=1e-4)


def test_padding_does_not_turn_the_coordinates():
    x = torch.randn(2, 3, 20, 8, generator=torch.Generator().manual_seed(1))
    mask = torch.arange(20).expand(2, 20) < torch.tensor([[20], [7]])
    garbage = torch.where(mask[:, None, :, None], x, 1e3)
    assert torch.equal(head_rotation(garbage, key_mask=mask), head_rotation(x, key_mask=mask))
    assert not torch.allclose(head_rotation(garbage), head_rotation(x))


def test_what_has_no_coordinates_is_refused():
    with pytest.raises(ValueError, match=r"x must have shape \(batch, heads, tokens, width\)"):
        head_rotation(torch.ones(3, 8))
    with pytest.raises(ValueError, match="x must have a token that counts"):
        head_rotation(torch.ones(1, 1, 2, 4), key_mask=torch.zeros(1, 2, dtype=torch.bool))


def _call(**changes):
    q, k, v = torch.randn(3, 1, 4, 9, 8, generator=torch.Generator().manual_seed(0))
    visible = torch.ones(1, 1, 9, 9, dtype=torch.bool)
    visible[..., 7:] = False
    return AttentionCall(0, changes.get("q", q), changes.get("k", k), changes.get("v", v), visible, 0.3)


def test_pruned_attention_is_attention_to_pruned_keys_and_values():
    call = _call()
    expected = _call(k=prune_tokens(call.k, 0.5), v=prune_tokens(call.v, 0.7)).dense()
    assert torch.equal(pruned_attention(0.5, 0.7)(call), expected)


def test_whole_channels_are_chosen_without_padding():
    call = _call()
    garbage = call.k.clone()
    garbage[:, :, 7:] = 1e3 * torch.arange(8)
    prune = pruned_attention(0.5, structured=True)
    assert torch.equal(prune(call), prune(_call(k=garbage)))


def test_rotation_without_pruning_changes_nothing_and_matters_with_it():
    call = _call()
    rotations = [head_rotation(call.k)]
    assert torch.equal(pruned_attention(0.0, k_rotations=rotations)(call), call.dense())
    turned = prune_tokens(call.k @ rotations[0], 0.5) @ rotations[0].mT
    assert torch.allclose(pruned_attention(0.5, k_rotations=rotations)(call), _call(k=turned).dense())


def test_options_that_exclude_each_other_are_refused():
    with pytest.raises(ValueError, match="official must be False for whole channels"):
        pruned_attention(0.5, structured=True, official=True)
    with pytest.raises(ValueError, match="v_sparsity must be a number in"):
        pruned_attention(0.5, 1.0)
