"""Gaussian messages: the law of their noise, and their privacy by enumeration on a coarse lattice."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import chisquare, norm

from sparsetheory.privacy import LDPSchema, gaussian_delta
from sparsetheory.privacy.device import gaussian_noise
from sparsetheory.privacy.device.gaussian_noise import GaussianRelease, gaussian_messages, gaussian_releases
from sparsetheory.privacy.device.quantised_normal import NOISE_BITS, normal_table
from sparsetheory.privacy.device.records import joint_vectors, normalised

WEIGHTS = [0.3, 1.0, math.sqrt(2), 1.7, 5.0]


def schema(mechanism="gauss_tight", **changes):
    fields = {"eps": 1.0, "delta": 1e-6, "n_features": 3, "clip_x": 2.0, "clip_y": 1.0}
    return LDPSchema(mechanism=mechanism, **{**fields, **changes})


def seeded(seed):
    rng = np.random.default_rng(seed)
    return lambda count: rng.integers(0, 2**64, count, dtype=np.uint64)


def test_noise_has_the_law_of_cells():
    there = schema()
    n = 40_000
    zeros = np.zeros((n, there.n_products))
    sent = gaussian_messages(there, (zeros,), seeded(5)).ravel()
    assert np.all(sent % 2 != 0)
    units = normal_table(*NOISE_BITS).units
    # Edges are even numbers: borders of cells, so that masses are exact.
    edges = 2 * np.round(np.linspace(-3.2, 3.2, 81) * units / 2)
    counts, _ = np.histogram(sent, np.concatenate([[-np.inf], edges, [np.inf]]))
    masses = np.diff(norm.cdf(np.concatenate([[-np.inf], edges / units, [np.inf]])))
    assert chisquare(counts, masses * sent.size).pvalue > 1e-4
    assert (
        chisquare(
            counts, np.diff(norm.cdf(np.concatenate([[-np.inf], edges / units * 1.02, [np.inf]]))) * sent.size
        ).pvalue
        < 1e-6
    )
    assert abs(sent.mean()) < 4.5 * units / math.sqrt(sent.size)
    gram = np.corrcoef(sent.reshape(n, -1).T)
    assert np.abs(gram[~np.eye(len(gram), dtype=bool)]).max() < 4.5 / math.sqrt(n)


@given(st.floats(-1, 1), st.floats(0.01, 3))
def test_rounding_has_no_bias(value, std):
    """Over all shifts the lattice point is the value: what is left is below one step over their number."""
    release = GaussianRelease(sensitivity=1.0, noise_std=std, size=1)
    shifts = ((np.arange(1000) + 0.5) / 1000)[:, None]
    words = np.zeros((1000, 1), dtype=np.uint64)  # the noise +1
    sent = release.encode(np.full((1000, 1), value), shifts, words)
    assert abs((sent.mean() - 1) * release.unit - value) <= 2 * release.unit / 1000 * 1.01
    assert sent.max() - sent.min() <= 2


def _law(fine, bits):
    """Return values in lattice steps, from the left, and their probabilities."""
    masses = np.diff(np.concatenate([[0.0], normal_table(fine, bits).thresholds.astype(float)])) * 2.0 ** -(bits + 1)
    return np.concatenate([masses[::-1], masses])


def _hockey_stick(law, shift, eps):
    """Return the delta of a product of laws and the same, moved by integers."""
    p, q = np.ones(1), np.ones(1)
    for k in shift:
        one, moved = np.pad(law, (0, k)), np.pad(law, (k, 0))
        p, q = np.outer(p, one).ravel(), np.outer(q, moved).ravel()
    return max(np.maximum(p - math.exp(eps) * q, 0).sum(), np.maximum(q - math.exp(eps) * p, 0).sum())


def _reachable(sensitivity, step, size):
    """Return the differences of lattice points of two vectors that are at most `sensitivity` apart."""
    most = math.ceil(sensitivity / step)
    for shift in itertools.product(range(most + 1), repeat=size):
        # The nearest difference of vectors: each coordinate less than a step below.
        if sum(max(k - 1, 0) ** 2 for k in shift) * step**2 < sensitivity**2:
            yield shift


@pytest.mark.parametrize(("size", "fine"), [(1, 3), (1, 5), (2, 2), (2, 3)])
@pytest.mark.parametrize("mu", [0.4, 0.95])
def test_privacy_by_enumeration(monkeypatch, size, fine, mu):
    """All pairs of points of a coarse lattice: the promised delta holds, and fails without the lattice's share."""
    monkeypatch.setattr(gaussian_noise, "NOISE_BITS", (fine, 40))
    release = GaussianRelease(sensitivity=mu, noise_std=1.0, size=size)
    law = _law(fine, 40)
    step = 2.0**-fine
    assert release.unit == step / 2
    broken = 0
    for eps in (0.0, 0.3, 1.0, 2.0):
        worst = max(_hockey_stick(law, shift, eps) for shift in _reachable(mu, step, size))
        assert worst <= release.delta(eps)
        broken += worst > gaussian_delta(eps, mu)
    assert broken > 0


@pytest.mark.parametrize("size", [1, 2])
def test_encoded_vectors_reach_no_other_differences(monkeypatch, size):
    """Random pairs of vectors, also extreme ones, and all shifts: the enumeration above missed nothing."""
    monkeypatch.setattr(gaussian_noise, "NOISE_BITS", (3, 40))
    rng = np.random.default_rng(0)
    release = GaussianRelease(sensitivity=0.7, noise_std=1.0, size=size)
    first = rng.uniform(-1, 1, (20_000, size))
    step = rng.standard_normal((20_000, size))
    second = first + 0.7 * step / np.linalg.norm(step, axis=1, keepdims=True)
    shifts, words = rng.random((20_000, 1)), np.zeros((20_000, size), dtype=np.uint64)
    moved = np.abs(release.encode(first, shifts, words) - release.encode(second, shifts, words)) // 2
    allowed = set(_reachable(0.7, 1 / 8, size))
    assert {tuple(row) for row in moved.tolist()} <= allowed


@pytest.mark.parametrize("mechanism", ["gauss_tight", "paper"])
@pytest.mark.parametrize("moments", ["joint", "cross"])
@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("eps", [0.05, 0.9, 8.0])
@pytest.mark.parametrize("delta", [1e-3, 1e-9])
def test_no_more_than_delta_is_spent(mechanism, moments, weight, eps, delta):
    if mechanism == "paper" and eps > 1:
        return
    there = schema(mechanism, moments=moments, response_weight=weight, eps=eps, delta=delta)
    releases = gaussian_releases(there)
    # Several releases of one user share the budget. The noise is the sensitivity over mu and back: a few roundings.
    assert sum(release.delta(eps / len(releases)) for release in releases) <= delta * (1 + 1e-12)
    mu = math.sqrt(sum(release.mu**2 for release in releases))
    assert gaussian_delta(eps, mu) <= delta * (1 + 1e-12)
    if mechanism == "gauss_tight":
        assert releases[0].delta(eps) >= (1 - 1e-6) * delta


def _distance(there, records):
    """Return the distance of the vectors of two records."""
    q = there.n_features
    X, y = records[:-2].reshape(2, q), records[-2:]
    v = joint_vectors(there, *normalised(there, X, y))
    return float(np.linalg.norm(v[0] - v[1]))


@pytest.mark.parametrize("moments", ["joint", "cross"])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("weight", WEIGHTS)
def test_sensitivity_is_never_exceeded_by_a_search(moments, intercept, weight):
    there = schema(moments=moments, fit_intercept=intercept, response_weight=weight)
    claimed = gaussian_releases(there)[0].sensitivity
    rng = np.random.default_rng(1)
    starts = rng.standard_normal((300, 8)) * rng.choice([0.5, 2.0, 10.0], (300, 1))
    best = sorted(starts, key=lambda records: -_distance(there, records))[:3]
    found = max(
        -minimize(lambda r: -_distance(there, r), start, method="Nelder-Mead", options={"maxfev": 1500}).fun
        for start in best
    )
    assert found <= claimed * (1 + 1e-12)
    if not intercept:
        assert found >= 0.995 * claimed
    assert found >= 0.8 * claimed


@pytest.mark.parametrize("weight", WEIGHTS)
def test_sensitivity_is_attained(weight):
    there = schema(response_weight=weight)
    cosine = min(weight**2 / 2, 1.0)
    pair = np.array([[2.0, 0, 0], [2 * cosine, 2 * math.sqrt(1 - cosine**2), 0]])
    records = np.concatenate([pair.ravel(), [1.0, -1.0]])
    assert _distance(there, records) == pytest.approx(gaussian_releases(there)[0].sensitivity, rel=1e-12)


@pytest.mark.parametrize(
    ("moments", "bounds"), [("joint", (math.sqrt(2), 2 * math.sqrt(3))), ("cross", (2 * math.sqrt(3),))]
)
def test_sensitivities_of_the_published_recipe(moments, bounds):
    from sparsetheory.privacy.device.client import released_vectors

    there = schema("paper", eps=0.5, moments=moments)
    assert [release.sensitivity for release in gaussian_releases(there)] == list(bounds)
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((4000, 3)) * rng.choice([0.1, 2, 30], (4000, 1)), rng.choice([-9.0, 9.0], 4000)
    X[:2], y[:2] = 50.0, [9, -9]  # corners of the cube
    for vectors, bound in zip(released_vectors(there, X, y), bounds, strict=True):
        distances = np.linalg.norm(vectors[::2] - vectors[1::2], axis=1)
        assert distances.max() <= bound * (1 + 1e-12)
        assert distances.max() > 0.95 * bound


def test_parameters_that_the_lattice_cannot_serve():
    with pytest.raises(ValueError, match=r"delta must be above .* for 9 numbers a user; got 1e-13"):
        gaussian_releases(schema(delta=1e-13, eps=3.0))
    with pytest.raises(ValueError, match=r"eps must be larger for 9 numbers a user on a lattice; got 0\.0001"):
        gaussian_releases(schema(delta=1e-8, eps=1e-4))
    with pytest.raises(
        ValueError, match=r"eps must be below 2 for the classical calibration of 'paper'; got 2.0.*'gauss_tight'"
    ):
        gaussian_releases(schema("paper", eps=2.0))
    with pytest.raises(ValueError, match="eps must be below 1 for the classical calibration"):
        gaussian_releases(schema("paper", eps=1.0, moments="cross"))


@pytest.mark.parametrize("edge", [0, 2**64 - 1])
def test_messages_fit_into_32_bits(edge):
    """The least noise and its farthest cell: the largest numbers that can be sent."""
    there = schema(eps=20.0, delta=0.999)
    v = joint_vectors(there, *normalised(there, np.array([[9.0, 0, 0]]), np.ones(1)))
    sent = gaussian_messages(there, (v,), lambda count: np.full(count, edge, dtype=np.uint64))
    assert np.abs(sent.astype(np.int64)).max() < 2**21
    release = gaussian_releases(there)[0]
    noise = normal_table(*NOISE_BITS).draw(np.array([edge], dtype=np.uint64))
    assert np.abs((sent - noise) * release.unit - v).max() <= 2 * release.unit
