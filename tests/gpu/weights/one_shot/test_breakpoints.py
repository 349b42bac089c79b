from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from sparsetheory.gpu.weights.one_shot.breakpoints import fit_two_segments


def _error(x, y, kink):
    columns = np.stack([np.ones_like(x), x, np.maximum(x - kink, 0)], axis=1)
    return float(np.square(y - columns @ np.linalg.lstsq(columns, y, rcond=None)[0]).sum())


@pytest.mark.parametrize("kink", [0.25, 0.3, 0.55, 0.61])
def test_two_lines_are_found_exactly(kink):
    x = np.linspace(0, 1, 11)
    found = fit_two_segments(x, 2 - 0.1 * x - 3 * np.maximum(x - kink, 0))
    assert found.kink == pytest.approx(kink)
    assert found.left_slope == pytest.approx(-0.1)
    assert found.right_slope == pytest.approx(-3.1)
    assert found.squared_error == pytest.approx(0, abs=1e-20)


def test_no_other_kink_fits_better():
    rng = np.random.default_rng(0)
    for n in (4, 5, 8, 12):
        for _ in range(15):
            x = np.sort(rng.uniform(size=n))
            y = rng.standard_normal(n) if n % 2 else np.maximum(x - 0.4, 0) + 0.1 * rng.standard_normal(n)
            found = fit_two_segments(x, y)
            assert x[0] < found.kink < x[-1]
            assert found.squared_error == pytest.approx(_error(x, y, found.kink))
            best = min(
                minimize_scalar(lambda b, x=x, y=y: _error(x, y, b), bounds=(low, high), method="bounded").fun
                for low, high in pairwise(x)
            )
            assert found.squared_error <= best * (1 + 1e-9) + 1e-12


@pytest.mark.parametrize("y", [[1.0, 1.0, 1.0, 1.0, 1.0], [0.1, 0.2, 0.3, 0.4, 0.5], [3.0, 1.0, 2.0]])
def test_a_line_and_three_points_have_no_kink(y):
    assert fit_two_segments(np.arange(len(y)) / 7, y) is None
