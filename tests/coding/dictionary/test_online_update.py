"""The surrogate of past codes: its value, its descent and its memory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.coding.dictionary.online_update import Surrogate, kept_fraction

_DTYPES = st.sampled_from([np.float64, np.float32])


def _instance(seed, n_samples, n_atoms, width, dtype=np.float64):
    rng = np.random.default_rng(seed)
    codes = rng.standard_normal((n_samples, n_atoms)) * (rng.random((n_samples, n_atoms)) < 0.4)
    atoms = rng.standard_normal((n_atoms, width))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    return codes.astype(dtype), rng.standard_normal((n_samples, width)).astype(dtype), atoms.astype(dtype)


def _error(codes, signals, atoms):
    return 0.5 * np.sum((signals - codes @ atoms) ** 2)


@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 20), st.integers(1, 9), st.floats(0, 1))
def test_value_is_the_weighted_squared_error(seed, n_samples, n_atoms, width, keep):
    codes, signals, atoms = _instance(seed, n_samples, n_atoms, width)
    later, more, _ = _instance(seed + 1, n_samples, n_atoms, width)
    past = Surrogate.empty(n_atoms, width).absorb(codes, signals)
    assert past.value(atoms) == pytest.approx(_error(codes, signals, atoms), rel=1e-10, abs=1e-10)
    expected = keep * _error(codes, signals, atoms) + _error(later, more, atoms)
    assert past.absorb(later, more, keep).value(atoms) == pytest.approx(expected, rel=1e-10, abs=1e-10)


@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 150), st.integers(1, 20), _DTYPES)
def test_sweeps_never_increase_the_value(seed, n_samples, n_atoms, width, dtype):
    codes, signals, atoms = _instance(seed, n_samples, n_atoms, width, dtype)
    past = Surrogate.empty(n_atoms, width, dtype).absorb(codes, signals)
    # The linear term of an atom has n_atoms + 1 summands and is normalised over width entries; a wrong minimiser costs
    # at most twice the error of that term.
    size = past.energy + np.abs(past.moments).sum() + np.abs(past.products).sum()
    slack = 2 * (n_atoms + width + 2) * np.finfo(dtype).eps * size
    values = [past.value(atoms)]
    for _ in range(5):
        atoms = past.improve(atoms)
        values.append(past.value(atoms))
        assert atoms.dtype == dtype
        np.testing.assert_allclose(np.linalg.norm(atoms, axis=1), 1.0, rtol=width * np.finfo(dtype).eps)
    assert (np.diff(values) <= slack).all()
    assert values[-1] >= -slack


def test_blocks_do_not_change_the_order_of_updates(monkeypatch):
    codes, signals, atoms = _instance(3, 200, 150, 12)
    past = Surrogate.empty(150, 12).absorb(codes, signals)
    by_64 = past.improve(atoms)
    monkeypatch.setattr("sparsetheory.coding.dictionary.online_update._BLOCK", 1)
    np.testing.assert_allclose(past.improve(atoms), by_64, atol=1e-9)
    monkeypatch.undo()
    np.testing.assert_array_equal(past.improve(atoms, sweeps=2), past.improve(by_64))


def test_methods_leave_the_surrogate_and_the_atoms_alone():
    codes, signals, atoms = _instance(0, 20, 5, 4)
    past = Surrogate.empty(5, 4).absorb(codes, signals)
    kept = past.moments.copy(), past.products.copy(), past.energy, atoms.copy()
    for frozen in (past.moments, past.products, atoms):
        frozen.flags.writeable = False
    past.absorb(codes, signals, 0.5)
    past.without(np.array([1]))
    assert not np.shares_memory(past.improve(atoms), atoms)
    np.testing.assert_array_equal(past.moments, kept[0])
    np.testing.assert_array_equal(past.products, kept[1])
    assert past.energy == kept[2]


def test_without_forgets_the_codes_of_atoms():
    codes, signals, atoms = _instance(0, 40, 6, 4)
    past = Surrogate.empty(6, 4).absorb(codes, signals).without(np.array([1, 4]))
    codes[:, [1, 4]] = 0
    expected = Surrogate.empty(6, 4).absorb(codes, signals)
    np.testing.assert_allclose(past.moments, expected.moments, atol=1e-12)
    np.testing.assert_allclose(past.products, expected.products, atol=1e-12)
    np.testing.assert_array_equal(past.improve(atoms)[[1, 4]], atoms[[1, 4]])


def test_weights_grow_like_a_power_of_time():
    weights = np.ones(6)
    for t in range(1, 7):
        weights[: t - 1] *= kept_fraction(10, 10 * t, 100, exponent=2.0)
    np.testing.assert_allclose(weights, (np.arange(1, 7) / 6) ** 2)


def test_the_exponent_grows_with_the_signals_per_atom():
    def exponent(n_seen, n_atoms):
        return np.log(kept_fraction(1, n_seen, n_atoms)) / np.log(1 - 1 / n_seen)

    assert exponent(100, 100) == pytest.approx(1.1)
    assert exponent(4000, 100) == pytest.approx(5.0)
    assert exponent(10**6, 100) == pytest.approx(12.0)
