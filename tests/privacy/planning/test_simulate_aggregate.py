"""Aggregates drawn at once have the law of sums over users."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from sparsetheory.privacy import LDPSchema, MomentState, ReleaseNoise, simulate_aggregate
from sparsetheory.privacy.collection.blocks import encode_block
from sparsetheory.privacy.collection.noise import release_noise
from sparsetheory.privacy.estimators.guarantee import SeededCoin
from sparsetheory.privacy.solvers.weights import balanced_weight

# One wrong alarm in ten thousand for each of the tests below.
LEVEL = 1e-4


def schema_of(mechanism, d=6, **fields):
    gaussian = mechanism in ("gauss_tight", "paper")
    return LDPSchema(
        **{
            "mechanism": mechanism,
            "eps": 1.0,
            "delta": 1e-6 if gaussian else 0.0,
            "n_features": d,
            "clip_x": 5.0,
            "clip_entries": 3.0 if mechanism in ("onebit", "paper") else None,
            "clip_y": 3.0,
            **fields,
        }
    )


def draws_of(schema, n, count, sigma, coef, noise_std, seed=0):
    rng = np.random.default_rng(seed)
    return [simulate_aggregate(n, sigma, coef, noise_std, schema, random_state=rng) for _ in range(count)]


def within_chi_square(values, variance):
    """Whether squares of independent normal numbers of mean zero have the variance that is stated."""
    total, size = float(np.sum(values**2) / variance), values.size
    return stats.chi2.ppf(LEVEL / 2, size) <= total <= stats.chi2.isf(LEVEL / 2, size)


@pytest.mark.parametrize("mechanism", ["sphere_joint", "sketch", "onebit", "gauss_tight", "paper"])
def test_noise_has_the_stated_standard_deviations_and_no_correlation(mechanism):
    # With no signal and 10^12 users what is left of the moments of the data is negligible or known: A - I and b.
    d, n = 6, 10**12
    schema = schema_of(mechanism)
    noise = release_noise(schema)
    drawn = draws_of(schema, n, 400, np.eye(d), np.zeros(d), 0.0)
    second = math.sqrt(n) * np.array([m.second - np.eye(d) for m in drawn])
    cross = math.sqrt(n) * np.array([m.cross for m in drawn])
    rows, columns = np.triu_indices(d, 1)
    # Products of two independent normal features have the variance 1, squares 2; users add them to the noise.
    assert within_chi_square(second[:, rows, columns], noise.off_diagonal_std**2 + 1)
    assert within_chi_square(second[:, range(d), range(d)], noise.diagonal_std**2 + 2)
    assert within_chi_square(cross, noise.cross_std**2)
    np.testing.assert_array_equal(second, second.transpose(0, 2, 1))
    entries = np.hstack([second[:, rows, columns], second[:, range(d), range(d)], cross])
    correlations = np.corrcoef(entries.T)[np.triu_indices(entries.shape[1], 1)]
    limit = stats.norm.isf(LEVEL / (2 * correlations.size)) / math.sqrt(400)
    assert np.abs(correlations).max() < 1.1 * limit
    assert drawn[0].noise == noise
    assert (drawn[0].n_samples, drawn[0].response_square) == (n, None)


@pytest.mark.parametrize("n", [4, 200])
def test_clean_moments_have_the_mean_and_the_covariance_of_sums_over_users(n, monkeypatch):
    # The noise is switched off. Both branches: fewer users than features, and the Wishart law.
    monkeypatch.setattr(
        "sparsetheory.privacy.planning.simulation.release_noise", lambda schema: ReleaseNoise(0.0, 0.0, 0.0)
    )
    d, noise_std = 4, 0.7
    sigma = 0.5 ** np.abs(np.subtract.outer(np.arange(d), np.arange(d)))
    coef = np.array([1.0, 0.0, -2.0, 0.5])
    drawn = draws_of(schema_of("sketch", d), n, 3000, sigma, coef, noise_std)
    # Isserlis: for normal z the covariance of z_a z_b and z_c z_d is S_ac S_bd + S_ad S_bc.
    S = np.zeros((d + 1, d + 1))
    S[:d, :d], S[:d, d], S[d, :d] = sigma, sigma @ coef, sigma @ coef
    S[d, d] = coef @ sigma @ coef + noise_std**2
    pairs = [(i, j) for i in range(d) for j in range(i, d + 1)]
    seen = np.array([[m.cross[i] if j == d else m.second[i, j] for i, j in pairs] for m in drawn])
    mean = np.array([S[pair] for pair in pairs])
    covariance = np.array([[S[a, c] * S[b, e] + S[a, e] * S[b, c] for c, e in pairs] for a, b in pairs]) / n
    scores = math.sqrt(3000) * (seen.mean(axis=0) - mean) / np.sqrt(np.diag(covariance))
    assert np.abs(scores).max() < 4.5
    relative = (np.cov(seen.T) - covariance) / np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    # Standard errors of covariances are at most the root of (2 + 12 / n) / 3000 here, of those of single users more.
    assert np.abs(relative).max() < 5 * math.sqrt((2 + 12 / n) / 3000)


def _user_moments(schema, n, coef, noise_std, seed):
    """Return what n users release, each with a record and a coin of its own."""
    rng, state, coin = np.random.default_rng(seed), MomentState(schema), SeededCoin(seed)
    for start in range(0, n, 200_000):
        users = np.arange(start, min(start + 200_000, n), dtype=np.uint64)
        X = rng.standard_normal((users.size, coef.size))
        y = X @ coef + noise_std * rng.standard_normal(users.size)
        state.update(encode_block(schema, X, y, users, coin), users)
    return state.moments()


@pytest.mark.parametrize("mechanism", ["sketch", "onebit"])
def test_a_million_users_release_what_the_aggregate_says(mechanism):
    d, n, noise_std = 8, 1_000_000, 0.5
    coef = np.zeros(d)
    coef[[1, 5]] = np.array([1.0, -1.0]) / math.sqrt(2)
    # Wide clips: clipping, which the aggregate leaves out, changes moments by less than a tenth of their noise.
    schema = schema_of(
        mechanism, d, eps=2.0, clip_x=5.5, clip_entries=4.0 if mechanism == "onebit" else None, clip_y=4.5
    )
    schema = replace(schema, response_weight=balanced_weight(schema, 1.0), public_seed=7)
    moments = _user_moments(schema, n, coef, noise_std, seed=3)
    assert moments.n_samples == n
    rows, columns = np.triu_indices(d)
    deviations = np.concatenate([(moments.second - np.eye(d))[rows, columns], moments.cross - coef])
    drawn = draws_of(schema, n, 200, np.eye(d), coef, noise_std)
    simulated = np.array([np.concatenate([(m.second - np.eye(d))[rows, columns], m.cross - coef]) for m in drawn])
    scores = deviations / simulated.std(axis=0)
    # 44 entries, nearly independent: none is far out, and their squares sum to about 44.
    assert np.abs(scores).max() < 4.5
    assert stats.chi2.ppf(LEVEL, scores.size) < np.sum(scores**2) < 1.2 * stats.chi2.isf(LEVEL, scores.size)


def test_only_cross_moments_where_only_they_are_collected():
    moments = simulate_aggregate(100, np.eye(6), np.zeros(6), 1.0, schema_of("onebit", moments="cross"), random_state=0)
    assert moments.second is None
    assert moments.cross.shape == (6,)


def test_a_seed_repeats_a_draw():
    first, second = (draws_of(schema_of("sketch"), 10**6, 1, np.eye(6), np.ones(6), 1.0, seed=4)[0] for _ in range(2))
    np.testing.assert_array_equal(first.second, second.second)
    np.testing.assert_array_equal(first.cross, second.cross)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"n_samples": 0}, "^n_samples must be"),
        ({"noise_std": -1.0}, "^noise_std must be"),
        ({"covariance": np.eye(5)}, "^covariance and coef must belong to 6 features"),
        ({"coef": np.ones(5)}, "^covariance and coef must belong to 6 features"),
        ({"covariance": np.full((6, 6), np.nan)}, "^covariance must"),
        ({"schema": schema_of("sketch", fit_intercept=True)}, "^schema must be without an intercept"),
    ],
)
def test_bad_arguments_of_aggregates_are_named(changed, message):
    good = {
        "n_samples": 100,
        "covariance": np.eye(6),
        "coef": np.ones(6),
        "noise_std": 1.0,
        "schema": schema_of("sketch"),
    }
    with pytest.raises(ValueError, match=message):
        simulate_aggregate(**{**good, **changed})
