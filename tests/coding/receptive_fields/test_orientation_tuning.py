"""Circular variance against a naive sum, a closed form, and what must leave it alone."""

import cmath
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.coding.receptive_fields.gabor_model import gabor_function
from sparsetheory.coding.receptive_fields.orientation_tuning import circular_variance

EPS = np.finfo(float).eps
# Each response is a sum of size^2 terms, and the variance a ratio of sums of 36 of them.
ATOL = 1e-12


def _gabor(theta, frequency=0.2, sigma_x=2.5, sigma_y=2.5, phase=0.0, size=16):
    return gabor_function(np.array([1.0, 0, 0, sigma_x, sigma_y, theta, frequency, phase]), size)


def _naive(atom):
    size = len(atom)
    grid = max(64, 4 * size)
    transform = np.abs(np.fft.fft2(atom, s=(grid, grid)))
    row, column = np.unravel_index(transform.argmax(), transform.shape)
    radius = math.hypot(min(row, grid - row), min(column, grid - column)) / grid
    total, resultant = 0.0, 0.0
    for k in range(36):
        angle = math.pi * k / 36
        wave = 0
        for y in range(size):
            for x in range(size):
                wave += atom[y, x] * cmath.exp(-2j * math.pi * radius * (x * math.cos(angle) + y * math.sin(angle)))
        total += abs(wave)
        resultant += abs(wave) * cmath.exp(2j * angle)
    return 1 - abs(resultant) / total


@pytest.mark.parametrize("size", [2, 7, 12, 17])
def test_naive_sum(size, rng):
    atoms = rng.standard_normal((4, size, size))
    D = atoms.reshape(4, -1)
    assert circular_variance(D, size) == pytest.approx([_naive(atom) for atom in atoms], abs=ATOL)


def _closed_form(theta, frequency, sigma_x, sigma_y, radius):
    """Circular variance at a radius of a Gabor function in cosine phase, sampled finely and without end."""
    angles = np.pi * np.arange(36) / 36
    along, across = radius * np.cos(angles - theta), radius * np.sin(angles - theta)
    envelope = np.exp(-2 * (np.pi * sigma_y * across) ** 2)
    lobes = [np.exp(-2 * (np.pi * sigma_x * (along + sign * frequency)) ** 2) for sign in (-1, 1)]
    responses = envelope * sum(lobes)
    return 1 - abs(responses @ np.exp(2j * angles)) / responses.sum()


@given(st.floats(0, np.pi), st.floats(0.15, 0.25), st.floats(1.5, 2.5), st.floats(1.5, 2.5))
def test_gabor_functions_at_every_angle(theta, frequency, sigma_x, sigma_y):
    measured = circular_variance(_gabor(theta, frequency, sigma_x, sigma_y, size=24)[None], 24)[0]
    # The grid, of step 1/96, shows the peak to half a step in both directions. The two lobes of the Gabor function
    # overlap a little, which moves the peak by less than 1 / (4 pi^2 sigma^2 f) exp(-2 (2 pi sigma f)^2) < 1/96.
    radii = frequency + np.linspace(-1, 1, 81) * (np.sqrt(0.5) + 1) / 96
    possible = [_closed_form(theta, frequency, sigma_x, sigma_y, radius) for radius in radii]
    # Beyond 12 pixels the envelope is exp(-(12 / 2.5)^2 / 2) = 1e-5, and the peak response of order 1.
    assert min(possible) - 1e-3 <= measured <= max(possible) + 1e-3


def test_extremes():
    x = np.arange(48) - 23.5
    blob = np.exp(-(x**2 + x[:, None] ** 2) / 18)
    grating = np.cos(2 * np.pi * x / 4 + 0.3) * np.exp(-(x**2 + x[:, None] ** 2) / 200)
    round_, sharp = circular_variance(np.stack([blob.ravel(), grating.ravel()]), 48)
    assert round_ == pytest.approx(1, abs=ATOL)
    # Responses are about Gaussian in the angle, with deviation 1 / (2 pi 10 / 4): about 1 - exp(-2 / (5 pi)^2) = 0.008.
    assert 0.007 < sharp < 0.009


@given(st.integers(2, 14), st.integers(0, 99))
def test_quarter_turns_mirrors_scales_and_signs_change_nothing(size, seed):
    atom = np.random.default_rng(seed).standard_normal((size, size))
    versions = [atom, np.rot90(atom), np.rot90(atom, 2), atom.T, atom[::-1], atom[:, ::-1], -3 * atom, 1e-200 * atom]
    variances = circular_variance(np.stack([version.ravel() for version in versions]), size)
    assert variances == pytest.approx(np.full(len(versions), variances[0]), abs=ATOL)
    assert 0 <= variances[0] <= 1


def test_place_does_not_matter(rng):
    small = rng.standard_normal((5, 5))
    shifted = [np.pad(small, ((a, 11 - a), (b, 11 - b))).ravel() for a, b in [(0, 0), (11, 0), (4, 7)]]
    variances = circular_variance(np.stack(shifted), 16)
    assert variances == pytest.approx(np.full(3, variances[0]), abs=ATOL)


def test_longer_envelopes_and_higher_frequencies_tune_more_sharply():
    for atoms in (
        [_gabor(0.4, sigma_y=s) for s in (1, 1.5, 2, 3)],
        [_gabor(0.4, frequency=f) for f in (0.12, 0.2, 0.28)],
    ):
        assert (np.diff(circular_variance(np.stack(atoms), 16)) < 0).all()


def test_many_atoms_are_done_in_parts(rng):
    D = rng.standard_normal((300, 36))
    together = circular_variance(D, 6)
    assert together == pytest.approx(np.concatenate([circular_variance(D[k : k + 7], 6) for k in range(0, 300, 7)]))


def test_dtype_and_layout(rng):
    D = rng.standard_normal((5, 144))
    expected = circular_variance(D, 12)
    single = circular_variance(np.asfortranarray(D.astype(np.float32)), 12)
    assert single.dtype == np.float32
    assert single == pytest.approx(expected, abs=1e-4)
    D.flags.writeable = False
    assert np.array_equal(circular_variance(D, 12), expected)
    assert circular_variance(np.eye(4, dtype=int), 2).dtype == np.float64
    assert circular_variance(np.empty((0, 144)), 12).shape == (0,)


@pytest.mark.parametrize(
    ("D", "size", "error", "message"),
    [
        (np.eye(9), 4, ValueError, r"D must have shape \(n_atoms, size \* size\).*got \(9, 9\) and size=4"),
        (np.ones(9), 3, ValueError, r"D must have shape \(n_atoms, size \* size\).*got \(9,\)"),
        (np.ones((1, 1)), 1, ValueError, "size must be an integer from 2 to .*; got 1"),
        (np.eye(9), 3.0, ValueError, "size must be an integer from 2 to .*; got 3.0"),
        (np.full((4, 4), np.inf), 2, ValueError, "D must be finite"),
        (np.eye(4) * 1j, 2, TypeError, "D must hold integers or floats of 32 or 64 bits; got dtype complex128"),
        (
            np.array([[1, 1, 1, 0], [2, 2, 2, 2], [2, 2, 2, 1]]),
            2,
            ValueError,
            "D must have no constant atom; row 1 is one",
        ),
    ],
)
def test_bad_input(D, size, error, message):
    with pytest.raises(error, match=message):
        circular_variance(D, size)
