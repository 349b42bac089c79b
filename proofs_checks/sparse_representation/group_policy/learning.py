"""A claim about how fast policies find items by their codes, on synthetic questions."""

from dataclasses import dataclass

import numpy as np

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.sparse_representation.group_policy.policies import ARMS, hit_curve, updates_to_half
from sparsetheory.proofs_checks.verdicts import WithProbability

_MOST_STEPS = 300


@dataclass(frozen=True)
class Learning:
    """A seed of eight runs, and the answers of a group."""

    seed: int
    n_answers: int

    def median(self, arm: str) -> float:
        """Return the median number of updates to half of all answers right."""
        curve = hit_curve(ARMS[arm], self.seed, _MOST_STEPS, self.n_answers, to_half=True)
        return float(np.median(updates_to_half(curve)))


def _draw(rng: np.random.Generator, n_answers: float) -> Learning:
    return Learning(int(rng.integers(2**31)), int(n_answers))


def _faster(case: Learning) -> Measurement:
    """Compare the bonus with 0.9 of the updates without it, at its own norm too, and prefixes with right or wrong."""
    prefix = case.median("prefix")
    found = Measurement(case.median("prefix and bonus"), 0.9 * prefix)
    found = found.and_chain(
        {
            "bonus, rescaled": case.median("bonus, rescaled"),
            "prefix": prefix,
            "0.7 of right or wrong": 0.7 * case.median("right or wrong"),
        }
    )
    # Shown, not compared.
    return Measurement(
        found.measured,
        found.bound,
        extras={**found.extras, "prefix, step 0.65": case.median("prefix, step 0.65")},
        also=found.also,
    )


def _longer_step(case: Learning) -> Measurement:
    """Expect the bonus to save as much against a step that is longer by 0.3, too."""
    return Measurement(case.median("prefix and bonus"), 0.9 * case.median("prefix, step 0.65"))


prefix_and_bonus_speed = Claim(
    name="sparse_representation.prefix_and_bonus_speed",
    summary="Rewards of prefixes find items faster than right or wrong, and a bonus for rare hits faster still.",
    statement=r"T_{\mathrm{bonus}} \le 0.9\, T_{\mathrm{prefix}}, \quad"
    r" T_{\mathrm{bonus, rescaled}} \le T_{\mathrm{prefix}} \le 0.7\, T_{\mathrm{binary}}",
    source=Source.measured(
        "updates to half of all answers right, synthetic questions with 256 items; most of what the bonus gains, a "
        "longer step gains as well; method of arXiv 2510.20815"
    ),
    verdict=WithProbability(0.9, margin=0.5),
    evaluate=_faster,
    near_miss=_longer_step,
    sweep=Sweep(
        axis="answers of a group",
        values=(8, 10, 16),
        draw=_draw,
        trials=20,
        quick_trials=6,
        quick_values=(10,),
        measured_label="prefix and bonus",
        bound_label="0.9 of prefix",
        y_label="updates to half of all answers right",
    ),
)
