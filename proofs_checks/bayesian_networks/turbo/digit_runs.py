"""Claims about networks on handwritten digits: which prior makes runs of weights, and what pruning costs."""

from dataclasses import dataclass, replace
from functools import cached_property

from sparsetheory.proofs_checks.bayesian_networks.turbo.digits import Arm, Run, run_arm
from sparsetheory.proofs_checks.claim import Claim, Measurement, Reversed, Source, Sweep
from sparsetheory.proofs_checks.verdicts import WithProbability

# What pruning to the weights that are on may change in accuracy.
_LOSS = 0.04
_NETWORK = "digits of scikit-learn, a network 64-100-50-10"


@dataclass(frozen=True)
class _Pair:
    """Networks with independent states and with chains along the inputs of each unit, from one seed."""

    epochs: int
    factorisation: str
    seed: int

    @cached_property
    def runs(self) -> tuple[Run, Run]:
        """Independent states, and chains."""
        arm = Arm(self.seed, factorisation=self.factorisation, epochs=self.epochs, tuning_epochs=0)
        return run_arm(arm), run_arm(replace(arm, prior="chain_rows"))

    @property
    def lengths(self) -> tuple[float, float]:
        """Mean lengths of runs in the first layer."""
        iid, rows = (run.report.layers[0].mean_run for run in self.runs)
        return iid, rows

    @property
    def pruning(self) -> dict[str, float]:
        """By how much pruning changes the accuracy, and by how much it may."""
        return {
            "change of accuracy by pruning": max(abs(run.full - run.pruned) for run in self.runs),
            "allowed change": _LOSS,
        }


def _sweep(factorisation: str, epochs: tuple[float, float], quick_trials: int, **labels: str) -> Sweep:
    return Sweep(
        axis="epochs",
        values=epochs,
        draw=lambda rng, epochs: _Pair(int(epochs), factorisation, int(rng.integers(2**31))),
        trials=6,
        quick_trials=quick_trials,
        quick_values=(40.0,),
        **labels,
    )


def _clustered(pair: _Pair) -> Measurement:
    iid, rows = pair.lengths
    return Measurement(5 * iid, rows, 1.0).and_chain(pair.pruning)


supports_cluster = Claim(
    name="bayesian_networks.supports_cluster",
    summary="With precisions that see their states, chains make runs of weights at least 5 times as long.",
    statement=r"\bar r_{\text{rows}} \ge 5\, \bar r_{\text{iid}}, \quad |a_{\text{full}} - a_{\text{pruned}}| \le 0.04",
    source=Source.measured(_NETWORK),
    verdict=WithProbability(0.995, margin=0.9),
    evaluate=_clustered,
    near_miss=Reversed(),
    sweep=_sweep(
        "collapsed",
        (40.0, 60.0),
        2,
        measured_label="5 times that of independent states",
        bound_label="chains along rows",
        y_label="mean run in the first layer",
    ),
)


def _not_clustered(pair: _Pair) -> Measurement:
    iid, rows = pair.lengths
    # Of runs alone: what pruning costs in this form has been seen above 0.04, in one of twelve runs.
    return Measurement(rows, 2 * iid, 1.0)


published_supports_do_not_cluster = Claim(
    name="bayesian_networks.published_supports_do_not_cluster",
    summary="In the published factorisation the same chains make runs at most twice as long as independent states.",
    statement=r"\bar r_{\text{rows}} \le 2\, \bar r_{\text{iid}}",
    source=Source.measured(_NETWORK),
    verdict=WithProbability(0.995, margin=0.9),
    evaluate=_not_clustered,
    near_miss=Reversed(),
    sweep=_sweep(
        "meanfield",
        (30.0, 40.0),
        2,
        measured_label="chains along rows",
        bound_label="twice that of independent states",
        y_label="mean run in the first layer",
    ),
)


@dataclass(frozen=True)
class _Dead:
    """Independent states, with and without annealing."""

    epochs: int
    seed: int

    @cached_property
    def annealed(self) -> Run:
        """With annealing."""
        return run_arm(Arm(self.seed, epochs=self.epochs, tuning_epochs=0))

    @cached_property
    def at_once(self) -> Run:
        """With the last law of the off state right after the warm-up."""
        return run_arm(Arm(self.seed, epochs=20, annealed=False, tuning_epochs=0))


def _freed(pair: _Dead) -> Measurement:
    """Count weights of pixels that are zero in all pictures."""
    kept = {"without annealing, at least": 0.95, "without annealing": pair.at_once.dead_on}
    return Measurement(pair.annealed.dead_on, 0.02, 1.0).and_chain(kept)


dead_pixels_go_off = Claim(
    name="bayesian_networks.dead_pixels_go_off",
    summary="Annealing turns the weights of dead pixels off; without it they stay on.",
    statement=r"q(s_{\text{dead}}) < \tfrac12 \text{ with annealing}, \quad q(s_{\text{dead}}) > \tfrac12 "
    r"\text{ without}",
    source=Source.measured(f"{_NETWORK}, independent states"),
    verdict=WithProbability(0.995, margin=0.9),
    evaluate=_freed,
    near_miss=lambda pair: Measurement(pair.at_once.dead_on, 0.02, 1.0),
    sweep=Sweep(
        axis="epochs",
        values=(40.0, 60.0),
        draw=lambda rng, epochs: _Dead(int(epochs), int(rng.integers(2**31))),
        trials=6,
        quick_trials=2,
        quick_values=(40.0,),
        measured_label="with annealing",
        bound_label="allowed",
        y_label="weights of dead pixels, on",
    ),
)


def _sparse(arm: Arm) -> Measurement:
    run = run_arm(arm)
    accuracy = {"least accuracy": 0.85, "accuracy": run.tuned}
    return Measurement(run.report.density, 0.05, 1.0).and_chain(accuracy)


few_weights_are_enough = Claim(
    name="bayesian_networks.few_weights_are_enough",
    summary="Independent states keep at most 5 % of the weights of a network on digits, and an accuracy of 0.85.",
    statement=r"\text{density} \le 0.05, \quad a \ge 0.85",
    source=Source.measured(f"{_NETWORK}, independent states, fine-tuned after pruning"),
    verdict=WithProbability(0.995, margin=0.9),
    evaluate=_sparse,
    near_miss=lambda arm: _sparse(replace(arm, prior="chain_rows", temperature=0.3)),
    sweep=Sweep(
        axis="epochs",
        values=(60.0, 80.0),
        draw=lambda rng, epochs: Arm(int(rng.integers(2**31)), epochs=int(epochs)),
        trials=6,
        quick_trials=2,
        quick_values=(60.0,),
        measured_label="density",
        bound_label="largest density",
        y_label="density, and accuracy",
    ),
)
