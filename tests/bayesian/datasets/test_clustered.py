"""Random problems with clustered supports."""

import numpy as np
import pytest

from sparsetheory.bayesian.datasets.clustered import make_clustered


@pytest.mark.parametrize("complex_data", [False, True])
def test_data_are_what_they_say(complex_data):
    problem = make_clustered(500, 400, n_snapshots=3, snr_db=10, complex_data=complex_data, random_state=0)
    assert problem.F.shape == (500, 400)
    assert problem.y.shape == (500, 3)
    assert np.iscomplexobj(problem.y) == complex_data
    signal, noise = problem.F @ problem.x, problem.y - problem.F @ problem.x
    assert np.mean(np.abs(signal) ** 2) == pytest.approx(10 * problem.noise_variance, rel=1e-12)
    # Five standard errors of the mean of 1500 squares.
    assert np.mean(np.abs(noise) ** 2) == pytest.approx(problem.noise_variance, rel=5 * np.sqrt(2 / 1500))
    assert np.mean(np.abs(problem.F) ** 2) == pytest.approx(1 / 500, rel=5 * np.sqrt(2 / 2e5))
    np.testing.assert_array_equal(problem.x.any(axis=1), problem.support)


def test_reproducible_and_of_moderate_support():
    first, second = (make_clustered(30, 200, random_state=4) for _ in range(2))
    np.testing.assert_array_equal(first.y, second.y)
    for seed in range(30):
        assert 0 < make_clustered(20, 100, random_state=seed).support.sum() < 18


def test_bad_input():
    with pytest.raises(ValueError, match="n_samples must be"):
        make_clustered(0, 5)
    with pytest.raises(ValueError, match="snr_db must be"):
        make_clustered(5, 5, snr_db=np.inf)
    with pytest.raises(ValueError, match="hardly ever give a support"):
        make_clustered(10, 200, activation=0.99, deactivation=0.01, random_state=0)
