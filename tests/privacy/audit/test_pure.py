"""The audit of eps: every ordered pair, every kind of message, delta, statistics, and what it refuses."""

import math

import numpy as np
import pytest
from privacy.audit.reference_randomizers import keep_bits, sphere
from scipy.special import expit

from sparsetheory.privacy import audit_pure


def _response(bit, n, rng, eps=1.0):
    return bit * keep_bits(n, rng, eps)


def _leaky_neighbours(number, n, rng):
    """Randomized response on the parity of a number, except that 3 answers truthfully more often than it may."""
    return _response(1 if number % 2 else -1, n, rng, eps=2.0 if number == 3 else 1.0)


def test_the_one_bad_input_of_a_grid_is_found():
    audit = audit_pure(_leaky_neighbours, range(6), eps=1.0, n_samples=20_000, random_state=0)
    assert audit.violated
    assert 3 in audit.pair
    assert audit.eps_lowers.shape == (6, 6)
    assert audit.eps_lowers.max() == audit.eps_lower
    # Pairs without 3 keep the promise, and 3 is no nearer to even numbers in one order than in the other.
    others = np.delete(np.delete(audit.eps_lowers, 3, axis=0), 3, axis=1)
    assert others.max() <= 1.0
    assert not audit.eps_lowers.diagonal().any()
    assert not audit_pure(_leaky_neighbours, [0, 1, 2, 4, 5], eps=1.0, n_samples=20_000, random_state=0).violated


def test_one_order_of_a_pair_may_be_all_that_shows():
    """An output that one input gives with probability 0.2 and the other never: only one order has a large ratio."""

    def encode(rare, n, rng):
        return (rng.random(n) < 0.2 * rare).astype(np.int8)

    for inputs, pair in (([0, 1], (1, 0)), ([1, 0], (0, 1))):
        audit = audit_pure(encode, inputs, eps=1.0, n_samples=2000, random_state=0)
        assert audit.violated
        assert audit.pair == pair
        assert audit.eps_lowers[pair[::-1]] < 0.3


def test_messages_may_be_bits_bytes_vectors_or_reals():
    kinds = {
        "bool": lambda m: m > 0,
        "uint8": lambda m: (m > 0).astype(np.uint8),
        "list": lambda m: m.tolist(),
        "bytes of many": lambda m: np.repeat((m > 0).astype(np.uint8)[:, None], 12, axis=1),
        "matrix": lambda m: m[:, None, None] * np.ones((2, 3)),
        "float32": lambda m: m.astype(np.float32),
    }
    bounds = {
        name: audit_pure(
            lambda bit, n, rng, turn=turn: turn(_response(bit, n, rng)), [-1, 1], eps=1.0, n_samples=4000,
            random_state=0,
        ).eps_lower
        for name, turn in kinds.items()
    }  # fmt: skip
    assert set(np.round(list(bounds.values()), 12)) == {round(bounds["bool"], 12)}
    assert bounds["bool"] > 0.7


def test_a_shape_beyond_means_is_seen_by_values_and_by_the_norm():
    """Two laws with the same mean: of integers 0 and 2 against 1, and of normal numbers of different spread."""

    def integers(spread, n, rng):
        return np.where(rng.random(n) < 0.9, 1 + spread * rng.choice([-1, 1], n), 1 - spread + 1)

    def normal(scale, n, rng):
        return scale * rng.standard_normal((n, 4))

    assert audit_pure(integers, [0, 1], eps=1.0, n_samples=5000, random_state=0).violated
    found = audit_pure(normal, [1.0, 3.0], eps=1.0, n_samples=5000, random_state=0)
    assert found.violated
    assert "squared norm" in found.event


def test_delta_excuses_rare_events():
    """With probability 0.05 the input itself is sent: (1, 0.05)-private and not eps-private for any eps."""

    def encode(bit, n, rng):
        return np.where(rng.random(n) < 0.05, 10 * bit, _response(bit, n, rng))

    assert audit_pure(encode, [-1, 1], eps=1.0, n_samples=40_000, random_state=0).violated
    excused = audit_pure(encode, [-1, 1], eps=1.0, delta=0.05, n_samples=40_000, random_state=0)
    assert not excused.violated
    assert excused.delta == 0.05
    assert audit_pure(encode, [-1, 1], eps=1.0, delta=0.02, n_samples=40_000, random_state=0).violated


def test_a_statistic_sees_what_the_default_does_not():
    """A spread that grows in one entry and shrinks in another: neither the means nor the norms differ."""

    def encode(scale, n, rng):
        return np.array([scale, 1 / scale]) * rng.standard_normal((n, 1)) * np.sign(rng.standard_normal((n, 2)))

    def swapped(flip, n, rng):
        return encode(3.0, n, rng)[:, :: -1 if flip else 1]

    def statistic(rows, first, second):
        return (np.abs(rows[:, 0]) - np.abs(rows[:, 1])) * (second - first)

    options = {"eps": 1.0, "n_samples": 5000, "random_state": 0}
    assert not audit_pure(swapped, [0, 1], **options).violated
    audit = audit_pure(swapped, [0, 1], statistic=statistic, **options)
    assert audit.violated
    assert "statistic" in audit.event


def test_a_seed_repeats_the_audit_and_its_words():
    first, second = (audit_pure(sphere(1.0, 1.0), np.eye(3), eps=1.0, n_samples=2000, random_state=4) for _ in range(2))
    assert first == second
    assert str(first) == str(second)
    assert "not refuted" in str(first)
    assert "VIOLATED" in str(audit_pure(sphere(1.0, 2.0), np.eye(3), eps=0.5, n_samples=20_000, random_state=4))


def test_the_bound_is_that_of_its_counts():
    """Recount the event of randomized response by hand, from the same generator."""
    n, alpha = 2000, 1e-3
    audit = audit_pure(_response, [-1, 1], eps=1.0, n_samples=n, alpha=alpha, random_state=5)
    rng = np.random.default_rng(5)
    counted = [_response(bit, n, rng)[n // 2 :] for bit in (-1, 1)]
    from scipy.stats import binomtest

    first, second = audit.pair
    likely = (-1, 1)[first]
    confidence = 1 - 2 * alpha / 4
    low = binomtest(int((counted[first] == likely).sum()), n // 2).proportion_ci(confidence, "exact").low
    high = binomtest(int((counted[second] == likely).sum()), n // 2).proportion_ci(confidence, "exact").high
    assert audit.eps_lower == pytest.approx(math.log(low / high), rel=1e-9)
    assert abs(audit.expected_eps_lower - math.log(low / high)) < 0.3
    assert expit(1.0) > low


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"eps": 0.0}, "eps"),
        ({"eps": 21.0}, "eps"),
        ({"n_samples": 99}, "n_samples"),
        ({"alpha": 1.0}, "alpha"),
        ({"delta": 1.0}, "delta"),
        ({"inputs": [1]}, "n_inputs"),
        ({"encode": lambda v, n, rng: np.ones(n - 1)}, "encode must return n = 200 messages"),
        ({"encode": lambda v, n, rng: 1.0}, "encode must return n = 200 messages"),
        ({"encode": lambda v, n, rng: [b"no"] * n}, "encode must return n = 200 messages"),
        ({"encode": lambda v, n, rng: np.full(n, np.nan)}, "finite"),
        ({"encode": lambda v, n, rng: np.ones((n, 0))}, "at least one entry"),
        ({"statistic": lambda rows, first, second: rows}, "statistic must return one number"),
        ({"random_state": "seed"}, "random_state"),
    ],
)
def test_what_cannot_be_audited_is_refused(change, words):
    arguments = {"encode": _response, "inputs": [-1, 1], "eps": 1.0, "n_samples": 200, "random_state": 0, **change}
    with pytest.raises(ValueError, match=words):
        audit_pure(**arguments)
