"""Skinning weights in a few tokens per bone move the surface better than rigid parts."""

from dataclasses import dataclass

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.sparse_representation.skinning.token_models import (
    FULL_STEPS,
    QUICK_STEPS,
    outcome,
)
from sparsetheory.proofs_checks.verdicts import WithProbability

# Of the error of rigid parts, of the l1 error per active weight, and of the overlap of supports.
_LIMITS = {QUICK_STEPS: (0.9, 0.2, 0.65), FULL_STEPS: (0.6, 0.1, 0.8)}


@dataclass(frozen=True)
class Run:
    """A seed of rigs, weights and batches, and the steps of training."""

    seed: int
    n_steps: int


def _error(run: Run) -> Measurement:
    """Compare the error of the blended surface with that of rigid parts, and the weights with their limits."""
    found, (share, l1, iou) = outcome(run.seed, run.n_steps), _LIMITS[run.n_steps]
    measurement = Measurement(found.blend_error, share * found.rigid_error, 1.0)
    measurement = measurement.and_chain({"l1 error per active weight": found.l1_per_active, "its limit": l1})
    return measurement.and_chain({"limit of IoU": iou, "IoU of supports": found.iou})


def _by_a_lot(run: Run) -> Measurement:
    """Compare the error of the blended surface with a tenth of that of rigid parts."""
    found = outcome(run.seed, run.n_steps)
    return Measurement(found.blend_error, 0.1 * found.rigid_error, 1.0)


skinning_tokens = Claim(
    name="sparse_representation.skinning_tokens",
    summary="Weights decoded from four tokens per bone, 40 bits, move new rigs of the family better than rigid parts.",
    statement=r"\mathrm{mean}\, \|\textstyle\sum_b (\hat s_b - s_b) T_b x\| < 0.6 \cdot \text{that of rigid parts},"
    r" \quad L_1 < 0.1 \text{ per active weight}, \quad \mathrm{IoU} \ge 0.8 \quad \text{(300 steps)}",
    source=Source.measured(
        "synthetic tubes, tokens of 8 x 5 x 5 x 5 levels; published for rigs by artists, 2602.04805"
    ),
    verdict=WithProbability(0.96, margin=0.75),
    evaluate=_error,
    near_miss=_by_a_lot,
    sweep=Sweep(
        axis="steps of training",
        values=(QUICK_STEPS, FULL_STEPS),
        draw=lambda rng, n_steps: Run(int(rng.integers(2**31)), int(n_steps)),
        trials=5,
        quick_trials=3,
        quick_values=(QUICK_STEPS,),
        measured_label="error of the surface",
        bound_label="that of rigid parts, times 0.9 and 0.6",
    ),
)
