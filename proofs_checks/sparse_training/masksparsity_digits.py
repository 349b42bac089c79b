"""Claim about pruning channels of a network for digits: a penalty on these channels alone spares the others."""

import copy
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from sparsetheory.gpu import core, weights
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.sparse_training.digits import shuffled_digits
from sparsetheory.proofs_checks.verdicts import WithProbability

_TRAIN, _BATCH, _WIDTH, _PRUNED = 1000, 100, 64, 32
# Strength from which on pruned scales reach zero; what is promised there, and everywhere.
_STRONG, _SAME_LOSS, _OTHER_LOSS, _RATIO = 0.06, 0.02, 0.3, 1.5


@cache
def _digits() -> tuple[Any, ...]:
    """Return inputs and classes to train on, then those to judge by."""
    x, y = shuffled_digits(0)
    return x[:_TRAIN], y[:_TRAIN], x[_TRAIN:], y[_TRAIN:]


@dataclass(frozen=True)
class Arm:
    """A network after training with a penalty, before and after pruning.

    Parameters
    ----------
    kept, pruned : float
        Mean sizes of the scales of channels that stay and that go.
    loss_change : float
        Relative change of the loss on test data when channels go, their constants folded; its size.
    accuracy : float
        On test data, after pruning.
    """

    kept: float
    pruned: float
    loss_change: float
    accuracy: float


@dataclass(frozen=True, eq=False)
class Training:
    """A seed, and the strength of the penalty."""

    seed: int
    alpha: float

    @cached_property
    def masked(self) -> Arm:
        """With the penalty on the channels that will go."""
        return self._arm(everywhere=False)

    @cached_property
    def unmasked(self) -> Arm:
        """With the penalty on all channels."""
        return self._arm(everywhere=True)

    @cached_property
    def _baseline(self) -> Any:
        from torch import nn

        sizes = (64, _WIDTH, _WIDTH, 10)
        model = core.models.MLP(sizes, generator=self.seed)
        model.insert(1, nn.BatchNorm1d(_WIDTH))
        model.insert(4, nn.BatchNorm1d(_WIDTH))
        return self._trained(model, 20, 0.05, {})

    def _trained(self, model: Any, epochs: int, lr: float, masks: dict[str, Any]) -> Any:
        """Train by gradient descent with momentum 0.9 by Nesterov's rule, weight decay 1e-4 and a constant step."""
        import torch

        x, y = _digits()[:2]
        optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=1e-4)
        if masks:
            scales = [model.get_parameter(name) for name in masks]
            weights.MaskedPenalty(optimizer, scales, list(masks.values()), self.alpha)
        steps = epochs * (_TRAIN // _BATCH)
        with one_thread():
            core.train(model, x, y, optimizer=optimizer, n_steps=steps, batch_size=_BATCH, generator=self.seed)
        return model.eval()

    def _arm(self, everywhere: bool) -> Arm:
        import torch

        baseline = self._baseline
        cuts = {
            name: float(baseline.get_parameter(name).detach().abs().sort().values[_PRUNED - 1])
            for name in ("1.weight", "4.weight")
        }
        prune = {name: baseline.get_parameter(name).detach().abs() <= cut for name, cut in cuts.items()}
        penalised = {name: torch.ones_like(mask) if everywhere else mask for name, mask in prune.items()}
        model = self._trained(copy.deepcopy(baseline), 15, 0.02, penalised)
        sizes = torch.cat([model.get_parameter(name).detach().abs() for name in prune])
        gone = torch.cat(list(prune.values()))
        x, y = _digits()[2:]
        smaller = weights.remove_channels(model, prune)
        with torch.no_grad():
            before, after = core.class_loss(model(x), y), core.class_loss(smaller(x), y)
            accuracy = (smaller(x).argmax(1) == y).double().mean()
        change = abs(float(after / before) - 1.0)
        return Arm(float(sizes[~gone].mean()), float(sizes[gone].mean()), change, float(accuracy))


def _draw(rng: np.random.Generator, alpha: float) -> Training:
    return Training(int(rng.integers(2**31)), alpha)


def _spared(case: Training) -> Measurement:
    """Compare kept scales of both ways, what pruning does to the loss where the penalty is strong, and accuracies."""
    masked, unmasked = case.masked, case.unmasked
    found = Measurement(_RATIO * unmasked.kept, masked.kept, 1.0)
    found = found.and_chain({"accuracy, all penalised": unmasked.accuracy, "accuracy, masked": masked.accuracy})
    # A weak penalty leaves pruned scales that are far from zero; then the order is promised alone.
    strong, spared, hurt = case.alpha >= _STRONG, masked.loss_change, unmasked.loss_change
    found = found.and_chain({"loss change, masked": spared, "at most": _SAME_LOSS if strong else hurt})
    return found.and_chain({"at least": _OTHER_LOSS if strong else spared, "loss change, all penalised": hurt})


def _all_penalised_too(case: Training) -> Measurement:
    """Expect a penalty on all channels to leave the kept ones as the masked one does."""
    return Measurement(case.masked.kept, _RATIO * case.unmasked.kept, 1.0)


masksparsity_digits = Claim(
    name="sparse_training.masksparsity_digits",
    summary="Where only the channels to be pruned are penalised, the others keep their scales, and pruning does less.",
    statement=r"|\gamma_{\text{kept}}|_{\text{masked}} > 1.5\, |\gamma_{\text{kept}}|_{\text{all}}, \quad"
    r" \Delta L_{\text{masked}} < 2\%,\ \Delta L_{\text{all}} > 30\% \text{ at } \alpha = 0.06",
    source=Source.measured("digits, two normalised layers of 64, half of the channels of the smallest scales pruned"),
    verdict=WithProbability(0.6, margin=0.25),
    evaluate=_spared,
    near_miss=_all_penalised_too,
    sweep=Sweep(
        axis="strength of the penalty",
        values=(0.02, 0.04, 0.06),
        draw=_draw,
        trials=12,
        quick_trials=11,
        quick_values=(0.06,),
        measured_label="1.5 times kept scale, all penalised",
        bound_label="kept scale, masked",
        log="y",
        y_label="mean size of scales; shares",
    ),
)
