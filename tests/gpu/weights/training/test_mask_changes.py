import pytest
import torch
from torch import nn

from sparsetheory.gpu.core import NM
from sparsetheory.gpu.weights import SADTracker, live_masks, sad, sparsify


def _masks(seed, n=2, m=4):
    generator = torch.Generator().manual_seed(seed)
    return {
        "a": NM(n, m).mask(torch.rand(6, 16, generator=generator)),
        "b": NM(n, m).mask(torch.rand(2, 8, generator=generator)),
    }


def test_a_plain_model_has_no_masks_to_follow():
    with pytest.raises(ValueError, match="model must have sparse weights; got none"):
        SADTracker(nn.Linear(4, 4))


def test_it_counts_the_entries_that_differ_and_is_a_metric():
    sets = [_masks(seed) for seed in range(4)]
    for one in sets:
        assert sad(one, one) == 0.0
        for other in sets:
            by_hand = sum(
                bool(x) != bool(y)
                for name in one
                for x, y in zip(one[name].flatten(), other[name].flatten(), strict=True)
            )
            assert sad(one, other) == sad(other, one) == by_hand
            assert by_hand % 2 == 0
            assert sad(one, other, normalized=True) == by_hand / 112
            for third in sets:
                assert sad(one, other) <= sad(one, third) + sad(third, other)
    assert all(sad(sets[0], other) > 0 for other in sets[1:])


@pytest.mark.parametrize(("n", "m"), [(1, 4), (2, 4), (3, 4), (1, 8), (4, 4)])
def test_the_bound_is_reached_and_holds(n, m):
    entries = 112
    for seed in range(5):
        assert sad(_masks(seed, n, m), _masks(seed + 9, n, m)) <= 2 * min(n, m - n) / m * entries
    first, last = torch.arange(m) < n, torch.arange(m) >= m - n
    assert sad({"a": first}, {"a": last}, normalized=True) == 2 * min(n, m - n) / m


def test_masks_must_have_the_same_names_and_shapes():
    with pytest.raises(ValueError, match="masks_b must have the names of masks_a; missing are"):
        sad(_masks(0), {"a": _masks(0)["a"]})
    with pytest.raises(ValueError, match="masks_b must have the shapes of masks_a"):
        sad(_masks(0), {**_masks(0), "b": torch.ones(2, 2) > 0})


def test_a_tracker_adds_up_what_changes(device):
    model = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 2)).to(device)
    sparsify(model, "1:4")
    tracker = SADTracker(model)
    assert tracker.look() == 0.0
    seen, sums = [live_masks(model)], 0.0
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for layer in model:
                weight = torch.randn(layer.weight.shape, generator=generator)
                layer.parametrizations.weight.original.copy_(weight)
        seen.append(live_masks(model))
        found = tracker.look()
        assert found == sad(seen[-2], seen[-1], normalized=True)
        assert tracker.changes[-1]["1.weight"] == sad({"w": seen[-2]["1.weight"]}, {"w": seen[-1]["1.weight"]}, True)
        sums += found
    assert len(tracker.changes) == 3
    assert tracker.total == pytest.approx(sums, rel=1e-12)
    assert SADTracker(model).total == 0.0
