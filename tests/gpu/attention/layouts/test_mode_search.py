import math

import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from sparsetheory.gpu.attention import Layout, diagonal, mode_rule, multi_diagonal, search_modes, stripe

LAYOUT = Layout(frames=3, places=6, text=2)
MODES = {"diagonal": diagonal(LAYOUT, 2), "multi": multi_diagonal(LAYOUT, 1), "stripe": stripe(LAYOUT, [3])}
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def _sample(seed=0, heads=4, key_heads=4, batch=(), dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((*batch, heads, LAYOUT.n, 5), *[(*batch, key_heads, LAYOUT.n, 5)] * 2)
    return tuple(torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes)


def _mean_squares(samples):
    """Errors of all modes by their words, per head."""
    rows = []
    for q, k, v in samples:
        full = scaled_dot_product_attention(q, k, v)
        masked = [scaled_dot_product_attention(q, k, v, attn_mask=mask.element_mask()) for mask in MODES.values()]
        outputs = [full, torch.zeros_like(full), *masked]
        rows.append([[float((out - full)[h].square().mean()) for out in outputs] for h in range(len(q))])
    return np.mean(rows, axis=0)


def test_errors_are_means_over_samples():
    samples = [_sample(0, dtype=torch.float64), _sample(1, dtype=torch.float64)]
    np.testing.assert_allclose(search_modes(samples, MODES).mse, _mean_squares(samples), rtol=1e-10, atol=1e-15)


def test_errors_may_be_relative_to_the_layer():
    samples = [_sample(0, dtype=torch.float64)]
    wanted = _mean_squares(samples)
    relative = search_modes(samples, MODES, normalize="layer").mse
    np.testing.assert_allclose(relative, wanted / wanted[:, 1].mean(), rtol=1e-10, atol=1e-15)


def test_a_small_head_is_skipped_unless_it_is_measured_by_itself():
    q, k, v = _sample(dtype=torch.float64)
    v = v * torch.tensor([1.0, 1.0, 1.0, 1e-3], dtype=torch.float64)[:, None, None]
    plan = search_modes([(q, k, v)], MODES, max_loss=0.9, normalize="layer")
    assert plan.modes[3] == "skip"
    alone = plan.mse / plan.mse[:, 1:2]
    assert np.all(alone[:, 1] == 1.0)
    assert 1 not in mode_rule(alone, plan.sparsities, max_loss=0.9)


def test_a_scale_of_the_values_changes_the_published_rule_but_not_the_relative_one():
    q, k, v = _sample(dtype=torch.float64)
    plans = [search_modes([(q, k, scale * v)], MODES, normalize=kind) for kind in (None, "layer") for scale in (1, 100)]
    assert plans[0].choice != plans[1].choice
    assert plans[1].modes == ("full",) * 4
    assert plans[2].choice == plans[3].choice


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("key_heads", [4, 2, 1])
def test_a_plan_runs_every_head_in_its_mode(device, key_heads):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs CUDA")
    q, k, v = (x.to(device) for x in _sample(3, key_heads=key_heads, batch=(2,), dtype=torch.float64))
    q = q * torch.tensor([0.1, 1.0, 3.0, 9.0], dtype=torch.float64, device=device)[:, None, None]
    plan = search_modes([(q, k, v)], MODES, alpha=0.1, max_loss=0.25)
    assert len(set(plan.choice)) > 1
    output = plan.attend(q, k, v)
    for head, name in enumerate(plan.modes):
        args = q[:, head], k[:, head * key_heads // 4], v[:, head * key_heads // 4]
        mask = plan.masks[name].element_mask().to(device) if name in plan.masks else None
        wanted = torch.zeros_like(args[0]) if name == "skip" else scaled_dot_product_attention(*args, attn_mask=mask)
        torch.testing.assert_close(output[:, head], wanted)
        torch.testing.assert_close(
            (output[:, head] - scaled_dot_product_attention(*args)).square().mean(),
            torch.tensor(plan.mse[head, plan.choice[head]], device=device),
        )


def test_operations_are_those_of_the_kept_pairs():
    plan = search_modes([_sample()], MODES)
    pairs = {name: int(mask.element_mask().sum()) for name, mask in MODES.items()} | {"full": LAYOUT.n**2, "skip": 0}
    assert dict(zip(plan.names, plan.pairs, strict=True)) == pairs
    assert plan.flops() == sum(4 * 5 * pairs[mode] for mode in plan.modes)
    groups = plan.fused_groups()
    assert sorted(head for heads in groups.values() for head in heads) == [0, 1, 2, 3]
    assert all(plan.modes[head] == name for name, heads in groups.items() for head in heads)


def test_a_budget_is_kept_and_a_table_uses_it_at_least_as_well():
    plan = search_modes([_sample()], MODES)
    full = 4 * 5 * LAYOUT.n**2
    for share in (0.0, 0.7, 1.3, 2.9, 4.0):
        priced, tabled = (plan.within(share * full, method=method) for method in ("lagrange", "dp"))
        errors = [sum(p.mse[head, mode] for head, mode in enumerate(p.choice)) for p in (priced, tabled)]
        assert max(priced.flops(), tabled.flops()) <= share * full
        assert errors[1] <= errors[0] + 1e-12
    assert plan.within(0.0).modes == ("skip",) * 4
    assert plan.within(4 * full).modes == ("full",) * 4


def test_measured_costs_may_make_a_mode_useless():
    plan = search_modes([_sample()], MODES)
    costs = {"full": 1.0, "skip": 0.0, "diagonal": 2.0, "multi": 2.0, "stripe": 2.0}
    assert set(plan.within(4.0, costs=costs).modes) == {"full"}
    with pytest.raises(ValueError, match=r"costs must name every mode; got none for \['stripe'\]"):
        plan.within(4.0, costs=dict.fromkeys(plan.names[:-1], 1.0))


def test_half_precision_is_measured_in_float32():
    half = [x.bfloat16() for x in _sample()]
    plan = search_modes([tuple(half)], MODES)
    np.testing.assert_allclose(plan.mse, search_modes([tuple(x.float() for x in half)], MODES).mse)
    assert plan.attend(*half).dtype == torch.bfloat16


def test_ties_go_to_the_first_mode_and_limits_are_allowed():
    errors, shares = [[0.0, 0.5, 0.25, 0.25]], [0.0, 1.0, 0.5, 0.5]
    assert mode_rule(errors, shares).tolist() == [1]
    assert mode_rule(errors, shares, alpha=0.0).tolist() == [2]
    assert mode_rule(errors, shares, max_loss=0.5).tolist() == [1]
    assert mode_rule(errors, shares, max_loss=0.0).tolist() == [0]
    assert mode_rule([[0.0, 0.0, 3.0]], [0.0, 1.0, 0.5], max_loss=0.0).tolist() == [1]
    assert mode_rule([[0.0, 1e300]], [0.0, 1.0], max_loss=math.inf).tolist() == [1]


def test_outputs_of_zero_are_skipped_in_any_units():
    q, k, v = _sample()
    assert search_modes([(q, k, 0 * v)], MODES, normalize="layer").modes == ("skip",) * 4


def test_bad_arguments_are_named():
    sample = _sample()
    with pytest.raises(ValueError, match="qkv_samples must hold at least one sample"):
        search_modes([], MODES)
    with pytest.raises(ValueError, match="qkv_samples must agree"):
        search_modes([sample, _sample(heads=2, key_heads=2)], MODES)
    with pytest.raises(ValueError, match="modes must not be called full or skip"):
        search_modes([sample], {"full": MODES["multi"]})
    with pytest.raises(TypeError, match="must be a BlockMask"):
        search_modes([sample], {"window": torch.ones(2, 2)})
    with pytest.raises(ValueError, match="normalize must be None or 'layer'"):
        search_modes([sample], MODES, normalize="head")
    with pytest.raises(ValueError, match="alpha must be a finite non-negative number"):
        search_modes([sample], MODES, alpha=-1.0)
    with pytest.raises(ValueError, match="max_loss must be"):
        search_modes([sample], MODES, max_loss=math.nan)
    with pytest.raises(ValueError, match="must hold finite numbers"):
        search_modes([(sample[0] * math.nan, *sample[1:])], MODES)
    with pytest.raises(ValueError, match="mask must be for 4 queries"):
        search_modes([tuple(x[..., :4, :] for x in sample)], MODES)
    with pytest.raises(ValueError, match="mse must have one column"):
        mode_rule([[1.0, 2.0]], [0.0])
    with pytest.raises(ValueError, match="q and k must have 4 heads, 20 queries, 20 keys and dimension 5"):
        search_modes([sample], MODES).attend(*(x[..., :3, :, :] for x in sample))
