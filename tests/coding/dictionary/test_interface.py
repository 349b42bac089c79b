"""The dictionary learner as an estimator: conventions, attributes, parameters and errors."""

import warnings

import numpy as np
import pytest
from coding.coding_references import planted
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsetheory.coding import LqDictionaryLearning, criticality, duality_gap
from sparsetheory.coding.dictionary.sampling import UncentredSignalsWarning
from sparsetheory.penalties import L1, MCP

pytestmark = pytest.mark.filterwarnings("ignore::sparsetheory.coding.dictionary.sampling.UncentredSignalsWarning")


@parametrize_with_checks(
    [
        LqDictionaryLearning(n_batches=5, random_state=0),
        LqDictionaryLearning(n_batches=5, penalty="l1", update="olshausen", learning_rate=1e-4, random_state=0),
        LqDictionaryLearning(n_batches=5, penalty="l1", target_active=0.5, random_state=0),
    ]
)
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_attributes(rng, dtype):
    X, _ = planted(rng)
    X = X.astype(dtype)
    model = LqDictionaryLearning(penalty="l1", n_batches=12, random_state=0).fit(X)
    assert model.components_.shape == (32, 16)
    assert model.components_.dtype == dtype
    np.testing.assert_allclose(np.linalg.norm(model.components_, axis=1), 1.0, rtol=16 * np.finfo(dtype).eps)
    assert (model.n_iter_, model.n_features_in_, model.alpha_, len(model.history_)) == (12, 16, 0.1, 12)
    assert model.history_.alpha.tolist() == [0.1] * 12
    codes = model.transform(X[:50])
    assert codes.dtype == model.inverse_transform(codes).dtype == dtype
    np.testing.assert_allclose(model.inverse_transform(codes), codes @ model.components_)
    assert duality_gap(X[:50], model.components_, codes, alpha=0.1).max() < 1e-4
    assert model.get_feature_names_out()[-1] == "lqdictionarylearning31"


def test_partial_fit_keeps_the_precision_of_its_first_batch(rng):
    X, _ = planted(rng, n_samples=100)
    model = LqDictionaryLearning(24, random_state=0).partial_fit(X.astype(np.float32)).partial_fit(X)
    assert model.components_.dtype == np.float32
    with pytest.raises(ValueError, match="17 features"):
        model.partial_fit(np.ones((3, 17)))


@pytest.mark.parametrize("penalty", ["l1", "cel0"])
def test_results_depend_on_the_seed_alone(rng, penalty):
    X, _ = planted(rng, n_samples=700)
    fit = lambda **given: LqDictionaryLearning(24, penalty=penalty, n_batches=8, **given).fit(X).components_  # noqa: E731
    first = fit(random_state=3)
    np.testing.assert_array_equal(first, fit(random_state=3, n_jobs=2))
    np.testing.assert_array_equal(first, fit(random_state=np.random.default_rng(3)))
    assert np.abs(first - fit(random_state=4)).max() > 0.1
    F = np.asfortranarray(X)
    F.flags.writeable = False
    np.testing.assert_array_equal(
        first, LqDictionaryLearning(24, penalty=penalty, n_batches=8, random_state=3).fit(F).components_
    )


def test_penalty_objects_and_names_agree(rng):
    X, _ = planted(rng, n_samples=200)
    fit = lambda **given: LqDictionaryLearning(24, alpha=0.2, n_batches=3, random_state=0, **given).fit(X)  # noqa: E731
    named = fit(penalty="mcp", gamma=2.0)
    given = fit(penalty=MCP(9.0, gamma=2.0))
    np.testing.assert_array_equal(named.components_, given.components_)
    codes = given.transform(X)
    assert criticality(X, given.components_, codes, MCP(0.2, gamma=2.0)).max() < 1e-4


def test_strengths_come_from_alpha_else_from_the_penalty(rng):
    X, _ = planted(rng, n_samples=50)
    for given, expected in (
        ({"penalty": L1(0.3)}, 0.3),
        ({"penalty": L1(0.3), "alpha": 0.2}, 0.2),
        ({"penalty": "l1", "alpha": 0.2}, 0.2),
        ({"penalty": "l1"}, 0.1),
    ):
        model = LqDictionaryLearning(24, n_batches=1, random_state=0, **given).fit(X)
        assert model.alpha_ == model.certificate_.penalty.alpha == expected


def test_signals_with_means_are_warned_of(rng):
    X = rng.standard_normal((300, 16))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LqDictionaryLearning(4, n_batches=1).fit(X)
    with pytest.warns(UncentredSignalsWarning, match="hold 5[0-9]% of their energy"):
        LqDictionaryLearning(4, n_batches=1).fit(X + 1.0)


def test_progress_is_shown(rng, capsys):
    X, _ = planted(rng, n_samples=50)
    LqDictionaryLearning(24, n_batches=3, verbose=True, random_state=0).fit(X)
    assert "3/3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"n_components": 0}, ValueError, "n_components must be"),
        ({"penalty": "l2"}, ValueError, "penalty must be one of"),
        ({"alpha": -1.0}, ValueError, "alpha must be"),
        ({"q": 0.5}, TypeError, "takes norms beside alpha; got q"),
        ({"penalty": "lq"}, TypeError, "needs q"),
        ({"penalty": "lq", "q": 1.5}, ValueError, "q must be"),
        ({"penalty": L1(1.0), "q": 0.5}, TypeError, "q must go with the name"),
        ({"gamma": 2.0}, TypeError, "takes norms beside alpha, got gamma"),
        ({"penalty": "mcp", "gamma": 0.0}, ValueError, "gamma must be"),
        ({"penalty": "scad", "a": 2.0}, ValueError, "a must be None or a finite number above 2; got 2.0"),
        ({"penalty": "log_sum", "eps": -1.0}, ValueError, "eps must be"),
        ({"penalty": "capped_l1", "theta": 0.0}, ValueError, "theta must be"),
        ({"target_active": 0.0}, ValueError, "target_active must be"),
        ({"target_active": 24}, ValueError, "below the number of atoms, 24"),
        ({"target_active": 2.0, "alpha": 0.0}, ValueError, "alpha must be"),
        ({"update": "both"}, ValueError, "update must be one of 'online', 'olshausen'"),
        ({"stop_rule": "other"}, ValueError, "stop_rule must be one of"),
        ({"solver": "lars"}, ValueError, "solver must be one of"),
        ({"solver": "fss"}, ValueError, "solver 'fss' is for l1; got CEL0"),
        ({"transform_solver": "lars"}, ValueError, "transform_solver must be one of"),
        ({"transform_solver": "fss"}, ValueError, "transform_solver 'fss' is for l1; got CEL0"),
        ({"n_jobs": "2"}, ValueError, "n_jobs must be None or an integer other than 0, up to a million; got '2'"),
        ({"learning_rate": 0.0}, ValueError, "learning_rate must be"),
        ({"learning_rate_decay": -1.0}, ValueError, "learning_rate_decay must be"),
        ({"batch_size": 0}, ValueError, "batch_size must be"),
        ({"n_batches": 1.5}, ValueError, "n_batches must be"),
        ({"forgetting": -1.0}, ValueError, "forgetting must be"),
        ({"tol": 0.0}, ValueError, "tol must be"),
        ({"step": 0.0}, ValueError, "step must be"),
        ({"init": "zeros"}, ValueError, "init must be one of 'patches', 'gaussian' or an array of atoms"),
        ({"init": np.ones((3, 16))}, ValueError, "init must have shape"),
        ({"init": np.zeros((24, 16))}, ValueError, "init must hold finite numbers"),
        ({"init": 5, "n_components": None}, ValueError, "init must have shape"),
        ({"init": None, "n_components": None}, ValueError, "init must be one of .*; got None"),
        ({"init": np.full((24, 16), 1j)}, TypeError, "init must hold integers or floats"),
        ({"checkpoint_every": 0}, ValueError, "checkpoint_every must be"),
        ({"random_state": "a"}, ValueError, "random_state must be"),
    ],
)
def test_bad_parameters(rng, parameters, error, message):
    X, _ = planted(rng, n_samples=30)
    model = LqDictionaryLearning(24, n_batches=2).set_params(**parameters)
    with pytest.raises(error, match=message):
        model.fit(X)
    assert not hasattr(model, "components_")


@pytest.mark.parametrize(("dtype", "scales"), [(np.float64, [1e-145, 1e149]), (np.float32, [1e-15, 1e14])])
def test_scales_far_from_one(rng, dtype, scales):
    X, _ = planted(rng, n_samples=400)
    fit = lambda scale: LqDictionaryLearning(  # noqa: E731
        24, penalty="l1", alpha=0.2 * scale, n_batches=20, batch_size=100, random_state=0
    ).fit((scale * X).astype(dtype))
    expected = fit(1.0)
    for scale in scales:
        model = fit(scale)
        assert model.certificate_.valid
        assert model.history_.objective / scale**2 == pytest.approx(expected.history_.objective, rel=1e-2)


def test_signals_beyond_the_range_are_refused(rng):
    X, _ = planted(rng, n_samples=30)
    model = LqDictionaryLearning(24, n_batches=2)
    for learn in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match="X must not hold numbers of which squares leave the range of float64"):
            learn(1e155 * X)


def test_bad_codes(rng):
    X, _ = planted(rng, n_samples=30)
    model = LqDictionaryLearning(24, n_batches=2).fit(X)
    with pytest.raises(ValueError, match="24 columns, one per atom"):
        model.inverse_transform(np.ones((2, 16)))
