"""Turbo-CS: both modules against dense posteriors and quadrature, state evolution, and the estimator."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate, stats
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsetheory.bayesian.datasets.antenna_array import partial_pilots
from sparsetheory.bayesian.turbo_cs.denoiser import BernoulliGaussian
from sparsetheory.bayesian.turbo_cs.estimator import TurboCS
from sparsetheory.bayesian.turbo_cs.message_passing import LinearModule, Message
from sparsetheory.bayesian.turbo_cs.state_evolution import turbo_cs_evolution


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(
    [TurboCS(), TurboCS(learn_prior=True)],
    expected_failed_checks=lambda estimator: {"check_complex_data": "complex data are supported"},
)
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


def _normal(rng, shape, complex_data):
    if not complex_data:
        return rng.standard_normal(shape)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / np.sqrt(2)


def _draw(seed, m, n, complex_data, noise=1e-3, k=None):
    """Orthonormal rows and k standard normal coefficients."""
    rng = np.random.default_rng(seed)
    F = partial_pilots(m, n, random_state=rng) if complex_data else np.linalg.qr(rng.standard_normal((n, m)))[0].T
    x = np.zeros(n, F.dtype)
    k = n // 10 if k is None else k
    x[rng.permutation(n)[:k]] = _normal(rng, k, complex_data)
    return F, F @ x + np.sqrt(noise) * _normal(rng, m, complex_data), x


@pytest.mark.parametrize("complex_data", [False, True])
@pytest.mark.parametrize("shape", [(6, 10), (10, 10), (14, 10)])
def test_linear_module_is_the_dense_posterior_less_its_prior(rng, complex_data, shape):
    F, y, x = (_normal(rng, s, complex_data) for s in (shape, shape[0], shape[1]))
    v, noise = 0.3, 0.05
    cov = np.linalg.inv(F.conj().T @ F / noise + np.eye(shape[1]) / v)
    post = cov @ (F.conj().T @ y / noise + x / v)
    var = np.trace(cov).real / shape[1]
    message = LinearModule(F, y).extrinsic(Message(x, v), noise)
    assert 1 / message.var == pytest.approx(1 / var - 1 / v, rel=1e-9)
    np.testing.assert_allclose(message.mean / message.var, post / var - x / v, atol=1e-9)
    # Expectation-maximisation of the noise: residual of the posterior mean and its spread.
    expected = (np.sum(np.abs(y - F @ post) ** 2) + np.trace(F @ cov @ F.conj().T).real) / shape[0]
    assert LinearModule(F, y).learned_noise(Message(x, v), noise) == pytest.approx(expected, rel=1e-9)


def test_other_data_need_no_other_decomposition(rng):
    F, (y, other) = _normal(rng, (4, 9), True), _normal(rng, (2, 4), True)
    message, module = Message(_normal(rng, 9, True), 0.7), LinearModule(F, y)
    found = module.with_data(other).extrinsic(message, 0.1)
    fresh, before = LinearModule(F, other).extrinsic(message, 0.1), module.extrinsic(message, 0.1)
    np.testing.assert_allclose(found.mean, fresh.mean, rtol=1e-9)
    assert found.var == pytest.approx(fresh.var, rel=1e-9)
    # The module itself keeps its data.
    np.testing.assert_allclose(before.mean, LinearModule(F, y).extrinsic(message, 0.1).mean, rtol=1e-9)
    assert not np.allclose(before.mean, fresh.mean)


@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_denoiser_is_the_posterior_by_quadrature(beta):
    prior, tau = BernoulliGaussian(0.2, 2.0, beta), 0.3

    def density(z, variance):
        if beta == 0.5:
            return stats.norm.pdf(z, scale=np.sqrt(variance))
        # The imaginary parts are zero here, and only scale.
        return np.exp(-(z**2) / variance) / (np.pi * variance)

    for r in (0.0, 0.4, 1.5, -3.0):
        off, on = 0.8 * density(r, tau), 0.2 * density(r, 2.3)
        found = prior.posterior(np.array([r]), tau)
        assert found.probability[0] == pytest.approx(on / (on + off))
        if beta == 0.5:
            parts = [lambda x, p=p, r=r: x**p * density(x, 2.0) * density(r - x, tau) for p in (1, 2)]
            moments = [integrate.quad(part, -12, 12, points=[0, r])[0] for part in parts]
            mean, second = (0.2 * moment / (on + off) for moment in moments)
            assert found.mean[0] == pytest.approx(mean, abs=1e-8)
            assert found.var[0] == pytest.approx(second - mean**2, abs=1e-7)


@pytest.mark.parametrize("beta", [0.5, 1.0])
@pytest.mark.parametrize("tau", [1e-6, 1e-2, 1.0, 100.0])
def test_expected_error_of_the_denoiser_is_that_of_samples(beta, tau):
    rng, n = np.random.default_rng(0), 400_000
    x = _normal(rng, n, beta == 1) * (rng.random(n) < 0.1)
    r = x + np.sqrt(tau) * _normal(rng, n, beta == 1)
    prior = BernoulliGaussian(0.1, 1.0, beta)
    errors = np.abs(prior.posterior(r, tau).mean - x) ** 2
    assert prior.mmse(tau) == pytest.approx(errors.mean(), abs=5 * errors.std() / np.sqrt(n))
    # The error of a coefficient whose state is known is less, and that of the best linear estimate is more.
    assert 0.1 * tau / (1 + tau) < prior.mmse(tau) < 0.1 * tau / (0.1 + tau)


@pytest.mark.parametrize("complex_data", [False, True])
def test_state_evolution_predicts_the_errors(complex_data):
    predicted = turbo_cs_evolution(0.5, noise_variance=1e-3, complex_data=complex_data, n_iter=6)
    errors, first = [], []
    for seed in range(25):
        F, y, x = _draw(seed, 150, 300, complex_data)
        model = TurboCS(noise_variance=1e-3, signal_variance=1.0, max_iter=6, tol=0.0)
        with pytest.warns(ConvergenceWarning):
            model.fit(F, y)
        errors.append(np.mean(np.abs(model.coef_ - x) ** 2))
        first.append(model.history_["linear_variance"][0])
    np.testing.assert_allclose(first, predicted.linear_variance[0])
    tau, v = predicted.linear_variance, predicted.denoiser_variance
    np.testing.assert_allclose(1 / v, 1 / predicted.mse - 1 / tau)
    np.testing.assert_allclose(tau[1:], 2 * (v[:-1] + 1e-3) - v[:-1])
    # Thirty coefficients of 25 draws are not zero: the error of the mean is about a tenth, and finite size adds to it.
    assert np.mean(errors) == pytest.approx(predicted.mse[-1], rel=0.3)
    assert np.all(np.diff(predicted.mse) < 0)


@pytest.fixture(scope="module")
def learned():
    F, y, _ = _draw(3, 60, 100, False)
    return F, y, TurboCS(learn_prior=True, tol=1e-8, max_iter=5000).fit(F, y).certificate_


@pytest.mark.parametrize("name", ["message_variance", "noise_variance", "density", "signal_variance"])
def test_every_learned_number_must_be_at_rest(learned, name):
    F, y, certificate = learned
    # One exchange undoes most of a change.
    moved = replace(certificate, **{name: 1.1 * getattr(certificate, name)}).check(F, y)
    assert 0.05 < moved.measured < 0.11


def test_coefficients_may_err_by_the_rounding_of_one_exchange(learned):
    F, y, certificate = learned
    # The condition number of the covariance of the data.
    condition = 1 + certificate.message_variance * np.sum(F**2) / certificate.noise_variance
    size = np.finfo(float).eps * condition * np.linalg.norm(certificate.coef)
    for roundings, valid in ((30.0, True), (300.0, False)):
        coef = certificate.coef.copy()
        coef[np.argmin(np.abs(coef))] += roundings * size
        assert replace(certificate, coef=coef).check(F, y).valid is valid


@pytest.mark.parametrize("complex_data", [False, True])
@pytest.mark.parametrize(
    "options", [{"noise_variance": 1e-4}, {}, {"learn_prior": True}, {"noise_variance": 1e-4, "damping": 0.3}]
)
def test_recovers(complex_data, options):
    F, y, x = _draw(3, 100, 200, complex_data, noise=1e-4)
    model = TurboCS(**options).fit(F, y)
    assert model.converged_
    on = np.flatnonzero(x)
    least = np.linalg.lstsq(F[:, on], y, rcond=None)[0]
    oracle = np.sum(np.abs(least - x[on]) ** 2)
    assert np.sum(np.abs(model.coef_ - x) ** 2) < 4 * oracle
    assert model.noise_variance_ == pytest.approx(1e-4, rel=0.6)
    if "learn_prior" in options:
        assert model.density_ == pytest.approx(0.1, abs=0.03)
    assert set(model.support_) <= set(on)
    np.testing.assert_allclose(model.predict(F), F @ model.coef_)


def test_scale_equivariance():
    F, y, _ = _draw(1, 60, 120, True)
    for options in ({"noise_variance": 1e-3}, {"noise_variance": "learn", "learn_prior": True}):
        one = TurboCS(**options).fit(F, y)
        scaled = TurboCS(**(options | ({"noise_variance": 9e-3} if options["noise_variance"] != "learn" else {}))).fit(
            F, 3 * y
        )
        np.testing.assert_allclose(scaled.coef_, 3 * one.coef_, atol=1e-8)


@pytest.mark.parametrize("complex_data", [False, True])
def test_precision(complex_data):
    F, y, _ = _draw(1, 60, 120, complex_data)
    single = np.complex64 if complex_data else np.float32
    small, reference = (
        TurboCS(noise_variance=1e-3).fit(F.astype(single), y.astype(single)),
        TurboCS(noise_variance=1e-3).fit(F, y),
    )
    assert small.coef_.dtype == single
    assert small.coef_variance_.dtype == small.support_proba_.dtype == np.float32
    assert small.predict(F.astype(single)).dtype == single
    np.testing.assert_allclose(small.coef_, reference.coef_, atol=1e-3)
    mixed = TurboCS(noise_variance=1e-3).fit(F, np.real(y))
    assert mixed.coef_.dtype == F.dtype


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("noise", ["learn", 0.1])
@pytest.mark.parametrize("complex_data", [False, True])
def test_no_edge_makes_nan(rng, noise, complex_data):
    square = np.eye(8) * (1j if complex_data else 1.0)
    tall = _normal(rng, (20, 8), complex_data)
    dull = np.ones((4, 8)) * (1j if complex_data else 1.0)
    # Unit columns, noiseless data, equal columns, a single column, a single row, full density, huge and tiny units.
    for F, y in (
        (square, square @ np.arange(8)),
        (square, np.zeros(8)),
        (0 * square, np.ones(8)),
        (tall, tall @ np.eye(8)[0]),
        (tall, _normal(rng, 20, complex_data)),
        (dull, np.ones(4)),
        (dull[:, :1], np.ones(4)),
        (dull[:1], np.ones(1)),
        (1e80 * square, 1e80 * np.arange(8)),
        (1e-80 * square, np.arange(8)),
        (square, 1e-80 * np.arange(8)),
    ):
        for options in ({}, {"learn_prior": True}, {"density": 1 - 1e-9}, {"density": 1e-12, "learn_prior": True}):
            model = TurboCS(noise_variance=noise, **options).fit(F, y)
            for name in (
                "coef_",
                "coef_variance_",
                "support_proba_",
                "noise_variance_",
                "density_",
                "signal_variance_",
            ):
                assert np.all(np.isfinite(getattr(model, name))), (name, F.shape, options)
            if not np.any(y) or not np.any(F):
                assert not model.coef_.any()
                assert model.converged_


def test_identity_matrix_is_the_denoiser(rng):
    x = rng.standard_normal(50) * (rng.random(50) < 0.2)
    y = x + 0.1 * rng.standard_normal(50)
    model = TurboCS(density=0.2, signal_variance=1.0, noise_variance=0.01).fit(np.eye(50), y)
    np.testing.assert_allclose(model.coef_, BernoulliGaussian(0.2, 1.0, 0.5).posterior(y, 0.01).mean, atol=1e-10)


def test_stopping_early_is_said():
    F, y, _ = _draw(1, 60, 120, True)
    with pytest.warns(ConvergenceWarning, match="after max_iter=2 exchanges"):
        model = TurboCS(max_iter=2).fit(F, y)
    assert not model.converged_
    assert model.n_iter_ == 2
    assert {len(values) for values in model.history_.values()} == {2}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"density": 0.0}, "density must be"),
        ({"density": 1.0}, "density must be"),
        ({"signal_variance": -1.0}, "signal_variance must be"),
        ({"signal_variance": "big"}, "signal_variance must be"),
        ({"noise_variance": 0.0}, "noise_variance must be"),
        ({"noise_variance": "guess"}, "noise_variance must be"),
        ({"damping": 1.0}, r"damping must be a number in \[0, 1\)"),
        ({"damping": -0.1}, "damping must be"),
        ({"max_iter": 0}, "max_iter must be"),
        ({"tol": -1.0}, "tol must be"),
    ],
)
def test_bad_parameters(options, message):
    with pytest.raises(ValueError, match=message):
        TurboCS(**options).fit(np.eye(3), np.ones(3))


@pytest.mark.parametrize("unit", [1.0, 1j])
def test_bad_data(unit):
    F, y = np.eye(4) * unit, np.ones(4)
    for data in ((F * np.nan, y), (F, y * np.inf), (F, y[:-1]), (F, np.ones((4, 2)) * unit), (F[0], y)):
        with pytest.raises(ValueError, match=r"NaN|infinity|inconsistent|one entry|vector|1d|2D|matrix"):
            TurboCS().fit(*data)
    with pytest.raises(NotFittedError):
        TurboCS().predict(F)
    with pytest.raises(ValueError, match="features"):
        TurboCS(noise_variance=0.1).fit(F, y).predict(F[:, :2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"measurement_ratio": 1.5}, r"measurement_ratio must be a number in \(0, 1\]"),
        ({"measurement_ratio": 0.0}, "measurement_ratio must be"),
        ({"noise_variance": 0.0}, "noise_variance must be"),
        ({"density": 2.0}, "density must be"),
        ({"signal_variance": 0.0}, "signal_variance must be"),
        ({"n_iter": 0}, "n_iter must be"),
    ],
)
def test_bad_evolution(options, message):
    with pytest.raises(ValueError, match=message):
        turbo_cs_evolution(**({"measurement_ratio": 0.5, "noise_variance": 0.1} | options))
