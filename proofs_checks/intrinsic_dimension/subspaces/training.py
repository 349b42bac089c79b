"""Claims about digits: how many dimensions training needs, and that the kind of the map does not matter."""

from dataclasses import dataclass

import numpy as np

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.intrinsic_dimension.subspaces import networks
from sparsetheory.proofs_checks.verdicts import WithProbability

_N_STEPS = 200
_FRACTION = 0.9


@dataclass(frozen=True)
class Runs:
    """A seed of the digits, of the weights and of the maps, and the width of the network."""

    seed: int
    width: int = 64
    n_train: int = networks.N_TRAIN

    def direct(self) -> float:
        """Return the accuracy of direct training."""
        return self._trained(networks.network(self.seed, self.width), networks.LR["direct"])

    def subspace(self, n_components: int, kind: str = networks.KINDS[1]) -> float:
        """Return the accuracy of training in a subspace."""
        model = networks.in_subspace(networks.network(self.seed, self.width), n_components, kind, self.seed)
        return self._trained(model, networks.LR["subspace"])

    def _trained(self, model: object, lr: float) -> float:
        task = networks.digits(self.seed)
        return networks.accuracy(networks.fitted(model, task.few(self.n_train), lr, _N_STEPS), task)


def _needed(case: Runs) -> Measurement:
    """Order accuracies at 20, 60 and 200 dimensions, with 90 % of direct training between the last two."""
    line = _FRACTION * case.direct()
    at = {d: case.subspace(d) for d in (20, 60, 200)}
    return Measurement.chain(at[20], at[60], {"90 % of direct": line, "200 dimensions": at[200]})


def _few_are_enough(case: Runs) -> Measurement:
    """Say that 20 dimensions reach the line."""
    return Measurement(_FRACTION * case.direct(), case.subspace(20))


needed_dimension = Claim(
    name="intrinsic_dimension.needed_dimension",
    summary="Digits: 60 random dimensions do not reach 90 % of direct training, 200 do, 4810 or 19210 weights alike.",
    statement=r"a_{20} \le a_{60} \le 0.9\, a_{\mathrm{direct}} \le a_{200}, \quad a_d = \max \text{ accuracy in } "
    r"\theta_0 + P t,\ t \in R^d",
    source=Source.measured("digits of scikit-learn, perceptrons 64-w-10 with w = 64 and 256, Adam"),
    verdict=WithProbability(0.95, margin=0.65),
    evaluate=_needed,
    near_miss=_few_are_enough,
    sweep=Sweep(
        axis="width of the network",
        values=(64.0, 256.0),
        draw=lambda rng, width: Runs(networks.seed_of(rng), int(width)),
        trials=12,
        quick_trials=4,
        quick_values=(64.0,),
        log="x",
        measured_label="20 dimensions",
        bound_label="60 dimensions",
        y_label="accuracy on held-out digits",
    ),
)


@dataclass(frozen=True)
class Kinds:
    """Two seeds and a number of dimensions."""

    seeds: tuple[int, int]
    n_components: int

    def mean(self, kind: str, n_components: int | None = None) -> float:
        """Return the mean accuracy over both seeds; of 500 samples, which is less work."""
        d = self.n_components if n_components is None else n_components
        return float(np.mean([Runs(seed, n_train=500).subspace(d, kind) for seed in self.seeds]))


def _kinds(case: Kinds) -> Measurement:
    """Compare the largest and the smallest of the three kinds, which all must have learnt something."""
    at = [case.mean(kind) for kind in networks.KINDS]
    return Measurement(max(at) - min(at), 0.10).and_chain({"half": 0.5, "least accuracy": min(at)})


def _other_dimension(case: Kinds) -> Measurement:
    """Compare with a quarter of the dimensions, which the difference must tell apart."""
    kind = networks.KINDS[1]
    return Measurement(case.mean(kind) - case.mean(kind, case.n_components // 4), 0.10)


kinds_train_alike = Claim(
    name="intrinsic_dimension.kinds_train_alike",
    summary="Digits: dense, sparse and Fastfood maps of equal dimension reach the same accuracy within 0.10.",
    statement=r"\max_{\mathrm{kinds}} a_d - \min_{\mathrm{kinds}} a_d \le 0.10,"
    r" \quad \min_{\mathrm{kinds}} a_d \ge 0.5",
    source=Source.measured("digits of scikit-learn, perceptron 64-64-10, Adam, means of two seeds"),
    verdict=WithProbability(0.95, margin=0.65),
    evaluate=_kinds,
    near_miss=_other_dimension,
    sweep=Sweep(
        axis="dimension of the subspace",
        values=(60.0, 100.0, 150.0),
        draw=lambda rng, d: Kinds((networks.seed_of(rng), networks.seed_of(rng)), int(d)),
        trials=12,
        quick_trials=4,
        quick_values=(100.0,),
        log="x",
        measured_label="largest difference of two kinds",
        bound_label="0.10",
        y_label="difference of accuracies",
    ),
)
