"""Verdicts turn when the numbers do."""

import numpy as np
import pytest

from sparsetheory.proofs_checks import Always, Attains, Measurement, ScalesAs, WithProbability


def _trials(failures, total):
    return [0.0] * total, [Measurement(2.0 if k < failures else 0.5, 1.0) for k in range(total)]


def test_always_tolerates_rounding_only():
    verdict = Always(rtol=1e-9)
    assert verdict.accepts(Measurement(1.0 + 1e-10, 1.0))
    assert not verdict.accepts(Measurement(1.0 + 1e-8, 1.0))
    assert verdict.accepts(Measurement(1e-7, 0.0, scale=1e3))
    assert not verdict.accepts(Measurement(1e-7, 0.0))


def test_not_a_number_never_passes():
    assert not Always(rtol=1.0).accepts(Measurement(np.nan, 1.0))
    assert not Always(rtol=1.0).accepts(Measurement(0.0, 1.0, extras={"a": np.nan}, also=(("bound", "a"),)))


def test_further_inequalities_are_checked():
    fine = Measurement(0.0, 1.0, extras={"a": 2.0, "b": 3.0}, also=(("bound", "a"), ("a", "b")))
    assert fine.excess() == 0
    broken = Measurement(0.0, 1.0, extras={"a": 2.0, "b": 1.5}, also=(("bound", "a"), ("a", "b")))
    assert broken.excess() == pytest.approx(0.5)


def test_worst_picks_the_inequality_closest_to_failing():
    worst = Measurement.worst([1.0, 5.0, 2.0], [3.0, 5.5, 9.0])
    assert (worst.measured, worst.bound) == (5.0, 5.5)


def test_no_inequality_is_no_violation():
    assert Measurement.worst([], [], 1.0).excess() == 0


@pytest.mark.parametrize(("failures", "holds"), [(0, True), (10, True), (25, True), (60, False), (200, False)])
def test_with_probability_is_a_binomial_test(failures, holds):
    assert WithProbability(0.9).judge(*_trials(failures, 200)).holds is holds


@pytest.mark.parametrize(("hits", "holds"), [(200, True), (170, True), (100, False), (0, False)])
def test_attains_is_a_binomial_test(hits, holds):
    assert Attains(0.9).judge(*_trials(hits, 200)).holds is holds


@pytest.mark.parametrize(("slope", "holds"), [(2.0, True), (1.97, True), (1.5, False), (2.4, False)])
def test_scaling_fits_the_slope(slope, holds, rng):
    axis = np.repeat([1.0, 2.0, 4.0, 8.0, 16.0], 20)
    measured = 3 * axis**slope * np.exp(0.01 * rng.standard_normal(axis.size))
    judgement = ScalesAs(2.0, 0.1).judge(axis, [Measurement(v, np.inf) for v in measured])
    assert judgement.holds is holds
    assert f"{slope:.1f}"[:1] in judgement.evidence


def test_scaling_needs_a_tight_fit(rng):
    axis = np.repeat([1.0, 2.0, 4.0], 2)
    measured = axis**2 * np.exp(rng.standard_normal(axis.size))
    assert not ScalesAs(2.0, 0.1).judge(axis, [Measurement(v, np.inf) for v in measured]).holds
