"""Generators, channels, metrics, and least squares on the true support."""

import numpy as np
import pytest
from bayesian.kron_references import kron

from sparsetheory.bayesian import (
    irs_nmse,
    irs_ser,
    kron_matvec,
    make_irs_mimo,
    make_kron_sparse,
    oracle_ls,
    oracle_nmse,
    support_recovery_rate,
)
from sparsetheory.bayesian.datasets.irs_metrics import irs_channels, perfect_ser


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("separable", [False, True])
def test_kron_sparse(separable, is_complex):
    p = make_kron_sparse(
        (4, 5, 3), (6, 7, 4), (2, 3, 1), snr_db=20, separable=separable, complex_data=is_complex, random_state=0
    )
    tensor = p.x.reshape(6, 7, 4)
    expected = np.zeros(tensor.shape, bool)
    expected[np.ix_(*p.supports)] = True
    np.testing.assert_array_equal(tensor != 0, expected)
    np.testing.assert_allclose(kron(p.dictionaries) @ p.x, p.signal, atol=1e-12)
    ratio = np.linalg.matrix_rank(tensor[np.ix_(*p.supports)].reshape(2, 3))
    assert ratio == (1 if separable else 2)
    assert p.noise_variance == pytest.approx(np.mean(np.abs(p.signal) ** 2) / 100)
    assert np.iscomplexobj(p.y) is np.iscomplexobj(p.x) is is_complex
    again = make_kron_sparse(
        (4, 5, 3), (6, 7, 4), (2, 3, 1), snr_db=20, separable=separable, complex_data=is_complex, random_state=0
    )
    np.testing.assert_array_equal(again.y, p.y)


@pytest.mark.parametrize("is_complex", [False, True])
def test_noise_has_its_variance(is_complex):
    p = make_kron_sparse((40, 50), (6, 7), (2, 3), snr_db=0, complex_data=is_complex, random_state=1)
    squares = np.abs(p.y - p.signal) ** 2 / p.noise_variance
    assert abs(squares.mean() - 1) < 5 * squares.std() / np.sqrt(squares.size)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((4,), (6, 7), (2, 2), 20), "one entry per mode; got 1, 2, 2"),
        (((), (), (), 20), "one entry per mode; got 0, 0, 0"),
        (((4,), (6,), (7,), 20), r"n_nonzero\[0\] must be at most n_columns\[0\] = 6; got 7"),
        (((0,), (6,), (2,), 20), r"n_rows\[0\] must be an integer from 1 to"),
        (((4,), (6,), (2,), np.nan), "snr_db must be a finite number"),
        (((4,), (6,), (2,), "loud"), "snr_db must be a finite number"),
    ],
)
def test_bad_sizes(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_kron_sparse(*arguments[:3], snr_db=arguments[3])


def _literal_channel(p, k):
    """Rebuild the channel of one pattern from the dictionaries without pilots."""
    x = p.x.reshape([A.shape[1] for A in p.dictionaries])
    A1, A2, A3 = p.channel_dictionaries
    return np.einsum("n,tm,ar,nmr->at", A1[k], A2, A3, x)


def test_channel_model():
    p = make_irs_mimo(
        n_mobile_antennas=4,
        n_base_antennas=5,
        n_surface_elements=12,
        n_angles=8,
        n_pilots=3,
        n_patterns=2,
        angular_spread=2,
        snr_db=10,
        random_state=3,
    )
    np.testing.assert_allclose(kron_matvec(p.dictionaries, p.x), p.signal, atol=1e-10)
    for k in range(2):
        np.testing.assert_allclose(_literal_channel(p, k), p.channels[k], atol=1e-10)
        sent = (p.channels[k] @ p.pilots).T.ravel()
        np.testing.assert_allclose(p.signal.reshape(2, -1)[k], sent, atol=1e-10)
    assert [s.size for s in p.supports] == [2, 1, 2]
    assert np.count_nonzero(p.x) == 4
    assert [np.linalg.matrix_rank(H) for H in p.channels] == [1, 1]
    np.testing.assert_allclose(np.abs(p.pilots), 0.5)
    np.testing.assert_allclose(np.abs(p.patterns), 12**-0.5)
    np.testing.assert_allclose(np.linalg.norm(p.channel_dictionaries[2], axis=0), 1.0)


def test_channel_metrics():
    p = make_irs_mimo(
        n_mobile_antennas=4,
        n_base_antennas=5,
        n_surface_elements=12,
        n_angles=8,
        snr_db=4,
        angular_spread=2,
        random_state=3,
    )
    assert irs_nmse(p, p.x) < 1e-20
    assert irs_nmse(p, 0 * p.x) == pytest.approx(1.0)
    assert irs_nmse(p, 1.1 * p.x) == pytest.approx(0.01)
    np.testing.assert_allclose(irs_channels(p, p.x), p.channels, atol=1e-10)
    n = 20_000
    floor = perfect_ser(4.0)
    error = 3 * np.sqrt(floor * (1 - floor) / (n * p.channels.shape[0]))
    assert abs(irs_ser(p, p.x, n_symbols=n, random_state=0) - floor) < error
    assert irs_ser(p, -1j * p.x, n_symbols=n, random_state=0) > 0.9
    with pytest.raises(ValueError, match="x must have"):
        irs_nmse(p, np.ones(3))


def test_given_pilots_and_patterns_are_used():
    p = make_irs_mimo(
        n_mobile_antennas=4, n_base_antennas=5, n_surface_elements=12, n_angles=8, angular_spread=2, random_state=3
    )
    q = make_irs_mimo(
        n_mobile_antennas=4,
        n_base_antennas=5,
        n_surface_elements=12,
        n_angles=8,
        angular_spread=2,
        random_state=4,
        pilots=p.pilots,
        patterns=p.patterns,
    )
    np.testing.assert_array_equal(q.dictionaries[0], p.dictionaries[0])
    np.testing.assert_array_equal(q.dictionaries[1], p.dictionaries[1])
    assert not np.array_equal(q.x, p.x)
    with pytest.raises(ValueError, match=r"pilots must be a finite matrix of shape \(4, 3\)"):
        make_irs_mimo(
            n_mobile_antennas=4,
            n_base_antennas=5,
            n_surface_elements=12,
            n_angles=8,
            angular_spread=2,
            pilots=np.ones((3, 4)),
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_mobile_antennas": 0}, "n_mobile_antennas must be an integer from 1 to"),
        ({"n_surface_elements": 2.5}, "n_surface_elements must be an integer"),
        ({"angular_spread": 19}, "angular_spread must be at most n_angles = 18"),
        ({"snr_db": np.inf}, "snr_db must be"),
    ],
)
def test_bad_channels(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_irs_mimo(**arguments)


def test_coarse_grid_is_reported():
    with pytest.warns(UserWarning, match="the grid is coarse"):
        make_irs_mimo(n_mobile_antennas=2, n_base_antennas=16, n_surface_elements=8, n_angles=8, random_state=0)


def test_oracle_is_least_squares(rng):
    p = make_kron_sparse((4, 5), (6, 7), (2, 3), snr_db=10, complex_data=True, random_state=0)
    columns = np.ravel_multi_index(np.ix_(*p.supports), (6, 7)).ravel()
    expected = np.zeros(42, complex)
    expected[columns] = np.linalg.lstsq(kron(p.dictionaries)[:, columns], p.y, rcond=None)[0]
    np.testing.assert_allclose(oracle_ls(p.dictionaries, p.y, p.supports), expected, atol=1e-10)
    many = oracle_ls(p.dictionaries, np.column_stack([p.y, 2 * p.y]), p.supports)
    np.testing.assert_allclose(many[:, 1], 2 * expected, atol=1e-10)


def test_oracle_error_has_its_expectation(rng):
    p = make_kron_sparse((4, 5), (6, 7), (2, 3), snr_db=10, random_state=0)
    errors = []
    for _ in range(400):
        y = p.signal + np.sqrt(p.noise_variance) * rng.standard_normal(20)
        errors.append(np.sum((oracle_ls(p.dictionaries, y, p.supports) - p.x) ** 2) / np.sum(p.x**2))
    expected = oracle_nmse(p.dictionaries, p.supports, noise_variance=p.noise_variance, truth=p.x)
    assert abs(np.mean(errors) - expected) < 5 * np.std(errors) / 20


@pytest.mark.parametrize(
    ("supports", "message"),
    [
        ([[0]], r"one set of indices per mode \(2\)"),
        ([[0, 0], [1]], r"supports\[0\] must be distinct integers from 0 to 5"),
        ([[0], [7]], r"supports\[1\] must be distinct integers from 0 to 6"),
        ([[0.5], [1]], r"supports\[0\] must be distinct integers"),
        ([[], [1]], r"supports\[0\] must be distinct integers"),
    ],
)
def test_bad_supports(supports, message):
    p = make_kron_sparse((4, 5), (6, 7), (2, 3), snr_db=10, random_state=0)
    with pytest.raises(ValueError, match=message):
        oracle_ls(p.dictionaries, p.y, supports)


def test_oracle_error_needs_independent_columns():
    A = np.ones((3, 2))
    with pytest.raises(ValueError, match="mode 0 on its support are linearly dependent"):
        oracle_nmse([A], [[0, 1]], noise_variance=1.0, truth=np.ones(2))
    with pytest.raises(ValueError, match="truth must not be zero"):
        oracle_nmse([A], [[0]], noise_variance=1.0, truth=np.zeros(2))


def test_support_recovery_rate():
    x = np.array([0, 1.0, 2.0, 0])
    assert support_recovery_rate(x, x) == 1.0
    assert support_recovery_rate([1.0, 1.0, 1.0, 0], x) == pytest.approx(2 / 3)
    assert support_recovery_rate([0, 1.0, 1e-4, 0], x) == 0.5
    assert support_recovery_rate([0, 1.0, 1e-4, 0], x, relative_threshold=1e-5) == 1.0
    assert support_recovery_rate(0 * x, 0 * x) == 1.0
    with pytest.raises(ValueError, match="vectors of one length"):
        support_recovery_rate(x, x[:2])
    with pytest.raises(ValueError, match=r"relative_threshold must be a number in \[0, 1\)"):
        support_recovery_rate(x, x, relative_threshold=1.0)
