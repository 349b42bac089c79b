"""The moving grid: its steps against dense evidence, and the estimator."""

import warnings

import numpy as np
import pytest
from scipy.optimize import least_squares
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from sparsetheory.bayesian.datasets.antenna_array import half_wavelength_array
from sparsetheory.bayesian.datasets.off_grid import make_off_grid_channel
from sparsetheory.bayesian.off_grid.estimator import OffGridTurboVBI
from sparsetheory.bayesian.off_grid.grid_step import DynamicGrid, grid_gradient, grid_step, refreshed
from sparsetheory.bayesian.off_grid.parametric_matrix import ParametricMatrix
from sparsetheory.bayesian.turbo.elbo import turbo_elbo
from sparsetheory.bayesian.turbo.estimator import TurboVBI
from sparsetheory.bayesian.turbo.sparse_prior import SparsePrior

T = np.linspace(0, 1, 40)[:, None]


def _bump(centre, indices):
    return np.exp(-80 * (T - centre) ** 2)


def _bump_slope(centre, indices):
    return 160 * (T - centre) * _bump(centre, indices)


@pytest.fixture(scope="module")
def bumps():
    return ParametricMatrix(_bump, _bump_slope, np.linspace(0, 1, 11))


@pytest.fixture(scope="module")
def channel():
    return make_off_grid_channel(snr_db=15, random_state=1)


def _fit(problem, **options):
    return OffGridTurboVBI(**({"noise_variance": problem.noise_variance} | options)).fit(problem.F, problem.y)


def _case(seed, complex_data, n_snapshots):
    """A fit on the grid of data between its points, with few coefficients, and the grid."""
    rng = np.random.default_rng(seed)
    array = half_wavelength_array(10, pilots=rng.standard_normal((8, 10)), n_directions=12)
    if not complex_data:
        array = ParametricMatrix(
            lambda t, q, a=array: a.block(t, q).real, lambda t, q, a=array: a.slope_block(t, q).real, array.grid
        )
    theta = array.grid + 0.3 * array.spacing * rng.uniform(-1, 1, 12)
    Y = array.matrix(theta)[:, [2, 7]] @ rng.standard_normal((2, n_snapshots)) + 0.05 * rng.standard_normal(
        (8, n_snapshots)
    )
    grid = DynamicGrid.of(array, Y.astype(complex if complex_data else float))
    model = TurboVBI(prior=SparsePrior("iid", activation=0.1, deactivation=0.3), noise_variance=0.01)
    return grid, model.fit(grid.problem.F, grid.problem.Y).state_


def _log_evidence(F, Y, state):
    """Log density of the data under the Gaussian with the expected precisions, without constants."""
    C = (F / state.expected_precisions) @ F.conj().T + np.eye(F.shape[0]) / state.noise.mean
    quadratic = np.einsum("ml,mk,kl->", Y.conj(), np.linalg.inv(C), Y).real
    return -state.model.exponent * (Y.shape[1] * np.linalg.slogdet(C)[1] + quadratic)


@pytest.mark.parametrize("complex_data", [False, True])
@pytest.mark.parametrize("n_snapshots", [1, 3])
def test_gradient_is_that_of_the_evidence(complex_data, n_snapshots):
    for seed in range(5):
        grid, state = _case(seed, complex_data, n_snapshots)
        q = np.flatnonzero(state.support.probability > 0.5)
        Y, here = grid.problem.Y, refreshed(grid.problem, state)
        gradient = grid_gradient(grid.problem, here, grid.slopes(q), q)
        h = 1e-6
        for k, index in enumerate(q):
            ends = [grid.parameters + sign * h * (np.arange(12) == index) for sign in (1, -1)]
            up, down = (_log_evidence(grid.matrix.matrix(end), Y, state) for end in ends)
            # Rounding of the evidence over the step, and third derivatives times its square.
            assert gradient[k] == pytest.approx((up - down) / (2 * h), rel=1e-5, abs=1e-7 * (1 + abs(up)) / h * 1e-6)
        # The bound with the best Gaussian factor differs from the evidence by what does not depend on the matrix.
        moved = grid.moved(q, grid.parameters[q] + 0.1 * grid.matrix.spacing[q])
        there = refreshed(moved.problem, state)
        gain = _log_evidence(moved.problem.F, Y, state) - _log_evidence(grid.problem.F, Y, state)
        assert turbo_elbo(there) - turbo_elbo(here) == pytest.approx(gain, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("rule", ["ascent", "surrogate"])
def test_steps_ascend_and_stay_in_their_cells(rule):
    for seed in range(10):
        grid, state = _case(seed, seed % 2 == 0, 1)
        q = np.flatnonzero(state.support.probability > 0.5)
        others = np.delete(np.arange(12), q)
        for _ in range(5):
            before = _log_evidence(grid.problem.F, grid.problem.Y, state)
            step = grid_step(grid, state, rule)
            assert _log_evidence(step.grid.problem.F, grid.problem.Y, state) >= before - 1e-9 * abs(before)
            low, high = grid.matrix.bounds
            assert np.all((low <= step.grid.parameters) & (step.grid.parameters <= high))
            np.testing.assert_array_equal(step.grid.parameters[others], grid.matrix.grid[others])
            np.testing.assert_allclose(step.grid.problem.F, grid.matrix.matrix(step.grid.parameters), atol=1e-14)
            grid = step.grid


def test_curvature_of_the_evidence_is_no_larger():
    """What other columns explain does not hold a step back, so that of "ascent" is at least that of "surrogate"."""
    for seed in range(10):
        grid, state = _case(seed, True, 1)
        q = np.flatnonzero(state.support.probability > 0.5)
        here = refreshed(grid.problem, state)
        slopes = grid.slopes(q)
        C = (grid.problem.F / state.expected_precisions) @ grid.problem.F.conj().T + np.eye(8) / state.noise.mean
        expected = 2 * here.second_moment[q] * np.einsum("mq,mk,kq->q", slopes.conj(), np.linalg.inv(C), slopes).real
        gradient = grid_gradient(grid.problem, here, slopes, q)
        target = grid.clipped(q, grid.parameters[q] + gradient / expected)
        move = np.max(np.abs(target - grid.parameters[q]) / grid.matrix.spacing[q])
        assert grid_step(grid, state, "ascent").move == pytest.approx(move, rel=1e-6)
        assert grid_step(grid, state, "surrogate").move <= move * (1 + 1e-9)


def test_nothing_on_nothing_moves(channel):
    state = TurboVBI(noise_variance=0.1).fit(channel.F.matrix(), 0 * channel.y).state_
    grid = DynamicGrid.of(channel.F, channel.y[:, None])
    step = grid_step(grid, state, "ascent")
    assert step.move == 0
    assert step.grid is grid


def _most_likely(problem):
    """Channel of largest likelihood for the true number of paths, from the truth: what no method can hope to beat."""

    def channel(parameters):
        u, gains = parameters[:2], parameters[2:4] + 1j * parameters[4:]
        return problem.array.block(u, problem.cells) @ gains, problem.F.block(u, problem.cells) @ gains

    def residual(parameters):
        error = channel(parameters)[1] - problem.y
        return np.concatenate([error.real, error.imag])

    start = np.concatenate([problem.directions, problem.gains.real, problem.gains.imag])
    return channel(least_squares(residual, start, x_scale=[0.01] * 2 + [1.0] * 4, xtol=1e-12).x)[0]


def test_finds_paths_between_grid_points():
    """As good as maximum likelihood from the truth, and far from the fixed grid."""
    errors = {"moved": [], "fixed": [], "likely": []}
    for seed in range(10):
        problem = make_off_grid_channel(snr_db=20, random_state=seed)
        model = _fit(problem)
        assert model.converged_
        assert model.elbo_falls_.size == 0
        assert np.all(np.abs(model.offsets_) <= 0.5)
        strongest = np.sort(np.argsort(-np.abs(model.coef_))[:2])
        np.testing.assert_array_equal(strongest, [30, 80])
        np.testing.assert_allclose(model.offsets_[[30, 80]], problem.offsets, atol=0.1)
        np.testing.assert_allclose(model.parameters_, problem.F.grid + model.offsets_ * problem.F.spacing)
        fixed = TurboVBI(noise_variance=problem.noise_variance).fit(problem.F.matrix(), problem.y)
        errors["moved"].append(problem.nmse(model.coef_, model.parameters_))
        errors["fixed"].append(problem.nmse(fixed.coef_))
        error = np.sum(np.abs(_most_likely(problem) - problem.channel) ** 2)
        errors["likely"].append(error / np.sum(np.abs(problem.channel) ** 2))
    means = {key: np.mean(10 * np.log10(values)) for key, values in errors.items()}
    assert means["moved"] < means["likely"] + 1
    assert means["moved"] < means["fixed"] - 10


@pytest.mark.parametrize("options", [{}, {"prior": "iid"}, {"factorisation": "meanfield"}, {"step": "surrogate"}])
@pytest.mark.parametrize("anneal_grid", [False, True])
def test_the_bound_never_falls(channel, options, anneal_grid):
    model = _fit(channel, anneal_grid=anneal_grid, max_iter=200, keep_iterates=True, **options)
    assert np.all(np.diff(model.history_["elbo"]) >= -1e-9 * np.abs(model.history_["elbo"][:-1]))
    assert model.history_["elbo"][-1] == turbo_elbo(model.state_)
    assert model.converged_
    assert model.n_iter_ == len(model.history_["move"])
    np.testing.assert_array_equal(model.history_["offsets"][-1], model.offsets_)
    np.testing.assert_array_equal(model.history_["coef"][-1, 0], model.coef_)
    assert model.history_["n_on"][-1] == model.support_.size


@pytest.mark.parametrize("options", [{}, {"noise_variance": "learn"}, {"step": "surrogate", "max_iter": 200}])
def test_certificate_is_recomputed_and_can_fail(channel, options):
    model = _fit(channel, **options)
    certificate = model.certificate_
    checked = certificate.check(channel.F, channel.y)
    assert checked.valid
    assert checked.measured == pytest.approx(certificate.measured, rel=1e-3, abs=1e-7)
    assert not certificate.check(channel.F, 1.01 * channel.y).valid
    assert not certificate.check(half_wavelength_array(128, pilots=np.eye(128)[:64]), channel.y).valid
    narrow = ParametricMatrix(channel.F.columns, channel.F.slopes, channel.F.grid, 1e-4)
    assert "a parameter is outside of its cell" in certificate.check(narrow, channel.y).reason


def test_a_grid_that_has_not_come_to_rest_is_said_twice(channel):
    with pytest.warns(ConvergenceWarning, match="still moves by .* after 1 outer iterations; raise max_iter=1"):
        model = _fit(channel, anneal_grid=False, max_iter=1)
    assert not model.converged_
    assert model.certificate_.reason.startswith("the solver stopped")
    checked = model.certificate_.check(channel.F, channel.y)
    assert not checked.valid
    assert checked.measured == pytest.approx(model.certificate_.measured, rel=1e-3)
    assert not model.offsets_.any()


def test_steps_of_fixed_size_fall_and_say_so(channel):
    with pytest.warns(ConvergenceWarning, match="steps of fixed size hardly ever come to rest"):
        model = _fit(channel, step=0.04, max_iter=30, keep_iterates=True)
    assert model.elbo_falls_.size > 0
    assert np.abs(np.diff(model.history_["offsets"][:, model.support_], axis=0)).max() == pytest.approx(0.04)
    assert not model.certificate_.check(channel.F, channel.y).valid


def test_a_bound_that_falls_though_it_may_not_is_reported(channel, monkeypatch):
    falling = iter(range(1000, 0, -1))
    monkeypatch.setattr("sparsetheory.bayesian.turbo.fit.turbo_elbo", lambda state: float(next(falling)))
    with pytest.warns(RuntimeWarning, match="bound fell in outer iterations .* although no step may lower it"):
        model = _fit(channel, anneal_grid=False)
    np.testing.assert_array_equal(model.elbo_falls_, np.arange(1, model.n_iter_))


def test_real_bumps_and_snapshots(bumps, rng):
    centres, X = np.array([0.33, 0.66]), rng.standard_normal((2, 5))
    Y = _bump(centres, None) @ X + 0.01 * rng.standard_normal((40, 5))
    model = OffGridTurboVBI(prior=SparsePrior(activation=0.1, deactivation=0.4), noise_variance=1e-4).fit(bumps, Y)
    assert model.coef_.shape == (5, 11)
    assert model.coef_.dtype == np.float64
    assert model.support_.tolist() == [3, 7]
    np.testing.assert_allclose(model.parameters_[[3, 7]], centres, atol=0.003)
    assert model.certificate_.check(bumps, Y).valid
    np.testing.assert_allclose(model.predict(bumps), Y, atol=0.05)
    alone = OffGridTurboVBI(prior=SparsePrior(activation=0.1, deactivation=0.4), noise_variance=1e-4).fit(
        bumps, Y[:, 0]
    )
    column = OffGridTurboVBI(prior=SparsePrior(activation=0.1, deactivation=0.4), noise_variance=1e-4).fit(
        bumps, Y[:, :1]
    )
    np.testing.assert_array_equal(column.coef_[0], alone.coef_)


def test_units_of_the_data_do_not_matter(channel):
    one, scaled = (
        _fit(channel),
        OffGridTurboVBI(noise_variance=9 * channel.noise_variance).fit(channel.F, 3 * channel.y),
    )
    np.testing.assert_allclose(scaled.parameters_, one.parameters_, atol=1e-8)
    np.testing.assert_allclose(scaled.coef_, 3 * one.coef_, atol=1e-6)


def test_units_of_the_parameter_do_not_matter(channel):
    F = channel.F
    scaled = ParametricMatrix(
        lambda t, q: F.block(t / 10, q), lambda t, q: F.slope_block(t / 10, q) / 10, 10 * F.grid, 10 * F.spacing
    )
    one, ten = _fit(channel), OffGridTurboVBI(noise_variance=channel.noise_variance).fit(scaled, channel.y)
    np.testing.assert_allclose(ten.offsets_, one.offsets_, atol=1e-6)


def test_types(bumps, channel):
    F = channel.F
    narrow = ParametricMatrix(
        lambda t, q: F.block(t, q).astype(np.complex64), lambda t, q: F.slope_block(t, q), F.grid, F.spacing
    )
    model = OffGridTurboVBI(noise_variance=channel.noise_variance).fit(narrow, channel.y.astype(np.complex64))
    assert model.coef_.dtype == np.complex64
    assert model.coef_variance_.dtype == model.support_proba_.dtype == np.float32
    np.testing.assert_allclose(model.offsets_, _fit(channel).offsets_, atol=1e-3)
    upcast = OffGridTurboVBI(noise_variance=1e-2).fit(bumps, _bump(np.array([0.5]), None)[:, 0] * (1 + 1j))
    assert upcast.coef_.dtype == np.complex128
    whole = OffGridTurboVBI(noise_variance=1e-2).fit(bumps, np.ones(40, int))
    assert whole.coef_.dtype == np.float64


def test_zero_data(channel):
    for noise in ("learn", 0.1):
        model = OffGridTurboVBI(noise_variance=noise).fit(channel.F, 0 * channel.y)
        assert not model.coef_.any()
        assert not model.offsets_.any()
        assert np.isfinite(model.history_["elbo"]).all()
        assert model.certificate_.check(channel.F, 0 * channel.y).valid


def test_the_channel_is_the_prediction_of_the_array(channel):
    model = _fit(channel)
    error = np.sum(np.abs(model.predict(channel.array) - channel.channel) ** 2)
    assert error / np.sum(np.abs(channel.channel) ** 2) == pytest.approx(channel.nmse(model.coef_, model.parameters_))
    with pytest.raises(NotFittedError):
        OffGridTurboVBI().predict(channel.F)
    with pytest.raises(TypeError, match="F must be a ParametricMatrix"):
        model.predict(channel.F.matrix())
    with pytest.raises(ValueError, match="F must have the 128 columns of the fit; got 64"):
        model.predict(half_wavelength_array(64))


def test_fits_repeat_and_clone(channel):
    model = OffGridTurboVBI(noise_variance="learn", prior="iid", step=0.1)
    assert clone(model).get_params() == model.get_params()
    one, same = (_fit(channel) for _ in range(2))
    np.testing.assert_array_equal(one.coef_, same.coef_)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prior": "grid_belief_propagation"}, "prior must be a SparsePrior or one of 'chain', 'iid'"),
        ({"step": "down"}, "step must be one of"),
        ({"step": 0.0}, "step must be"),
        ({"step": True}, "step must be"),
        ({"max_inner_rounds": 0}, "max_inner_rounds must be"),
        ({"max_iter": 0}, "max_iter must be"),
        ({"tol": -1.0}, "tol must be"),
        ({"n_anneal_steps": 0}, "n_anneal_steps must be"),
        ({"init": "zero"}, "init must be one of"),
        ({"noise_variance": 0.0}, "noise_variance must be"),
        ({"prior": SparsePrior("chain_rows", grid_shape=(1, 40))}, "prior must have the structure 'chain' or 'iid'"),
        ({"prior": SparsePrior(activation=1.0)}, "activation must be"),
        ({"prior": SparsePrior(on_rate=-1.0)}, "on_rate must be"),
        ({"factorisation": "loose"}, "factorisation must be one of"),
    ],
)
def test_bad_parameters(bumps, options, message):
    with pytest.raises(ValueError, match=message):
        OffGridTurboVBI(**options).fit(bumps, np.ones(40))


def test_bad_data(bumps):
    with pytest.raises(TypeError, match=r"F must be a ParametricMatrix.*got ndarray"):
        OffGridTurboVBI().fit(bumps.matrix(), np.ones(40))
    for y, message in (
        (np.ones(39), "y must have one entry or row per row of F, 40"),
        (np.full(40, np.nan), "y contains NaN"),
        (np.full(40, "a"), "y must be an array of numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            OffGridTurboVBI().fit(bumps, y)
    wrong = ParametricMatrix(_bump, lambda t, q: -_bump_slope(t, q), bumps.grid)
    with pytest.raises(ValueError, match="slopes must be the derivative of columns"):
        OffGridTurboVBI().fit(wrong, np.ones(40))
    empty = ParametricMatrix(lambda t, q: T * t, lambda t, q: T + 0 * t, np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="no column of zeros on the grid; column 0 is"), warnings.catch_warnings():
        OffGridTurboVBI().fit(empty, np.ones(40))
