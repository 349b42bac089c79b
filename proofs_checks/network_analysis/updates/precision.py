"""Claims about updates of a network for digits: sparsity in two precisions, and the subnetwork that changes."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sparsetheory.gpu import analysis
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.network_analysis.updates.runs import KINDS, FineTuning, random_sets
from sparsetheory.proofs_checks.verdicts import WithProbability

_SPREAD, _ABOVE_CHANCE, _RANK = 0.03, 0.15, 0.75


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

    def gains(self) -> tuple[float, float]:
        """Gains when the subnetwork, or a random set of its size, trains alone, relative to that of the full run."""
        own = self.subnetwork(0)
        sets = own, random_sets(own, self.seed)
        trained = [self.runs.subnetwork(KINDS[0], masks, rate=self.rate) for masks in sets]
        return self.runs.gain(trained[0], self._rewarded(0)), self.runs.gain(trained[1], self._rewarded(0))

    def _rewarded(self, order: int) -> Any:
        return self.runs.run(KINDS[0], order, self.rate)


def _draw(rng: np.random.Generator, rate: float) -> Precision:
    return Precision(int(rng.integers(2**31)), rate)


def _ordered(case: Precision) -> Measurement:
    """Compare sparsities of all kinds of runs in bfloat16, and their spread in float32."""
    rewards, labels, shifted = case.sparsities("bfloat16")
    single = case.sparsities("float32")
    found = Measurement.chain(shifted, labels, {"rewards, bfloat16": rewards}, scale=1.0)
    return found.and_chain({"spread in float32": max(single) - min(single), "0.03": _SPREAD})


def _ordered_in_float32(case: Precision) -> Measurement:
    """Expect rewards to leave clearly more weights as they were in float32, too."""
    rewards, labels, _ = case.sparsities("float32")
    return Measurement(labels + _SPREAD, rewards, scale=1.0)


update_precision = Claim(
    name="network_analysis.update_precision",
    summary="Rewards change fewer weights than labels in bfloat16, labels fewer than shifted ones; not so in float32.",
    statement=r"s_{\text{bf16}}(\text{rewards}) > s_{\text{bf16}}(\text{labels}) > s_{\text{bf16}}(\text{shifted}),"
    r" \quad \max s_{\text{fp32}} - \min s_{\text{fp32}} < 0.03",
    source=Source.measured("digits, 64-128-128-10, 300 steps of Adam, after arXiv:2505.11711"),
    verdict=WithProbability(0.95, margin=0.65),
    evaluate=_ordered,
    near_miss=_ordered_in_float32,
    sweep=Sweep(
        axis="learning rate",
        values=(1e-5, 2e-5, 3e-5),
        draw=_draw,
        trials=12,
        quick_trials=4,
        quick_values=(2e-5,),
        log="x",
        measured_label="shifted labels, bfloat16",
        bound_label="labels, bfloat16",
        y_label="unchanged weights",
    ),
)


def _found_again(case: Precision) -> Measurement:
    """Compare the overlap of two runs with chance, ranks with a share, and the gain alone with that of a random set.

    That the subnetwork reaches the accuracy of the full run would say little: so does the start. What it gains in the
    mean probability of the right class tells it from a random set.
    """
    overlap = analysis.overlap(case.subnetwork(0), case.subnetwork(1))
    own, random = case.gains()
    found = Measurement(overlap.chance1 + _ABOVE_CHANCE, overlap.o1, scale=1.0)
    found = found.and_chain({"0.75": _RANK, "smallest relative rank": min(case.ranks())})
    return found.and_chain({"gain of a random set": random, "gain of the subnetwork": own})


def _low_rank(case: Precision) -> Measurement:
    """Expect a sparse update to be one of low rank: some matrix at most at three quarters."""
    return Measurement(min(case.ranks()), _RANK, scale=1.0)


update_subnetwork = Claim(
    name="network_analysis.update_subnetwork",
    summary="What a run of rewards changes is found again by another one, nearly full rank, and gains more alone than "
    "a random set.",
    statement=r"o_1 > \frac{|I_2|}{n} + 0.15, \quad \frac{\mathrm{rank}\, \Delta W}{\min(m, n)} > 0.75,"
    r" \quad \mathrm{gain}(I_1) > \mathrm{gain}(\text{random})",
    source=Source.measured("digits, 64-128-128-10, 300 steps of Adam, after arXiv:2505.11711"),
    verdict=WithProbability(0.95, margin=0.65),
    evaluate=_found_again,
    near_miss=_low_rank,
    sweep=Sweep(
        axis="learning rate",
        values=(5e-6, 1e-5, 2e-5),
        draw=_draw,
        trials=12,
        quick_trials=4,
        quick_values=(2e-5,),
        log="x",
        measured_label="chance + 0.15",
        bound_label="overlap of two runs",
        y_label="shares",
    ),
)
