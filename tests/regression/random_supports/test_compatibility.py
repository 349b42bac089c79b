"""Compatibilities of supports, and the certificate of anchors, against brute force and plain least squares."""

from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from regression.anchor_references import all_distances, clustered, many_compatibilities, uniform_supports
from scipy import sparse, stats

from sparsetheory.regression import certify_anchors, make_design, select_anchors, support_compatibility
from sparsetheory.regression.columns import Columns
from sparsetheory.regression.random_supports.anchor_choice import find_anchors
from sparsetheory.regression.random_supports.compatibility import _draws, _limits
from sparsetheory.regression.random_supports.compatibility_reference import plain_compatibility

N, D = 60, 200


def _case(seed, scale_exponent=-2.0):
    rng = np.random.default_rng(seed)
    X = clustered(rng, 25, 40, 5, 10.0**scale_exponent)
    m, k = int(rng.integers(0, 9)), int(rng.integers(1, 7))
    T, S = rng.choice(40, m, replace=False), rng.choice(40, k, replace=False)
    return X, S, SimpleNamespace(weights=all_distances(X, T)), rng


cases = given(st.integers(0, 10**6), st.floats(-6, 0))


@cases
def test_compatibility_chain(seed, exponent):
    X, S, anchors, _ = _case(seed, exponent)
    compatibility, loose = (support_compatibility(X, S, anchors, exact=e) for e in (True, False))
    R = np.linalg.qr(X[:, S] / np.sqrt(25))[1]
    norm = np.linalg.norm(anchors.weights[S, None] * np.linalg.inv(R), 2)
    slack = 1 + 1e-13 * np.linalg.cond(X[:, S])
    assert compatibility["ratios"].max() <= compatibility["compatibility"] * slack
    assert compatibility["compatibility"] <= compatibility["ratios"].sum() * slack
    assert compatibility["compatibility"] <= np.sqrt(S.size) * norm * slack
    assert loose["compatibility"] == pytest.approx(compatibility["ratios"].sum())
    np.testing.assert_array_equal(loose["ratios"], compatibility["ratios"])


@cases
def test_compatibility_against_all_sign_vectors(seed, exponent):
    X, S, anchors, _ = _case(seed, exponent)
    W = np.linalg.pinv(X[:, S] / np.sqrt(25), rcond=1e-14)
    rows = anchors.weights[S, None] * W
    expected = max(np.linalg.norm(np.array(s) @ rows) for s in product([-1, 1], repeat=S.size))
    tolerance = 1e-13 * np.linalg.cond(X[:, S])
    compatibility = support_compatibility(X, S, anchors, exact=True)
    assert compatibility["compatibility"] == pytest.approx(expected, rel=tolerance)
    np.testing.assert_allclose(compatibility["ratios"], np.linalg.norm(rows, axis=1), rtol=tolerance)


@cases
def test_no_coefficients_exceed_the_compatibility(seed, exponent):
    X, S, anchors, rng = _case(seed, exponent)
    compatibility = support_compatibility(X, S, anchors, exact=True)["compatibility"]
    scale = np.linalg.svd(X[:, S], full_matrices=False)
    # Random coefficients, and those that cancel.
    for w in (*rng.standard_normal((10, S.size)), *scale[2], *(scale[2].T / scale[1]).T):
        size = np.linalg.norm(X[:, S] @ w) / 5
        assert np.abs(w) @ anchors.weights[S] <= compatibility * size * (1 + 1e-13 * np.linalg.cond(X[:, S]))


@cases
def test_more_anchors_never_hurt(seed, exponent):
    X, S, _, rng = _case(seed, exponent)
    T = rng.permutation(40)[:8]
    compatibilities = [
        support_compatibility(X, S, SimpleNamespace(weights=all_distances(X, T[:m])), exact=True)["compatibility"]
        for m in range(9)
    ]
    assert np.all(np.diff(compatibilities) <= 1e-12 * np.linalg.cond(X[:, S]) * np.max(compatibilities))


def test_dependent_columns_have_ratio_zero(rng):
    X = rng.standard_normal((30, 6))
    X[:, 5] = X[:, 0]
    anchors = SimpleNamespace(weights=all_distances(X, [2]))
    full, reduced = (support_compatibility(X, S, anchors, exact=True) for S in ([0, 1, 5], [0, 1]))
    assert full["compatibility"] == pytest.approx(reduced["compatibility"])
    assert np.sort(full["ratios"])[1:] == pytest.approx(np.sort(reduced["ratios"]))
    assert full["ratios"][[0, 2]].min() == 0.0
    assert support_compatibility(X * 0.0, [1, 2], anchors, exact=True)["compatibility"] == 0.0


@pytest.mark.parametrize("layout", [np.asfortranarray, np.float32, sparse.csc_array, sparse.csr_matrix])
def test_layouts(rng, layout):
    X = rng.standard_normal((30, 12)).astype(np.float32).astype(float)
    anchors = SimpleNamespace(weights=all_distances(X, [2, 7]))
    found, expected = (support_compatibility(Z, [9, 1, 4], anchors, exact=True) for Z in (layout(X), X))
    assert found["compatibility"] == pytest.approx(expected["compatibility"], rel=1e-12)


def test_what_is_always_in_the_model_counts_nowhere(rng):
    X = clustered(rng, 30, 40, 4, 0.1)
    ones = np.full((30, 1), 30**-0.5)
    shifted = find_anchors(Columns(X + 50.0, ones), 3, random_state=0)
    shifted = replace(shifted, weights=np.sqrt(Columns(X + 50.0, shifted.Q).squares() / 30))
    centred = X - X.mean(axis=0)
    plain = SimpleNamespace(weights=all_distances(centred, shifted.indices))
    assert support_compatibility(X + 50.0, [0, 5, 9], shifted)["compatibility"] == pytest.approx(
        support_compatibility(centred, [0, 5, 9], plain)["compatibility"], rel=1e-9
    )
    assert certify_anchors(X + 50.0, 3, shifted, random_state=0).check(X + 50.0, random_state=0).valid


@pytest.mark.parametrize(
    ("S", "exact", "message"),
    [
        ([], False, "S must hold distinct indices"),
        ([0, 0], False, "S must hold distinct indices"),
        ([-1, 2], False, "S must hold distinct indices of columns between 0 and 39"),
        ([40], False, "S must hold distinct indices"),
        ([0.5], False, "S must hold distinct indices"),
        (list(range(15)), True, "allows k up to 14; got 15"),
    ],
)
def test_bad_supports(S, exact, message):
    X = np.random.default_rng(0).standard_normal((25, 40))
    with pytest.raises(ValueError, match=message):
        support_compatibility(X, S, SimpleNamespace(weights=np.ones(40)), exact=exact)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_designs_that_are_not_finite(bad):
    X = make_design("gaussian", N, D, random_state=0)
    anchors = select_anchors(X, 4, random_state=0)
    X[3, 7] = bad
    with pytest.raises(ValueError, match="X must be finite on S"):
        support_compatibility(X, [7, 8], anchors)
    for design in (X, sparse.csc_array(X)):
        with pytest.raises(ValueError, match="X must be finite"):
            certify_anchors(design, 4, anchors)


def test_compatibility_by_key_and_by_attribute():
    X = make_design("gaussian", N, D, random_state=0)
    compatibility = support_compatibility(X, [1, 2], select_anchors(X, 2, random_state=0))
    assert set(compatibility) == {"compatibility", "ratios"}
    assert compatibility.compatibility == compatibility["compatibility"]
    assert compatibility.ratios is compatibility["ratios"]


def test_anchors_without_weights():
    X = np.random.default_rng(0).standard_normal((25, 40))
    with pytest.raises(ValueError, match="anchors must have 40 weights"):
        support_compatibility(X, [1], find_anchors(Columns(X), 2, random_state=0))


def _certified(name="clusters", k=4, **options):
    X = make_design(name, N, D, random_state=0)
    anchors = select_anchors(X, k, max_anchors=40, random_state=0)
    return X, anchors, certify_anchors(X, k, anchors, random_state=1, **options)


def test_certificate_states_a_clopper_pearson_limit():
    X, anchors, certificate = _certified(n_samples=300, max_compatibility=1.0, confidence=0.9)
    failures = int(np.sum(certificate.compatibilities > 1.0))
    assert 0 < failures < 300
    assert certificate.measured == failures / 300
    assert certificate.bound == pytest.approx(stats.beta.ppf(0.9, failures + 1, 300 - failures))
    assert certificate.lower == pytest.approx(stats.beta.ppf(0.1, failures, 301 - failures))
    assert certificate.n_samples == 300
    assert certificate.valid
    expected = many_compatibilities(X, certificate.supports, all_distances(X, anchors.indices))
    np.testing.assert_allclose(certificate.compatibilities, expected, rtol=1e-8, atol=1e-8)


def test_certificate_covers_the_true_share():
    X = make_design("tree", N, D, random_state=0)
    anchors = select_anchors(X, 4, delta=0.3, beta=0.3, random_state=0)
    distances = all_distances(X, anchors.indices)
    supports = uniform_supports(np.random.default_rng(5), D, 4, 15_000)
    truth = np.mean(many_compatibilities(X, supports, distances) > 8.0)
    assert 0.01 < truth < 0.3
    runs = [certify_anchors(X, 4, anchors, n_supports=100, confidence=0.8, random_state=s) for s in range(100)]
    assert stats.binomtest(sum(c.bound < truth for c in runs), 100, 0.2, "greater").pvalue > 1e-6
    assert stats.binomtest(sum(c.lower > truth for c in runs), 100, 0.2, "greater").pvalue > 1e-6
    # Limits that are far too wide would pass too.
    assert np.mean([c.bound - c.lower for c in runs]) < 0.15


@pytest.mark.parametrize("name", ["gaussian", "clusters", "tree", "lowrank", "cauchy", "multiscale"])
def test_check_agrees(name):
    X, _, certificate = _certified(name)
    checked = certificate.check(X, random_state=2)
    assert checked.valid
    assert abs(checked.measured - certificate.measured) < 0.2
    assert checked.bound == certificate.bound


def test_check_agrees_on_exactly_dependent_columns():
    X = np.repeat(make_design("clusters", N, 60, random_state=0), 3, axis=1)
    X = np.hstack([X, X[:, :20] @ np.random.default_rng(0).standard_normal((20, 20))])
    anchors = select_anchors(X, 4, random_state=0)
    assert certify_anchors(X, 4, anchors, random_state=0).check(X, random_state=0).valid


@pytest.mark.parametrize(
    "spoil",
    [
        lambda c: replace(c, compatibilities=c.compatibilities * 1.001),
        lambda c: replace(c, max_compatibility=0.01),
        lambda c: replace(c, bound=1e-9, max_compatibility=1.0),
        lambda c: replace(c, anchors=replace(c.anchors, indices=c.anchors.indices[:3])),
        lambda c: replace(c, supports=c.supports[::-1]),
        lambda c: replace(c, compatibilities=np.append(c.compatibilities[:-1], c.compatibilities[-1] * 1.001 + 1e-6)),
        lambda c: replace(c, supports=c.supports[:-1]),
        lambda c: replace(c, bound=c.bound / 2),
        lambda c: replace(c, bound=c.bound * 2),
        lambda c: replace(c, lower=c.lower + 1e-3),
        lambda c: replace(c, confidence=0.99),
        lambda c: replace(c, anchors=replace(c.anchors, Q=c.anchors.Q[:, 1:])),
        lambda c: replace(c, anchors=replace(c.anchors, Q=c.anchors.Q[::-1])),
        lambda c: replace(c, anchors=replace(c.anchors, Q=2 * c.anchors.Q)),
        lambda c: replace(c, anchors=replace(c.anchors, Q=np.nan * c.anchors.Q)),
        lambda c: replace(c, anchors=replace(c.anchors, Q=np.linalg.qr(np.c_[c.anchors.Q, np.arange(N)])[0])),
    ],
)
def test_check_notices(spoil, certified):
    X, certificate = certified
    assert not spoil(certificate).check(X, n_samples=100).valid


@pytest.fixture(scope="module")
def certified():
    X, _, certificate = _certified()
    assert certificate.check(X).valid
    return X, certificate


def test_check_notices_another_design():
    _, _, certificate = _certified()
    assert not certificate.check(make_design("clusters", N, D, random_state=5), random_state=0).valid
    for shape, message in (((N + 1, D), "one row per row of X, 61"), ((N, 50), "X must have 200 features")):
        with pytest.raises(ValueError, match=message):
            certificate.check(np.ones(shape))


def test_half_of_the_true_share_is_refuted():
    X = make_design("clusters", N, D, random_state=0)
    certificate = certify_anchors(
        X, 4, select_anchors(X, 4, method="random", n_anchors=0, random_state=0), random_state=0
    )
    assert certificate.check(X).valid
    assert certificate.lower > 0.2
    # Compatibilities that agree with a bound of half the share: those of the supports that happened to pass, and few
    # others.
    share = certificate.measured
    failing = certificate.compatibilities > certificate.max_compatibility
    kept = np.sort(np.concatenate([np.flatnonzero(~failing), np.flatnonzero(failing)[: int(0.2 * failing.sum())]]))
    forged = replace(
        certificate, supports=certificate.supports[kept], compatibilities=certificate.compatibilities[kept]
    )
    lower, upper = _limits(forged.compatibilities, forged.max_compatibility, forged.confidence)
    forged = replace(forged, bound=upper, lower=lower)
    assert upper < 0.55 * share
    for seed in range(5):
        checked = forged.check(X, random_state=seed)
        assert "fresh supports fail" in checked.reason
        assert not checked.valid


@pytest.mark.parametrize(("bound", "draws"), [(0.22, 258), (0.05, 1563), (1e-3, 2000), (0.9, 100)])
def test_number_of_fresh_supports(bound, draws):
    assert _draws(bound) == draws
    if 100 < draws < 2000:
        refuted = stats.binom.isf(1e-6, draws, bound)
        assert stats.binom.sf(refuted, draws, 2 * bound) > 0.998


def test_certificate_without_anchors_shows_how_hard_a_design_is():
    X = make_design("clusters", N, D, random_state=0)
    nothing = select_anchors(X, 4, method="random", n_anchors=0, random_state=0)
    assert certify_anchors(X, 4, nothing, random_state=0).lower > 0.2


def test_certificate_uses_the_law_of_the_anchors():
    X = make_design("clusters", N, D, random_state=0)
    prior = (np.arange(D) < 40) * 1.0
    anchors = select_anchors(X, 4, support_prior=prior, random_state=0)
    certificate = certify_anchors(X, 4, anchors, random_state=0)
    assert certificate.supports.max() < 40
    assert certificate.check(X, random_state=0).valid


def test_certificate_is_reproducible():
    X, anchors, certificate = _certified()
    again = certify_anchors(X, 4, anchors, random_state=1)
    np.testing.assert_array_equal(certificate.compatibilities, again.compatibilities)
    assert not np.array_equal(certificate.supports, certify_anchors(X, 4, anchors, random_state=2).supports)


def test_unreliable_supports_count_against_the_anchors(rng):
    x, e = rng.standard_normal((2, 50))
    X = np.column_stack([x, x + 2e-13 * e])
    nothing = select_anchors(X, 2, method="random", n_anchors=0, random_state=0)
    certificate = certify_anchors(X, 2, nothing, max_compatibility=1e12, n_supports=20, random_state=0)
    assert np.all(np.isinf(certificate.compatibilities))
    assert certificate.measured == 1.0
    assert certificate.check(X, n_samples=5, random_state=0).valid


def test_nothing_to_draw():
    X = np.zeros((20, 5))
    anchors = select_anchors(X, 2, random_state=0)
    assert certify_anchors(X, 2, anchors, random_state=0).measured == 0.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k must be an integer between 1"),
        ({"n_samples": 0}, "n_samples must be an integer from 1 to"),
        ({"max_compatibility": -1.0}, "max_compatibility must be a finite positive number"),
        ({"confidence": 1.0}, "confidence must lie strictly between 0 and 1"),
        ({"confidence": 0}, "confidence must lie strictly between 0 and 1"),
    ],
)
def test_bad_arguments(options, message):
    X, anchors, _ = _certified()
    with pytest.raises(ValueError, match=message):
        certify_anchors(X, **{"k": 4, "anchors": anchors, **options})


def test_anchors_of_another_design():
    X, anchors, _ = _certified()
    with pytest.raises(ValueError, match=r"anchors\.Q must have one row per row of X, 30"):
        certify_anchors(X[:30], 4, anchors)


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-6])
def test_plain_compatibility_against_pseudo_inverses(rng, scale):
    X, T = clustered(rng, 40, 60, 5, scale), np.arange(7)
    supports = uniform_supports(rng, 60, 4, 20)
    expected = many_compatibilities(X, supports, all_distances(X, T))
    for S, value in zip(supports, expected, strict=True):
        found = plain_compatibility(Columns(X), S, T)
        assert found.uncertainty < 1e-4
        assert found.value == pytest.approx(value, rel=1e-12 / scale)
        assert found.agrees(value)
        assert found.value == 0 or not found.agrees(value * 1.001)
        assert found.exceeds(value * 0.9) == (value > 0)
        assert not found.exceeds(value * 1.1)


def test_plain_compatibility_of_copies(rng):
    X = rng.standard_normal((20, 4))
    X[:, 3] = X[:, 1]
    none = np.empty(0, dtype=int)
    full, reduced = (plain_compatibility(Columns(X), np.array(S), none).value for S in ([0, 1, 3], [0, 1]))
    assert full == pytest.approx(reduced)


def test_plain_compatibility_without_reliable_distances(rng):
    X = rng.standard_normal((20, 3))
    X[:, 2] = X[:, 1] + 3e-13 * X[:, 0]
    none, both = np.empty(0, dtype=int), np.array([1, 2])
    assert np.isinf(plain_compatibility(Columns(X), both, none).value)
    assert plain_compatibility(Columns(X), both, both).value == 0.0
    assert plain_compatibility(Columns(X), both, none).agrees(1.0)
