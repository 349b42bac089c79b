"""Claim about update sparsity at equal movement: there rewards and labels leave equally many weights as they were."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sparsetheory.gpu import analysis
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.network_analysis.updates.runs import KINDS, FineTuning
from sparsetheory.proofs_checks.verdicts import WithProbability

_EQUAL, _APART = 0.03, 0.05


@dataclass(frozen=True, eq=False)
class Movements:
    """Runs of one seed by rewards at a learning rate, and by labels at this rate and at slower ones."""

    seed: int
    rate: float

    @cached_property
    def rewards(self) -> tuple[float, float]:
        """Mean change and sparsity in bfloat16 of the run by rewards."""
        return self._of(KINDS[0], self.rate)

    @cached_property
    def labels(self) -> list[tuple[float, float]]:
        """The same of runs by labels at 0.4, 0.65 and 1 of the rate."""
        return [self._of(KINDS[1], share * self.rate) for share in (0.4, 0.65, 1.0)]

    @property
    def at_equal_movement(self) -> float:
        """Sparsity of labels where they move weights as rewards do, between their own runs."""
        changes, sparsities = zip(*self.labels, strict=True)
        # Outside of them there is no answer.
        return float(np.interp(math.log(self.rewards[0]), np.log(changes), sparsities, left=np.nan, right=np.nan))

    @cached_property
    def _runs(self) -> FineTuning:
        return FineTuning(self.seed)

    def _of(self, kind: str, rate: float) -> tuple[float, float]:
        import torch

        start, end = self._runs.start, self._runs.run(kind, rate=rate)
        report = analysis.update_sparsity(start, end, tol=0.0, dtype=torch.bfloat16)
        return analysis.update_sparsity(start, end).mean_change, report.total


def _draw(rng: np.random.Generator, rate: float) -> Movements:
    return Movements(int(rng.integers(2**31)), rate)


def _compared(case: Movements) -> Measurement:
    """Compare sparsities at equal movement, where they agree, and at equal learning rates, where they do not."""
    apart, found = case.rewards[1] - case.labels[-1][1], abs(case.rewards[1] - case.at_equal_movement)
    return Measurement(found, _EQUAL, scale=1.0).and_chain({"0.05": _APART, "difference at equal rates": apart})


def _at_equal_rates(case: Movements) -> Measurement:
    """Expect equal sparsities at equal learning rates."""
    return Measurement(abs(case.rewards[1] - case.labels[-1][1]), _EQUAL, scale=1.0)


update_movement = Claim(
    name="network_analysis.update_movement",
    summary="Rewards change fewer weights than labels at one learning rate, and as many where both move them as far.",
    statement=r"|s_{\text{bf16}}(\text{rewards}) - s_{\text{bf16}}(\text{labels})| < 0.03"
    r" \text{ at equal mean } |\Delta \theta|",
    source=Source.measured("digits, 64-128-128-10, 300 steps of Adam; labels at slower rates, interpolated"),
    verdict=WithProbability(0.95, margin=0.65),
    evaluate=_compared,
    near_miss=_at_equal_rates,
    sweep=Sweep(
        axis="learning rate of rewards",
        values=(1e-5, 2e-5, 3e-5),
        draw=_draw,
        trials=12,
        quick_trials=4,
        quick_values=(2e-5,),
        log="x",
        measured_label="difference at equal movement",
        bound_label="0.03",
        y_label="difference of sparsities",
    ),
)
