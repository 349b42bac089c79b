"""Larger pictures for joint embedding prediction: quadrants of MNIST, and crops of photographs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from sparsetheory.gpu import core
from sparsetheory.proofs_checks.sparse_representation.jepa.runs import Run, Setting, head_accuracy, patches_of
from sparsetheory.proofs_checks.sparse_training.digits import shuffled_digits
from sparsetheory.typing import IndexArray

__all__ = ["TASKS", "Task"]

_NAMES = ("astronaut", "brick", "chelsea", "coffee", "coins", "grass", "gravel", "moon", "page", "retina")
_SIDE, _PATCH, _CROPS, _SHOTS = 32, 8, 300, 50
_MNIST_SIDE, _MNIST_TRAIN = 28, 3000

Data = tuple[tuple[Any, IndexArray], tuple[Any, IndexArray]]


@dataclass(frozen=True)
class Task:
    """Patches with classes in two parts: encoders see the first, heads 50 of each class of it, and the second judges.

    Parameters
    ----------
    name : str
    data : callable
        From a seed to both parts.
    setting : Setting
    pooled : bool
        Whether features are means over patches.
    """

    name: str
    data: Callable[[int], Data]
    setting: Setting
    pooled: bool

    def run(self, alpha: float, seed: int) -> Run:
        """Train on all of the first part."""
        return Run.on(self.data(seed)[0][0], self.setting, alpha, seed)

    def head(self, seed: int, run: Run | None, *, trained: bool = True) -> float:
        """Return the accuracy of a head on features of a run, or else on pixels."""
        (x, y), (other, labels) = self.data(seed)
        few = np.concatenate([np.flatnonzero(y == label)[:_SHOTS] for label in np.unique(y)])
        return head_accuracy(
            (self._features(run, x[few], trained), y[few]), (self._features(run, other, trained), labels)
        )

    def _features(self, run: Run | None, patches: Any, trained: bool) -> Any:
        if run is not None:
            return run.features(patches, trained=trained, pooled=self.pooled)
        return patches.mean(1) if self.pooled else patches.flatten(1)


@cache
def _mnist(seed: int) -> Data:
    x, y = shuffled_digits(seed, "load_mnist_5k")
    quadrants, labels = patches_of(x.reshape(-1, _MNIST_SIDE, _MNIST_SIDE), _MNIST_SIDE // 2), np.asarray(y)
    return (quadrants[:_MNIST_TRAIN], labels[:_MNIST_TRAIN]), (quadrants[_MNIST_TRAIN:], labels[_MNIST_TRAIN:])


@cache
def _photographs(seed: int) -> Data:
    """Return crops of left halves, and of right halves, with the numbers of the photographs."""
    return _crops(np.random.default_rng((seed, 0)), left=True), _crops(np.random.default_rng((seed, 1)), left=False)


def _crops(rng: np.random.Generator, *, left: bool) -> tuple[Any, IndexArray]:
    import torch

    photographs = core.datasets.load_photographs()
    named = dict(zip(photographs.names, photographs.images, strict=True))
    crops: list[Any] = []
    for name in _NAMES:
        grey = named[name].mean(-1, dtype=np.float32) / np.float32(255)
        middle = grey.shape[1] // 2
        grey = grey[:, :middle] if left else grey[:, middle:]
        rows, columns = (rng.integers(length - _SIDE, size=_CROPS) for length in grey.shape)
        crops += [grey[i : i + _SIDE, j : j + _SIDE] for i, j in zip(rows, columns, strict=True)]
    stacked = np.array(crops)
    # Brightness and contrast would give photographs away.
    stacked -= stacked.mean((1, 2), keepdims=True)
    stacked /= stacked.std((1, 2), keepdims=True) + np.float32(0.02)
    return patches_of(torch.from_numpy(stacked), _PATCH), np.repeat(np.arange(len(_NAMES)), _CROPS)


_SETTING = Setting(width=64, n_features=32, n_groups=8, n_latents=64, n_steps=1500, batch_size=256)
TASKS = (
    Task("MNIST, quadrants", _mnist, _SETTING, pooled=False),
    Task("photographs, crops", _photographs, _SETTING, pooled=True),
)
