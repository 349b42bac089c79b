"""What makes claims short to write."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis.errors import NoSuchExample

from sparsetheory.proofs_checks import Always, Claim, Measurement, Reversed, Source, Sweep


def test_a_chain_reads_from_left_to_right():
    fine = Measurement.chain(1.0, 2.0, {"looser": 3.0, "loosest": 3.0})
    assert (fine.measured, fine.bound, fine.excess()) == (1.0, 2.0, 0.0)
    assert fine.also == (("bound", "looser"), ("looser", "loosest"))
    assert Measurement.chain(1.0, 2.0, {"looser": 1.0}).excess() == pytest.approx(0.5)
    assert Measurement.chain(1.0, 2.0, {"looser": 3.0, "loosest": 2.0}, scale=10.0).excess() == pytest.approx(0.1)


def test_chains_add_up():
    both = Measurement.chain(0.0, 1.0, {"a": 2.0}).and_chain({"low": 3.0, "high": 4.0})
    assert both.extras == {"a": 2.0, "low": 3.0, "high": 4.0}
    assert both.excess() == 0.0
    assert both.and_chain({"x": 2.0, "y": 1.0}).excess() == pytest.approx(1.0)


def _draw(rng, size):
    return rng.standard_normal(int(size))


def _norms(vector):
    return Measurement(float(np.abs(vector).max()), float(np.linalg.norm(vector)))


CLAIM = Claim(
    name="toys.instances",
    statement=r"\|x\|_\infty \le \|x\|_2",
    source=Source.classic("folklore", "norms"),
    verdict=Always(rtol=1e-12),
    evaluate=_norms,
    near_miss=Reversed(),
    sweep=Sweep("size", (2, 8), _draw, trials=2, quick_trials=2),
)


def test_instances_come_from_the_sweep():
    assert CLAIM.check(max_examples=30).holds
    sizes = set()
    assert replace(CLAIM, evaluate=lambda x: sizes.add(x.size) or _norms(x)).check(max_examples=30).holds
    assert sizes == {2, 8}
    with pytest.raises(ValueError, match=r"claim 'toys.nothing' must have instances or a sweep"):
        replace(CLAIM, name="toys.nothing", sweep=None, instances=None)


def test_a_reversed_inequality_is_a_near_miss():
    vector = CLAIM.refute_near_miss()
    assert np.linalg.norm(vector) > np.abs(vector).max()
    assert CLAIM.evaluate_near_miss(np.array([3.0, 4.0])) == Measurement(5.0, 4.0)
    # Where both sides are equal the reversed inequality survives, and says so.
    with pytest.raises(NoSuchExample):
        replace(CLAIM, evaluate=lambda x: Measurement(1.0, 1.0)).refute_near_miss(max_examples=20)


def test_sources_say_who_stands_behind():
    assert str(Source.classic("Euclid", "Elements")) == "Euclid, Elements [classic]"
    assert str(Source.ours("a bound")) == "sparsetheory, a bound [ours]"
    assert str(Source.measured("a rate")) == "sparsetheory, a rate [measured]"
