import numpy as np
import pytest
import torch

from sparsetheory.gpu.core.rewiring import rewire


def brute(mask, drop, grow, n_drop, n_grow, frozen, forbid, allow_regrow):
    """One entry after the other, in plain Python, by the words of the docstring; with None every k is tried."""
    movable = sorted((i for i in range(len(mask)) if mask[i] and not frozen[i]), key=lambda i: (drop[i], i))
    most = min(n_drop, len(movable))
    for k in range(most, -1, -1):
        dropped = movable[:k]
        kept = {i for i in range(len(mask)) if mask[i]} - set(dropped)
        places = [i for i in range(len(mask)) if i not in kept and not forbid[i]]
        if not allow_regrow:
            places = [i for i in places if i not in dropped]
        places.sort(key=lambda i: (-grow[i], i))
        if n_grow is None and len(places) < k:
            continue
        chosen = places[: k if n_grow is None else n_grow]
        return kept | set(chosen), k, len(chosen), set(dropped) & set(chosen)
    raise AssertionError("k = 0 is always possible")


def instance(rng, dtype):
    n = int(rng.integers(0, 13))
    levels = rng.choice([-np.inf, -1.0, -0.0, 0.0, 0.5, 1.0, np.inf], size=(2, n))
    scores = levels if rng.random() < 0.6 else rng.normal(size=(2, n))
    scores = torch.tensor(scores).to(dtype)
    chances = rng.choice([0.0, 0.2, 0.5, 0.9, 1.0], size=3)
    mask, frozen, forbid = (torch.tensor(rng.random(n) < chance) for chance in chances)
    n_grow = None if rng.random() < 0.5 else int(rng.integers(0, 14))
    return mask, scores[0], scores[1], int(rng.integers(0, 14)), n_grow, frozen, forbid, bool(rng.random() < 0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_equals_brute_force(dtype, device):
    rng = np.random.default_rng(0)
    for _ in range(1200):
        mask, drop, grow, n_drop, n_grow, frozen, forbid, regrow = instance(rng, dtype)
        after, k, chosen, again = brute(
            mask.tolist(), drop.tolist(), grow.tolist(), n_drop, n_grow, frozen.tolist(), forbid.tolist(), regrow
        )
        there = [tensor.to(device) for tensor in (mask, drop, grow, frozen, forbid)]
        found = rewire(*there[:3], n_drop, n_grow, frozen=there[3], forbid=there[4], allow_regrow=regrow)
        mask = there[0]
        assert set(found.mask.nonzero().flatten().tolist()) == after
        assert (found.n_drop, found.n_grow) == (k, chosen)
        assert set(found.regrown.nonzero().flatten().tolist()) == again
        assert torch.equal(found.dropped, mask & ~found.mask)
        assert torch.equal(found.grown, found.mask & ~mask)
        assert not bool((found.dropped & there[3]).any())
        assert not bool(((found.grown | found.regrown) & there[4]).any())
        if n_grow is None:
            assert int(found.mask.sum()) == int(mask.sum())


def test_frozen_and_forbid_are_optional():
    rng = np.random.default_rng(1)
    for _ in range(200):
        mask, drop, grow, n_drop, n_grow, *_ = instance(rng, torch.float32)
        none = torch.zeros_like(mask)
        plain = rewire(mask, drop, grow, n_drop, n_grow)
        assert torch.equal(plain.mask, rewire(mask, drop, grow, n_drop, n_grow, frozen=none, forbid=none).mask)


@pytest.mark.parametrize("value", [0.0, 1.0, float("inf"), -float("inf")])
def test_constant_scores_move_the_lowest_indices_and_keep_the_count(value):
    mask = torch.tensor([False, True, True, True, False, False, False])
    score = torch.full((7,), value)
    found = rewire(mask, score, score, 2, allow_regrow=False)
    assert found.mask.tolist() == [True, False, False, True, True, False, False]
    everything = rewire(mask, score, score, 99, allow_regrow=False)
    assert everything.n_drop == 3
    assert int(everything.mask.sum()) == 3


def test_nothing_moves_where_growing_is_forbidden():
    mask = torch.tensor([True, True, False, False])
    found = rewire(mask, torch.zeros(4), torch.zeros(4), 2, forbid=torch.ones(4, dtype=torch.bool))
    assert torch.equal(found.mask, mask)
    assert (found.n_drop, found.n_grow) == (0, 0)


def test_ties_do_not_depend_on_the_memory_format(device):
    rng = torch.Generator().manual_seed(0)
    mask = (torch.rand(3, 4, 2, 5, generator=rng) < 0.5).to(device)
    drop, grow = (torch.randint(0, 3, mask.shape, generator=rng).to(device, torch.float32) for _ in range(2))
    plain = rewire(mask, drop, grow, 17)
    for formats in ((mask, drop), (mask,), (drop,)):
        chosen = [
            x.to(memory_format=torch.channels_last) if any(x is y for y in formats) else x for x in (mask, drop, grow)
        ]
        assert torch.equal(rewire(*chosen, 17).mask, plain.mask)


def test_integer_scores_keep_orders_that_floating_point_numbers_lose():
    mask = torch.tensor([True, True, True, False, False, False])
    score = torch.tensor([2**53 + 2, 2**53 + 1, 2**53 + 3, 2**62, 2**62 + 1, -(2**63)])
    assert rewire(mask, score, score, 1).mask.tolist() == [True, False, True, False, True, False]
    least = torch.tensor([-(2**63), 5, 6, 0, 0, 0])
    assert rewire(mask, least, score, 1).mask.tolist() == [False, True, True, False, True, False]


def test_a_density_path_moves_two_numbers():
    mask = torch.arange(10) < 5
    score = torch.arange(10.0)
    found = rewire(mask, score, score, 1, 3)
    assert (int(found.mask.sum()), found.n_drop, found.n_grow) == (7, 1, 3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"mask": torch.ones(3)}, TypeError, "mask must be a tensor of bool; got torch.float32"),
        ({"drop_score": torch.ones(2)}, ValueError, r"drop_score must have the shape of mask, \(3,\); got \(2,\)"),
        ({"grow_score": torch.tensor([1.0, float("nan"), 0.0])}, ValueError, "grow_score must not hold NaN"),
        ({"grow_score": torch.ones(3, dtype=torch.complex64)}, TypeError, "grow_score must be a tensor of real"),
        ({"frozen": torch.ones(4, dtype=torch.bool)}, ValueError, "frozen must have the shape"),
        ({"forbid": torch.ones(3)}, TypeError, "forbid must be a tensor of bool"),
        ({"n_drop": -1}, ValueError, "n_drop must be an integer from 0"),
        ({"n_grow": 1.5}, ValueError, "n_grow must be None or an integer from 0"),
    ],
)
def test_bad_input(arguments, error, message):
    given = {"mask": torch.tensor([True, False, False]), "drop_score": torch.ones(3), "grow_score": torch.ones(3)}
    with pytest.raises(error, match=message):
        rewire(**{**given, "n_drop": 1, **arguments})
