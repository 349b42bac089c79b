"""Claims about small networks for digits: random labels make them sparse, and few activations make them robust."""

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.sparse_training.digits import shuffled_digits
from sparsetheory.proofs_checks.verdicts import WithProbability

_TRAIN, _BATCH = 1200, 100
_STEPS = _TRAIN // _BATCH
# Learning rates of gradient descent by the deviation of output weights.
_RATES = {1.0: 0.05, 3.0: 0.01}


def _centred(seed: int) -> tuple[Any, Any]:
    """Return digits without the mean picture of those to train on, and their classes."""
    x, y = shuffled_digits(seed)
    return x - x[:_TRAIN].mean(0), y


def _network(hidden: int, activation: Any, generator: Any, *, bias: bool = True) -> Any:
    from torch import nn

    from sparsetheory.gpu import core

    model = nn.Sequential(nn.Linear(64, hidden), activation, nn.Linear(hidden, 10, bias=bias))
    core.models.initialise(model, "lecun_normal", generator)
    return model


@dataclass(frozen=True, eq=False)
class Run:
    """A seed, and the deviation of the output weights of a network."""

    seed: int
    weight_std: float

    @cached_property
    def random(self) -> list[tuple[float, float]]:
        """Share of active units and mean activation after 0, 1 and 15 epochs with random labels."""
        return self._train(random=True)

    @cached_property
    def true(self) -> list[tuple[float, float]]:
        """The same with the labels of the digits."""
        return self._train(random=False)

    def _train(self, random: bool) -> list[tuple[float, float]]:
        import torch
        from torch import nn

        from sparsetheory.gpu import core

        source = torch.Generator().manual_seed(self.seed)
        x, y = (part[:_TRAIN] for part in _centred(self.seed))
        labels = torch.randint(10, y.shape, generator=source) if random else y
        model = _network(256, nn.ReLU(), source, bias=False)
        nn.init.normal_(model[2].weight, std=self.weight_std, generator=source)
        sgd = torch.optim.SGD(model.parameters(), lr=_RATES[self.weight_std])
        states = [_state(model, x)]
        with one_thread():
            for epochs in (1, 14):
                steps = epochs * _STEPS
                core.train(model, x, labels, optimizer=sgd, n_steps=steps, batch_size=_BATCH, generator=source)
                states.append(_state(model, x))
        return states


def _state(model: Any, x: Any) -> tuple[float, float]:
    import torch

    with torch.no_grad():
        a = torch.relu(model[0](x))
    return float((a > 0).double().mean()), float(a.double().mean())


def _falls(states: list[tuple[float, float]], true: list[tuple[float, float]] | None = None) -> Measurement:
    """Compare shares after one epoch and after fifteen with that at the start, and mean activations."""
    shares, means = zip(*states, strict=True)
    found = Measurement(shares[1], shares[0], 1.0).and_chain(
        {"active after 15 epochs": shares[2], "1 epoch": shares[1]}
    )
    found = found.and_chain({"mean after 15 epochs": means[2], "after 1": means[1], "at the start": means[0]})
    return found if true is None else found.and_chain({"true labels, 15 epochs": true[2][0]})


def _random_labels(case: Run) -> Measurement:
    """Train on random labels; what true labels do is shown, not promised."""
    return _falls(case.random, case.true)


def _true_labels(case: Run) -> Measurement:
    """Expect the same of true labels."""
    return _falls(case.true)


random_labels = Claim(
    name="activation_sparsity.random_labels",
    summary="Where labels are random and output weights large, gradient descent makes hidden units less active.",
    statement=r"\|\sigma(W x)\|_0 \text{ and } \|\sigma(W x)\|_1 \text{ fall from epoch 0 to 1 to 15}",
    source=Source.measured("digits centred per pixel, 256 hidden units, normal output weights, gradient descent"),
    verdict=WithProbability(0.6, margin=0.25),
    evaluate=_random_labels,
    near_miss=_true_labels,
    sweep=Sweep(
        axis="deviation of output weights",
        values=(1.0, 3.0),
        draw=lambda rng, std: Run(int(rng.integers(2**31)), std),
        trials=12,
        quick_trials=11,
        quick_values=(1.0,),
        measured_label="active after 1 epoch",
        bound_label="active at the start",
        y_label="share of hidden units, mean activation",
    ),
)


_KEPT, _NOISY_LABELS, _NOISE, _SEEDS = 32, 0.4, 0.3, 3
# Epochs, size of a batch, learning rate of Adam.
_EPOCHS, _LARGE_BATCH, _RATE = 40, 300, 3e-3


@dataclass(frozen=True)
class Scores:
    """Means over seeds: accuracy under input noise, and calibration error, of ReLU and of the 32 largest."""

    relu_noisy: float
    few_noisy: float
    relu_error: float
    few_error: float


@cache
def _trained(seed: int, k: int | None) -> Any:
    """Train 512 hidden units on digits of which four in ten have a label that is drawn from all classes."""
    import torch
    from torch import nn

    from sparsetheory.gpu import activations, core

    source = torch.Generator().manual_seed(seed)
    x, y = (part[:_TRAIN] for part in _centred(seed))
    wrong = torch.rand(_TRAIN, generator=source) < _NOISY_LABELS
    labels = torch.where(wrong, torch.randint(10, (_TRAIN,), generator=source), y)
    model = _network(512, nn.ReLU() if k is None else activations.TopK(k), source)
    adam = torch.optim.Adam(model.parameters(), lr=_RATE)
    steps = _EPOCHS * _TRAIN // _LARGE_BATCH
    with one_thread():
        core.train(model, x, labels, optimizer=adam, n_steps=steps, batch_size=_LARGE_BATCH, generator=source)
    return model


@dataclass(frozen=True, eq=False)
class Judged:
    """First of the seeds of training, and the seed of the noise of test inputs."""

    first: int
    noise: int

    @cached_property
    def scores(self) -> Scores:
        """Judge networks of three seeds on digits that they have not seen."""
        found = [[self._judge(self.first + i, k) for i in range(_SEEDS)] for k in (None, _KEPT)]
        (relu_noisy, relu_error), (few_noisy, few_error) = (np.mean(arm, axis=0) for arm in found)
        return Scores(float(relu_noisy), float(few_noisy), float(relu_error), float(few_error))

    def _judge(self, seed: int, k: int | None) -> tuple[float, float]:
        import torch

        from sparsetheory.gpu import core

        x, y = (part[_TRAIN:] for part in _centred(seed))
        noise = _NOISE * torch.randn(x.shape, generator=torch.Generator().manual_seed(self.noise))
        model = _trained(seed, k)
        with torch.no_grad(), one_thread():
            clean, noisy = model(x), model(x + noise)
        return core.accuracy(noisy, y), core.expected_calibration_error(clean, y)


def _gains(case: Judged, gain: float) -> Measurement:
    s = case.scores
    found = Measurement(s.relu_noisy + gain, s.few_noisy, 1.0)
    return found.and_chain({"calibration error, 32 of 512": s.few_error, "calibration error, ReLU": s.relu_error})


def _robust(case: Judged) -> Measurement:
    """Expect five points of accuracy under input noise more, and a smaller calibration error."""
    return _gains(case, 0.05)


def _much_more_robust(case: Judged) -> Measurement:
    """Expect thirty points."""
    return _gains(case, 0.3)


few_activations = Claim(
    name="activation_sparsity.few_activations",
    summary="Of networks trained on wrong labels, the one with few activations bears input noise better.",
    statement=r"\mathrm{acc}_{k=32} \ge \mathrm{acc}_{\mathrm{ReLU}} + 0.05 \text{ (inputs + noise)},"
    r" \quad \mathrm{ECE}_{k=32} < \mathrm{ECE}_{\mathrm{ReLU}}",
    source=Source.measured("digits centred per pixel, 512 units, 40 % of labels drawn anew, means of three seeds"),
    verdict=WithProbability(0.6, margin=0.25),
    evaluate=_robust,
    near_miss=_much_more_robust,
    sweep=Sweep(
        axis="first of three seeds of training",
        values=(0, 3, 6, 9),
        draw=lambda rng, first: Judged(int(first), int(rng.integers(2**31))),
        trials=12,
        quick_trials=11,
        quick_values=(0,),
        measured_label="ReLU + 0.05",
        bound_label="32 of 512",
        y_label="accuracy under noise; calibration error",
    ),
)
