"""Every claim holds, and every claim can fail."""

from dataclasses import replace

import pytest
from hypothesis import settings

from sparsetheory.experiments.sweep import run_claim
from sparsetheory.proofs_checks import Always, State, all_claims

CLAIMS = all_claims()
ALWAYS = {name: claim for name, claim in CLAIMS.items() if isinstance(claim.verdict, Always)}
SWEPT_EXACT = {name: claim for name, claim in ALWAYS.items() if claim.sweep is not None}
DECIDED_BY_SWEEP = {name: claim for name, claim in CLAIMS.items() if name not in ALWAYS}


@pytest.mark.parametrize("claim", ALWAYS.values(), ids=ALWAYS)
def test_claim_holds_on_instances(claim):
    # The profile sets the budget: 60 examples at a commit, 10 000 at night.
    claim.check(max_examples=settings.default.max_examples)


@pytest.mark.parametrize("claim", ALWAYS.values(), ids=ALWAYS)
def test_near_miss_is_refuted_on_instances(claim):
    instance = claim.refute_near_miss()
    assert claim.verdict.accepts(claim.evaluate(instance))
    assert not claim.verdict.accepts(claim.evaluate_near_miss(instance))


@pytest.mark.parametrize("claim", SWEPT_EXACT.values(), ids=SWEPT_EXACT)
def test_exact_claim_holds_along_its_sweep(claim):
    sweep = replace(claim.sweep, values=claim.sweep.values[:3], quick_values=None, quick_trials=3)
    verdict = run_claim(replace(claim, sweep=sweep), profile="quick", seed=1).verdict
    assert verdict.holds, verdict.evidence


@pytest.mark.parametrize("claim", DECIDED_BY_SWEEP.values(), ids=DECIDED_BY_SWEEP)
def test_quick_sweep_decides_the_claim_and_refutes_its_near_miss(claim):
    # One test for both: the trials serve twice. What a claim and its near miss share, instances compute once.
    moved = []

    def evaluate_both(instance):
        measurement = claim.evaluate(instance)
        # A near miss that only moves or turns the inequality needs no second measurement.
        twice = claim if callable(claim.near_miss) else replace(claim, evaluate=lambda _: measurement)
        moved.append(twice.evaluate_near_miss(instance))
        return measurement

    result = run_claim(replace(claim, evaluate=evaluate_both), profile="quick", seed=1)
    assert result.verdict.holds, f"{result.verdict.state}: {result.verdict.evidence}"
    wrong = claim.verdict.judge([row.value for row in result.rows], moved)
    assert wrong.state is State.FAILS, f"{wrong.state}: {wrong.evidence}"


def test_statements_are_tex_that_reports_can_render():
    from latex2mathml.converter import convert

    for claim in CLAIMS.values():
        assert "<math" in convert(claim.statement)


def test_what_we_derived_or_saw_is_not_under_another_name():
    for claim in CLAIMS.values():
        if claim.source.paper == "sparsetheory":
            assert claim.source.provenance in ("ours", "measured"), claim.name
        assert not claim.source.item.startswith("measured") or claim.source.provenance == "measured", claim.name
