"""Pictures of digits, and how every network of a comparison is trained, fine-tuned and timed on them."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sparsetheory.gpu import bayesian, core
from sparsetheory.proofs_checks.bayesian_networks.turbo.digits import Pixels, pixels
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread

__all__ = ["Setting", "median_microseconds"]

_BATCH, _TUNED_EPOCHS = 128, 5
# Widths are multiples of four, so that blocks of four outputs fill all layers but the last.
_HIDDEN = {"digits": (100, 52), "MNIST": (52,)}
# Training pictures, the last ones, that are held back for a choice.
_VALIDATION = {"digits": 200, "MNIST": 500}


@dataclass(frozen=True)
class Setting:
    """Pictures, a seed and a length of training.

    Parameters
    ----------
    pictures : {"digits", "MNIST"}
    seed : int
        Of the split, of initial values, of noise and of batches, each with a stream of its own.
    epochs, warmup_epochs : int
        Half of what is left after the warm-up is annealing.
    validates : bool
        Whether the last training pictures take the place of the test pictures.
    """

    pictures: str
    seed: int
    epochs: int
    warmup_epochs: int
    validates: bool = False

    @property
    def data(self) -> Pixels:
        """Pictures to train on, and those to measure accuracies on."""
        found = pixels(self.pictures, self.seed, False)
        if not self.validates:
            return found
        n = len(found.x) - _VALIDATION[self.pictures]
        return Pixels(found.x[:n], found.y[:n], found.x[n:], found.y[n:])

    @property
    def validation(self) -> "Setting":
        """The same with a part of the training pictures in the place of the test pictures."""
        return replace(self, validates=True)

    @property
    def widths(self) -> list[int]:
        """Units of all layers."""
        return [self.data.x.shape[1], *_HIDDEN[self.pictures], 10]

    @property
    def epoch(self) -> int:
        """Steps of an epoch."""
        return -(-len(self.data.x) // _BATCH)

    def streams(self) -> list[int]:
        """Return seeds for initial values, masks, noise, batches and fine-tuning."""
        return [int(number) for number in np.random.default_rng([self.seed, 3]).integers(2**31, size=5)]

    def train(self, model: Any, optimizer: Any, epochs: int, penalty: Callable[[], Any] | None = None) -> None:
        """Train with the mean cross-entropy and a penalty."""
        _, _, noise, order, _ = self.streams()

        def loss(output: Any, labels: Any) -> Any:
            plain = core.class_loss(output, labels)
            return plain if penalty is None else plain + penalty()

        data, steps = self.data, epochs * self.epoch
        with bayesian.sampling(model, "local", noise):
            options: dict[str, Any] = {"n_steps": steps, "batch_size": _BATCH, "generator": order}
            core.train(model, data.x, data.y, optimizer=optimizer, loss=loss, **options)

    def tune(self, model: Any, optimizer: Any) -> None:
        """Train on for a few epochs, without any penalty."""
        x, y, steps, order = self.data.x, self.data.y, _TUNED_EPOCHS * self.epoch, self.streams()[-1]
        core.train(model, x, y, optimizer=optimizer, n_steps=steps, batch_size=_BATCH, generator=order)

    def accuracy(self, model: Any) -> float:
        """Return the accuracy on test or validation pictures."""
        import torch

        with torch.inference_mode():
            return core.accuracy(model.eval()(self.data.x_test), self.data.y_test)


def median_microseconds(model: Any, x: Any) -> float:
    """Return the median time of a run for some inputs, on one thread."""
    import torch

    times = []
    with one_thread(), torch.inference_mode():
        for _ in range(60):
            start = time.perf_counter()
            model(x)
            times.append(time.perf_counter() - start)
    return 1e6 * float(np.median(times[10:]))
