"""Gabor fits: the derivative, planted functions with and without noise, symmetries."""

import joblib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.coding.receptive_fields.gabor import fit_gabor
from sparsetheory.coding.receptive_fields.gabor_model import GABOR_PARAMETERS, gabor_function, gabor_jacobian

SIZE = 12
parameters = st.tuples(
    st.floats(-3, 3),
    st.floats(-6, 6),
    st.floats(-6, 6),
    st.floats(0.5, 10),
    st.floats(0.5, 10),
    st.floats(-7, 7),
    st.floats(0, 0.7),
    st.floats(-7, 7),
).map(np.array)


def _planted(rng):
    return np.array(
        [
            rng.uniform(0.5, 2),
            *rng.uniform(-2, 2, 2),
            *rng.uniform(1.2, 2.5, 2),
            rng.uniform(0, np.pi),
            rng.uniform(0.15, 0.3),
            rng.uniform(-np.pi, np.pi),
        ]
    )


def _columns(fits):
    return np.array([getattr(fits, name) for name in GABOR_PARAMETERS]).T


def _turns(difference):
    """Distance from zero of angles that come back after one unit."""
    return np.abs(difference - np.round(difference))


def _errors(found, planted):
    """Differences with (theta, phase) and (theta + pi, -phase) identified."""
    found = found.copy()
    if _turns((found[5] - planted[5]) / (2 * np.pi)) > 0.25:
        found[5] += np.pi
        found[7] *= -1
    error = found - planted
    for angle in (5, 7):
        error[angle] -= 2 * np.pi * np.round(error[angle] / (2 * np.pi))
    return error


@given(parameters)
def test_function_is_its_formula(p):
    amplitude, x0, y0, sigma_x, sigma_y, theta, frequency, phase = p
    g = gabor_function(p, SIZE).reshape(SIZE, SIZE)
    for row, column in [(0, 0), (3, 8), (11, 5)]:
        x, y = column - 5.5 - x0, row - 5.5 - y0
        u, v = x * np.cos(theta) + y * np.sin(theta), y * np.cos(theta) - x * np.sin(theta)
        expected = amplitude * np.exp(-(u**2) / (2 * sigma_x**2) - v**2 / (2 * sigma_y**2))
        expected *= np.cos(2 * np.pi * frequency * u + phase)
        assert g[row, column] == pytest.approx(expected, rel=1e-12, abs=1e-14)


@given(parameters)
def test_jacobian_is_the_derivative(p):
    # A step of 1e-30 along the imaginary axis has an error of its square and no cancellation: only rounding is left,
    # of exponents and angles up to a few hundred.
    step = 1e-30
    jacobian = gabor_jacobian(p, SIZE)
    for k in range(8):
        moved = p.astype(complex)
        moved[k] += 1j * step
        derivative = gabor_function(moved, SIZE).imag / step
        scale = max(np.abs(derivative).max(), 1e-3)
        assert jacobian[:, k] == pytest.approx(derivative, abs=1e-10 * scale)


@given(parameters)
def test_jacobian_agrees_with_central_differences(p):
    # With step h, the error is at most h^2 / 6 times the third derivative, which the difference of the second order
    # at 2h against h shows: the two quotients differ by h^2 / 2 times it, up to higher orders and rounding eps / h.
    h = 1e-4
    jacobian = gabor_jacobian(p, SIZE)
    for k in range(8):
        fine, coarse = (
            (gabor_function(p + t * np.eye(8)[k], SIZE) - gabor_function(p - t * np.eye(8)[k], SIZE)) / (2 * t)
            for t in (h, 2 * h)
        )
        slack = np.abs(coarse - fine).max() + 100 * np.finfo(float).eps * 3 / h
        assert jacobian[:, k] == pytest.approx(fine, abs=slack)


def test_planted_functions_are_found(rng):
    planted = [_planted(rng) for _ in range(40)]
    fits = fit_gabor(np.stack([gabor_function(p, SIZE) for p in planted]), SIZE)
    assert fits.r2 == pytest.approx(np.ones(40), abs=1e-6)
    for found, p in zip(_columns(fits), planted, strict=True):
        assert _errors(found, p) == pytest.approx(np.zeros(8), abs=2e-3)
    assert fits.cycles_along == pytest.approx([p[3] * p[6] for p in planted], rel=2e-3)
    assert fits.cycles_across == pytest.approx([p[4] * p[6] for p in planted], rel=2e-3)


def test_noise_moves_the_parameters_by_their_standard_errors(rng):
    deviations = []
    for _ in range(40):
        p = _planted(rng)
        clean = gabor_function(p, SIZE)
        noise = 0.1 * clean.std()
        fits = fit_gabor((clean + noise * rng.standard_normal(clean.size))[None], SIZE)
        jacobian = gabor_jacobian(p, SIZE)
        covariance = noise**2 * np.linalg.inv(jacobian.T @ jacobian)
        deviations.append(_errors(_columns(fits)[0], p) / np.sqrt(np.diag(covariance)))
        # 144 - 8 degrees of freedom stay in a residual of a hundredth of the variance.
        assert fits.r2[0] == pytest.approx(1 - 0.01 * 136 / 144 / 1.01, abs=0.01)
    deviations = np.array(deviations)
    # The covariance is that of the linearised problem; standard normal numbers, 320 of them.
    assert np.abs(deviations).max() < 5
    assert np.sqrt(np.mean(deviations**2)) == pytest.approx(1, abs=0.25)


def test_fits_return_in_their_ranges_and_give_the_atoms_back(rng):
    D = np.stack([gabor_function(_planted(rng), SIZE) for _ in range(12)] + [rng.standard_normal(SIZE**2)])
    fits = fit_gabor(D, SIZE)
    assert (fits.amplitude >= 0).all()
    assert ((fits.direction >= 0) & (fits.direction < np.pi)).all()
    assert (np.abs(fits.phase) <= np.pi).all()
    error = ((fits.atoms() - D) ** 2).sum(axis=1)
    assert 1 - error / (D.var(axis=1) * SIZE**2) == pytest.approx(fits.r2, abs=1e-10)
    assert fits.r2[-1] < 0.5


def test_signs_scales_and_mirrors(rng):
    atom = gabor_function(_planted(rng), SIZE) + 0.05 * rng.standard_normal(SIZE**2)
    mirrored = atom.reshape(SIZE, SIZE)[:, ::-1].ravel()
    fits = fit_gabor(np.stack([atom, -atom, 1e-200 * atom, mirrored]), SIZE)
    assert fits.r2 == pytest.approx(np.full(4, fits.r2[0]), abs=1e-5)
    # A search stops at a relative gain of 1e-6, so parameters agree to about its square root.
    assert fits.direction[:3] == pytest.approx(np.full(3, fits.direction[0]), abs=5e-3)
    assert fits.direction[3] == pytest.approx(np.pi - fits.direction[0], abs=5e-3)
    assert fits.amplitude[2] == pytest.approx(1e-200 * fits.amplitude[0], rel=5e-3, abs=0)
    assert fits.x[3] == pytest.approx(-fits.x[0], abs=5e-3)
    assert _turns((fits.phase[1] - fits.phase[0]) / (2 * np.pi)) == pytest.approx(0.5, abs=5e-3)


def test_bumps_of_every_shape_have_few_cycles(rng):
    bumps = [_planted(rng) for _ in range(20)]
    for p in bumps:
        p[6:] = 0
    fits = fit_gabor(np.stack([gabor_function(p, SIZE) for p in bumps]), SIZE)
    assert fits.r2.min() > 1 - 1e-4
    assert fits.cycles_along.max() < 0.15


def test_the_number_of_workers_does_not_matter(rng):
    D = rng.standard_normal((3, SIZE**2))
    alone = fit_gabor(D, SIZE)
    with joblib.parallel_config("threading"):
        together = fit_gabor(D, SIZE, n_jobs=2)
    assert np.array_equal(_columns(alone), _columns(together))
    assert np.array_equal(alone.r2, together.r2)


def test_layout_dtype_and_no_atom(rng):
    D = np.asfortranarray(rng.standard_normal((2, SIZE**2)).astype(np.float32))
    D.flags.writeable = False
    fits = fit_gabor(D, SIZE)
    assert np.array_equal(fits.r2, fit_gabor(D.astype(np.float64), SIZE).r2)
    empty = fit_gabor(np.empty((0, SIZE**2)), SIZE)
    assert empty.r2.shape == empty.cycles_along.shape == (0,)
    assert empty.atoms().shape == (0, SIZE**2)


@pytest.mark.parametrize(
    ("D", "message"),
    [
        (np.eye(9), r"D must have shape \(n_atoms, size \* size\)"),
        (np.full((1, 144), np.nan), "D must be finite"),
        (np.ones((2, 144)), "D must have no constant atom; row 0 is one"),
    ],
)
def test_bad_input(D, message):
    with pytest.raises(ValueError, match=message):
        fit_gabor(D, SIZE)
