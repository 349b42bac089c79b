"""Statistics of sparse codes against dense products, and atoms against their definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.numba_kernels.dictionary_update import add_codes, squared_residuals, update_atoms

_DTYPES = st.sampled_from([np.float64, np.float32])


def _batch(rng, n_samples, n_atoms, width, dtype):
    codes = rng.standard_normal((n_samples, n_atoms)) * (rng.random((n_samples, n_atoms)) < rng.random())
    return codes.astype(dtype), rng.standard_normal((n_samples, width)).astype(dtype)


def _units(rng, n_atoms, width, dtype=np.float64):
    atoms = rng.standard_normal((n_atoms, width))
    return (atoms / np.linalg.norm(atoms, axis=1, keepdims=True)).astype(dtype)


@given(st.integers(0, 10**6), st.integers(0, 8), st.integers(1, 9), st.integers(1, 7), _DTYPES)
def test_statistics_equal_dense_products(seed, n_samples, n_atoms, width, dtype):
    rng = np.random.default_rng(seed)
    codes, signals = _batch(rng, n_samples, n_atoms, width, dtype)
    moments, products = _batch(rng, n_atoms, n_atoms, width, dtype)
    wide, more = codes.astype(np.float64), signals.astype(np.float64)
    expected = moments + wide.T @ wide, products + wide.T @ more
    size = abs(moments) + abs(wide).T @ abs(wide), abs(products) + abs(wide).T @ abs(more)
    add_codes(codes, signals, moments, products)
    # A sum of n_samples products and a start, in any order, errs by at most n_samples + 1 roundings of all sizes.
    slack = (n_samples + 1) * np.finfo(dtype).eps
    assert (abs(moments - expected[0]) <= slack * size[0]).all()
    assert (abs(products - expected[1]) <= slack * size[1]).all()
    assert moments.dtype == products.dtype == dtype


@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 9), st.integers(1, 7), _DTYPES)
def test_squared_residuals_equal_their_definition(seed, n_samples, n_atoms, width, dtype):
    rng = np.random.default_rng(seed)
    codes, signals = _batch(rng, n_samples, n_atoms, width, dtype)
    atoms, out = _units(rng, n_atoms, width, dtype), np.empty(n_samples)
    squared_residuals(codes, signals, atoms, out)
    fits = codes.astype(np.float64) @ atoms
    expected = np.sum((signals - fits) ** 2, axis=1)
    size = (np.linalg.norm(signals, axis=1) + np.linalg.norm(abs(codes) @ abs(atoms), axis=1)) ** 2
    assert (abs(out - expected) <= 2 * (n_atoms + width + 1) * np.finfo(dtype).eps * size).all()


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 7))
def test_each_atom_is_the_normalised_linear_term(seed, n_atoms, width):
    rng = np.random.default_rng(seed)
    factor = rng.standard_normal((n_atoms, 2 * n_atoms))
    moments, products, atoms = factor @ factor.T, rng.standard_normal((n_atoms, width)), _units(rng, n_atoms, width)
    expected = atoms.copy()
    for j in range(n_atoms):
        others = np.delete(np.arange(n_atoms), j)
        linear = products[j] - moments[j, others] @ expected[others]
        expected[j] = linear / np.linalg.norm(linear)
    update_atoms(products - moments @ atoms, moments, atoms, 0)
    assert atoms == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(("dtype", "scale"), [(np.float64, 1e-145), (np.float64, 1e149), (np.float32, 1e15)])
def test_signals_of_any_scale_give_the_same_atoms(rng, dtype, scale):
    codes, signals = _batch(rng, 50, 7, 5, np.float64)
    moments, products, atoms = codes.T @ codes, codes.T @ signals, _units(rng, 7, 5)
    scaled = [(array * (scale * scale)).astype(dtype) for array in (products - moments @ atoms, moments)]
    single = atoms.astype(dtype)
    update_atoms(*scaled, single, 0)
    update_atoms(products - moments @ atoms, moments, atoms, 0)
    np.testing.assert_allclose(single, atoms, atol=200 * np.finfo(dtype).eps)


def test_a_block_in_the_middle_is_updated_and_nothing_else(rng):
    codes, signals = _batch(rng, 50, 7, 5, np.float64)
    moments, products, atoms = codes.T @ codes, codes.T @ signals, _units(rng, 7, 5)
    before = atoms.copy()
    update_atoms((products - moments @ atoms)[2:5], moments, atoms, 2)
    np.testing.assert_array_equal(atoms[[0, 1, 5, 6]], before[[0, 1, 5, 6]])
    assert (atoms[2:5] != before[2:5]).any(axis=1).all()
    np.testing.assert_allclose(np.linalg.norm(atoms, axis=1), 1.0, rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_atoms_without_moment_or_direction_stay(dtype):
    atoms = np.array([[0.6, 0.8], [1.0, 0.0]], dtype)
    moments = np.array([[0.0, 0.0], [0.0, 1.0]], dtype)
    # The gradient of the second atom cancels the atom itself: every direction is as good.
    gradient = np.array([[3.0, 3.0], [-1.0, 0.0]], dtype)
    before = atoms.copy()
    update_atoms(gradient, moments, atoms, 0)
    np.testing.assert_array_equal(atoms, before)
