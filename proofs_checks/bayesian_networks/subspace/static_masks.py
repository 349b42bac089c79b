"""Claim about networks on handwritten digits: masks that swap against masks that stay."""

from dataclasses import dataclass, replace

from sparsetheory.proofs_checks.bayesian_networks.subspace.pictures import Arm, run_arm
from sparsetheory.proofs_checks.claim import Claim, Measurement, Reversed, Source, Sweep
from sparsetheory.proofs_checks.verdicts import WithProbability

_LEAST = 0.25


@dataclass(frozen=True)
class _Pair:
    """Two runs with the same start, data and seed."""

    arm: Arm

    def measure(self) -> Measurement:
        """Compare accuracies at the means."""
        swapped = run_arm(self.arm).accuracy
        static = run_arm(replace(self.arm, criterion="static")).accuracy
        return Measurement(static + _LEAST, swapped, 1.0, {"static masks": static})


swaps_beat_static = Claim(
    name="bayesian_networks.swaps_beat_static",
    summary="At 5 % density, swaps raise the accuracy on other digits by at least 25 points over static random masks.",
    statement=r"a_{\text{swaps}} \ge a_{\text{static}} + 0.25",
    source=Source.measured("digits of scikit-learn, a network 64-256-128-10 without biases, 20 epochs"),
    verdict=WithProbability(0.995, margin=0.9),
    evaluate=_Pair.measure,
    near_miss=Reversed(),
    sweep=Sweep(
        axis="density",
        values=(0.05,),
        draw=lambda rng, density: _Pair(Arm(int(rng.integers(2**20)), density=density, epochs=20)),
        trials=12,
        quick_trials=2,
        measured_label="static masks plus 0.25",
        bound_label="masks that swap",
        y_label="accuracy on other digits",
    ),
)
