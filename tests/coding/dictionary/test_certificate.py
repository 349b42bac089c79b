"""The certificate of a learned dictionary: what its user can check, and what spoils it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from coding.coding_references import planted

from sparsetheory.coding import LqDictionaryLearning
from sparsetheory.coding.codes.certificates import CodeCertificate
from sparsetheory.penalties import L0, L1, MCP
from sparsetheory.penalties.best_entries import best_distances

_SETTINGS = {"alpha": 0.2, "n_batches": 4, "random_state": 0}
_VARIANTS = [
    {"penalty": "l1", "batch_size": 300},
    {"penalty": "l1", "batch_size": 50},
    {"penalty": "cel0", "batch_size": 50},
    {"penalty": "mcp", "batch_size": 64, "update": "olshausen"},
    {"penalty": "l1", "batch_size": 50, "target_active": 3.0, "n_batches": 20},
]


@pytest.fixture(scope="module")
def X():
    return planted(np.random.default_rng(0), n_samples=300)[0]


@pytest.fixture(scope="module", params=_VARIANTS, ids=str)
def model(request, X):
    return LqDictionaryLearning(24, **(_SETTINGS | request.param)).fit(X)


def test_a_right_fit_is_valid_for_all_that_fit_took(model, X):
    certificate = model.certificate_
    assert certificate.valid
    for given in (X, X.tolist(), np.asfortranarray(X), pd.DataFrame(X)):
        again = certificate.check(given)
        assert again.valid
        assert again.measured == certificate.measured
    assert certificate.check(X, model.components_).valid
    assert certificate.check(X, None, random_state=3).valid


def _moved(codes):
    codes = codes.copy()
    codes[1, 2] += 1e-2
    return codes


def _dropped(codes):
    codes = codes.copy()
    row, column = np.argwhere(codes)[0]
    codes[row, column] = 0.0
    return codes


def _exchanged(codes):
    codes = codes.copy()
    row = int(np.argmax(np.count_nonzero(codes, axis=1)))
    column = int(np.flatnonzero(codes[row])[0])
    other = (column + 1) % codes.shape[1]
    codes[row, [column, other]] = codes[row, [other, column]]
    return codes


def test_corruptions_are_not_valid(model, X):
    good = model.certificate_
    C, A, alpha = good.codes, good.atoms, good.penalty.alpha
    turned = A.copy()
    turned[[0, 1]] = turned[[1, 0]]
    spoiled = [
        {"codes": _moved(C)},
        {"codes": _dropped(C)},
        {"codes": _exchanged(C)},
        {"codes": 0 * C},
        {"codes": C[::-1]},
        {"codes": np.full_like(C, np.nan)},
        {"atoms": turned},
        {"atoms": 1.01 * A},
        # Squared norms of 16 entries may err by 128 roundings, 2.8e-14.
        {"atoms": (1 + 4e-14) * A},
        {"atoms": np.full_like(A, np.nan)},
        {"atoms": 0 * A},
        {"rows": (good.rows + 1) % 300},
        {"penalty": good.penalty.with_alpha(1.1 * alpha)},
        {"bound": good.bound / 10},
        {"bound": good.bound * 10},
        {"tol": good.tol / 10},
    ]
    for fields in spoiled:
        assert not replace(good, **fields).check(X).valid, fields.keys()
    for data in (X + 0.1, 2 * X, X[::-1]):
        assert not good.check(data).valid
    assert not good.check(X, turned).valid


def test_other_shapes_are_refused(model, X):
    certificate = model.certificate_
    for given, message in [
        (X[:-1], r"X must be of shape \(300, 16\) as in fit; got \(299, 16\)"),
        (X[:, :-1], r"X must be of shape \(300, 16\)"),
        (np.full_like(X, np.nan), "X contains NaN"),
    ]:
        with pytest.raises(ValueError, match=message):
            certificate.check(given)
    with pytest.raises(ValueError, match="D must be of shape"):
        certificate.check(X, model.components_.T)


def test_single_precision(X):
    model = LqDictionaryLearning(24, penalty="l1", **_SETTINGS).fit(X.astype(np.float32))
    assert model.certificate_.codes.dtype == model.certificate_.atoms.dtype == np.float32
    assert model.certificate_.valid
    assert not replace(model.certificate_, codes=model.certificate_.codes * np.float32(1.001)).check(X).valid


def test_partial_fit_certifies_its_batch(X):
    model = LqDictionaryLearning(24, penalty="l1", alpha=0.2, random_state=0)
    assert not hasattr(model, "certificate_")
    batch = X[:100].copy()
    model.partial_fit(batch)
    batch[:] = 0.0
    assert model.certificate_.check(X[:100], model.components_).valid
    assert not model.certificate_.check(X[100:200]).valid


def test_an_unconverged_fit_is_invalid_both_times(X):
    model = LqDictionaryLearning(24, penalty="l1", stop_rule="published", step=0.01, **_SETTINGS).fit(X)
    assert not model.certificate_.valid
    assert not model.certificate_.check(X).valid


@pytest.mark.parametrize("penalty", [L1(0.2), MCP(0.2), L0(0.2)], ids=repr)
def test_the_tolerance_itself(penalty):
    # One atom: the best code is known, and an error of one entry is the distance itself.
    X, D = np.array([[3.0, 0.0]]), np.array([[1.0, 0.0]])
    best = penalty.prox([3.0])
    for share, valid in [(0.9, True), (1.1, False), (1.9, False)]:
        # An entry too small by e leaves a correlation of alpha + e and, scaled back to alpha, a gap of e^2 / 2.
        error = -np.sqrt(2 * share * 4.5e-3) if isinstance(penalty, L1) else share * 3e-3
        certificate = CodeCertificate.of(X, D, [best + error], penalty, tol=1e-3)
        assert certificate.valid is valid
        assert certificate.check(X, D).valid is valid


@pytest.mark.parametrize("penalty", [L1(0.2), MCP(0.2)], ids=repr)
def test_what_rounding_may_add(penalty):
    # As above without any tolerance: eight roundings of |D| (|x| + |D| |c|) for a correlation are all that is allowed.
    X, D = np.array([[3.0, 0.0]]), np.array([[1.0, 0.0]])
    best = penalty.prox([3.0])
    noise = 8 * np.finfo(float).eps * (3.0 + best[0])
    for share, valid in [(0.5, True), (1.7, False)]:
        error = -np.sqrt(2 * share * noise * best[0]) if isinstance(penalty, L1) else share * noise
        assert CodeCertificate.of(X, D, [best + error], penalty, tol=0.0).valid is valid


def test_entries_at_a_jump_may_be_on_either_side():
    # Hard thresholding at sqrt(2 alpha): rounding of the correlation decides.
    alpha, eps = 0.5, np.finfo(float).eps
    for value in (1.0, 1.0 - eps, 1.0 + eps):
        for code in (0.0, value):
            assert CodeCertificate.of([[value]], [[1.0]], [[code]], L0(alpha)).valid
    assert not CodeCertificate.of([[1.001]], [[1.0]], [[0.0]], L0(alpha)).valid
    assert not CodeCertificate.of([[0.999]], [[1.0]], [[0.999]], L0(alpha)).valid
    distance = best_distances(L0(alpha), np.array([[0.999]]), np.array([[0.999]]), np.ones((1, 1)), np.zeros((1, 1)))
    assert distance == pytest.approx(0.999)
