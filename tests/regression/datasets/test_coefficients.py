"""Coefficients cancel as much as they say; supports are uniform."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from sparsetheory.regression.datasets.coefficients import COEFFICIENT_MODES, adversarial_coefficients, sample_support
from sparsetheory.regression.datasets.registry import make_design

EPS = np.finfo(float).eps


@given(
    name=st.sampled_from(["gaussian", "clusters15", "tree", "lowrank", "cauchy"]),
    mode=st.sampled_from(COEFFICIENT_MODES),
    k=st.integers(1, 6),
    B=st.floats(1e-3, 1e3),
    seed=st.integers(0, 999),
)
def test_signal_has_the_stated_size(name, mode, k, B, seed):
    X = make_design(name, 40, 80, random_state=seed)
    S = sample_support(X, n_nonzero=k, random_state=seed)
    w = adversarial_coefficients(X, S, mode=mode, signal_size=B, random_state=seed)
    assert w.shape == (k,)
    # The product itself is only known up to this.
    rounding = 10 * k * EPS * np.linalg.cond(X[:, S])
    assert np.linalg.norm(X[:, S] @ w) / np.sqrt(40) == pytest.approx(B, rel=max(rounding, 1e-12))


@given(seed=st.integers(0, 999), k=st.integers(2, 6))
def test_min_needs_the_longest_coefficients(seed, k):
    X = make_design("multiscale", 40, 80, decay=0.1, random_state=seed)
    S = sample_support(X, n_nonzero=k, random_state=seed)
    w = adversarial_coefficients(X, S, mode="min", signal_size=2.0)
    # Independent: the least eigenvalue of the Gram matrix, which is well enough conditioned here.
    least = np.linalg.eigvalsh(X[:, S].T @ X[:, S])[0]
    assert np.linalg.norm(w) == pytest.approx(2 * np.sqrt(40 / least), rel=1e-6)
    others = [adversarial_coefficients(X, S, mode=m, signal_size=2.0, random_state=seed) for m in ("mix", "gauss")]
    assert max(np.linalg.norm(v) for v in others) <= np.linalg.norm(w) * (1 + 1e-9)


def test_mix_has_equal_energy_in_every_direction(rng):
    X = make_design("lowrank", 50, 80, random_state=rng)
    S = sample_support(X, n_nonzero=6, random_state=rng)
    w = adversarial_coefficients(X, S, mode="mix", signal_size=3.0, random_state=rng)
    energies = (np.linalg.svd(X[:, S], full_matrices=False)[0].T @ (X[:, S] @ w)) ** 2
    assert energies == pytest.approx(np.full(6, 9 * 50 / 6), rel=1e-8)


def test_mix_draws_signs(rng):
    X = make_design("gaussian", 50, 8, random_state=rng)
    signals = [X @ adversarial_coefficients(X, range(8), mode="mix", random_state=s) for s in range(40)]
    left = np.linalg.svd(X, full_matrices=False)[0]
    shares = np.mean(np.sign(left.T @ np.transpose(signals)) > 0, axis=1)
    # 40 fair coins: a share outside this range has a probability below 1e-4.
    assert ((shares > 0.2) & (shares < 0.8)).all()


def test_gauss_is_isotropic(rng):
    X = np.eye(5)[:, :3]
    draws = np.array([adversarial_coefficients(X, [0, 1, 2], mode="gauss", random_state=rng) for _ in range(3000)])
    # On the sphere of squared radius 5: variance 5/3 and no correlation, up to five standard errors.
    assert draws.T @ draws / 3000 == pytest.approx(5 / 3 * np.eye(3), abs=5 * 1.5 / np.sqrt(3000))


def test_coefficients_follow_the_order_of_the_support(rng):
    X = make_design("clusters15", 40, 80, random_state=rng)
    S = sample_support(X, n_nonzero=5, random_state=rng)
    order = rng.permutation(5)
    first, second = adversarial_coefficients(X, S), adversarial_coefficients(X, S[order])
    agreement = abs(first[order] @ second) / (np.linalg.norm(first) * np.linalg.norm(second))
    assert agreement == pytest.approx(1, abs=1e-9)


def test_other_columns_are_not_looked_at(rng):
    X = make_design("gaussian", 20, 30, random_state=rng)
    S = [3, 1, 7]
    w = adversarial_coefficients(X, S)
    X[:, 0] = np.nan
    assert np.array_equal(adversarial_coefficients(X, S), w)


def test_seeds_reproduce(rng):
    X = make_design("gaussian", 20, 30, random_state=rng)
    S = sample_support(X, n_nonzero=4, random_state=5)
    assert np.array_equal(S, sample_support(X, n_nonzero=4, random_state=np.random.default_rng(5)))
    for mode in ("mix", "gauss"):
        first, again, other = (adversarial_coefficients(X, S, mode=mode, random_state=s) for s in (0, 0, 2))
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)


def test_single_precision_and_read_only_designs(rng):
    X = make_design("gaussian", 20, 30, random_state=rng).astype(np.float32)
    X.setflags(write=False)
    assert adversarial_coefficients(X, [0, 1]).dtype == np.float64


@pytest.mark.parametrize("mode", COEFFICIENT_MODES)
@pytest.mark.parametrize(
    "X",
    [
        np.ones((4, 2)),
        np.array([[1.0, 1.0], [0.0, 1e-13]]),
        np.eye(4)[:, :1] * [[1.0, 0.0]],
        np.zeros((3, 2)),
        np.ones((1, 2)),
    ],
    ids=["equal", "nearly equal", "zero column", "zero", "wide"],
)
def test_hopeless_supports_are_refused(X, mode):
    with pytest.raises(ValueError, match=r"condition number of at most 1e\+12"):
        adversarial_coefficients(X, [0, 1], mode=mode)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": np.ones(3)}, "X must be a matrix; got 1"),
        ({"X": np.full((3, 3), np.nan)}, "X must be finite on support"),
        ({"support": []}, "at least one"),
        ({"support": [0, 0]}, "distinct"),
        ({"support": [0.0, 1.0]}, "support must be distinct column indices"),
        ({"support": [[0, 1]]}, "support must be distinct column indices"),
        ({"support": [0, 3]}, "from 0 to 2"),
        ({"support": [-1, 0]}, "from 0 to 2"),
        ({"mode": "max"}, "'min', 'mix', 'gauss'; got 'max'"),
        ({"signal_size": 0.0}, "signal_size must be a finite positive number; got 0.0"),
        ({"signal_size": np.inf}, "signal_size must be a finite positive number"),
        ({"random_state": -1}, "random_state must be None"),
    ],
)
def test_bad_arguments(changes, message):
    arguments = {"X": np.eye(3), "support": [0, 1]} | changes
    with pytest.raises(ValueError, match=message):
        adversarial_coefficients(**arguments)


def test_supports_are_uniform(rng):
    X = np.diag([1.0, 2.0, 0.0, 3.0, 4.0, 5.0])
    sets = list(combinations([0, 1, 3, 4, 5], 2))
    counts = dict.fromkeys(sets, 0)
    for _ in range(2000):
        counts[tuple(sample_support(X, n_nonzero=2, random_state=rng).tolist())] += 1
    statistic = sum((count - 200) ** 2 / 200 for count in counts.values())
    assert statistic < chi2(len(sets) - 1).isf(1e-6)


def test_dependent_supports_are_drawn_again(rng):
    X = np.eye(4)[:, [0, 0, 1, 2]]
    drawn = {tuple(sample_support(X, n_nonzero=2, random_state=rng).tolist()) for _ in range(200)}
    assert drawn == set(combinations(range(4), 2)) - {(0, 1)}


def test_bound_on_the_condition_number(rng):
    X = make_design("clusters", 40, 100, n_clusters=3, random_state=rng)
    conditions = [
        np.linalg.cond(X[:, sample_support(X, n_nonzero=3, random_state=rng, max_condition=50.0)]) for _ in range(30)
    ]
    assert max(conditions) <= 50 * (1 + 1e-12)


def test_hopeless_designs_give_up():
    with pytest.raises(ValueError, match=r"none of max_tries=7 supports of n_nonzero=2 columns had a condition number"):
        sample_support(np.ones((5, 6)), n_nonzero=2, random_state=0, max_tries=7)


@pytest.mark.parametrize(
    ("X", "k", "message"),
    [
        (np.ones(3), 1, "X must be a matrix"),
        (np.eye(3), 0, r"n_nonzero must be an integer from 1 to 2\*\*53; got 0"),
        (np.eye(3), 4, "n_nonzero must be at most 3"),
        (
            np.diag([1.0, 0.0, 1.0]),
            3,
            "n_nonzero must be at most 2, the smaller of rows and columns that are not zero; got 3",
        ),
        (np.ones((2, 9)), 3, "n_nonzero must be at most 2"),
        (np.diag([1.0, np.nan, 1.0]), 1, "X must be finite"),
        (np.diag([1.0, np.inf, 1.0]), 1, "X must be finite"),
    ],
)
def test_bad_supports(X, k, message):
    with pytest.raises(ValueError, match=message):
        sample_support(X, n_nonzero=k, random_state=0)
