"""The bounds hold, and those that are equalities are attained."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.stats import binom

from sparsetheory.regression import theory
from sparsetheory.regression.datasets.registry import make_design

# A bound that holds is exceeded by this quantile once in a million runs.
SURE = 1 - 1e-6


def _distance(columns, target):
    """Root mean square distance to a span, by least squares."""
    left = target - columns @ np.linalg.lstsq(columns, target, rcond=1e-12)[0] if columns.shape[1] else target
    return np.sqrt(np.mean(left**2))


def _beaten(X, S, T):
    """Whether the rest of the support comes closer to some column than the anchors do."""
    return any(_distance(X[:, T], X[:, i]) > _distance(X[:, S[i != S]], X[:, i]) * (1 + 1e-6) for i in S if i not in T)


@pytest.mark.parametrize("name", ["gaussian", "clusters15", "tree", "lowrank"])
def test_random_anchors_fail_as_rarely_as_stated(name, rng):
    k, m, trials = 3, 16, 120
    X = make_design(name, 30, 60, random_state=rng)
    failures = sum(
        _beaten(X, rng.choice(60, k, replace=False), rng.choice(60, m, replace=False)) for _ in range(trials)
    )
    bound = theory.anchor_failure_bound(k, m)
    assert bound == pytest.approx(1 / 3)
    assert failures <= binom.ppf(SURE, trials, bound)


@pytest.mark.parametrize(("k", "m", "expected"), [(1, 0, 0.0), (2, 0, 1.0), (3, 1, 1.0), (3, 7, 0.75), (5, 396, 0.05)])
def test_anchor_failure_values(k, m, expected):
    assert theory.anchor_failure_bound(k, m) == pytest.approx(expected, rel=1e-15)


@given(k=st.integers(2, 50), delta=st.floats(1e-4, 0.999))
def test_required_anchors_is_the_least_number(k, delta):
    m = theory.required_anchors(k, delta)
    assert theory.anchor_failure_bound(k, m) <= delta * (1 + 1e-12)
    if m:
        assert theory.anchor_failure_bound(k, m - 1) > delta * (1 - 1e-12)


@given(k=st.integers(1, 20), m=st.integers(0, 500))
def test_more_anchors_fail_less(k, m):
    assert theory.anchor_failure_bound(k, m + 1) <= theory.anchor_failure_bound(k, m) <= 1
    assert theory.anchor_failure_bound(k, m) <= theory.anchor_failure_bound(k + 1, m)


def _collides(S, T):
    return any(S.count(label) > 1 and label not in T for label in S)


@pytest.mark.parametrize(("k", "m", "G"), [(2, 2, 3), (2, 0, 4), (2, 4, 2), (3, 2, 3), (4, 3, 2), (3, 0, 5)])
def test_cluster_failure_against_all_labellings(k, m, G):
    labellings = list(product(range(G), repeat=k + m))
    share = np.mean([_collides(labels[:k], labels[k:]) for labels in labellings])
    bound = theory.cluster_failure(k, m, G)
    assert share <= bound * (1 + 1e-12)
    if k == 2:
        # There is only one pair to add up.
        assert share == pytest.approx(bound, rel=1e-12)


def _hits(labels, G):
    """How often each label occurs in each row."""
    rows = G * np.arange(len(labels))[:, None]
    return np.bincount((rows + labels).ravel(), minlength=G * len(labels)).reshape(-1, G)


@pytest.mark.parametrize(("k", "m", "G"), [(5, 16, 16), (5, 20, 20), (5, 80, 80), (10, 320, 320), (5, 64, 128)])
def test_cluster_failure_at_the_level_of_labels(k, m, G, rng):
    trials = 20_000
    on_support, on_anchors = (_hits(rng.integers(0, G, (trials, size)), G) for size in (k, m))
    failures = np.sum(((on_support > 1) & (on_anchors == 0)).any(axis=1))
    formula = theory.cluster_failure(k, m, G)
    assert 0.8 < failures / trials / formula < 1.15
    assert failures <= binom.ppf(SURE, trials, formula)


def test_cluster_failure_is_within_a_constant_of_the_bound():
    for k in (2, 5, 10):
        for m in (100, 1000, 10_000):
            ratio = theory.anchor_failure_bound(k, m) / theory.cluster_failure(k, m, m)
            assert 1 < ratio < 2 * math.e * 1.2


def test_noise_level_is_not_exceeded_too_often(rng):
    N, d, sigma, delta = 30, 50, 0.7, 0.2
    V = make_design("gaussian", N, d, random_state=rng)
    exceeded = np.abs(V.T @ (sigma * rng.standard_normal((N, 2000)))).max(axis=0) / N > theory.universal_alpha(
        sigma, N, d, delta
    )
    assert exceeded.sum() <= binom.ppf(SURE, 2000, delta)
    # Independent columns nearly attain it.
    assert exceeded.mean() > delta / 10


def _soft(values, level):
    return np.sign(values) * np.maximum(np.abs(values) - level, 0)


def _descend(V, y, alpha, steps):
    """Proximal gradient from zero, stopped early."""
    N = len(y)
    step = N / np.linalg.norm(V, 2) ** 2
    z = np.zeros(V.shape[1])
    for _ in range(steps):
        z = _soft(z + step * V.T @ (y - V @ z) / N, step * alpha)
    return z


def _gap(V, y, z, alpha):
    N = len(y)
    residual = y - V @ z
    dual = residual * min(1, N * alpha / np.abs(V.T @ residual).max())
    return np.sum(residual**2) / (2 * N) + alpha * np.abs(z).sum() - (y @ dual - dual @ dual / 2) / N


@given(
    N=st.integers(5, 40),
    d=st.integers(5, 60),
    k=st.integers(1, 5),
    steps=st.integers(0, 300),
    slack=st.floats(1, 3),
    sigma=st.floats(1e-3, 10),
    seed=st.integers(0, 9999),
)
def test_l1_error_bound_holds_for_approximate_solutions(N, d, k, steps, slack, sigma, seed):
    rng = np.random.default_rng(seed)
    V = make_design("clusters", N, d, n_clusters=4, random_state=rng)
    truth = np.zeros(d)
    truth[rng.choice(d, k, replace=False)] = rng.standard_normal(k) * 10 ** rng.uniform(-2, 2, k)
    noise = sigma * rng.standard_normal(N)
    alpha = slack * np.abs(V.T @ noise).max() / N
    y = V @ truth + noise
    z = _descend(V, y, alpha, steps)
    gap = max(_gap(V, y, z, alpha), 0.0)
    error = np.mean((V @ (z - truth)) ** 2)
    assert error <= theory.l1_error_bound(alpha, np.abs(truth).sum(), gap) * (1 + 1e-9)


def test_l1_error_bound_adds_roots():
    assert theory.l1_error_bound(0.5, 9.0, 2.0) == pytest.approx((3 + 2) ** 2)


@pytest.mark.parametrize(("m", "k", "t"), [(0, 3, 0.5), (10, 4, 2.0), (25, 1, 1.0)])
def test_prediction_bound_on_orthogonal_columns(m, k, t, rng):
    # Least squares on the anchors and soft thresholds elsewhere: everything is known in closed form.
    N, sigma, delta, B, trials = 60, 0.5, 0.2, 1.0, 2000
    alpha = theory.universal_alpha(sigma, N, N, delta)
    truth = np.zeros(N)
    truth[m : m + k] = B / np.sqrt(k)
    noise = sigma * rng.standard_normal((trials, N)) / np.sqrt(N)
    fitted = truth + noise
    fitted[:, m:] = _soft(fitted[:, m:], alpha)
    errors = np.sum((fitted - truth) ** 2, axis=1)
    bound = theory.prediction_bound(
        n_samples=N,
        n_features=N,
        n_anchors=m,
        max_compatibility=np.sqrt(k),
        signal_size=B,
        noise_std=sigma,
        delta=delta,
        deviation=t,
    )
    assert np.sum(errors > bound) <= binom.ppf(SURE, trials, delta + math.exp(-t))
    assert errors.max() > bound / 20


def test_prediction_bound_is_the_stated_formula():
    alpha = 0.3 * math.sqrt(2 * math.log(2 * 500 / 0.1) / 200)
    expected = 0.09 * (12 + 2 * math.sqrt(12 * 1.5) + 3) / 200 + 2 * alpha * 4 * 2.5
    assert theory.prediction_bound(
        n_samples=200,
        n_features=500,
        n_anchors=12,
        max_compatibility=4,
        signal_size=2.5,
        noise_std=0.3,
        delta=0.1,
        deviation=1.5,
    ) == pytest.approx(expected, rel=1e-14)


def test_tail_of_the_projected_noise(rng):
    for m in (1, 5, 50):
        for t in (0.1, 1.0, 4.0):
            bound = 100 * theory.prediction_bound(
                n_samples=100,
                n_features=1,
                n_anchors=m,
                max_compatibility=0.0,
                signal_size=0.0,
                noise_std=1.0,
                delta=0.5,
                deviation=t,
            )
            assert np.sum(rng.chisquare(m, 20_000) > bound) <= binom.ppf(SURE, 20_000, math.exp(-t))


@given(
    k=st.integers(1, 8),
    d=st.integers(8, 10_000),
    B=st.floats(0, 100),
    sigma=st.floats(1e-3, 10),
    eps=st.floats(1e-3, 10),
    delta=st.floats(1e-3, 0.9),
)
def test_required_samples_suffice_and_are_not_wasted(k, d, B, sigma, eps, delta):
    N = theory.required_samples(n_nonzero=k, n_features=d, signal_size=B, noise_std=sigma, accuracy=eps, delta=delta)
    m, t = min(d, theory.required_anchors(k, delta / 3)), math.log(3 / delta)
    assert theory.prediction_bound(
        n_samples=N,
        n_features=d,
        n_anchors=m,
        max_compatibility=k,
        signal_size=B,
        noise_std=sigma,
        delta=delta / 3,
        deviation=t,
    ) <= eps * (1 + 1e-9)
    assume(N > 1)
    # One row less, and one of the two terms exceeds its half.
    lasso = 2 * theory.universal_alpha(sigma, N - 1, d, delta / 3) * k * B
    anchors = theory.prediction_bound(
        n_samples=N - 1,
        n_features=d,
        n_anchors=m,
        max_compatibility=k,
        signal_size=0.0,
        noise_std=sigma,
        delta=delta / 3,
        deviation=t,
    )
    assert max(lasso, anchors) > eps / 2 * (1 - 1e-9)


def test_gaussian_excess_by_simulation(rng):
    N, d, m, sigma, trials = 16, 12, 6, 0.8, 8000
    mix = rng.standard_normal((d, d)) * np.geomspace(1, 0.05, d)
    covariance = mix @ mix.T
    T, rest = np.arange(m), np.arange(m, d)
    schur = covariance[m:, m:] - covariance[m:, :m] @ np.linalg.solve(covariance[:m, :m], covariance[:m, m:])
    delta = 0.5 * rng.standard_normal(d - m)
    s2 = delta @ schur @ delta
    truth = rng.standard_normal(d)
    risks = []
    for _ in range(trials):
        X = rng.standard_normal((N, d)) @ mix.T
        y = X @ truth + sigma * rng.standard_normal(N)
        off = truth[rest] + delta
        on = np.linalg.lstsq(X[:, T], y - X[:, rest] @ off, rcond=None)[0]
        error = np.concatenate([on, off]) - truth
        risks.append(error @ covariance @ error)
    expected = theory.gaussian_excess(s2, sigma, m, N)
    standard_error = np.std(risks) / np.sqrt(trials)
    assert np.mean(risks) == pytest.approx(expected, abs=5 * standard_error)
    # Another count of degrees of freedom would be seen.
    assert (expected - s2) / (N - m) > 8 * standard_error


def test_gaussian_excess_without_anchors():
    assert theory.gaussian_excess(0.25, 3.0, 0, 10) == 0.25


def _pursue(V, y, steps, forward):
    """Residuals of orthogonal matching pursuit or forward selection, by least squares from scratch."""
    chosen, residual = [], y
    for _ in range(steps):
        rest = [j for j in range(V.shape[1]) if j not in chosen]
        scores = np.abs(V[:, rest].T @ residual)
        if forward and chosen:
            left = V[:, rest] - V[:, chosen] @ np.linalg.lstsq(V[:, chosen], V[:, rest], rcond=None)[0]
            scores = scores / np.maximum(np.linalg.norm(left, axis=0), 1e-9)
        chosen.append(rest[int(np.argmax(scores))])
        residual = y - V[:, chosen] @ np.linalg.lstsq(V[:, chosen], y, rcond=None)[0]
    return np.linalg.norm(residual)


@given(
    d=st.integers(8, 40),
    steps=st.integers(1, 6),
    forward=st.booleans(),
    noise=st.sampled_from([0.0, 0.3]),
    G=st.integers(2, 6),
    seed=st.integers(0, 9999),
)
def test_greedy_bounds_hold(d, steps, forward, noise, G, seed):
    rng = np.random.default_rng(seed)
    V = make_design("clusters", 20, d, n_clusters=G, min_scale=1e-2, max_scale=1.0, random_state=rng) / np.sqrt(20)
    z = rng.standard_normal(d) * (rng.uniform(size=d) < 0.3)
    e = noise * rng.standard_normal(20)
    residual, l1 = _pursue(V, V @ z + e, steps, forward), np.abs(z).sum()
    assert residual**2 <= np.sum(e**2) + theory.greedy_excess(l1, steps) + 1e-12
    if noise == 0:
        assert residual <= theory.greedy_bound(l1, steps) + 1e-12


def test_greedy_bound_on_an_orthonormal_basis():
    # With n equal coefficients, t steps leave sqrt(n - t) of a bound n / sqrt(t + 1): equal at t = n - 1.
    for n in (2, 5, 9):
        residual = _pursue(np.eye(n), np.ones(n), n - 1, forward=False)
        assert residual == pytest.approx(1)
        assert theory.greedy_bound(n, n - 1) == pytest.approx(math.sqrt(n))
        assert theory.greedy_bound(n, 0) == n


def _atomic_norm(V, x):
    """The l1 norm by linear programming, and the optimal dual vector."""
    done = linprog(np.ones(2 * V.shape[1]), A_eq=np.hstack([V, -V]), b_eq=x, method="highs")
    return done.fun, done.eqlin.marginals


@given(n=st.integers(2, 6), extra=st.integers(0, 8), seed=st.integers(0, 9999))
def test_atomic_norm_certificates_are_sound_and_the_dual_one_is_tight(n, extra, seed):
    rng = np.random.default_rng(seed)
    V = rng.standard_normal((n, n + extra))
    x = rng.standard_normal(n)
    norm, dual = _atomic_norm(V, x)
    assert theory.atomic_norm_certificate(V, x, rng.standard_normal(n)) <= norm * (1 + 1e-7)
    assert theory.atomic_norm_certificate(V, x, dual) == pytest.approx(norm, rel=1e-6)


def test_atomic_norm_of_what_the_dictionary_misses():
    V = np.eye(3)[:, :2]
    third = [0.0, 0.0, 1.0]
    assert theory.atomic_norm_certificate(V, [1.0, 0.0, 1.0], third) == math.inf
    assert theory.atomic_norm_certificate(V, [1.0, 0.0, 0.0], third) == 0


@pytest.mark.parametrize(("k", "M"), [(20, 300), (80, 300), (5, 2000), (1, 1)])
def test_no_dictionary_avoids_the_bound(k, M, rng):
    d = 100
    V = rng.standard_normal((d, M))
    V /= np.linalg.norm(V, axis=0)
    bound = theory.atomic_norm_bound(k, M)
    certificates = []
    for _ in range(30):
        g = rng.standard_normal(d)
        x = np.where(np.arange(d) < k, g, 0) / np.linalg.norm(g[:k])
        certificates.append(theory.atomic_norm_certificate(V, x, g))
    assert max(certificates) >= bound
    # The identity is a dictionary too, with norm sqrt(k).
    assert bound <= math.sqrt(k)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theory.anchor_failure_bound(0, 3), r"n_nonzero must be an integer from 1 to 2\*\*53; got 0"),
        (lambda: theory.anchor_failure_bound(2, -1), r"n_anchors must be an integer from 0 to 2\*\*53; got -1"),
        (lambda: theory.anchor_failure_bound(2, 1.0), r"n_anchors must be an integer from 0 to 2\*\*53; got 1.0"),
        (lambda: theory.anchor_failure_bound(2, True), "n_anchors must be an integer"),
        (lambda: theory.required_anchors(2, 0.0), r"delta must be a number in \(0, 1\); got 0.0"),
        (lambda: theory.required_anchors(2, 1.0), r"delta must be a number in \(0, 1\); got 1.0"),
        (lambda: theory.cluster_failure(2, 3, 0), r"n_clusters must be an integer from 1 to 2\*\*53; got 0"),
        (lambda: theory.universal_alpha(-1.0, 5, 5, 0.1), "noise_std must be a finite non-negative number"),
        (lambda: theory.universal_alpha(1.0, 0, 5, 0.1), "n_samples must be an integer from 1 to"),
        (lambda: theory.l1_error_bound(0.1, -1.0), "l1_norm must be a finite non-negative number"),
        (lambda: theory.l1_error_bound(0.1, 1.0, math.nan), "gap must be a finite non-negative number"),
        (
            lambda: theory.prediction_bound(
                n_samples=9,
                n_features=9,
                n_anchors=2,
                max_compatibility=-1.0,
                signal_size=1.0,
                noise_std=1.0,
                delta=0.1,
                deviation=1.0,
            ),
            "max_compatibility must be a finite non-negative number",
        ),
        (
            lambda: theory.prediction_bound(
                n_samples=9,
                n_features=9,
                n_anchors=2.5,
                max_compatibility=1.0,
                signal_size=1.0,
                noise_std=1.0,
                delta=0.1,
                deviation=1.0,
            ),
            "n_anchors must be an integer",
        ),
        (
            lambda: theory.prediction_bound(
                n_samples=9,
                n_features=9,
                n_anchors=2,
                max_compatibility=1.0,
                signal_size=1.0,
                noise_std=1.0,
                delta=0.1,
                deviation=-1.0,
            ),
            "deviation must be a finite non-negative number",
        ),
        (
            lambda: theory.required_samples(
                n_nonzero=5, n_features=4, signal_size=1.0, noise_std=1.0, accuracy=0.1, delta=0.1
            ),
            "n_nonzero must be at most n_features=4; got 5",
        ),
        (
            lambda: theory.required_samples(
                n_nonzero=2, n_features=4, signal_size=1.0, noise_std=1.0, accuracy=0.0, delta=0.1
            ),
            "accuracy must be a finite positive number; got 0.0",
        ),
        (
            lambda: theory.required_samples(
                n_nonzero=2, n_features=4, signal_size=1.0, noise_std=1.0, accuracy=0.1, delta=2.0
            ),
            r"delta must be a number in \(0, 1\)",
        ),
        (lambda: theory.gaussian_excess(1.0, 1.0, 5, 6), r"n_samples must be more than n_anchors \+ 1 = 6; got 6"),
        (lambda: theory.gaussian_excess(-1.0, 1.0, 5, 9), "outside_excess must be a finite non-negative number"),
        (lambda: theory.greedy_bound(1.0, -1), "n_steps must be an integer from 0 to"),
        (lambda: theory.greedy_excess(1.0, 0), "n_steps must be an integer from 1 to"),
        (lambda: theory.atomic_norm_bound(0, 4), "n_nonzero must be"),
        (lambda: theory.atomic_norm_certificate(np.eye(3), np.ones(2), np.ones(3)), "length of the columns"),
        (lambda: theory.atomic_norm_certificate(np.ones(3), np.ones(3), np.ones(3)), "dictionary must have 2 axes"),
        (
            lambda: theory.atomic_norm_certificate(np.eye(2), [1.0, np.nan], np.ones(2)),
            "signal must be finite; got NaN",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(("k", "delta"), [(21, 0.7), (7, 0.1), (3, 0.3), (1, 0.5), (6, 0.05), (29, 0.29), (10, 0.999)])
def test_required_anchors_are_the_fewest(k, delta):
    m = theory.required_anchors(k, delta)
    assert theory.anchor_failure_bound(k, m) <= delta
    assert m == 0 or theory.anchor_failure_bound(k, m - 1) > delta


def test_required_anchors_where_a_quotient_is_rounded():
    assert theory.required_anchors(21, 0.7) == 580
