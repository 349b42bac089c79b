"""Matrices with a parameter per column, the antenna array among them, and what users get wrong about them."""

from functools import partial

import numpy as np
import pytest

from sparsetheory.bayesian.datasets.antenna_array import half_wavelength_array, partial_pilots
from sparsetheory.bayesian.datasets.off_grid import make_off_grid_channel
from sparsetheory.bayesian.off_grid.parametric_matrix import ParametricMatrix


def _power(theta, indices):
    """Columns that are all different functions of their parameters."""
    return np.arange(1, 5)[:, None] * theta ** (indices + 1)


def _power_slope(theta, indices):
    return np.arange(1, 5)[:, None] * (indices + 1) * theta**indices


@pytest.fixture
def powers():
    return ParametricMatrix(_power, _power_slope, [1.0, 2.0, 4.0])


def test_columns_may_depend_on_their_index(powers):
    np.testing.assert_allclose(powers.matrix()[0], [1, 4, 64])
    np.testing.assert_allclose(powers.matrix([3.0, 3.0, 3.0])[0], [3, 9, 27])
    np.testing.assert_allclose(powers.slope_block(np.array([3.0]), np.array([2])), np.arange(1, 5)[:, None] * 27)
    powers.check_slopes()


def test_cells_reach_half_way_to_the_nearest_point(powers):
    low, high = powers.bounds
    np.testing.assert_allclose(low, [0.5, 1.5, 3.0])
    np.testing.assert_allclose(high, [1.5, 2.5, 5.0])
    shuffled = ParametricMatrix(_power, _power_slope, [4.0, 1.0, 2.0])
    np.testing.assert_allclose(shuffled.spacing, [2.0, 1.0, 1.0])
    np.testing.assert_allclose(ParametricMatrix(_power, _power_slope, [7.0], 0.5).bounds, [[6.75], [7.25]])


@pytest.mark.parametrize("slopes", [lambda t, q: -_power_slope(t, q), _power, lambda t, q: 1.2 * _power_slope(t, q)])
def test_wrong_derivatives_are_found(slopes):
    with pytest.raises(ValueError, match="slopes must be the derivative of columns: for column"):
        ParametricMatrix(_power, slopes, [1.5, 2.0, 4.0]).check_slopes()


def test_single_precision_and_flat_columns_pass_the_check_of_derivatives():
    array = half_wavelength_array(64)
    single = ParametricMatrix(
        lambda t, q: array.block(t, q).astype(np.complex64),
        lambda t, q: array.slope_block(t, q).astype(np.complex64),
        array.grid,
    )
    single.check_slopes()
    ParametricMatrix(lambda t, q: np.ones((3, t.size)), lambda t, q: np.zeros((3, t.size)), [0.0, 1.0]).check_slopes()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((1, _power_slope, [1.0, 2.0]), TypeError, "columns must be a callable"),
        ((_power, None, [1.0, 2.0]), TypeError, "slopes must be a callable"),
        ((_power, _power_slope, []), ValueError, "grid must be a vector"),
        ((_power, _power_slope, [[1.0]]), ValueError, "grid must be a vector"),
        ((_power, _power_slope, [np.nan]), ValueError, "grid must be a vector"),
        ((_power, _power_slope, ["a"]), ValueError, "grid must be a vector"),
        ((_power, _power_slope, [1.0]), ValueError, "spacing must be given"),
        ((_power, _power_slope, [1.0, 1.0]), ValueError, "spacing must be given"),
        ((_power, _power_slope, [1.0, 2.0], 0.0), ValueError, "spacing must be positive"),
        ((_power, _power_slope, [1.0, 2.0], [1.0] * 3), ValueError, "spacing must be a positive number or 2"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        ParametricMatrix(*arguments)


def test_bad_columns(powers):
    for columns, message in (
        (lambda t, q: np.ones(3), "matrix of numbers with 3 columns"),
        (lambda t, q: np.ones((2, 4)), "matrix of numbers with 3 columns"),
        (lambda t, q: np.full((2, t.size), np.nan), "NaN or infinity"),
        (lambda t, q: np.full((2, t.size), "a"), "matrix of numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            ParametricMatrix(columns, _power_slope, powers.grid).matrix()
    with pytest.raises(ValueError, match="slopes must have the shape of columns"):
        ParametricMatrix(_power, lambda t, q: np.ones((2, t.size)), powers.grid).check_slopes()
    with pytest.raises(ValueError, match="parameters must have one parameter per column"):
        powers.matrix([1.0])


def test_array_responses_are_unit_vectors_whose_phase_the_direction_does_not_turn():
    array = half_wavelength_array(16, n_directions=40)
    A = array.matrix()
    np.testing.assert_allclose(np.linalg.norm(A, axis=0), 1)
    np.testing.assert_allclose(A[3] / A[2], np.exp(1j * np.pi * array.grid))
    slopes = array.slope_block(array.grid, np.arange(40))
    np.testing.assert_allclose(np.einsum("mq,mq->q", A.conj(), slopes), 0, atol=1e-12)
    array.check_slopes()


def test_pilots_multiply_the_responses(rng):
    pilots = rng.standard_normal((5, 16))
    seen, array = half_wavelength_array(16, pilots=pilots), half_wavelength_array(16)
    np.testing.assert_allclose(seen.matrix(), pilots @ array.matrix(), atol=1e-14)
    seen.check_slopes()


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (half_wavelength_array, (0,), "n_antennas must be"),
        (partial(half_wavelength_array, n_directions=0), (4,), "n_directions must be"),
        (
            partial(half_wavelength_array, pilots=np.ones((2, 3))),
            (4,),
            "pilots must be a matrix of numbers with 4 columns",
        ),
        (partial(half_wavelength_array, pilots=np.full((2, 4), np.inf)), (4,), "pilots contains"),
        (partial_pilots, (5, 4), "n_pilots must be at most n_antennas = 4"),
        (partial_pilots, (0, 4), "n_pilots must be"),
    ],
)
def test_bad_arrays(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)


def test_channel_follows_its_recipe():
    powers, offsets, moduli = [], [], []
    for seed in range(200):
        problem = make_off_grid_channel(n_antennas=32, n_pilots=16, cells=(4, 20), snr_db=10, random_state=seed)
        exact = problem.array.block(problem.directions, problem.cells) @ problem.gains
        np.testing.assert_allclose(problem.channel, exact)
        theta = problem.F.grid.copy()
        theta[problem.cells] = problem.directions
        x = np.zeros(32, complex)
        x[problem.cells] = problem.gains
        signal = problem.F.matrix(theta) @ x
        powers.append(np.mean(np.abs(problem.y - signal) ** 2) / problem.noise_variance)
        assert np.mean(np.abs(signal) ** 2) == pytest.approx(10 * problem.noise_variance)
        assert problem.nmse(x, theta) < 1e-20
        assert problem.nmse(x) > 1e-6
        offsets.extend(problem.offsets)
        moduli.extend(np.abs(problem.gains))
    # 3200 complex normal numbers: four standard errors.
    assert np.mean(powers) == pytest.approx(1, abs=4 / np.sqrt(3200))
    assert -0.4 <= min(offsets) < -0.39
    assert 0.39 < max(offsets) <= 0.4
    assert 0.5 <= min(moduli) < 0.52
    assert 1.4 < max(moduli) <= 1.5


def test_seeds_repeat_and_differ():
    one, same, other = (
        make_off_grid_channel(n_antennas=16, n_pilots=8, cells=(3,), random_state=seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.y, same.y)
    assert not np.array_equal(one.y, other.y)
    from_generator = make_off_grid_channel(n_antennas=16, n_pilots=8, cells=(3,), random_state=np.random.default_rng(1))
    np.testing.assert_array_equal(one.y, from_generator.y)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cells": ()}, "cells must be different integers"),
        ({"cells": (1, 1)}, "cells must be different integers"),
        ({"cells": (0.5,)}, "cells must be different integers"),
        ({"cells": (128,)}, "cells must be points of the grid, 0 to 127"),
        ({"cells": (-1,)}, "cells must be points of the grid"),
        ({"max_offset": 0.6}, r"max_offset must be a number in \[0, 0.5\]"),
        ({"max_offset": -0.1}, "max_offset must be"),
        ({"snr_db": np.inf}, "snr_db must be"),
        ({"n_pilots": 200}, "n_pilots must be at most"),
        ({"random_state": "seed"}, "random_state must be"),
    ],
)
def test_bad_channels(options, message):
    with pytest.raises(ValueError, match=message):
        make_off_grid_channel(**options)


def test_errors_of_channels_need_all_coefficients():
    with pytest.raises(ValueError, match="coef must have one entry per column, 128"):
        make_off_grid_channel().nmse(np.ones(3))
