"""Finite mechanisms are audited exactly."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.privacy import audit_channel


@st.composite
def tables(draw):
    n_inputs, n_outputs = draw(st.integers(2, 5)), draw(st.integers(1, 5))
    weights = [[draw(st.integers(0, 9)) for _ in range(n_outputs)] for _ in range(n_inputs)]
    return [[Fraction(weight, sum(row)) for weight in row] if sum(row) else None for row in weights]


@given(tables())
def test_the_worst_ratio_is_that_of_a_search_through_all_pairs_and_outputs(table):
    if None in table:
        return
    found = audit_channel(table)
    rows = range(len(table))
    ratios = [
        (high / low if low else math.inf)
        for i in rows for j in rows for high, low in zip(table[i], table[j], strict=True) if high
    ]  # fmt: skip
    assert found.ratio == max(ratios)
    (i, j), output = found.pair, found.output
    assert table[i][output] == found.ratio * table[j][output] or found.ratio == math.inf
    assert found.eps == pytest.approx(math.log(found.ratio), abs=1e-12)


def test_floats_and_rationals_agree():
    table = [[Fraction(1, 7), Fraction(6, 7)], [Fraction(5, 7), Fraction(2, 7)]]
    exact, rounded = audit_channel(table), audit_channel(np.array(table, dtype=float))
    assert exact.ratio == 5
    assert isinstance(exact.ratio, Fraction)
    assert rounded.ratio == pytest.approx(5, rel=1e-14)
    assert exact.pair == rounded.pair == (1, 0)
    assert exact.output == rounded.output == 0


def test_an_output_of_one_input_alone_is_no_privacy():
    found = audit_channel([[0.5, 0.5, 0.0], [0.5, 0.4, 0.1]])
    assert found.eps == math.inf
    assert (found.pair, found.output) == ((1, 0), 2)


def test_equal_rows_are_perfect_privacy():
    assert audit_channel([[0.3, 0.7, 0.0]] * 3).eps == 0.0


def test_ratios_beyond_the_range_of_doubles_have_logarithms():
    tiny = Fraction(1, 10**400)
    found = audit_channel([[tiny, 1 - tiny], [1 - tiny, tiny]])
    assert found.eps == pytest.approx(400 * math.log(10), rel=1e-12)


@pytest.mark.parametrize(
    "table",
    [
        [[1.0]],
        [[], []],
        [[0.5, 0.5], [1.0]],
        [[0.5, 0.6], [0.5, 0.5]],
        [[-0.5, 1.5], [0.5, 0.5]],
        [[np.nan, 0.5], [0.5, 0.5]],
        [[Fraction(1, 3), Fraction(1, 3)], [1, 0]],
        [["a", "b"], [0.5, 0.5]],
    ],
)
def test_what_is_no_table_of_laws_is_refused(table):
    with pytest.raises(ValueError, match="probabilities"):
        audit_channel(table)
