"""Verdicts turn when the numbers do."""

import re

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


def _one_value(failures, total, verdict):
    return verdict.judge(*_trials(failures, total))


@pytest.mark.parametrize(
    ("failures", "total", "state"),
    [
        (0, 20, "undecided"),
        (0, 21, "holds"),
        (1, 30, "undecided"),
        (1, 31, "holds"),
        (9, 20, "fails"),
        (60, 200, "fails"),
    ],
)
def test_a_promised_probability_is_kept_refuted_or_open(failures, total, state):
    # 0.8^21 < 0.01 < 0.8^20; with one failure 0.8^31 + 31 * 0.2 * 0.8^30 < 0.01 < the same for 30.
    assert _one_value(failures, total, WithProbability(0.9)).state == state


@pytest.mark.parametrize(
    ("hits", "total", "state"), [(21, 21, "holds"), (20, 20, "undecided"), (0, 30, "fails"), (15, 30, "fails")]
)
def test_a_promised_rate_of_failure_is_attained_refuted_or_open(hits, total, state):
    assert _one_value(hits, total, Attains(0.9)).state == state


def test_open_verdicts_name_the_trials_that_decide():
    judgement = _one_value(0, 10, WithProbability(0.9))
    needed = int(re.search(r"(\d+) per value would decide", judgement.evidence)[1])
    assert _one_value(0, needed, WithProbability(0.9)).holds
    assert 21 <= needed <= 23


def test_most_trials_missing_is_never_holding():
    assert _one_value(8, 9, WithProbability(0.85)).state == "fails"


def test_one_bad_value_is_not_hidden_by_the_others():
    axis = [v for v in (1.0, 2.0, 3.0, 4.0) for _ in range(30)]
    trials = [Measurement(2.0 if at == 3.0 and k % 5 < 3 else 0.5, 1.0) for k, at in enumerate(axis)]
    judgement = WithProbability(0.8).judge(axis, trials)
    assert judgement.state == "fails"
    assert "12 of 30 trials within the bound at the worst of 4 values (3)" in judgement.evidence


def test_values_share_the_chance_of_a_wrong_refutation():
    # 17 of 28 has a chance of 4.2e-5 at a rate of 0.9: less than 1e-4, but more than a quarter of it.
    trials = [Measurement(2.0 if k < 11 else 0.5, 1.0) for k in range(28)]
    assert WithProbability(0.9).judge([1.0] * 28, trials).state == "fails"
    others = [Measurement(0.5, 1.0)] * 84
    axis = [float(1 + k // 28) for k in range(112)]
    assert WithProbability(0.9).judge(axis, trials + others).state == "undecided"


def test_always_reports_the_tightest_ratio():
    judgement = Always(0.0).judge([1.0, 1.0], [Measurement(0.5, 1.0), Measurement(1.8, 2.0)])
    assert judgement.holds
    assert judgement.tightest == pytest.approx(0.9)


def test_worst_compares_relative_excesses():
    worst = Measurement.worst([1e6 * (1 + 1e-13), 1e-8], [1e6, 5e-9])
    assert (worst.measured, worst.bound) == (1e-8, 5e-9)
    assert np.isnan(Measurement.worst([np.nan, 3.0], [1.0, 1.0]).measured)


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


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_scaling_fails_where_a_value_has_no_logarithm(value):
    axis = [1.0, 2.0, 4.0, 8.0]
    with np.errstate(all="ignore"):
        judgement = ScalesAs(2.0, 0.1).judge(axis, [Measurement(v, np.inf) for v in (1.0, 4.0, value, 64.0)])
    assert judgement.state == "fails"


def test_ratios_to_a_bound_of_rounding_errors_say_nothing():
    rounding = Measurement(1e-16, 1e-27, scale=1.0)
    assert Always(1e-12).judge([1.0], [rounding]).tightest == 0.0
    assert Always(1e-12).judge([1.0], [rounding, Measurement(0.5, 1.0, scale=1.0)]).tightest == 0.5
    assert Measurement(1.0, 2.0).tightness(1e-12) == 0.5
