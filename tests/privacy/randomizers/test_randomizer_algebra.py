"""Laws of messages, enumerated in rational numbers with the integers that the code compares."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import chisquare

from sparsetheory.privacy import cube_encode, cube_scale, onebit_encode, sketch_encode, sphere_encode
from sparsetheory.privacy.device.coin import keep_threshold
from sparsetheory.privacy.randomizers.cube import half_space_counts

_WORD = 2**64
EPS = [0.1, 0.5, 1.0, 3.0, 20.0]


def cube_law(d, eps):
    """Return all corners, which messages have a positive product with which corner, and the two probabilities."""
    corners = np.array(list(itertools.product((-1, 1), repeat=d)))
    positive, others = half_space_counts(d)
    kept = keep_threshold(eps, positive, others)
    return (
        corners,
        corners @ corners.T > 0,
        Fraction(kept, _WORD * positive),
        Fraction(_WORD - kept, _WORD * others),
    )


@pytest.mark.parametrize("d", range(1, 9))
@pytest.mark.parametrize("eps", EPS)
def test_cube_enumerated(d, eps):
    """All corners and all messages: probabilities sum to one, the mean is the corner, and no ratio exceeds e^eps."""
    corners, positive, inside, outside = cube_law(d, eps)
    scale = Fraction(cube_scale(d, eps))
    for corner, side in zip(corners, positive, strict=True):
        n_inside = int(side.sum())
        assert n_inside * inside + (2**d - n_inside) * outside == 1
        sums = zip(
            corners[side].sum(axis=0).tolist(), corners[~side].sum(axis=0).tolist(), corner.tolist(), strict=True
        )
        for a, b, entry in sums:
            assert abs(scale * (a * inside + b * outside) - entry) < 1e-13  # of the scale, a double of a few roundings
    likely = np.where(positive, inside, outside)  # of objects: rational numbers
    worst = max(max(column) / min(column) for column in map(set, likely.T.tolist()))
    # The double nearest to e^eps is within 1e-15 of it; the coin has steps of 2^-64.
    assert worst <= Fraction(math.exp(eps)) * (1 + Fraction(1, 10**15))
    assert worst >= Fraction(math.exp(eps)) * (1 - Fraction(1, 10**8 if eps == 20.0 else 10**15))


def test_ties_in_both_sets_would_break_the_cube():
    """The mistake that circulates: for even d both sets with ties give the ratio 1 + e^eps."""
    d, eps = 4, 1.0
    corners = list(itertools.product((-1, 1), repeat=d))
    half = sum(1 for z in corners if sum(z) >= 0)
    keep = 1 / (1 + math.exp(-eps))
    law = np.array(
        [
            [keep / half * (np.dot(z, x) >= 0) + (1 - keep) / half * (np.dot(z, x) <= 0) for x in corners]
            for z in corners
        ]
    )
    assert np.allclose(law.sum(axis=0), 1)
    assert math.log((law.max(axis=1) / law.min(axis=1)).max()) == pytest.approx(math.log(1 + math.e), rel=1e-12)


@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_cube_messages_have_the_enumerated_law(d):
    n, eps = 40_000, 1.0
    rng = np.random.default_rng(d)
    corner = np.array([1, -1, -1, 1])[:d]
    sent = cube_encode(np.tile(corner, (n, 1)), 1.0, eps, coin=lambda k: rng.integers(0, _WORD, k, dtype=np.uint64))
    corners, _, inside, outside = cube_law(d, eps)
    places = (sent > 0) @ (2 ** np.arange(d)[::-1])
    counts = np.bincount(places, minlength=2**d)
    expected = np.where(corners @ corner > 0, float(inside), float(outside))
    assert chisquare(counts, expected * n).pvalue > 1e-4
    assert chisquare(counts, np.full(2**d, n / 2**d)).pvalue < 1e-6


@pytest.mark.parametrize("d", [2, 4, 5])
def test_how_long_the_cube_draws_betrays_nothing(d):
    """The number of rounds depends neither on the corner nor on the side of the coin: words alone decide."""
    rounds = {}
    for corner, kept in itertools.product(itertools.product((-1.0, 1.0), repeat=d), (0, _WORD - 1)):
        lengths = []
        for seed in range(8):
            rng = np.random.default_rng(seed)
            calls = []

            def coin(count, kept=kept, calls=calls, rng=rng):
                calls.append(count)
                if len(calls) == 2:
                    return np.full(count, kept, dtype=np.uint64)
                words = rng.integers(0, _WORD, count, dtype=np.uint64)
                return np.zeros(count, dtype=np.uint64) if len(calls) == 1 else words

            cube_encode(np.array([corner]) * 2, 1.0, 1.0, coin=coin)
            lengths.append(len(calls))
        rounds.setdefault(corner, []).append(lengths)
    assert all(first == second for first, second in rounds.values())
    assert len({tuple(first) for first, _ in rounds.values()}) > 1  # of the corner only in distribution


def sign_probability(agreement, eps):
    """Return the exact probability that a message is the true sign: of all words, those that the code counts."""
    agrees = Fraction(min(max(math.ceil(Fraction(agreement) * 2**53), 0), 2**53), 2**53)
    kept = Fraction(keep_threshold(eps), _WORD)
    return agrees * kept + (1 - agrees) * (1 - kept)


@pytest.mark.parametrize("eps", EPS)
def test_onebit_enumerated(eps):
    """All values of the chosen coordinate on a grid, both bits: the mean is the value and no ratio exceeds e^eps."""
    radius = 3.0
    values = np.linspace(-radius, radius, 41).tolist()
    plus = [sign_probability(0.5 + v / (2 * radius), eps) for v in values]
    scale = Fraction(radius) * Fraction(1 / math.tanh(eps / 2))
    for value, probability in zip(values, plus, strict=True):
        assert abs(scale * (2 * probability - 1) - Fraction(value)) < 1e-14 / min(eps, 1)
    worst = max(max(side) / min(side) for side in (plus, [1 - p for p in plus]))
    assert worst == Fraction(keep_threshold(eps), _WORD - keep_threshold(eps))
    assert worst <= Fraction(math.exp(eps)) * (1 + Fraction(1, 10**15))


@pytest.mark.parametrize("eps", EPS)
def test_ratio_of_densities_of_the_sphere(eps):
    """For inputs of norms a R and a' R the ratio is at most (1 + a t) / (1 - a' t), with t = tanh(eps / 2)."""
    t = math.tanh(eps / 2)
    for a, b in itertools.product((0.0, 0.1, 0.5, 0.9, 1.0), repeat=2):
        # The largest ratio is that of opposite sides of the direction.
        ratio = sign_probability(0.5 + a / 2, eps) / (1 - sign_probability(0.5 + b / 2, eps))
        bound = (1 + a * t) / (1 - b * t)
        assert float(ratio) == pytest.approx(bound, rel=1e-7 if eps == 20.0 else 1e-12)
        assert ratio <= Fraction(keep_threshold(eps), _WORD - keep_threshold(eps))


@pytest.mark.parametrize("encode", [sphere_encode, sketch_encode, onebit_encode])
@pytest.mark.parametrize("size", [1e-300, 1.0, 50.0, 1e200, 1.7e308])
def test_every_vector_is_private(encode, size):
    """Also far outside of the ball: the second word decides alone, for whatever first word."""
    eps = 0.8
    kept = keep_threshold(eps)
    vectors = size * np.random.default_rng(0).uniform(-1, 1, (20, 4))
    for first in (0, 2**63, _WORD - 1):

        def coin(count, word, first=first):
            return np.tile(np.array([first, word], dtype=np.uint64), count // 2)

        below = encode(vectors, 1.0, eps, coin=lambda n: coin(n, kept - 1))
        above = encode(vectors, 1.0, eps, coin=lambda n: coin(n, kept))
        assert np.array_equal(below, -above)
        assert set(np.abs(below).tolist()) == {1}


@pytest.mark.parametrize("encode", [sphere_encode, sketch_encode])
def test_a_vector_far_outside_counts_as_its_direction(encode):
    rng = np.random.default_rng(1)
    v = rng.standard_normal((200, 3))
    unit = v / np.linalg.norm(v, axis=1, keepdims=True)
    words = rng.integers(0, _WORD, 400, dtype=np.uint64)
    assert np.array_equal(
        encode(unit, 1.0, 2.0, coin=lambda n: words), encode(1e280 * v, 1.0, 2.0, coin=lambda n: words)
    )


def test_zero_projections_count_as_positive():
    """Zero vectors have zero products with every direction: a message is then the coin alone, +1 if kept."""
    always = np.array([0, 0], dtype=np.uint64)
    for encode in (sphere_encode, sketch_encode):
        signs = encode(np.zeros((30, 3)), 1.0, 1.0, coin=lambda n: np.tile(always, n // 2))
        assert np.all(signs == 1)
