"""Claim about labels without meaning: the bound of a rounded model is not below its error on new samples."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sparsetheory.gpu import dimension
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.intrinsic_dimension.subspaces import networks
from sparsetheory.proofs_checks.verdicts import WithProbability

_DELTA, _BITS, _RADIUS = 0.05, 6, 8.0
_N_TRAIN, _N_STEPS = 500, 150


@dataclass(frozen=True)
class Coins:
    """Digits whose two classes are thrown by a coin, and a number of dimensions."""

    seed: int
    n_components: int

    @cached_property
    def found(self) -> tuple[Any, float]:
        """Certificate of a network that was fitted to half a thousand coins, and its error on others."""
        import torch

        digits = networks.digits(self.seed)
        # Not from the numbers that the weights and the projection are drawn from: they must not know the coins.
        coins = np.random.default_rng([self.seed, 1])
        y, held_y = (torch.from_numpy(coins.integers(2, size=len(part))) for part in (digits.y, digits.held_y))
        task = networks.Task(digits.x, y, digits.held_x, held_y).few(_N_TRAIN)
        model = networks.in_subspace(networks.network(self.seed), self.n_components, seed=self.seed)
        networks.fitted(model, task, networks.LR["subspace"], _N_STEPS)
        certificate = dimension.certify_subspace(model, task.x, task.y, bits=_BITS, radius=_RADIUS, delta=_DELTA)
        return certificate, 1 - networks.accuracy(model.quantized(_BITS, _RADIUS), task)


def _covered(case: Coins) -> Measurement:
    """Compare the error on held-out samples with the bound."""
    certificate, error = case.found
    return Measurement(error, certificate.bound, extras={"error on the sample": certificate.train_loss})


def _sample_error(case: Coins) -> Measurement:
    """Take the error on the sample for the true one."""
    certificate, error = case.found
    return Measurement(error, certificate.train_loss)


occam_random_labels = Claim(
    name="intrinsic_dimension.occam_random_labels",
    summary="Digits with classes thrown by a coin: errors on new samples stay below the bound of the rounded model.",
    statement=r"L \le \hat L + \sqrt{\frac{d b \ln 2 + \ln (d (d + 1) / \delta)}{2 m}}",
    source=Source.ours("docstring of occam_bound; the rate is that of Aghajanyan et al. (2021)"),
    verdict=WithProbability(1 - _DELTA, margin=0.3),
    evaluate=_covered,
    near_miss=_sample_error,
    sweep=Sweep(
        axis="dimension of the subspace",
        values=(5.0, 10.0, 20.0, 40.0),
        draw=lambda rng, d: Coins(networks.seed_of(rng), int(d)),
        trials=40,
        quick_trials=11,
        quick_values=(20.0,),
        log="x",
        measured_label="error on new samples",
        y_label="share of errors",
    ),
)
