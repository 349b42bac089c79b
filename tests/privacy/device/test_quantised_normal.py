"""Tables of normal numbers against mpmath."""

import itertools
import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest

from sparsetheory.privacy.device.quantised_normal import DIRECTION_BITS, NOISE_BITS, normal_table


def exact_thresholds(fine, bits, cells):
    with mpmath.workdps(50):
        root = mpmath.sqrt(2)
        return [int(mpmath.floor(mpmath.erf(mpmath.ldexp(m + 1, -fine) / root) * 2**bits)) for m in cells]


@pytest.mark.parametrize(("law", "step"), [(DIRECTION_BITS, 1), (NOISE_BITS, 37)])
def test_thresholds_are_those_of_the_normal_law(law, step):
    thresholds = normal_table(*law).thresholds
    cells = sorted({*range(0, len(thresholds) - 1, step), *range(len(thresholds) - 50, len(thresholds) - 1)})
    assert [int(thresholds[m]) for m in cells] == exact_thresholds(*law, cells)
    assert int(thresholds[-1]) == 2 ** law[1]
    assert np.all(np.diff(thresholds.astype(np.int64 if law[1] < 63 else np.uint64)) >= 0)


@pytest.mark.parametrize("law", [DIRECTION_BITS, NOISE_BITS])
def test_the_table_ends_where_the_rest_is_less_than_half_a_word(law):
    fine, bits = law
    last = len(normal_table(*law).thresholds) - 1
    with mpmath.workdps(50):
        before, after = (mpmath.erfc(mpmath.ldexp(m + 1, -fine) / mpmath.sqrt(2)) for m in (last - 1, last))
        assert after <= mpmath.ldexp(1, -bits - 1) < before


def _moments(law):
    """Return mean and mean square of magnitudes, exactly, in standard deviations."""
    table = normal_table(*law)
    thresholds = [0, *table.thresholds.tolist()]
    masses = [b - a for a, b in itertools.pairwise(thresholds)]
    mean = Fraction(sum(mass * (2 * m + 1) for m, mass in enumerate(masses)), table.units << table.bits)
    square = Fraction(sum(mass * (2 * m + 1) ** 2 for m, mass in enumerate(masses)), table.units**2 << table.bits)
    return float(mean), float(square)


@pytest.mark.parametrize("law", [DIRECTION_BITS, NOISE_BITS])
def test_moments_are_those_of_middles_of_cells(law):
    """The middles of cells of width h have the mean and the mean square of the half-normal law times 1 + h^2 / 12.

    By the formula of Euler and Maclaurin the next term is of the order h^4. That is 2e-8 more than the normal law for
    directions, and 1.2e-9 for noise. Rounding down a threshold moves less than one word up by one cell: together that
    adds at most 2^-bits times the end of the table to the mean, and times its square to the mean square.
    """
    fine, bits = law
    mean, square = _moments(law)
    factor = 1 + 4.0**-fine / 12
    end = len(normal_table(*law).thresholds) * 2.0**-fine
    assert abs(mean / math.sqrt(2 / math.pi) - factor) < 1.3 * end * 2.0**-bits + 1e-14
    assert abs(square - factor) < end**2 * 2.0**-bits + 1e-14


@pytest.mark.parametrize("law", [DIRECTION_BITS, (6, 20), (8, 63)])
def test_total_variation_is_a_bound(law):
    """Against the exact law of the cells: half the sum of all differences, with what lies behind the table."""
    fine, bits = law
    table = normal_table(*law)
    with mpmath.workdps(40):
        edges = [mpmath.erf(mpmath.ldexp(m, -fine) / mpmath.sqrt(2)) for m in range(len(table.thresholds) + 1)]
        given = [0, *table.thresholds.tolist()]
        rounded = [mpmath.ldexp(b - a, -bits) for a, b in itertools.pairwise(given)]
        exact = [b - a for a, b in itertools.pairwise(edges)]
        distance = (sum(abs(a - b) for a, b in zip(rounded, exact, strict=True)) + 1 - edges[-1]) / 2
    assert 0 < distance <= table.total_variation
    assert table.total_variation < 20 * distance  # no careless bound


def test_words_and_cells():
    table = normal_table(*DIRECTION_BITS)
    first, second = table.thresholds[:2].tolist()
    magnitudes = np.array([0, first - 1, first, second - 1, second, 2**31 - 1], dtype=np.uint64)
    words = np.concatenate([2 * magnitudes, 2 * magnitudes + np.uint64(1)])
    drawn = table.draw(words)
    assert drawn[:5].tolist() == [1, 1, 3, 3, 5]
    assert drawn[5] == 2 * len(table.thresholds) - 1
    assert np.array_equal(drawn[:6], -drawn[6:])
    assert np.array_equal(table.draw(words.astype(np.uint32)), drawn)


def test_all_bits_of_a_wide_word_count():
    table = normal_table(*NOISE_BITS)
    words = np.array([2**64 - 1, 2**64 - 2, 0, 1], dtype=np.uint64)
    edge = 2 * len(table.thresholds) - 1
    assert table.draw(words).tolist() == [-edge, edge, 1, -1]
