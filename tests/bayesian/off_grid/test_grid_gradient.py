"""Gradients in the parameters of columns, and off-grid recovery with them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.bayesian.off_grid.grid_gradient import dynamic_grid_objective, dynamic_grid_step
from sparsetheory.bayesian.turbo.estimator import TurboVBI


def _steering(theta, m):
    return np.exp(1j * np.pi * np.outer(np.arange(m), theta)) / np.sqrt(m)


def _slopes(theta, m):
    return 1j * np.pi * np.arange(m)[:, None] * _steering(theta, m)


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_gradient_equals_finite_differences(seed, complex_data):
    rng = np.random.default_rng(seed)
    theta = rng.uniform(-1, 1, 8)
    steering, slopes = _steering, _slopes
    if not complex_data:
        steering, slopes = (lambda t, m: _steering(t, m).real), (lambda t, m: _slopes(t, m).real)
    F = steering(theta, 12)
    y = F @ rng.standard_normal(8) + 0.1 * rng.standard_normal(12)
    state = TurboVBI(prior="iid", noise_variance=0.1, max_iter=500).fit(F, y).state_
    q = rng.permutation(8)[:3]
    gradient = dynamic_grid_step(
        slopes(theta, 12)[:, q],
        F,
        y,
        mean=state.x.mean[:, 0],
        covariance_columns=state.x.columns(q),
        noise_precision=state.noise.mean,
        exponent=state.model.exponent,
        indices=q,
    )
    h = 1e-5
    for k, index in enumerate(q):
        ends = [theta + sign * h * (np.arange(8) == index) for sign in (1, -1)]
        up, down = (dynamic_grid_objective(steering(end, 12), y, state) for end in ends)
        # Central differences: third derivatives below 40^3 times the objective, rounding over the step.
        scale = 1 + abs(up)
        assert gradient[k] == pytest.approx((up - down) / (2 * h), abs=1e-4 * scale)


def test_grid_steps_sharpen_frequencies(rng):
    """Steps of a fortieth of a cell along the sign of the gradient, as in the published code."""
    m = n = 32
    grid = -1 + 2 * (np.arange(n) + 0.5) / n
    truth = grid[[8, 20]] + np.array([0.31, -0.36]) * 2 / n
    noise = rng.standard_normal(m) + 1j * rng.standard_normal(m)
    y = _steering(truth, m).sum(axis=1) + 0.01 * noise
    current = grid.copy()
    for _ in range(20):
        F = _steering(current, m)
        model = TurboVBI(prior="iid", noise_variance=2e-4).fit(F, y)
        x = model.state_.x
        q = np.argsort(-np.abs(model.coef_))[:2]
        gradient = dynamic_grid_step(
            _slopes(current, m)[:, q],
            F,
            y,
            mean=model.coef_,
            covariance_columns=x.columns(q),
            noise_precision=model.noise_precision_,
            exponent=1.0,
            indices=q,
        )
        current[q] += np.sign(gradient) / 20 / n
    strongest = np.sort(current[np.argsort(-np.abs(model.coef_))[:2]])
    # Two steps: signs alternate around the estimate, which noise moves by less than one.
    np.testing.assert_allclose(strongest, truth, atol=2 / 20 / n)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"F": np.ones((3, 3))}, "F must have one row"),
        ({"slopes": np.ones((4, 1))}, "must have 3 columns"),
        ({"covariance_columns": np.ones((2, 3))}, "must have 3 columns"),
        ({"indices": [0, 1, 5]}, "indices must be columns of F"),
        ({"noise_precision": 0.0}, "noise_precision must be"),
        ({"exponent": -1.0}, "exponent must be"),
    ],
)
def test_bad_input(change, message):
    good = {
        "slopes": np.ones((4, 3)),
        "F": np.ones((4, 3)),
        "y": np.ones(4),
        "mean": np.ones(3),
        "covariance_columns": np.eye(3),
        "noise_precision": 1.0,
        "exponent": 1.0,
        "indices": [0, 1, 2],
    }
    with pytest.raises(ValueError, match=message):
        dynamic_grid_step(**(good | change))


def test_objective_needs_the_matrix_of_the_fit():
    state = TurboVBI(noise_variance=0.1).fit(np.eye(3), np.ones(3)).state_
    with pytest.raises(ValueError, match="F must be of shape"):
        dynamic_grid_objective(np.eye(4), np.ones(4), state)
