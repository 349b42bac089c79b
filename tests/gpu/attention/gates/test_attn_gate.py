"""The gate: its scores against a slow reference, its shapes, and what it must not see."""

import importlib.util
from pathlib import Path

import pytest
import torch

from sparsetheory.gpu.attention import AttnGate, rotary_tables

_SPEC = importlib.util.spec_from_file_location("plain_gate", Path(__file__).with_name("plain_gate.py"))
plain_gate = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(plain_gate)

GATES = {
    "plain": {},
    "shared keys": {"n_kv_heads": 2},
    "narrow, with a map of queries": {"gate_dim": 4, "n_kv_heads": 2},
    "forced map": {"force_q_map": True, "n_kv_heads": 1},
    "two pools of queries": {"q_pool": ("avg", "max"), "k_pool": ("min", "avg")},
    "not causal": {"causal": False, "n_kv_heads": 2},
}


def make(n_kv_heads=4, **options):
    return AttnGate(8, 4, n_kv_heads, block=4, **options)


def draw(n, n_kv_heads=4, batch=2, seed=0):
    source = torch.Generator().manual_seed(seed)
    return (torch.randn(batch, heads, n, 8, generator=source) for heads in (4, n_kv_heads))


@pytest.mark.parametrize("n", [12, 14, 3])
@pytest.mark.parametrize("options", GATES.values(), ids=GATES)
def test_scores_are_those_of_the_reference(options, n, device):
    gate = make(**options).to(device)
    q, k = draw(n, options.get("n_kv_heads", 4))
    positions = torch.arange(n).expand(2, n) + torch.tensor([[0], [5]])
    rotary = rotary_tables(positions, gate.gate_dim)
    found = gate(q.to(device), k.to(device), tuple(table.to(device) for table in rotary)).logits
    wanted = plain_gate.plain_scores(gate.cpu(), q.double().numpy(), k.double().numpy(), None, positions.numpy())
    torch.testing.assert_close(found.cpu(), torch.from_numpy(wanted).float(), atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("options", GATES.values(), ids=GATES)
def test_without_positions_and_with_padding_on_the_left(options):
    gate = make(**options)
    q, k = draw(14, options.get("n_kv_heads", 4), seed=1)
    real = torch.ones(2, 14, dtype=torch.bool)
    real[1, :6] = False
    found = gate(q, k, key_mask=real).logits
    wanted = plain_gate.plain_scores(gate, q.double().numpy(), k.double().numpy(), real.numpy())
    torch.testing.assert_close(found, torch.from_numpy(wanted).float(), atol=2e-5, rtol=2e-5)
    # Six tokens of padding fill the first block; the second has two real tokens.
    assert (found[1, :, 0] == -torch.inf).all()
    assert (found[1, :, :, 0] == -torch.inf).all()
    assert (found[1, :, 1, 1] > -torch.inf).all()


def test_what_stands_in_padding_changes_nothing():
    gate = make(n_kv_heads=2)
    q, k = draw(14, 2)
    real = torch.ones(2, 14, dtype=torch.bool)
    real[:, :5] = False
    before = gate(q, k, key_mask=real).logits
    q[:, :, :5], k[:, :, :5] = 1e6, -1e6
    assert torch.equal(before, gate(q, k, key_mask=real).logits)


def test_the_future_changes_nothing():
    gate = make()
    q, k = draw(16)
    before = gate(q, k).logits
    q[..., 12:, :], k[..., 12:, :] = 1e6, 1e6
    after = gate(q, k).logits
    assert torch.equal(before[..., :3, :], after[..., :3, :])
    assert (before.triu(1)[..., torch.ones(4, 4).triu(1) > 0] == -torch.inf).all()


def test_a_map_of_queries_exists_only_where_it_is_needed():
    assert make().q_map is None
    assert make().k_map.shape == (4, 24, 8)
    assert make(2).k_map.shape == (4, 24, 8)
    narrow = make(2, gate_dim=4)
    assert narrow.q_map.shape == (4, 8, 4)
    assert narrow.k_map.shape == (2, 24, 4)
    assert make(force_q_map=True).q_map is not None
    assert make(q_pool=("avg", "min")).q_map.shape == (4, 16, 8)


def test_initial_weights_come_from_the_generator():
    assert torch.equal(make(generator=3).k_map, make(generator=3).k_map)
    assert not torch.equal(make(generator=3).k_map, make(generator=4).k_map)
    assert make().k_map.abs().max() <= (6 / 32) ** 0.5


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_scores_have_the_dtype_of_the_gate(dtype):
    q, k = draw(8)
    assert make().to(dtype)(q.to(dtype), k.to(dtype)).logits.dtype == dtype


def test_a_state_dict_comes_back():
    gate, other = make(generator=1, gate_dim=4), make(generator=2, gate_dim=4)
    other.load_state_dict(gate.state_dict())
    q, k = draw(8)
    assert torch.equal(gate(q, k).logits, other(q, k).logits)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_kv_heads": 3}, "n_q_heads must be a multiple of n_kv_heads=3; got 4"),
        ({"k_pool": ("mean",)}, "k_pool must be one of 'avg', 'max', 'min'; got 'mean'"),
        ({"q_pool": "avg"}, "q_pool must be a sequence"),
        ({"q_pool": ()}, "q_pool must be a sequence"),
        ({"gate_dim": 0}, "gate_dim must be an integer from 1"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_wrong_inputs():
    q, k = draw(8)
    with pytest.raises(ValueError, match="q and k must have shapes"):
        make()(q[..., :4], k)
    with pytest.raises(ValueError, match="key_mask must be of bool and of shape"):
        make()(q, k, key_mask=torch.ones(2, 8))
    with pytest.raises(ValueError, match="rotary must turn at most gate_dim=4 features; got 8"):
        make(gate_dim=4)(q, k, rotary_tables(torch.arange(8)[None], 8))
    with pytest.raises(ValueError, match="logits must not hold NaN"):
        make()(q * torch.nan, k)
