"""Each family of designs is what it says it is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components
from sklearn.linear_model import lasso_path

from sparsetheory.regression.datasets.coefficients import adversarial_coefficients
from sparsetheory.regression.datasets.registry import DESIGNS, WORST_CASES, make_design, worst_case

DETERMINISTIC = {"vandermonde", "zwj_blocks"}
EPS = np.finfo(float).eps


def _square_if_needed(name, N, d):
    return (d, d) if name == "zwj_blocks" else (N, d)


def _distances(X):
    """Root mean square differences of all pairs of columns."""
    return np.array([np.sqrt(np.mean((X - X[:, [i]]) ** 2, axis=0)) for i in range(X.shape[1])])


def _conditions(X, k, rng, n=200):
    return [np.linalg.cond(X[:, rng.choice(X.shape[1], k, replace=False)]) for _ in range(n)]


@pytest.mark.parametrize("name", [*DESIGNS, "clusters15", "clusters40", "lowrank4"])
@given(N=st.integers(4, 30), half=st.integers(2, 20), seed=st.integers(0, 99))
def test_columns_are_normalised(name, N, half, seed):
    N, d = _square_if_needed(name, N, 2 * half)
    X = make_design(name, N, d, random_state=seed)
    assert X.shape == (N, d)
    assert X.dtype == np.float64
    assert X.flags.f_contiguous
    assert np.allclose(np.sum(X**2, axis=0), N, rtol=4 * N * EPS, atol=0)


@pytest.mark.parametrize("name", DESIGNS)
def test_seeds_reproduce(name):
    N, d = _square_if_needed(name, 10, 12)
    first, again, other = (make_design(name, N, d, random_state=s) for s in (0, np.random.default_rng(0), 1))
    assert np.array_equal(first, again)
    assert np.array_equal(first, other) == (name in DETERMINISTIC)


def test_aliases_fix_one_parameter():
    for alias, name, params in [
        ("clusters15", "clusters", {"n_clusters": 15}),
        ("clusters40", "clusters", {"n_clusters": 40}),
        ("lowrank4", "lowrank", {"rank": 4}),
    ]:
        expected = make_design(name, 10, 60, random_state=0, **params)
        assert np.array_equal(make_design(alias, 10, 60, random_state=0), expected)


def test_defaults_are_those_of_the_benchmark():
    for name, params in [
        ("clusters", {"n_clusters": 15, "min_scale": 1e-5, "max_scale": 1e-1}),
        ("tree", {"n_children": 3, "depth": 3}),
        ("lowrank", {"rank": 4, "perturbation": 1e-3}),
        ("multiscale", {"rank": 2, "n_scales": 3, "decay": 3e-2}),
        ("analytic", {"width": 0.1, "perturbation": 1e-6}),
    ]:
        default = make_design(name, 8, 20, random_state=0)
        assert np.array_equal(default, make_design(name, 8, 20, random_state=0, **params))


def test_clusters_have_groups(rng):
    X = make_design("clusters", 200, 600, n_clusters=12, max_scale=1e-2, random_state=rng)
    close = _distances(X) < 0.3
    n_groups, labels = connected_components(close)
    assert n_groups == 12
    # Uniform labels: 50 columns a group, standard deviation below 7.
    assert np.abs(np.bincount(labels) - 50).max() < 35
    # Every group is a clique: no chain of columns links two heads.
    assert np.array_equal(close, labels[:, None] == labels)


def test_cluster_sizes_are_log_uniform(rng):
    X = make_design("clusters", 200, 2000, n_clusters=1, min_scale=1e-5, max_scale=1e-1, random_state=rng)
    sizes = np.sqrt(np.mean((X - np.median(X, axis=1, keepdims=True)) ** 2, axis=0))
    for size, share in [(1e-3, 0.5), (1e-2, 0.75), (10**-1.5, 0.875)]:
        # A binomial share has a standard deviation of at most 0.0112.
        assert np.mean(sizes < size) == pytest.approx(share, abs=0.05)


def test_equal_cluster_sizes(rng):
    X = make_design("clusters", 400, 50, n_clusters=1, min_scale=1e-3, max_scale=1e-3, random_state=rng)
    off = _distances(X)[~np.eye(50, dtype=bool)]
    # Differences of two independent parts; their lengths fluctuate by 1 / sqrt(2 N) relative.
    assert off == pytest.approx(np.full(off.size, np.sqrt(2) * 1e-3), rel=0.2)


def test_tree_has_one_group_per_leaf(rng):
    X = make_design("tree", 200, 600, random_state=rng)
    # Siblings differ by at least sqrt(2) 1e-5, columns of one leaf by sqrt(2) 10^-5.5.
    n_groups, _ = connected_components(_distances(X) < 1e-5)
    assert n_groups == 27


def test_tree_scales_shrink_with_depth(rng):
    spread = []
    for depth in (1, 4):
        X = make_design("tree", 100, 400, n_children=2, depth=depth, random_state=rng)
        distances = _distances(X)
        apart = distances[distances > 1e-5]
        spread.append(np.log10(apart.max() / apart.min()))
        assert connected_components(distances < 1e-5)[0] == 2**depth
    assert spread[1] > spread[0] + 1


def test_first_branches_of_a_deep_tree_are_far_apart(rng):
    # Of ten levels, the first has scales of at least 10^-0.5: different branches differ by sqrt(0.2 / 1.1) or more,
    # and half of all pairs are in different branches.
    for _ in range(5):
        distances = _distances(make_design("tree", 400, 200, n_children=2, depth=10, random_state=rng))
        assert np.quantile(distances, 0.75) > 0.37


def test_lowrank_plus_noise(rng):
    X = make_design("lowrank", 200, 300, rank=4, perturbation=1e-2, random_state=rng)
    values = np.linalg.svd(X, compute_uv=False)
    assert values[3] > 10 * values[4]
    noise = np.sum(values[4:] ** 2) / (200 * 300)
    assert noise == pytest.approx(1e-4 * (1 - 4 / 200) * (1 - 4 / 300), rel=0.03)


def test_multiscale_sizes(rng):
    X = make_design("multiscale", 200, 300, rank=3, n_scales=3, decay=1e-3, random_state=rng)
    values = np.linalg.svd(X, compute_uv=False)
    edges = values[[2, 5, 8]] / values[[3, 6, 9]]
    within = values[[0, 3, 6]] / values[[2, 5, 8]]
    assert (edges > 100).all()
    assert (within < 3).all()
    # A level is 1000 times weaker than the one before, up to the randomness of a few singular values.
    assert values[[3, 6]] / values[[0, 3]] == pytest.approx([1e-3, 1e-3], rel=1)


def test_analytic_values_decay_down_to_the_noise(rng):
    clean = np.linalg.svd(make_design("analytic", 100, 200, perturbation=0.0, random_state=0), compute_uv=False)
    noisy = np.linalg.svd(make_design("analytic", 100, 200, perturbation=1e-4, random_state=0), compute_uv=False)
    logs = np.log10(clean[[5, 10, 15, 20, 25]] / clean[0])
    assert (np.diff(logs) < -1).all()
    # The noise alone has singular values between 1e-4 (sqrt(200) - sqrt(100)) and 1e-4 (sqrt(200) + sqrt(100)).
    assert 1e-4 < noisy[40] < 3e-3


def test_narrow_bumps_are_not_lost_between_grid_points():
    X = make_design("analytic", 20, 50, width=1e-6, perturbation=0.0, random_state=0)
    assert np.isfinite(X).all()


def test_bumps_have_their_width():
    X = make_design("analytic", 2001, 30, width=0.05, perturbation=0.0, random_state=0)
    t = np.linspace(0, 1, 2001)
    logs = np.log(X[np.arange(2001), :] / X.max(axis=0))
    curvature = np.diff(logs, 2, axis=0) / (t[1] - t[0]) ** 2
    # Away from the centre rounding in the logarithms is relative to values of a few hundred.
    assert np.allclose(curvature, -1 / 0.05**2, rtol=1e-2, atol=0)


def test_conditioning_of_random_supports(rng):
    expected = {
        "gaussian": (1.0, 1.5),
        "brownian": (8, 25),
        "runge": (10, 100),
        "cauchy": (1e6, 2e7),
        "vandermonde": (1e4, 1e6),
        "lowrank": (1e3, 3e3),
        "pairs": (1.0, 1.5),
    }
    for name, (low, high) in expected.items():
        X = make_design(name, 300, 600, random_state=rng)
        assert low < np.median(_conditions(X, 6, rng)) < high, name


def test_brownian_columns_are_walks(rng):
    X = make_design("brownian", 20000, 30, random_state=rng)
    i = np.arange(1, 31)
    expected = np.sqrt(np.minimum.outer(i, i) / np.maximum.outer(i, i))
    assert pytest.approx(expected, abs=5 / np.sqrt(20000)) == X.T @ X / 20000


def test_brownian_gram_condition_is_quadratic(rng):
    sizes = np.array([20, 40, 80])
    conditions = [np.linalg.cond(make_design("brownian", 20 * d, d, random_state=rng)) ** 2 for d in sizes]
    assert np.polyfit(np.log(sizes), np.log(conditions), 1)[0] == pytest.approx(2, abs=0.3)


def test_cauchy_columns_are_reciprocals_of_lines():
    X = make_design("cauchy", 50, 20, random_state=0)
    t = np.linspace(0, 1, 50)
    slopes = np.diff(1 / X, axis=0) * 49
    assert slopes == pytest.approx(np.tile(slopes[0], (49, 1)), rel=1e-10)
    poles = (1 / X)[0] / slopes[0]
    assert X * (t[:, None] + poles) == pytest.approx(np.tile(1 / slopes[0], (50, 1)), rel=1e-10)
    assert 0.05 <= poles.min() <= poles.max() <= 1


def test_runge_functions_peak_at_their_centres():
    X = make_design("runge", 2001, 40, random_state=0)
    t = np.linspace(-1, 1, 2001)
    inverse = X.max(axis=0) / X
    centres = t[X.argmax(axis=0)]
    assert np.abs(inverse - 1 - 25 * (t[:, None] - centres) ** 2).max() < 0.1
    assert centres.min() < -0.8
    assert centres.max() > 0.8


def test_vandermonde_columns_are_powers():
    X = make_design("vandermonde", 7, 5)
    t = np.arange(1, 8) / 7
    for power in range(5):
        assert X[:, power] / X[-1, power] == pytest.approx(t**power, rel=1e-13)


def test_pairs_are_near_duplicates(rng):
    X = make_design("pairs", 400, 40, perturbation=1e-4, random_state=rng)
    close = _distances(X) < 0.5
    assert np.array_equal(close, np.kron(np.eye(20), np.ones((2, 2))) > 0)
    differences = np.sqrt(np.mean((X[:, ::2] - X[:, 1::2]) ** 2, axis=0))
    assert differences == pytest.approx(np.full(20, 1e-4), rel=0.2)


@pytest.mark.parametrize("n", [4, 16, 100])
def test_zwj_blocks_have_the_stated_spectrum(n):
    X = make_design("zwj_blocks", n, n)
    sine = n**-0.25
    expected = np.sqrt(2 * n) * np.repeat(np.sort([sine, np.sqrt(1 - sine**2)])[::-1], n // 2)
    assert np.linalg.svd(X, compute_uv=False) == pytest.approx(expected, rel=1e-12)
    gram = X.T @ X / n
    assert gram == pytest.approx(np.kron(np.eye(n // 2), [[1, 2 * sine**2 - 1], [2 * sine**2 - 1, 1]]), abs=1e-13)


def _best_lasso_error(X, signal, y):
    alphas = np.abs(X.T @ y).max() / len(y) * np.geomspace(1, 1e-3, 50)
    coefs = lasso_path(X, y, alphas=alphas)[1]
    return np.mean((X @ coefs - signal[:, None]) ** 2, axis=0).min()


@pytest.mark.parametrize("n", [144, 324, 576])
def test_no_lasso_penalty_beats_zero_on_zwj_blocks(n, rng):
    case = worst_case("zwj_blocks", n, n)
    zero = np.mean(case.signal**2)
    assert zero == pytest.approx(n**-0.5, rel=1e-12)
    noises = rng.standard_normal((6, n))
    lasso = [_best_lasso_error(case.X, case.signal, case.signal + noise) for noise in noises]
    # The zero vector is on the path. Below n of about 100 a lucky noise now and then favours a smaller penalty.
    assert 0.95 * zero < np.mean(lasso) <= zero * (1 + 1e-12)
    # Least squares on the block has an expected error of 2 / n, and six of them at most three times that.
    Q = np.linalg.qr(case.X[:, :2])[0]
    assert np.mean(np.sum((noises @ Q) ** 2, axis=1)) / n < 6 / n < zero


def test_zwj_worst_case():
    case = worst_case("zwj_blocks", 16, 16)
    assert case.support.tolist() == [0, 1]
    assert case.coef.tolist() == [0.5, 0.5]
    assert case.signal == pytest.approx([0, 2, *np.zeros(14)])


def test_worst_support_of_pairs_holds_one_pair(rng):
    case = worst_case("pairs", 100, 60, n_nonzero=6, perturbation=1e-4, random_state=rng)
    assert case.support.size == 6
    assert np.array_equal(case.support, np.unique(case.support))
    heads = case.support // 2
    assert heads[:2].tolist() == [0, 0]
    assert np.unique(heads).size == 5
    assert np.mean(case.signal**2) == pytest.approx(1, rel=1e-10)
    assert np.linalg.cond(case.X[:, case.support]) > 1e4
    assert np.flatnonzero(case.coef).tolist() == [0, 1]


@pytest.mark.parametrize("seed", range(4))
def test_worst_support_of_sparse_precision_cancels_and_random_ones_do_not(seed, rng):
    case = worst_case("sparse_precision", 300, 200, n_nonzero=4, ridge=1e-4, random_state=seed)
    assert case.support.size == 4
    assert np.mean(case.signal**2) == pytest.approx(1, rel=1e-10)
    others = [np.abs(adversarial_coefficients(case.X, rng.choice(200, 4, replace=False))).sum() for _ in range(50)]
    assert np.abs(case.coef).sum() > 20 * np.median(others)
    # The relation is close to the worst signal on its support.
    assert np.abs(case.coef).sum() > 0.8 * np.abs(adversarial_coefficients(case.X, case.support)).sum()


def test_sparse_precision_rows_have_the_stated_covariance(rng):
    # With one relation among both of two columns, Theta = [[1 + eta, s], [s, 1 + eta]] for a sign s.
    X = make_design("sparse_precision", 20000, 2, weight=2, ridge=0.5, random_state=rng)
    correlation = X[:, 0] @ X[:, 1] / 20000
    assert abs(correlation) == pytest.approx(1 / 1.5, abs=5 / np.sqrt(20000))


def test_design_of_a_worst_case_is_of_its_family():
    for name in WORST_CASES:
        params = {"weight": 2} if name == "sparse_precision" else {}
        case = worst_case(name, 12, 12, n_nonzero=2, random_state=0)
        assert np.array_equal(case.X, make_design(name, 12, 12, random_state=0, **params))


def test_unknown_names_list_what_exists():
    with pytest.raises(ValueError, match=r"'gaussian', 'clusters', 'tree'.*'clusters15'.*got 'hilbert'"):
        make_design("hilbert", 5, 5)
    with pytest.raises(ValueError, match=r"'zwj_blocks', 'pairs', 'sparse_precision'; got 'gaussian'"):
        worst_case("gaussian", 5, 5)


def test_unknown_parameters_list_what_exists():
    with pytest.raises(ValueError, match="clusters has no parameter 'g'; it has n_clusters, min_scale, max_scale"):
        make_design("clusters", 5, 5, g=3)
    with pytest.raises(ValueError, match="clusters15 has no parameter 'n_clusters'; it has min_scale, max_scale"):
        make_design("clusters15", 5, 5, n_clusters=3)
    with pytest.raises(ValueError, match="cauchy has no parameter 'tau'; it has none"):
        make_design("cauchy", 5, 5, tau=3)
    with pytest.raises(ValueError, match="pairs has no parameter 'rho'; it has n_nonzero, perturbation"):
        worst_case("pairs", 5, 6, rho=3)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("gaussian", {"n_samples": 0}, r"n_samples must be an integer from 1 to 2\*\*53; got 0"),
        ("cauchy", {"n_features": 2.0}, r"n_features must be an integer from 1 to 2\*\*53; got 2.0"),
        ("clusters", {"n_clusters": 0}, r"n_clusters must be an integer from 1 to 2\*\*53; got 0"),
        ("clusters", {"min_scale": 0.0}, "min_scale must be a finite positive number; got 0.0"),
        ("clusters", {"min_scale": 0.2, "max_scale": 0.1}, "min_scale must be at most max_scale=0.1; got 0.2"),
        ("clusters", {"max_scale": np.inf}, "max_scale must be a finite positive number"),
        ("tree", {"n_children": 0}, "n_children must be"),
        ("tree", {"depth": 1.5}, "depth must be"),
        ("lowrank", {"rank": 11}, "rank must be at most n_samples=10; got 11"),
        ("lowrank", {"perturbation": -1.0}, "perturbation must be a finite non-negative number"),
        ("multiscale", {"n_scales": 0}, "n_scales must be"),
        ("multiscale", {"decay": np.nan}, "decay must be"),
        ("analytic", {"width": 0.0}, "width must be a finite positive number"),
        ("analytic", {"perturbation": "a"}, "perturbation must be"),
        ("pairs", {"n_features": 11}, "n_features must be even for pairs; got 11"),
        ("zwj_blocks", {"n_features": 12}, "same even number for zwj_blocks; got 10 and 12"),
        ("zwj_blocks", {"n_samples": 9, "n_features": 9}, "same even number"),
        ("sparse_precision", {"weight": 11}, "at least weight=11; got 10"),
        ("sparse_precision", {"ridge": 0.0}, "ridge must be a finite positive number"),
        ("gaussian", {"random_state": "x"}, "random_state must be None"),
    ],
)
def test_bad_arguments(name, params, message):
    with pytest.raises(ValueError, match=message):
        make_design(name, **({"n_samples": 10, "n_features": 10} | params))


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("zwj_blocks", {"n_nonzero": 3}, "n_nonzero must be 2 for zwj_blocks; got 3"),
        ("pairs", {"n_nonzero": 1}, "n_nonzero must be an integer from 2 to 6; got 1"),
        ("pairs", {"n_nonzero": 7}, "n_nonzero must be an integer from 2 to 6; got 7"),
        ("pairs", {"perturbation": 0.0}, "perturbation must be a finite positive number"),
        ("sparse_precision", {"n_nonzero": 11}, "n_nonzero must be at most n_features=10; got 11"),
    ],
)
def test_bad_worst_cases(name, params, message):
    with pytest.raises(ValueError, match=message):
        worst_case(name, 10, 10, **params)
