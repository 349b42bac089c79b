"""Connections nearest zero go and as many others come: exact counts, ties, the published rule and its traps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsetheory.gpu.dynamic.feature_selection.evolution import free_positions, kept, pruned, regrown
from sparsetheory.gpu.dynamic.feature_selection.layer import SparseLayer, draw_layer

_FRACTIONS = st.sampled_from([0.05, 0.2, 0.29, 0.3, 0.5, 0.99])
_VALUES = st.lists(st.integers(-4, 4), max_size=40).map(lambda v: np.array(v, dtype=np.float64))


def _layer(rng, shape=(6, 5), epsilon=1.5, dtype=np.float64):
    layer = draw_layer(rng, shape, epsilon, dtype)
    layer.velocity[:] = rng.standard_normal(layer.n_nonzero)
    return layer


@settings(max_examples=100)
@given(_VALUES, _FRACTIONS)
def test_exact_counts_of_each_sign_and_the_first_of_equal_ones(values, fraction):
    stays = kept(values, fraction, "exact")
    hundredths = round(100 * fraction)
    for chosen in (values < 0, values >= 0):
        n_dropped = hundredths * int(chosen.sum()) // 100
        by_hand = sorted(np.flatnonzero(chosen), key=lambda i: (abs(values[i]), i))[:n_dropped]
        assert sorted(by_hand) == np.flatnonzero(chosen & ~stays).tolist()


def test_rounding_does_not_cost_a_connection():
    """29 of 100 are 28.999999999999996 in double precision."""
    assert kept(np.arange(1.0, 101.0), 0.29, "exact").sum() == 71


def _published(values, fraction):
    """The rule as the published code has it, on sorted values and with loops."""
    ordered = sorted(values)
    distances = [abs(v) for v in ordered]
    first = distances.index(min(distances))
    low, high = ordered[int((1 - fraction) * first)], first + 1
    high = ordered[int(min(len(ordered) - 1, high + fraction * (len(ordered) - high)))]
    return [v < low or v > high for v in values]


@settings(max_examples=100)
@given(st.lists(st.floats(-3, 3), min_size=1, max_size=40, unique_by=abs), _FRACTIONS)
def test_official_rule(values, fraction):
    assert kept(np.array(values), fraction, "official").tolist() == _published(values, fraction)


@pytest.mark.parametrize(("n_negative", "n_positive", "expected"), [(17, 17, 25), (17, 16, 24)])
def test_official_rule_drops_more_than_it_says(n_negative, n_positive, expected):
    """Of 34 weights a fifth is 7, of 33 it is 7 as well: 27 and 26 would stay. Strict thresholds take two more."""
    values = np.concatenate([-np.arange(0.5, n_negative), np.arange(1.0, n_positive + 1)])
    assert kept(values, 0.2, "official").sum() == expected
    assert kept(values, 0.2, "exact").sum() == n_negative + n_positive - 6


@pytest.mark.parametrize("rule", ["exact", "official"])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_one_sign_alone(rule, sign):
    values = sign * np.arange(1.0, 11.0)
    stays = kept(values, 0.2, rule)
    assert stays.sum() == (8 if rule == "exact" else 7)
    assert stays[np.argsort(np.abs(values))].tolist() == sorted(stays)


@pytest.mark.parametrize("rule", ["exact", "official"])
def test_nothing_to_drop(rule):
    assert kept(np.empty(0), 0.2, rule).shape == (0,)


def test_constant_weights_are_dropped_from_the_front():
    """A threshold would drop all of them."""
    assert kept(np.full(10, 0.3), 0.2, "exact").tolist() == [False] * 2 + [True] * 8


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_free_places_are_free_and_different(seed, n_places):
    rng = np.random.default_rng(seed)
    occupied = np.flatnonzero(rng.random(n_places) < 0.6)
    count = int(rng.integers(0, n_places - occupied.size + 1))
    found = free_positions(rng, occupied, n_places, count)
    assert len(set(found.tolist())) == count
    assert not set(found.tolist()) & set(occupied.tolist())
    assert set(found.tolist()) <= set(range(n_places))


def test_free_places_are_drawn_alike():
    """Each of 5 free places is in two fifths of 5000 draws of 2, within five standard deviations."""
    rng, occupied = np.random.default_rng(0), np.array([0, 3, 4, 7])
    found = np.concatenate([free_positions(rng, occupied, 9, 2) for _ in range(5000)])
    counts = np.bincount(found, minlength=9)
    assert not counts[occupied].any()
    assert np.abs(counts[[1, 2, 5, 6, 8]] - 2000).max() < 5 * (5000 * 0.4 * 0.6) ** 0.5


def test_memory_does_not_grow_with_the_number_of_places():
    import tracemalloc

    rng = np.random.default_rng(0)
    tracemalloc.start()
    free_positions(rng, np.arange(0, 10**11, 10**8), 10**11, 1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10**6


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["exact", "official"]), _FRACTIONS)
def test_numbers_of_connections_are_constant(seed, rule, fraction):
    rng = np.random.default_rng(seed)
    layer = _layer(rng)
    smaller = pruned(layer, fraction, rule)
    changed = regrown(smaller, layer.n_nonzero, rng)
    assert changed.n_nonzero == layer.n_nonzero == np.unique(changed.positions).size
    # What stayed has its weight and its velocity; what is new rests.
    stayed = np.isin(changed.positions, smaller.positions)
    np.testing.assert_array_equal(changed.values[stayed], smaller.values)
    np.testing.assert_array_equal(changed.velocity[stayed], smaller.velocity)
    assert not changed.velocity[~stayed].any()
    assert (np.diff(changed.positions) > 0).all()
    np.testing.assert_array_equal(changed.matrix().toarray().ravel()[changed.positions], changed.values)


def test_a_dense_layer_is_left_dense_and_dropped_weights_begin_anew():
    rng = np.random.default_rng(0)
    layer = draw_layer(rng, (4, 5), 9.0, np.float64)
    assert layer.n_nonzero == 20
    smaller = pruned(layer, 0.5, "exact")
    changed = regrown(smaller, 20, rng)
    assert changed.positions.tolist() == list(range(20))
    dropped = ~np.isin(layer.positions, smaller.positions)
    assert (changed.values[dropped] != layer.values[dropped]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_layer(dtype):
    layer = _layer(np.random.default_rng(1), dtype=dtype)
    dense = layer.matrix().toarray()
    assert layer.values.dtype == layer.bias.dtype == layer.strengths.dtype == dense.dtype == dtype
    np.testing.assert_allclose(layer.strengths, np.abs(dense).sum(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(layer.degrees, (dense != 0).sum(axis=0))
    # The copy must not follow training: scipy shares what it is given.
    copy = layer.matrix()
    layer.values[:] = 0
    np.testing.assert_array_equal(copy.toarray(), dense)


def test_expected_number_of_connections():
    """200 and 100 neurons and 1500 draws: 1445.2 expected; the mean of 200 layers is within five standard errors."""
    rng = np.random.default_rng(0)
    counts = [draw_layer(rng, (100, 200), 5.0, np.float32).n_nonzero for _ in range(200)]
    expected = 20000 * (1 - (1 - 1 / 20000) ** 1500)
    assert abs(expected - 1445.2) < 0.05
    assert abs(np.mean(counts) - expected) < 5 * np.std(counts) / 200**0.5
    assert np.std(counts) > 1


def test_initial_weights():
    layer = draw_layer(np.random.default_rng(0), (1000, 500), 13.0, np.float64)
    assert abs(layer.values.std() - 0.1) < 5 * 0.1 / (2 * layer.n_nonzero) ** 0.5
    assert abs(layer.values.mean()) < 5 * 0.1 / layer.n_nonzero**0.5
    assert not layer.bias.any()
    assert not layer.velocity.any()
    assert isinstance(layer, SparseLayer)


def test_as_many_draws_as_places_are_all_places():
    layer = draw_layer(np.random.default_rng(0), (2, 2), 1.0, np.float64)
    assert layer.positions.tolist() == [0, 1, 2, 3]
