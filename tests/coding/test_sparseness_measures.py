"""Measures of sparseness: extremes, formulas, what leaves them alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kurtosis

from sparsetheory.coding.sparseness_measures import sparseness

KINDS = ("treves_rolls", "hoyer", "kurtosis", "l0")
every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
@given(st.integers(2, 60), st.floats(1e-200, 1e200), st.integers(0, 59))
def test_single_entries_are_sparsest(kind, n, value, place):
    x = np.zeros((1, n))
    x[0, place % n] = -value
    # A single entry has kurtosis n - 2 + 1 / (n - 1) - 3.
    expected = n - 5 + 1 / (n - 1) if kind == "kurtosis" else 1
    assert sparseness(x, kind=kind) == pytest.approx([expected], abs=1e-11)


@pytest.mark.parametrize("kind", ["treves_rolls", "hoyer", "l0"])
@given(st.integers(2, 60), st.floats(1e-200, 1e200), st.integers(0, 99))
def test_entries_of_equal_size_are_not_sparse(kind, n, value, seed):
    signs = np.random.default_rng(seed).choice([-1, 1], (1, n))
    # Rounding of order n eps is magnified by 1 / (1 - 1 / n) and sqrt(n) / (sqrt(n) - 1), below 4.
    assert sparseness(value * signs, kind=kind) == pytest.approx([0], abs=1e-13)


def test_formulas(rng):
    C = rng.standard_normal((6, 20)) * (rng.random((6, 20)) < 0.4)
    C[:, 0] = 1.0
    for row, *found in zip(C, *(sparseness(C, kind=kind) for kind in KINDS), strict=True):
        size = np.abs(row)
        treves = (1 - size.mean() ** 2 / (row**2).mean()) / (1 - 1 / 20)
        hoyer = (np.sqrt(20) - size.sum() / np.linalg.norm(row)) / (np.sqrt(20) - 1)
        expected = [treves, hoyer, kurtosis(row), np.sum(row == 0) / 19]
        assert found == pytest.approx(expected, rel=1e-11)


@every_kind
@given(st.integers(2, 30), st.floats(1e-150, 1e150), st.integers(0, 99))
def test_scale_sign_and_order_do_not_matter(kind, n, scale, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((3, n)) * (rng.random((3, n)) < 0.7)
    x[:, 0] = 1.0
    expected = sparseness(x, kind=kind)
    for other in (scale * x, -x, x[:, rng.permutation(n)]):
        assert sparseness(other, kind=kind) == pytest.approx(expected, abs=1e-10, nan_ok=True)


@pytest.mark.parametrize("kind", ["treves_rolls", "hoyer", "l0"])
@given(st.integers(2, 30), st.integers(0, 99))
def test_zeros_beside_a_code_make_it_sparser(kind, n, seed):
    x = np.random.default_rng(seed).standard_normal((1, n))
    assert sparseness(np.pad(x, ((0, 0), (0, 3))), kind=kind) > sparseness(x, kind=kind)


@every_kind
def test_axes(kind, rng):
    C = rng.standard_normal((5, 7))
    assert np.array_equal(sparseness(C, kind=kind, axis=0), sparseness(C.T, kind=kind))
    assert sparseness(C, kind=kind).shape == (5,)


@every_kind
def test_codes_without_entries_have_no_sparseness(kind):
    found = sparseness([[0.0, 0.0, 0.0], [1.0, 0.0, 3.0]], kind=kind)
    assert np.isnan(found[0])
    assert np.isfinite(found[1])


@pytest.mark.parametrize("value", [2.0, 0.1, 1 / 3, 1e308])
def test_equal_entries_have_no_kurtosis(value):
    # The mean of seven tenths is not a tenth in floating point.
    for n in (3, 4, 7):
        assert np.isnan(sparseness([[value] * n], kind="kurtosis"))


@every_kind
def test_huge_and_tiny_entries(kind):
    C = np.array([[3.0, -1.0, 0.0, 2.0]])
    for scale in (1e-300, 5e307):
        assert sparseness(scale * C, kind=kind) == pytest.approx(sparseness(C, kind=kind), rel=1e-12)


@every_kind
def test_dtype_layout_and_no_code(kind, rng):
    C = rng.standard_normal((4, 9)).astype(np.float32)
    found = sparseness(C, kind=kind)
    assert found.dtype == np.float32
    assert found == pytest.approx(sparseness(C.astype(float), kind=kind), abs=1e-4)
    C.flags.writeable = False
    assert np.array_equal(sparseness(np.asfortranarray(C), kind=kind), found)
    assert sparseness([[1, 0, 2]], kind=kind).dtype == np.float64
    assert sparseness(np.empty((0, 5)), kind=kind).shape == (0,)


@pytest.mark.parametrize(
    ("C", "options", "error", "message"),
    [
        (np.eye(3), {"kind": "gini"}, ValueError, "kind must be one of 'treves_rolls', 'hoyer'.*got 'gini'"),
        (np.eye(3), {"axis": 2}, ValueError, "axis must be one of 0, 1; got 2"),
        (np.ones(3), {}, ValueError, r"C must have two dimensions and at least 2 entries along axis 1; got \(3,\)"),
        (np.ones((3, 1)), {}, ValueError, r"at least 2 entries along axis 1; got \(3, 1\)"),
        (np.ones((1, 3)), {"axis": 0}, ValueError, r"at least 2 entries along axis 0; got \(1, 3\)"),
        ([[1.0, np.inf]], {}, ValueError, "C must be finite"),
        ([[True, False]], {}, TypeError, "C must hold integers or floats of 32 or 64 bits; got dtype bool"),
    ],
)
def test_bad_input(C, options, error, message):
    with pytest.raises(error, match=message):
        sparseness(C, **options)
