"""`fit`, `predict` and `check` take the same kinds of arrays, and mean the same by them."""

import numpy as np
import pandas as pd
import pytest
from estimator_cases import FLAT, PRIVACY, REGRESSION
from scipy import sparse


def _repeated(X):
    """Return a matrix that holds every entry in two pieces."""
    rows, columns = np.nonzero(X)
    values = X[rows, columns]
    pieces = np.concatenate([0.25 * values, 0.75 * values])
    return sparse.coo_array((pieces, (np.tile(rows, 2), np.tile(columns, 2))), shape=X.shape)


def _repeated_csc(X):
    """The same by columns: conversions of scipy would sum the pieces."""
    values = np.repeat(X.T.ravel(), 2) * np.tile([0.25, 0.75], X.size)
    rows = np.tile(np.repeat(np.arange(X.shape[0]), 2), X.shape[1])
    return sparse.csc_array((values, rows, 2 * X.shape[0] * np.arange(X.shape[1] + 1)), shape=X.shape)


def _read_only(X):
    copy = X.copy()
    copy.setflags(write=False)
    return copy


DENSE = {
    "list": lambda X: X.tolist(),
    "frame": lambda X: pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])]),
    "fortran": np.asfortranarray,
    "strided": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "read-only": _read_only,
    "byte order": lambda X: X.astype(X.dtype.newbyteorder()),
}
SPARSE = {
    "csr": sparse.csr_array,
    "csc": sparse.csc_array,
    "csc matrix": sparse.csc_matrix,
    "coo": sparse.coo_array,
    "lil": sparse.lil_array,
    "dia": sparse.dia_array,
    "repeated entries": _repeated,
    "repeated entries by column": _repeated_csc,
}


@pytest.fixture(scope="module")
def reference():
    cache = {}

    def fit(case):
        if case.name not in cache:
            model, data = case.fit()
            cache[case.name] = model.coef_, model.predict(data[0])
        return cache[case.name]

    return fit


def _same(case, convert, reference):
    model, (X, y) = case.build(1.0, None)
    coef, predicted = reference(case)
    given = convert(X)
    model.fit(given, y.tolist())
    np.testing.assert_allclose(model.coef_, coef, rtol=1e-6, atol=1e-6 * np.abs(coef).max())
    np.testing.assert_allclose(model.predict(given), predicted, rtol=1e-6, atol=1e-6 * np.abs(predicted).max())
    assert model.certificate_.check(given, y.tolist()).status == model.certificate_.status


@pytest.mark.parametrize("kind", DENSE)
@pytest.mark.parametrize("case", FLAT.values(), ids=FLAT)
def test_dense(case, kind, reference):
    _same(case, DENSE[kind], reference)


@pytest.mark.parametrize("kind", SPARSE)
@pytest.mark.parametrize("case", FLAT.values(), ids=FLAT)
def test_sparse_is_used_or_refused_by_name(case, kind, reference):
    if case in [*REGRESSION, *PRIVACY]:
        _same(case, SPARSE[kind], reference)
        return
    model, (X, y) = case.build(1.0, None)
    with pytest.raises((TypeError, ValueError), match=r"(?i)sparse|toarray"):
        model.fit(SPARSE[kind](X), y)


@pytest.mark.parametrize("case", FLAT.values(), ids=FLAT)
def test_the_users_arrays_are_left_alone(case):
    model, (X, y) = case.build(1.0, None)
    kept = X.copy(), y.copy()
    model.fit(X, y)
    model.certificate_.check(X, y)
    np.testing.assert_array_equal(X, kept[0])
    np.testing.assert_array_equal(y, kept[1])


@pytest.mark.parametrize("case", FLAT.values(), ids=FLAT)
def test_single_precision_is_kept_and_certified(case):
    model, (X, y) = case.build(1.0, None)
    X, y = X.astype(np.float32), y.astype(np.float32)
    model.fit(X, y)
    assert model.coef_.dtype == np.float32
    assert model.certificate_.check(X, y).status == model.certificate_.status
