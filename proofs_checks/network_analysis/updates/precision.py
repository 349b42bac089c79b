"""Claim about update sparsity of a network for digits: the order of methods is one of movements, seen in bfloat16."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sparsetheory.gpu import analysis
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.network_analysis.updates.runs import KINDS, FineTuning, random_sets
from sparsetheory.proofs_checks.verdicts import WithProbability

_SPREAD, _ABOVE_CHANCE, _RANK, _ACCURACY = 0.03, 0.15, 0.75, 0.01


@dataclass(frozen=True, eq=False)
class Precision:
    """Runs of one seed at one learning rate."""

    seed: int
    rate: float

    @cached_property
    def runs(self) -> FineTuning:
        """The runs, each trained once."""
        return FineTuning(self.seed)

    def sparsities(self, dtype: str) -> list[float]:
        """Update sparsity of each kind of run at the tolerance 1e-5, in a precision."""
        import torch

        states = [self.runs.run(kind, rate=self.rate) for kind in KINDS]
        return [analysis.update_sparsity(self.runs.start, state, dtype=getattr(torch, dtype)).total for state in states]

    def subnetwork(self, order: int) -> Any:
        """Entries that a run by rewards changes in bfloat16."""
        import torch

        return analysis.update_mask(self.runs.start, self._rewarded(order), dtype=torch.bfloat16)

    def ranks(self) -> list[float]:
        """Rank of the change of each matrix in bfloat16, relative to the largest possible one."""
        import torch

        found = analysis.update_rank(self.runs.start, self._rewarded(0), dtype=torch.bfloat16)
        return [matrix.fraction for matrix in found.matrices]

    def alone(self) -> tuple[float, float, float]:
        """Change of accuracy when the subnetwork trains alone, and its gain and that of a random set of its size."""
        full, own = self._rewarded(0), self.subnetwork(0)
        trained = [
            self.runs.subnetwork(KINDS[0], masks, rate=self.rate) for masks in (own, random_sets(own, self.seed))
        ]
        difference = abs(self.runs.accuracy(full) - self.runs.accuracy(trained[0]))
        return difference, self.runs.gain(trained[0], full), self.runs.gain(trained[1], full)

    def _rewarded(self, order: int) -> Any:
        return self.runs.run(KINDS[0], order, self.rate)


def _draw(rng: np.random.Generator, rate: float) -> Precision:
    return Precision(int(rng.integers(2**31)), rate)


def _ordered(case: Precision) -> Measurement:
    """Compare sparsities in both precisions, the overlap of two runs with chance, the rank, and the run alone.

    That the subnetwork reaches the accuracy of the full run says little: so does the start. Its share of the gain in
    mean probability is compared with that of a random set of the same size.
    """
    rewards, labels, shifted = case.sparsities("bfloat16")
    single = case.sparsities("float32")
    overlap = analysis.overlap(case.subnetwork(0), case.subnetwork(1))
    difference, own, random = case.alone()
    found = Measurement.chain(shifted, labels, {"rewards": rewards}, scale=1.0)
    found = found.and_chain({"spread in float32": max(single) - min(single), "largest spread": _SPREAD})
    found = found.and_chain({"least above chance": _ABOVE_CHANCE, "above chance": overlap.o1 - overlap.chance1})
    found = found.and_chain({"least rank": _RANK, "rank": min(case.ranks())})
    found = found.and_chain({"change of accuracy": difference, "largest change": _ACCURACY})
    return found.and_chain({"gain of a random set": random, "gain of the subnetwork": own})


def _ordered_in_float32(case: Precision) -> Measurement:
    """Expect rewards to leave clearly more weights as they were in float32, too."""
    rewards, labels, _ = case.sparsities("float32")
    return Measurement(labels + _SPREAD, rewards, scale=1.0)


update_precision = Claim(
    name="network_analysis.update_precision",
    summary="Rewards change fewer weights than labels in bfloat16 and not in float32; their subnetwork is nearly full "
    "rank, is found again, and gains more alone than a random one.",
    statement=r"s_{\text{bf16}}(\text{rewards}) > s_{\text{bf16}}(\text{labels}) > s_{\text{bf16}}(\text{shifted}),"
    r" \quad \max s_{\text{fp32}} - \min s_{\text{fp32}} < 0.03",
    source=Source.measured("digits, 64-128-128-10, 300 steps of Adam, after arXiv:2505.11711"),
    verdict=WithProbability(0.9, margin=0.55),
    evaluate=_ordered,
    near_miss=_ordered_in_float32,
    sweep=Sweep(
        axis="learning rate",
        values=(1e-5, 2e-5, 3e-5),
        draw=_draw,
        trials=10,
        quick_trials=5,
        quick_values=(2e-5,),
        log="x",
        measured_label="shifted labels, bfloat16",
        bound_label="labels, bfloat16",
        y_label="share of weights that do not change; shares",
    ),
)
