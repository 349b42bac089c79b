"""Handwritten digits pasted on crops of a photograph, and selectors of foreground tokens trained to find them."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from sparsetheory.gpu import attention, core
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread, tensor
from sparsetheory.typing import BoolArray, Float64Array

__all__ = ["Canvases", "draw_canvases", "new_detector", "recall", "scores_of", "trained_detector"]

_SIZE, _DIGIT, _STRIDES, _RANGES = 64, 16, (4, 8), ((-1.0, 12.0), (10.0, np.inf))
_SHAPES = tuple((_SIZE // stride, _SIZE // stride) for stride in _STRIDES)
_TRAIN, _EPOCHS, _BATCH, _RATE, _DIM = 300, 14, 20, 4e-3, 32


@dataclass(frozen=True, eq=False)
class Canvases:
    """Pictures of 64 x 64 pixels with two to four digits on each.

    Parameters
    ----------
    images : ndarray of float32 of shape (n, 3, 64, 64)
        Brightness from 0 to 1.
    foreground : ndarray of bool of shape (n, tokens)
        Which tokens of both levels are foreground.
    """

    images: Any
    foreground: BoolArray

    @property
    def brightness(self) -> Float64Array:
        """Mean brightness of the cell of each token."""
        grey = self.images.mean(1)
        cells = [
            grey.reshape(len(grey), rows, stride, columns, stride).mean((2, 4)).reshape(len(grey), -1)
            for (rows, columns), stride in zip(_SHAPES, _STRIDES, strict=True)
        ]
        return np.concatenate(cells, axis=1)


@cache
def _sources() -> tuple[Any, Any]:
    """Return the photograph and the digits, twice as large as they are stored."""
    from sklearn.datasets import load_sample_image

    picture = np.asarray(load_sample_image("china.jpg"), dtype=np.float32) / 255
    digits = core.datasets.load_digits().images
    return picture, digits.repeat(2, axis=1).repeat(2, axis=2)


def draw_canvases(rng: np.random.Generator, n: int) -> Canvases:
    """Paste digits on crops: ink is blended to white or to black, by a coin for each digit.

    Parameters
    ----------
    rng : Generator
        Source of crops, digits, places and coins.
    n : int
        Number of canvases.
    """
    picture, digits = _sources()
    tops = rng.integers(0, picture.shape[0] - _SIZE, n)
    lefts = rng.integers(0, picture.shape[1] - _SIZE, n)
    steps = np.arange(_SIZE)
    images = picture[tops[:, None, None] + steps[:, None], lefts[:, None, None] + steps]
    # The first two digits are on every canvas, and two more by chance: later ones cover earlier ones.
    counts = rng.integers(2, 5, n)
    corners = rng.integers(0, _SIZE - _DIGIT + 1, (4, n, 2))
    patch = np.arange(_DIGIT)
    for number, corner in enumerate(corners):
        rows = np.flatnonzero(number < counts)
        ink = digits[rng.integers(0, len(digits), n)][rows, :, :, None]
        colour = rng.integers(0, 2, n).astype(np.float32)[rows, None, None, None]
        y, x = (corner[rows, axis, None] + patch for axis in (0, 1))
        where = (rows[:, None, None], y[:, :, None], x[:, None, :])
        images[where] = (1 - ink) * images[where] + ink * colour
    boxes = np.concatenate([corners[..., ::-1], corners[..., ::-1] + _DIGIT], axis=-1).astype(np.float32)
    foreground = [
        array(attention.foreground_targets(tensor(boxes[:count, i]), _SHAPES, _STRIDES, _RANGES))
        for i, count in enumerate(counts)
    ]
    return Canvases(np.ascontiguousarray(images.transpose(0, 3, 1, 2)), np.stack(foreground))


def recall(scores: Float64Array, foreground: BoolArray, rho: float) -> float:
    """Return the share of all foreground tokens that is among the best tokens of each canvas.

    Parameters
    ----------
    scores : ndarray of shape (n, tokens)
    foreground : ndarray of bool of shape (n, tokens)
    rho : float
        Share of the tokens that are chosen.
    """
    count = int(attention.cascade_budgets(scores.shape[1], rho, (1.0,)))
    chosen = array(attention.top_tokens(tensor(scores), count).index)
    return float(np.take_along_axis(foreground, chosen, axis=1).sum() / foreground.sum())


@cache
def trained_detector(seed: int, *, modulated: bool = True) -> Any:
    """Return a detector trained on 300 canvases of its own; without modulation its levels do not see each other."""
    import torch

    train = draw_canvases(np.random.default_rng(seed), _TRAIN)
    model = new_detector(seed)
    if not modulated:
        model.selector.alpha.requires_grad_(requires_grad=False).zero_()
    with one_thread():
        core.train(
            model,
            tensor(train.images),
            tensor(train.foreground),
            optimizer=torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=_RATE),
            n_steps=_EPOCHS * _TRAIN // _BATCH,
            batch_size=_BATCH,
            loss=lambda logits, targets: attention.focal_loss(logits, targets).mean(),
            generator=seed,
        )
    return model


def scores_of(model: Any, canvases: Canvases) -> Float64Array:
    """Return the foreground scores of all tokens."""
    import torch

    with one_thread(), torch.no_grad():
        return array(model(tensor(canvases.images))).astype(np.float64)


def new_detector(seed: int) -> Any:
    """Return a small backbone of three convolutions with a selector on its last two maps."""
    import torch
    from torch import nn

    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            source = torch.Generator().manual_seed(seed)
            self.stem = nn.Sequential(_convolution(3, 16), nn.ReLU(), _convolution(16, _DIM), nn.ReLU())
            self.deeper = nn.Sequential(_convolution(_DIM, _DIM), nn.ReLU())
            core.models.initialise(self, "lecun_uniform", source)
            self.selector = attention.ForegroundSelector(_DIM, len(_STRIDES), generator=source)

        def forward(self, images: Any) -> Any:
            fine = self.stem(images)
            return self.selector([fine, self.deeper(fine)])

    def _convolution(inputs: int, outputs: int) -> Any:
        return nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)

    return Detector()
