"""Sparsity of an update: against counting by hand, in the precision asked for, on a grid of tolerances."""

import math

import pytest
import torch
from torch import nn

from sparsetheory.gpu import analysis


def published_sparsity(before, after, atol=1e-5):
    """Share of entries that do not change, entry by entry on bfloat16 copies: the reference, and slow."""
    unchanged = size = 0
    for name, tensor in before.items():
        deltas = after[name].bfloat16().float() - tensor.bfloat16().float()
        for delta in deltas.flatten().tolist():
            # The comparison value is zero, so that a relative tolerance has nothing to act on.
            unchanged += bool(torch.isclose(torch.tensor(delta), torch.tensor(0.0), atol=atol))
            size += 1
    return unchanged / size


def published_density_called_layer_wise_sparsity(before, after, atol=1e-5):
    """What the published script prints as sparsity of layers: the mean over tensors of the share that did change."""
    shares = []
    for name, tensor in before.items():
        deltas = (after[name].bfloat16().float() - tensor.bfloat16().float()).flatten().tolist()
        shares.append(sum(not math.isclose(delta, 0.0, abs_tol=atol) for delta in deltas) / len(deltas))
    return sum(shares) / len(shares)


def states(seed=0, size=3e-3):
    generator = torch.Generator().manual_seed(seed)
    before = {
        "a.weight": torch.randn(6, 4, generator=generator),
        "a.bias": torch.randn(6, generator=generator),
        "b.weight": torch.randn(2, 6, generator=generator),
    }
    after = {
        name: tensor * (1 + size * torch.randn(tensor.shape, generator=generator)) for name, tensor in before.items()
    }
    return before, after


def test_total_is_the_published_measure(device):
    before, after = states()
    report = analysis.update_sparsity(
        {k: v.to(device) for k, v in before.items()}, {k: v.to(device) for k, v in after.items()}, dtype=torch.bfloat16
    )
    assert 0.2 < report.total < 0.9
    assert report.total == pytest.approx(published_sparsity(before, after))


def test_what_the_script_calls_layer_wise_sparsity_is_a_density_without_weights():
    before, after = states()
    report = analysis.update_sparsity(before, after, dtype=torch.bfloat16)
    printed = published_density_called_layer_wise_sparsity(before, after)
    per_tensor = list(report.per_tensor.values())
    assert printed == pytest.approx(1 - sum(per_tensor) / 3)
    # It is neither a sparsity nor the share of all entries.
    assert printed != pytest.approx(report.total, abs=0.01)
    assert 1 - printed != pytest.approx(report.total, abs=0.001)


def test_layers_weigh_tensors_by_size():
    before = {"a.weight": torch.zeros(3, 3), "a.bias": torch.zeros(3), "top": torch.zeros(2)}
    after = {"a.weight": torch.zeros(3, 3), "a.bias": torch.ones(3), "top": torch.tensor([0.0, 1.0])}
    report = analysis.update_sparsity(before, after)
    assert report.per_tensor == {"a.weight": 1.0, "a.bias": 0.0, "top": 0.5}
    assert report.per_layer_weighted == {"a": 0.75, "": 0.5}
    assert report.total == 1 - 4 / 14


def test_the_tolerance_is_not_rounded_to_bfloat16():
    # In bfloat16 itself 1e-5 becomes 1.00136e-5, and this change would count as none.
    change = 1.001e-5
    assert torch.tensor(change) <= torch.tensor(1e-5, dtype=torch.bfloat16)
    before, after = {"w": torch.zeros(1)}, {"w": torch.tensor([change])}
    assert analysis.update_sparsity(before, after, tol=1e-5).total == 0.0
    half = {name: tensor.bfloat16() for name, tensor in after.items()}
    assert float(half["w"]) > 1e-5
    assert analysis.update_sparsity({"w": torch.zeros(1).bfloat16()}, half, tol=1e-5).total == 0.0


def test_differences_of_bfloat16_are_not_rounded_again():
    before, after = (torch.tensor([value], dtype=torch.bfloat16) for value in (1.0, 2.0**-9))
    assert float(before - after) == 1.0  # in bfloat16 the difference is lost
    assert analysis.update_sparsity({"w": before}, {"w": after}, tol=1 - 2.0**-10).total == 1.0


def test_movement_is_a_ratio_of_means():
    before, after = {"w": torch.tensor([0.0, 3.0])}, {"w": torch.tensor([1.0, 3.5])}
    report = analysis.update_sparsity(before, after)
    assert (report.movement, report.mean_change) == (0.5, 0.75)
    zero = {"w": torch.zeros(2)}
    assert analysis.update_sparsity(zero, zero).movement == 0.0
    assert analysis.update_sparsity(zero, after).movement == math.inf


def test_equal_infinities_have_not_changed_and_new_nan_has():
    before = {"w": torch.tensor([math.inf, -math.inf, 1.0, 1.0])}
    after = {"w": torch.tensor([math.inf, -math.inf, math.nan, -math.inf])}
    assert analysis.update_mask(before, after)["w"].tolist() == [False, False, True, True]


def test_equal_infinities_do_not_hide_how_far_the_others_moved():
    before = {"mask": torch.tensor([1.0, 3.0, -torch.inf, torch.inf])}
    after = {"mask": torch.tensor([2.0, 3.0, -torch.inf, torch.inf])}
    report = analysis.update_sparsity(before, after)
    assert (report.total, report.movement, report.mean_change) == (0.75, 0.25, 0.25)
    # Beyond the largest number of float16 both are infinite.
    pair = ({"w": torch.tensor([1.0, 7e4])}, {"w": torch.tensor([2.0, 8e4])})
    assert analysis.update_sparsity(*pair, dtype=torch.float16).movement == 1.0


def test_an_infinite_entry_that_becomes_finite_counts_in_full():
    report = analysis.update_sparsity({"w": torch.tensor([1.0, torch.inf])}, {"w": torch.ones(2)})
    assert (report.tensors[0].change, report.tensors[0].magnitude) == (torch.inf, torch.inf)


def test_the_default_tolerance_is_the_published_one():
    pair = {"w": torch.zeros(2)}, {"w": torch.tensor([9e-6, 1.1e-5])}
    assert analysis.update_sparsity(*pair).total == 0.5
    assert analysis.update_mask(*pair)["w"].tolist() == [False, True]


def test_a_change_of_the_tolerance_counts_as_none():
    pair = {"w": torch.tensor([1.0, 1.0])}, {"w": torch.tensor([1.25, 1.5])}
    assert analysis.update_sparsity(*pair, tol=0.25).total == 0.5


def test_float64_states_keep_their_digits():
    before = {"w": torch.ones(1, dtype=torch.float64)}
    after = {"w": before["w"] + 1e-12}
    assert analysis.update_sparsity(before, after, tol=1e-13).total == 0.0
    assert analysis.update_sparsity(before, after, tol=1e-11).total == 1.0
    assert analysis.update_sparsity(before, after, tol=0.0, dtype=torch.float32).total == 1.0


def test_grid_holds_the_reports_of_every_cell():
    before, after = states()
    grid = analysis.update_grid(before, after, tols=(0.0, 1e-5, 1e-3), dtypes=(None, torch.bfloat16))
    for dtype in (None, torch.bfloat16):
        for tol in (0.0, 1e-5, 1e-3):
            assert grid.report(dtype, tol) == analysis.update_sparsity(before, after, tol, dtype)
    with pytest.raises(KeyError):
        grid.report(torch.float16, 0.0)
    with pytest.raises(ValueError, match="must not be empty"):
        analysis.update_grid(before, after, tols=())
    with pytest.raises(ValueError, match="tols must be a sequence"):
        analysis.update_grid(before, after, tols=0.1)


def test_tables():
    pytest.importorskip("pandas")
    before, after = states()
    frame = analysis.update_grid(before, after, tols=(0.0, 1.0)).to_frame()
    assert list(frame["dtype"]) == ["float32", "float32", "bfloat16", "bfloat16"]
    assert list(frame["sparsity"][frame["tol"] == 1.0]) == [1.0, 1.0]
    table = analysis.update_sparsity(before, after, tol=0.0).to_frame()
    assert table.loc["a.weight", "size"] == 24
    assert table["n_changed"].sum() == 42


def test_mask_is_that_of_the_report_and_of_models():
    model = nn.Linear(3, 2)
    after = nn.Linear(3, 2)
    after.load_state_dict(model.state_dict())
    with torch.no_grad():
        after.weight[0, 1] += 1.0
    mask = analysis.update_mask(model, after)
    assert mask["weight"].tolist() == [[False, True, False], [False, False, False]]
    assert mask.density == pytest.approx(1 - analysis.update_sparsity(model, after).total)
