"""How a budget is split: exact floors, never more than allowed, and what forcing costs."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest

from sparsetheory.gpu.activations import split_budget

SHAPES = [(384, 384), (384, 1536), (1536, 384), (100, 7), (1, 1), (64, 1000)]
SPARSITIES = [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99]
RHOS = [number / 20 for number in range(21)]


@pytest.mark.parametrize("shape", SHAPES)
def test_floors_of_the_decimal_numbers(shape):
    n_in, n_out = shape
    for sparsity in SPARSITIES:
        for rho in RHOS:
            found = split_budget(*shape, sparsity, rho)
            left = 1 - Fraction(str(sparsity))
            channels = floor(n_in * left * Fraction(str(rho)))
            rank = floor((n_in * n_out * left - channels * n_out) / (n_in + n_out))
            assert (found.channels, found.rank) == (channels, rank)
            assert found.excess == 0.0
            assert found.used == channels * n_out + rank * (n_in + n_out) <= found.allowed
            # One more of either does not fit.
            assert found.used + n_in + n_out > found.allowed
            assert found.rank < min(shape)


def test_binary_floors_would_lose_channels():
    lost = [
        (n_in, sparsity, rho)
        for n_in in (100, 200, 384, 1000)
        for sparsity in SPARSITIES
        for rho in RHOS
        if floor(n_in * (1 - sparsity) * rho) < split_budget(n_in, n_in, sparsity, rho).channels
    ]
    assert (100, 0.9, 0.5) in lost
    assert split_budget(100, 50, np.float64(0.9), np.float32(0.5)).channels == 5


def test_forced_splits_keep_one_of_each_and_say_what_that_costs():
    exceeded = 0
    for sparsity in SPARSITIES:
        for rho in RHOS:
            free, forced = (split_budget(64, 48, sparsity, rho, forced=way) for way in (False, True))
            assert forced.channels == max(free.channels, 1)
            assert forced.rank >= 1
            assert forced.excess == float(max(forced.used - (1 - Fraction(str(sparsity))) * 64 * 48, 0))
            if free.channels and free.rank:
                assert forced == free
            exceeded += forced.excess > 0
    assert exceeded > 0
    assert split_budget(64, 64, 0.99, 0.5, forced=True).excess == pytest.approx(192 - 40.96)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((8, 8, 1.0, 0.5), "sparsity"),
        ((8, 8, -0.1, 0.5), "sparsity"),
        ((8, 8, float("nan"), 0.5), "sparsity"),
        ((8, 8, 0.5, 1.1), "rho"),
        ((8, 8, 0.5, -0.1), "rho"),
        ((0, 8, 0.5, 0.5), "n_in"),
        ((8, 2.5, 0.5, 0.5), "n_out"),
    ],
)
def test_arguments(arguments, name):
    with pytest.raises(ValueError, match=f"^{name} must be .*; got"):
        split_budget(*arguments)
