"""Bad arguments of everything about supports: the error names the argument and says what was given."""

import re

import numpy as np
import pytest

from sparsetheory.regression import (
    HTP,
    NIHT,
    OMP,
    CoSaMP,
    ForwardBackward,
    L0SwapRegressor,
    RandomSupportRegressor,
    SplicingRegressor,
    adversarial_coefficients,
    benchmark_recovery,
    certify_anchors,
    leave_one_out_distances,
    make_design,
    omp_gram,
    residual_norms,
    sample_support,
    select_anchors,
    support_compatibility,
    theory,
    worst_case,
)

X = make_design("gaussian", 20, 12, random_state=0)
Y = X[:, 0] - X[:, 4]
ANCHORS = select_anchors(X, n_nonzero=2, random_state=0)

ODD = ["a", b"x", {}, object(), 1j, np.array([1, 2])]
NO_NUMBER = [*ODD, np.nan, -1]
NO_COUNT = [*NO_NUMBER, 1.5, True]
NO_SEED = ["a", -1, 1.5, {}, object()]
NO_FLAG = [None, "a", 0, 1.5, np.array([True, False])]
NO_NAME = [None, "none of them", 1, ["x"], {}, np.array([1, 2])]
NO_ARRAY = ["a", object(), {}, 1j, np.nan]


def _fits(model, **bad):
    return [
        (f"{model.__name__}.{name}", name, value, lambda name=name, value=value: model(**{name: value}).fit(X, Y))
        for name, values in bad.items()
        for value in values
    ]


def _anchored(**bad):
    return [
        (
            f"RandomSupportRegressor.{name}",
            name,
            value,
            lambda name=name, value=value: RandomSupportRegressor(
                **{"n_nonzero": 2, "random_state": 0, name: value}
            ).fit(X, Y),
        )
        for name, values in bad.items()
        for value in values
    ]


def _calls(function, good, **bad):
    return [
        (f"{function.__name__}.{name}", name, value, lambda name=name, value=value: function(**{**good, name: value}))
        for name, values in bad.items()
        for value in values
    ]


DUAL = {"dictionary": np.eye(2), "signal": [1, 1], "dual_vector": [1, 1]}
NOISE = {"noise_std": 1.0, "n_samples": 5, "n_features": 5, "delta": 0.1}
CASES = [
    *_fits(OMP, n_nonzero=NO_COUNT, tol=NO_NUMBER, fit_intercept=NO_FLAG, n_jobs=["a", 0, 1.5, {}]),
    *_fits(ForwardBackward, max_steps=NO_COUNT, noise_std=[0, *NO_NUMBER], n_nonzero=NO_COUNT, prune=NO_FLAG),
    *_fits(NIHT, n_nonzero=NO_COUNT, step=[0, *NO_NUMBER], refit=NO_FLAG, max_iter=[0, *NO_COUNT], tol=NO_NUMBER),
    *_fits(HTP, step=[0, *NO_NUMBER], max_iter=[0, *NO_COUNT], tol=NO_NUMBER, fit_intercept=NO_FLAG),
    *_fits(CoSaMP, n_nonzero=NO_COUNT, max_iter=[0, *NO_COUNT], tol=NO_NUMBER, fit_intercept=NO_FLAG),
    *_fits(SplicingRegressor, criterion=NO_NAME, max_n_nonzero=NO_COUNT, max_exchange=NO_COUNT, max_iter=NO_COUNT),
    *_fits(SplicingRegressor, n_nonzero=NO_COUNT, tol=NO_NUMBER, fit_intercept=NO_FLAG),
    *_fits(L0SwapRegressor, alpha=[0, *NO_NUMBER], ridge=NO_NUMBER, swaps=NO_NAME, max_iter=NO_COUNT),
    *_anchored(
        n_nonzero=[None, *NO_COUNT], solver=NO_NAME, n_draws=NO_COUNT, delta=[0, 1.0, *NO_NUMBER], noise_std=NO_NUMBER
    ),
    *_anchored(alpha=[0, *NO_NUMBER], max_steps=NO_COUNT, prune=NO_FLAG, ensemble=NO_NAME, tol=[0, *NO_NUMBER]),
    *_anchored(random_state=NO_SEED, support_prior=NO_ARRAY, forced=[99, 1.5, "a"], max_compatibility=[0, *NO_NUMBER]),
    *_anchored(anchors=["best", 99, [99], [0.5]], confidence=[0, 1.0, *NO_NUMBER], max_anchors=NO_COUNT),
    *_calls(
        make_design,
        {"name": "gaussian", "n_samples": 5, "n_features": 5},
        name=NO_NAME,
        n_samples=NO_COUNT,
        n_features=NO_COUNT,
    ),
    *_calls(make_design, {"name": "gaussian", "n_samples": 5, "n_features": 5}, random_state=NO_SEED),
    *_calls(
        worst_case,
        {"name": "sparse_precision", "n_samples": 9, "n_features": 8},
        name=NO_NAME,
        n_nonzero=[0, 9, *NO_COUNT],
        ridge=NO_NUMBER,
    ),
    *_calls(worst_case, {"name": "zwj_blocks", "n_samples": 16, "n_features": 16}, n_nonzero=NO_COUNT),
    *_calls(
        sample_support, {"X": X, "n_nonzero": 2}, n_nonzero=NO_COUNT, random_state=NO_SEED, max_condition=NO_NUMBER
    ),
    *_calls(sample_support, {"X": X, "n_nonzero": 2}, max_tries=NO_COUNT),
    *_calls(
        adversarial_coefficients,
        {"X": X, "support": [0, 1]},
        support=[*NO_ARRAY, [0, 0]],
        mode=NO_NAME,
        signal_size=[0, *NO_NUMBER],
    ),
    *_calls(adversarial_coefficients, {"X": X, "support": [0, 1], "mode": "mix"}, random_state=NO_SEED),
    *_calls(
        select_anchors,
        {"X": X, "n_nonzero": 2},
        n_nonzero=NO_COUNT,
        method=NO_NAME,
        rule=NO_NAME,
        rtol=NO_NUMBER,
        n_anchors=NO_COUNT,
    ),
    *_calls(select_anchors, {"X": X, "n_nonzero": 2}, support_prior=NO_ARRAY, random_state=NO_SEED, delta=NO_NUMBER),
    *_calls(
        certify_anchors, {"X": X, "n_nonzero": 2, "anchors": ANCHORS}, anchors=[None, "a", [1]], confidence=NO_NUMBER
    ),
    *_calls(certify_anchors, {"X": X, "n_nonzero": 2, "anchors": ANCHORS}, n_supports=NO_COUNT, random_state=NO_SEED),
    *_calls(
        support_compatibility,
        {"X": X, "support": [0], "anchors": ANCHORS},
        support=NO_ARRAY,
        anchors=[None, "a"],
        exact=NO_FLAG,
    ),
    *_calls(leave_one_out_distances, {}, columns=[*NO_ARRAY, [1.0, 2.0]]),
    *_calls(residual_norms, {"X": X, "Q": ANCHORS.Q}, Q=[*NO_ARRAY, [1.0]], recompute_below=NO_NUMBER),
    *_calls(omp_gram, {"gram": np.eye(2), "correlations": [1.0, 1.0]}, gram=[None, 3.0, *NO_ARRAY], n_nonzero=NO_COUNT),
    *_calls(omp_gram, {"gram": np.eye(2), "correlations": [1.0, 1.0]}, correlations=NO_ARRAY, n_jobs=["a", 0, 1.5]),
    *_calls(benchmark_recovery, {"methods": {"omp": OMP(2)}, "designs": ["gaussian"]}, designs=[1, "gaussian", []]),
    *_calls(benchmark_recovery, {"methods": {"omp": OMP(2)}, "designs": ["gaussian"]}, modes=[1, "min", ["x"], []]),
    *_calls(theory.required_anchors, {"n_nonzero": 3, "delta": 0.1}, n_nonzero=NO_COUNT, delta=[0, 1, *NO_NUMBER]),
    *_calls(
        theory.atomic_norm_certificate,
        {"dictionary": np.eye(2), "signal": [1, 1], "dual_vector": [1, 1]},
        dictionary=NO_ARRAY,
        signal=NO_ARRAY,
    ),
    *_calls(
        theory.universal_alpha,
        {"noise_std": 1.0, "n_samples": 5, "n_features": 5, "delta": 0.1},
        noise_std=NO_NUMBER,
        n_samples=NO_COUNT,
        delta=NO_NUMBER,
    ),
]


@pytest.mark.parametrize(("name", "value", "call"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_errors_name_the_argument(name, value, call):
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    message = str(caught.value)
    assert re.search(rf"\b{name}\b", message), message
    assert "must" in message
    assert "got" in message


def test_numbers_of_any_type_are_numbers():
    OMP(np.int64(2), tol=np.float32(0.5), fit_intercept=np.bool_(False)).fit(X, Y)
    L0SwapRegressor(10**30).fit(X, Y)
    assert theory.universal_alpha(np.float32(1), np.int32(5), 5, 0.1) > 0
    assert RandomSupportRegressor(2, random_state=np.random.default_rng(0)).fit(X, Y).certificate_ is not None
