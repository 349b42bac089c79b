"""Noise added in doubles is found by its last bits; lattices, bits and directions are not."""

import numpy as np
import pytest
from privacy.audit.reference_randomizers import gaussian, sphere

from sparsetheory.privacy import low_bit_leak
from sparsetheory.privacy.audit.floating_point import _exponents


def _at(encode, v):
    return lambda n, rng: encode(v, n, rng)


def _discrete_laplace(value):
    return lambda n, rng: value + rng.geometric(0.63, n) - rng.geometric(0.63, n)


@pytest.mark.parametrize("noise", ["laplace", "standard_normal"])
def test_the_textbook_leak_is_found(noise):
    def at(value):
        return lambda n, rng: value + getattr(rng, noise)(size=n)

    found = low_bit_leak(at(0.0), at(1.0), n_samples=100_000, random_state=0)
    assert found.leak
    assert found.eps_lower > 5
    # 1 + noise is a multiple of 2^-53, since so is every double in [-1, -1/4], the noise that comes near to 0.
    fine = found.lowest_bits < -53
    assert found.counts1[fine & (found.lowest_bits > -2000)].sum() == 0
    assert found.counts0[fine].sum() > 10_000
    assert found.counts0.sum() == found.counts1.sum() == 100_000


def test_rounding_to_a_common_grid_hides_this_event():
    def at(value):
        return lambda n, rng: np.rint((value + rng.laplace(size=n)) * 2**20) / 2**20

    assert not low_bit_leak(at(0.0), at(1.0), n_samples=50_000, random_state=0).leak


HARMLESS = {
    "integers with discrete noise": (_discrete_laplace(0), _discrete_laplace(1)),
    "lattice of width 0.1": tuple(
        (lambda n, rng, v=v: 0.1 * (v + np.rint(rng.normal(0, 40, n)))) for v in (0, 10)
    ),
    "a bit times a constant": tuple(
        (lambda n, rng, v=v: 3.7 * np.where(rng.random(n) < 0.5 + 0.2 * v, 1, -1)) for v in (-1, 1)
    ),
    "a direction with a random sign": tuple(_at(sphere(1.0, 1.0), v) for v in ([1.0, 0.0, 0.0], [0.0, 0.6, 0.8])),
}  # fmt: skip


@pytest.mark.parametrize("name", HARMLESS)
def test_outputs_whose_grid_does_not_depend_on_the_input_pass(name):
    assert not any(low_bit_leak(*HARMLESS[name], n_samples=20_000, random_state=seed).leak for seed in range(5))


def test_the_leaking_entry_is_named():
    def leaking(value):
        return lambda n, rng: np.stack([rng.integers(5, size=n), value + rng.laplace(size=n)], axis=1)

    found = low_bit_leak(leaking(0.0), leaking(1.0), n_samples=50_000, random_state=0)
    assert found.leak
    assert found.entry == 1


def test_exponents_are_those_of_exact_arithmetic():
    numbers = [1.0, -1.0, 1.5, 0.1, 3.0, 2.0**-1074, -(2.0**1023), 1 + 2.0**-52, 12.0, np.pi, 1e-310]
    for number, (exponent, lowest) in zip(numbers, _exponents(np.array(numbers)).tolist(), strict=True):
        top, bottom = abs(number).as_integer_ratio()
        assert abs(number) / 2 < 2.0**exponent <= abs(number)
        # The number over 2^lowest is an odd integer.
        scaled = (top << 1100) // bottom
        assert scaled & ((1 << (lowest + 1100)) - 1) == 0
        assert (scaled >> (lowest + 1100)) & 1 == 1
    assert _exponents(np.zeros(1)).tolist() == [[-2000, -2000]]


def test_single_precision_is_looked_at_as_it_is():
    def at(value):
        return lambda n, rng: np.float32(value) + rng.standard_normal(n, dtype=np.float32)

    assert low_bit_leak(at(0.0), at(1.0), n_samples=50_000, random_state=0).leak


def test_the_p_value_is_decisive_exactly_where_the_bound_is():
    found = low_bit_leak(gaussian(0.0, 1.0), gaussian(1.0, 1.0), n_samples=4000, eps=2.0, random_state=3)
    assert found.leak == (found.eps_lower > found.eps)
    assert "true eps" in str(found)
