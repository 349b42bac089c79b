"""Certificates of anchors against confidence limits, fresh supports and another design."""

from dataclasses import replace

import numpy as np
import pytest
from regression.anchor_references import all_distances, many_compatibilities, uniform_supports
from scipy import stats

from sparsetheory.regression import certify_anchors, make_design, select_anchors
from sparsetheory.regression.random_supports.anchor_certificate import _draws, _limits

N, D = 60, 200


def _certified(name="clusters", k=4, **options):
    X = make_design(name, N, D, random_state=0)
    anchors = select_anchors(X, n_nonzero=k, max_anchors=40, random_state=0)
    return X, anchors, certify_anchors(X, n_nonzero=k, anchors=anchors, random_state=1, **options)


def test_certificate_states_a_clopper_pearson_limit():
    X, anchors, certificate = _certified(n_supports=300, max_compatibility=1.0, confidence=0.9)
    failures = int(np.sum(certificate.compatibilities > 1.0))
    assert 0 < failures < 300
    assert certificate.measured == failures / 300
    assert certificate.bound == pytest.approx(stats.beta.ppf(0.9, failures + 1, 300 - failures))
    assert certificate.lower == pytest.approx(stats.beta.ppf(0.1, failures, 301 - failures))
    assert certificate.n_supports == 300
    assert certificate.valid
    expected = many_compatibilities(X, certificate.supports, all_distances(X, anchors.indices))
    np.testing.assert_allclose(certificate.compatibilities, expected, rtol=1e-8, atol=1e-8)


def test_certificate_covers_the_true_fraction():
    X = make_design("tree", N, D, random_state=0)
    anchors = select_anchors(X, n_nonzero=4, delta=0.3, confidence=0.7, random_state=0)
    distances = all_distances(X, anchors.indices)
    supports = uniform_supports(np.random.default_rng(5), D, 4, 15_000)
    truth = np.mean(many_compatibilities(X, supports, distances) > 8.0)
    assert 0.01 < truth < 0.3
    runs = [
        certify_anchors(X, n_nonzero=4, anchors=anchors, n_supports=100, confidence=0.8, random_state=s)
        for s in range(100)
    ]
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
    anchors = select_anchors(X, n_nonzero=4, random_state=0)
    assert certify_anchors(X, n_nonzero=4, anchors=anchors, random_state=0).check(X, random_state=0).valid


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
    assert not spoil(certificate).check(X, n_supports=100).valid


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


def test_half_of_the_true_fraction_is_refuted():
    X = make_design("clusters", N, D, random_state=0)
    certificate = certify_anchors(
        X,
        n_nonzero=4,
        anchors=select_anchors(X, n_nonzero=4, method="random", n_anchors=0, random_state=0),
        random_state=0,
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
    nothing = select_anchors(X, n_nonzero=4, method="random", n_anchors=0, random_state=0)
    assert certify_anchors(X, n_nonzero=4, anchors=nothing, random_state=0).lower > 0.2


def test_certificate_uses_the_law_of_the_anchors():
    X = make_design("clusters", N, D, random_state=0)
    prior = (np.arange(D) < 40) * 1.0
    anchors = select_anchors(X, n_nonzero=4, support_prior=prior, random_state=0)
    certificate = certify_anchors(X, n_nonzero=4, anchors=anchors, random_state=0)
    assert certificate.supports.max() < 40
    assert certificate.check(X, random_state=0).valid


def test_certificate_is_reproducible():
    X, anchors, certificate = _certified()
    again = certify_anchors(X, n_nonzero=4, anchors=anchors, random_state=1)
    np.testing.assert_array_equal(certificate.compatibilities, again.compatibilities)
    assert not np.array_equal(
        certificate.supports, certify_anchors(X, n_nonzero=4, anchors=anchors, random_state=2).supports
    )


def test_unreliable_supports_count_against_the_anchors(rng):
    x, e = rng.standard_normal((2, 50))
    X = np.column_stack([x, x + 2e-13 * e])
    nothing = select_anchors(X, n_nonzero=2, method="random", n_anchors=0, random_state=0)
    certificate = certify_anchors(
        X, n_nonzero=2, anchors=nothing, max_compatibility=1e12, n_supports=20, random_state=0
    )
    assert np.all(np.isinf(certificate.compatibilities))
    assert certificate.measured == 1.0
    assert certificate.check(X, n_supports=5, random_state=0).valid


def test_nothing_to_draw():
    X = np.zeros((20, 5))
    anchors = select_anchors(X, n_nonzero=2, random_state=0)
    assert certify_anchors(X, n_nonzero=2, anchors=anchors, random_state=0).measured == 0.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_nonzero": 0}, "n_nonzero must be an integer from 1"),
        ({"n_supports": 0}, "n_supports must be an integer from 1 to"),
        ({"max_compatibility": -1.0}, "max_compatibility must be a finite positive number"),
        ({"confidence": 1.0}, r"confidence must be a number in \(0, 1\)"),
        ({"confidence": 0}, r"confidence must be a number in \(0, 1\)"),
    ],
)
def test_bad_arguments(options, message):
    X, anchors, _ = _certified()
    with pytest.raises(ValueError, match=message):
        certify_anchors(X, **{"n_nonzero": 4, "anchors": anchors, **options})


def test_anchors_of_another_design():
    X, anchors, _ = _certified()
    with pytest.raises(ValueError, match=r"anchors\.Q must have one row per row of X, 30"):
        certify_anchors(X[:30], n_nonzero=4, anchors=anchors)
