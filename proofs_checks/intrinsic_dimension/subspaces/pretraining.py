"""Claim about digits that are shifted by a pixel: a pre-trained network needs fewer dimensions than a fresh one."""

from dataclasses import dataclass
from typing import Any

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.intrinsic_dimension.subspaces import networks
from sparsetheory.proofs_checks.verdicts import WithProbability

__all__ = ["N_STEPS", "N_TUNE", "pretrained"]

N_TUNE, N_STEPS = 400, 150
_N_PRETRAIN = 200
# Accuracy that pre-training is worth at least, by dimension; it shrinks where both get better.
_MARGINS = {10: 0.12, 20: 0.12, 80: 0.03}


def pretrained(seed: int) -> Any:
    """Return a network that knows the digits where they are."""
    return networks.fitted(networks.network(seed), networks.digits(seed), networks.LR["direct"], _N_PRETRAIN)


@dataclass(frozen=True)
class Tuning:
    """A seed and a number of dimensions."""

    seed: int
    n_components: int

    def accuracy(self, start: object) -> float:
        """Return the accuracy on shifted digits after training on 400 of them in a subspace around a start."""
        task = networks.shifted(networks.digits(self.seed))
        model = networks.in_subspace(start, self.n_components, seed=self.seed)
        return networks.accuracy(networks.fitted(model, task.few(N_TUNE), networks.LR["subspace"], N_STEPS), task)


def _pretraining(case: Tuning) -> Measurement:
    """Compare a fresh network, plus the margin of the dimension, with a pre-trained one in the same subspace."""
    scratch, tuned = case.accuracy(networks.network(case.seed)), case.accuracy(pretrained(case.seed))
    return Measurement(scratch + _MARGINS[case.n_components], tuned)


def _fresh_is_as_good(case: Tuning) -> Measurement:
    """Say that a fresh network does as well."""
    return Measurement(case.accuracy(pretrained(case.seed)), case.accuracy(networks.network(case.seed)))


pretraining = Claim(
    name="intrinsic_dimension.pretraining",
    summary="Digits shifted by a pixel: in few dimensions a pre-trained network is better than a fresh one, by 0.12.",
    statement=r"a_d(\theta_{\mathrm{pre}}) \ge a_d(\theta_{\mathrm{fresh}}) + \mu_d, \quad "
    r"\mu_{10} = \mu_{20} = 0.12,\ \mu_{80} = 0.03",
    source=Source.measured("digits of scikit-learn moved right by a pixel, perceptron 64-64-10, Adam"),
    verdict=WithProbability(0.95, margin=0.65),
    evaluate=_pretraining,
    near_miss=_fresh_is_as_good,
    sweep=Sweep(
        axis="dimension of the subspace",
        values=tuple(map(float, _MARGINS)),
        draw=lambda rng, d: Tuning(networks.seed_of(rng), int(d)),
        trials=12,
        quick_trials=4,
        quick_values=(10.0,),
        log="x",
        measured_label="fresh, plus margin",
        bound_label="pre-trained",
        y_label="accuracy on held-out shifted digits",
    ),
)
