"""Every claim holds, and every claim can fail."""

from dataclasses import replace

import pytest
from hypothesis import settings

from sparsetheory.experiments.sweep import run_claim
from sparsetheory.proofs_checks import Always, all_claims

CLAIMS = all_claims()
ALWAYS = {name: claim for name, claim in CLAIMS.items() if isinstance(claim.verdict, Always)}
SWEPT = {name: claim for name, claim in CLAIMS.items() if claim.sweep is not None}
ONLY_SWEPT = {name: claim for name, claim in SWEPT.items() if name not in ALWAYS}


@pytest.mark.parametrize("claim", ALWAYS.values(), ids=ALWAYS)
def test_claim_holds_on_instances(claim):
    # The profile sets the budget: 60 examples at a commit, 10 000 at night.
    claim.check(max_examples=settings.default.max_examples)


@pytest.mark.parametrize("claim", ALWAYS.values(), ids=ALWAYS)
def test_near_miss_is_refuted_on_instances(claim):
    instance = claim.refute_near_miss()
    assert claim.verdict.accepts(claim.evaluate(instance))
    assert not claim.verdict.accepts(claim.evaluate_near_miss(instance))


@pytest.mark.parametrize("claim", SWEPT.values(), ids=SWEPT)
def test_sweep_holds(claim):
    sweep = replace(claim.sweep, values=claim.sweep.values[:3], quick_trials=min(claim.sweep.quick_trials, 25))
    verdict = run_claim(replace(claim, sweep=sweep), profile="quick", seed=1).verdict
    assert verdict.holds, verdict.evidence


@pytest.mark.parametrize("claim", ONLY_SWEPT.values(), ids=ONLY_SWEPT)
def test_near_miss_is_refuted_by_the_sweep(claim):
    wrong = replace(claim, evaluate=claim.evaluate_near_miss)
    assert not run_claim(wrong, profile="quick", seed=1).verdict.holds


def test_statements_are_tex_that_reports_can_render():
    from latex2mathml.converter import convert

    for claim in CLAIMS.values():
        assert "<math" in convert(claim.statement)


def test_derived_claims_are_marked_as_ours():
    for claim in CLAIMS.values():
        if claim.source.paper == "sparsetheory":
            assert claim.source.provenance in ("ours", "measured")
