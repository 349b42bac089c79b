"""The secret coin, in rational numbers."""

import math
import os
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.privacy.device.coin import keep_threshold, private_signs, secret_words, uniforms

_WORD = 2**64
# Rational bounds of e^eps from 60 digits; they differ by far less than the step of a coin.
_MARGIN = Fraction(1, 10**55)


def power(eps):
    """Return rational bounds of e^eps, for the double eps as it is."""
    with mpmath.workdps(70):
        value = mpmath.exp(mpmath.mpf(eps))
        return tuple(
            Fraction(int(mpmath.floor(value * mpmath.mpf(10) ** 60)), 10**60) * (1 + sign * _MARGIN) for sign in (-1, 1)
        )


@given(st.floats(1e-3, 20.0))
def test_ratio_is_at_most_that_of_eps_and_as_close_as_words_allow(eps):
    kept = keep_threshold(eps)
    low, high = power(eps)
    assert Fraction(kept, _WORD - kept) <= low  # below the lower bound of e^eps
    assert Fraction(kept + 1, _WORD - kept - 1) > low * (1 - _MARGIN)  # one more word would be too many
    assert kept > _WORD // 2
    assert high > low


@given(st.floats(1e-9, 20.0), st.integers(1, 40))
def test_weighted_coins_of_the_cube(eps, d):
    from sparsetheory.privacy.randomizers.cube import half_space_counts

    positive, others = half_space_counts(d)
    kept = keep_threshold(eps, positive, others)
    ratio = Fraction(kept, positive) / Fraction(_WORD - kept, others)
    assert ratio <= power(eps)[0]
    assert 1 / ratio <= power(eps)[0]


def test_a_coin_in_doubles_would_not_do():
    """The mistake that this coin avoids: floor(2^53 p) of a p in doubles has a ratio above e^eps for eps = 0.1."""
    in_doubles = int(2.0**53 / (1 + math.exp(-0.1)))
    worst = max(Fraction(kept, 2**53 - kept) for kept in (in_doubles, in_doubles + 1))
    assert worst > power(0.1)[1]
    kept = keep_threshold(0.1)
    assert Fraction(kept, _WORD - kept) <= power(0.1)[0]


def _fixed(*words):
    return lambda count: np.array(words, dtype=np.uint64)[:count]


@pytest.mark.parametrize("eps", [0.1, 1.0, 20.0])
def test_words_at_the_edge_of_the_coin(eps):
    kept = keep_threshold(eps)
    one = np.ones(1, dtype=np.int8)
    for word, sign in ((0, 1), (kept - 1, 1), (kept, -1), (_WORD - 1, -1)):
        assert private_signs(one, np.ones(1), eps, _fixed(0, word))[0] == sign
        assert private_signs(-one, np.ones(1), eps, _fixed(0, word))[0] == -sign
        assert private_signs(one, np.zeros(1), eps, _fixed(0, word))[0] == -sign


@pytest.mark.parametrize("agreement", [-np.inf, -1e300, -0.1, 0.0, 0.3, 1.0, 7.0, np.inf, np.nan])
def test_a_message_is_private_whatever_the_agreement_is(agreement):
    """The second word alone is the coin: for each first word it turns exactly the same share of messages."""
    one, eps = np.ones(1, dtype=np.int8), 0.7
    kept = keep_threshold(eps)
    for first in (0, 2**62, 2**63, _WORD - 1):
        below, above = (private_signs(one, np.array([agreement]), eps, _fixed(first, w))[0] for w in (kept - 1, kept))
        assert below == -above


def test_uniforms_are_multiples_of_two_to_the_minus_53_below_one():
    words = np.array([0, 2**11 - 1, 2**11, _WORD - 1], dtype=np.uint64)
    assert uniforms(words).tolist() == [0.0, 0.0, 2.0**-53, 1 - 2.0**-53]


def test_secret_words_are_those_of_the_operating_system(monkeypatch):
    monkeypatch.setattr(os, "urandom", lambda count: bytes(range(count)))
    assert secret_words(2).tolist() == [0x0706050403020100, 0x0F0E0D0C0B0A0908]
    asked = []
    monkeypatch.setattr(os, "urandom", lambda count: asked.append(count) or bytes(count))
    private_signs(np.ones(3, dtype=np.int8), np.ones(3), 1.0)
    assert asked == [3 * 16]


def test_no_users_toss_no_coin():
    assert private_signs(np.ones(0, dtype=np.int8), np.ones(0), 1.0).shape == (0,)
