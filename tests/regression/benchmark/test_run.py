"""The benchmark measures what it says, the same way whatever else is run."""

import dataclasses
import math

import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression, OrthogonalMatchingPursuit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sparsetheory.regression.benchmark.problems import ProblemSize, draw_problems
from sparsetheory.regression.benchmark.records import RecoveryRecord
from sparsetheory.regression.benchmark.run import benchmark_recovery, summarise
from sparsetheory.regression.datasets.registry import make_design, worst_case

SMALL = {"n_samples": 40, "n_features": 60, "n_nonzero": 3}
SIZE = ProblemSize(40, 60, 3, 0.1, 1.0)


def zero(X, y, n_nonzero, noise_std):
    return np.zeros(X.shape[1])


def interpolate(X, y, n_nonzero, noise_std):
    return y


def fail(X, y, n_nonzero, noise_std):
    raise RuntimeError("no idea")


class Guess(RegressorMixin, BaseEstimator):
    """Predicts noise of its own."""

    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit(self, X, y):
        self.values_ = np.random.default_rng(self.random_state).standard_normal(len(y))
        return self

    def predict(self, X):
        return self.values_


def _timeless(records):
    return [str(dataclasses.replace(record, seconds=0.0)) for record in records]


def _problem(record, design, mode):
    seed = np.random.SeedSequence(record.random_state[:-1], spawn_key=record.random_state[-1:])

    def draw(n_samples, n_features, random_state):
        return make_design(design, n_samples, n_features, random_state=random_state)

    return dict(draw_problems(draw, SIZE, [mode], seed))[mode]


def test_one_record_per_design_repetition_mode_and_method():
    records = benchmark_recovery(
        {"zero": zero, "y": interpolate}, ["gaussian", "clusters15"], modes=["min", "gauss"], n_repetitions=2, **SMALL
    )
    keys = [(r.design, r.repetition, r.mode, r.method) for r in records]
    designs = ("gaussian", "clusters15")
    expected = [(a, r, m, n) for a in designs for r in (0, 1) for m in ("min", "gauss") for n in ("zero", "y")]
    assert keys == expected


def test_zero_and_interpolation_have_known_errors():
    records = benchmark_recovery(
        {"zero": zero, "y": interpolate}, ["tree"], n_repetitions=3, noise_std=0.2, signal_size=3.0, **SMALL
    )
    for record in records:
        if record.method == "zero":
            # Rounding of the signal: eps times a condition number of at most 1e7.
            assert record.error == pytest.approx((3.0 / 0.2) ** 2, rel=1e-7)
            assert record.support_f1 == 0
        else:
            # Mean of 40 squared standard normal variables.
            assert 0.2 < record.error < 2.5
            assert math.isnan(record.support_f1)
        assert record.failed is None
        assert record.seconds >= 0


def test_errors_are_those_of_the_problem_that_the_seed_draws():
    records = benchmark_recovery({"ols": LinearRegression()}, ["clusters15"], n_repetitions=2, random_state=5, **SMALL)
    for record in records:
        problem = _problem(record, "clusters15", record.mode)
        XS = problem.X[:, problem.support]
        fitted = XS @ np.linalg.lstsq(XS, problem.y, rcond=None)[0]
        assert record.ols_error == pytest.approx(np.mean((fitted - problem.signal) ** 2) / 0.01, rel=1e-4)
        assert record.condition == pytest.approx(np.linalg.cond(XS), rel=1e-9)
        prediction = LinearRegression().fit(problem.X, problem.y).predict(problem.X)
        assert record.error == pytest.approx(np.mean((prediction - problem.signal) ** 2) / 0.01, rel=1e-6)


def test_modes_share_design_support_and_noise():
    (record,) = benchmark_recovery({"zero": zero}, ["gaussian"], modes=["min"], n_repetitions=1, **SMALL)
    first, second = (_problem(record, "gaussian", mode) for mode in ("min", "gauss"))
    assert np.array_equal(first.X, second.X)
    assert np.array_equal(first.support, second.support)
    assert np.array_equal(first.noise, second.noise)
    assert not np.array_equal(first.signal, second.signal)
    assert np.std(first.noise) == pytest.approx(0.1, rel=0.5)


def test_records_do_not_depend_on_what_else_is_run():
    guess = Guess()
    many = benchmark_recovery({"zero": zero, "guess": guess}, ["gaussian", "tree"], n_repetitions=3, **SMALL)
    few = benchmark_recovery({"guess": guess}, {"tree": {}}, modes=["mix"], n_repetitions=2, **SMALL)
    chosen = [r for r in many if (r.design, r.mode, r.method) == ("tree", "mix", "guess") and r.repetition < 2]
    assert _timeless(few) == _timeless(chosen)


def test_records_do_not_depend_on_the_number_of_workers():
    # Worker processes import what they run: only what is installed.
    methods = {"ols": LinearRegression(), "dummy": DummyRegressor()}
    arguments = {"methods": methods, "designs": ["gaussian", "clusters15"], "n_repetitions": 2}
    alone, together = (benchmark_recovery(**arguments, n_jobs=n, **SMALL) for n in (1, 2))
    assert _timeless(alone) == _timeless(together)


def test_seeds():
    def errors(seed):
        return [r.error for r in benchmark_recovery({"y": interpolate}, ["gaussian"], random_state=seed, **few)]

    few = {"n_repetitions": 2, "modes": ["min"]} | SMALL
    assert errors(1) == errors(1)
    assert errors(1) != errors(2)
    assert errors(np.random.default_rng(3)) == errors(np.random.default_rng(3))
    assert errors(None) != errors(None)
    assert len(set(errors(1))) == 2


def test_labels_and_repetitions_have_problems_of_their_own():
    def draw(n_samples, n_features, random_state):
        return make_design("gaussian", n_samples, n_features, random_state=random_state)

    records = benchmark_recovery({"y": interpolate}, {"a": draw, "b": draw}, modes=["min"], n_repetitions=3, **SMALL)
    assert len({record.error for record in records}) == 6
    assert len({record.random_state for record in records}) == 6


def test_unseeded_estimators_are_seeded_and_seeded_ones_kept():
    pipeline = make_pipeline(StandardScaler(), Guess())
    for guess in (Guess(), pipeline):
        first, again = (
            [r.error for r in benchmark_recovery({"g": guess}, ["gaussian"], n_repetitions=2, modes=["min"], **SMALL)]
            for _ in range(2)
        )
        assert first == again
    assert pipeline.get_params()["guess__random_state"] is None
    # Of the signal, every error differs; of the guess, a fixed seed makes one.
    (record,) = benchmark_recovery({"g": Guess(7)}, ["gaussian"], n_repetitions=1, modes=["min"], **SMALL)
    signal = _problem(record, "gaussian", "min").signal
    guess = np.random.default_rng(7).standard_normal(40)
    assert record.error == pytest.approx(np.mean((guess - signal) ** 2) / 0.01, rel=1e-12)


def test_failures_are_recorded_and_do_not_stop_the_others():
    methods = {
        "raises": fail,
        "nan": lambda X, y, n_nonzero, noise_std: y * np.nan,
        "short": lambda X, y, n_nonzero, noise_std: y[:3],
        "zero": zero,
    }
    records = benchmark_recovery(methods, ["gaussian"], modes=["min"], n_repetitions=2, **SMALL)
    messages = {r.method: r.failed for r in records}
    assert messages["raises"] == "RuntimeError: no idea"
    assert "finite numbers" in messages["nan"]
    assert "60 coefficients or 40 predictions; got shape (3,)" in messages["short"]
    assert messages["zero"] is None
    assert all(math.isnan(r.error) and math.isnan(r.support_f1) for r in records if r.method != "zero")


def test_support_score_counts_non_zero_coefficients():
    methods = {
        "all": lambda X, y, n_nonzero, noise_std: np.ones(60),
        "model": lambda X, y, n_nonzero, noise_std: OrthogonalMatchingPursuit(n_nonzero_coefs=n_nonzero).fit(X, y),
        "model without coefficients": lambda X, y, n_nonzero, noise_std: Guess(0).fit(X, y),
    }
    records = benchmark_recovery(methods, ["gaussian"], modes=["gauss"], n_repetitions=1, noise_std=0.001, **SMALL)
    scores = {r.method: r.support_f1 for r in records}
    assert scores["all"] == pytest.approx(2 * 3 / 63)
    assert scores["model"] == 1
    assert math.isnan(scores["model without coefficients"])


def test_as_many_rows_as_columns_means_coefficients():
    (record,) = benchmark_recovery(
        {"ones": lambda X, y, n_nonzero, noise_std: np.ones(30)},
        ["gaussian"],
        modes=["min"],
        n_repetitions=1,
        n_samples=30,
        n_features=30,
        n_nonzero=3,
    )
    assert record.support_f1 == pytest.approx(2 * 3 / 33)


def test_designs_with_parameters_and_of_ones_own():
    data = np.random.default_rng(0).standard_normal((25, 33))
    designs = {
        "clusters": {"n_clusters": 4},
        "data": lambda n_samples, n_features, random_state: data,
        "bad pair": lambda n_samples, n_features, random_state: worst_case(
            "pairs", n_samples, n_features, n_nonzero=4, perturbation=1e-4, random_state=random_state
        ),
    }
    seen = {}

    def remember(X, y, n_nonzero, noise_std):
        seen.setdefault(n_nonzero, X)
        return y

    records = benchmark_recovery({"m": remember}, designs, modes=["min"], n_repetitions=1, n_jobs=1, **SMALL)
    assert [r.design for r in records] == list(designs)
    assert all(r.failed is None for r in records)
    assert records[2].condition > 1e3
    assert sorted(seen) == [3, 4]
    assert seen[3].shape == (40, 60)


def test_greedy_selection_recovers_easy_designs_and_fails_on_hard_ones():
    omp = OrthogonalMatchingPursuit(n_nonzero_coefs=6, fit_intercept=False)
    records = benchmark_recovery(
        {"omp": omp},
        ["gaussian", "lowrank4", "tree"],
        modes=["min", "gauss"],
        n_repetitions=8,
        n_samples=200,
        n_features=300,
    )
    median = {(row.design, row.mode): row.median for row in summarise(records)}
    # Least squares on six columns has an expected error of 6 / 200.
    assert median["gaussian", "min"] < 0.08
    assert median["lowrank4", "gauss"] < 0.2
    # Predicting zero has an error of 100.
    assert median["lowrank4", "min"] > 20
    assert median["tree", "min"] > 50


def test_progress_is_shown_on_request(capsys):
    arguments = {"methods": {"zero": zero}, "designs": ["gaussian"], "modes": ["min"], "n_repetitions": 2} | SMALL
    benchmark_recovery(**arguments)
    assert capsys.readouterr().out == ""
    benchmark_recovery(**arguments, verbose=True)
    assert "recovery" in capsys.readouterr().out


def _record(error, *, failed=None, score=1.0, method="m"):
    return RecoveryRecord("x", "min", method, 0, error, score, error / 2, 1.0, 2.0, (0, 0, 0), failed)


def test_summary_of_known_records():
    records = [_record(float(e)) for e in (5, 1, 4, 2, 3, 6, 7, 8, 9, 10)] + [_record(7.0, method="other")]
    first, other = summarise(records)
    assert (first.median, first.quantile90, first.n_records, first.n_failed) == (5.0, 9.0, 10, 0)
    assert (first.ols_median, first.seconds, first.support_f1) == (2.5, 2.0, 1.0)
    assert (other.method, other.n_records, other.median) == ("other", 1, 7.0)


def test_failures_count_as_infinite_errors():
    records = [_record(1.0), _record(2.0, score=math.nan), _record(math.nan, failed="x", score=math.nan)]
    (row,) = summarise(records)
    assert (row.median, row.quantile90, row.n_failed, row.support_f1) == (2.0, math.inf, 1, 1.0)
    (row,) = summarise(records[2:])
    assert row.median == math.inf
    assert math.isnan(row.support_f1)
    assert summarise([]) == []


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"modes": "min"}, ValueError, "modes must be a sequence, each entry one of 'min', 'mix', 'gauss'; got 'min'"),
        ({"modes": ["max"]}, ValueError, "modes must be"),
        ({"modes": []}, ValueError, "modes must be"),
        ({"designs": "gaussian"}, ValueError, "designs must be names"),
        ({"designs": []}, ValueError, "designs must be names"),
        ({"designs": ["gauss"]}, ValueError, "name must be one of 'gaussian'"),
        ({"designs": {"clusters": {"H": 3}}}, ValueError, "clusters has no parameter 'H'"),
        ({"methods": {"m": 3}}, TypeError, "method 'm' must be an estimator or a callable"),
        ({"methods": {"m": LinearRegression}}, TypeError, "method 'm' must be an estimator"),
        ({"n_repetitions": 0}, ValueError, r"n_repetitions must be an integer from 1 to 2\*\*53; got 0"),
        ({"n_nonzero": 50}, ValueError, r"n_nonzero must be at most min\(n_samples, n_features\) = 40; got 50"),
        ({"n_nonzero": 2.0}, ValueError, "n_nonzero must be an integer"),
        ({"n_samples": 0}, ValueError, "n_samples must be"),
        ({"noise_std": 0.0}, ValueError, "noise_std must be a finite positive number; got 0.0"),
        ({"signal_size": -1.0}, ValueError, "signal_size must be a finite positive number; got -1.0"),
        ({"random_state": "x"}, ValueError, "random_state must be None"),
        ({"random_state": -1}, ValueError, "random_state must be None"),
        (
            {"designs": {"flat": lambda n_samples, n_features, random_state: np.ones((n_samples, n_features))}},
            ValueError,
            "condition number",
        ),
    ],
)
def test_bad_arguments(changes, error, message):
    arguments = {"methods": {"zero": zero}, "designs": ["gaussian"], "n_repetitions": 1} | SMALL | changes
    with pytest.raises(error, match=message):
        benchmark_recovery(**arguments)
