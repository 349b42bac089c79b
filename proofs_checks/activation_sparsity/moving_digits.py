"""Digits that move over a photograph, and a network that classifies such clips from quantised activations."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsetheory.gpu import activations, core
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.typing import Float64Array

__all__ = ["BACKGROUNDS", "FRAMES", "LAYERS", "SIDE", "Outcome", "clips", "trained"]

FRAMES, SIDE = 8, 16
LAYERS = ("input", "hidden 1", "hidden 2")
BACKGROUNDS = ("photograph", "noise")
_TRAIN, _TEST, _EPOCHS, _BATCH = 1200, 300, 25, 100
# Brightness of the background, frames until a digit moves by a pixel, and the height and width of a digit.
_DIM, _PAUSE, _DIGIT = 0.3, 2, 8


@dataclass(frozen=True)
class Outcome:
    """A trained network on clips that it has not seen.

    Parameters
    ----------
    accuracy : float
    changed : tuple of float
        Shares of activations that change from one frame to the next: of the inputs and of both hidden layers.
    """

    accuracy: float
    changed: tuple[float, ...]


def clips(rng: np.random.Generator, labels_of: NDArray[np.int64], background: str) -> NDArray[np.float32]:
    """Return clips of 8 frames of 16 x 16 pixels, one for each of some digits.

    A digit of 8 x 8 pixels starts anywhere that leaves room and moves by one pixel every second frame, in one of four
    directions; the brighter of digit and background is seen. The background is a crop of the photograph "china" that
    stands still, or noise that is drawn anew for each pixel and frame.

    Parameters
    ----------
    rng : numpy.random.Generator
    labels_of : ndarray of int64 of shape (n,)
        Which of the digits.
    background : {"photograph", "noise"}
    """
    digits = core.datasets.load_digits().images[labels_of]
    n, moves = len(digits), (FRAMES - 1) // _PAUSE
    frames = np.empty((n, FRAMES, SIDE, SIDE), dtype=np.float32)
    if background == "noise":
        frames[:] = rng.uniform(0, _DIM, frames.shape)
    else:
        grey = _photograph()
        corners = rng.integers(0, np.array(grey.shape) - SIDE, (n, 2))
        frames[:] = _DIM * np.stack([grey[r : r + SIDE, c : c + SIDE] for r, c in corners])[:, None]
    # Room for all moves on the side that the digit goes to.
    directions = np.array([(0, 1), (0, -1), (1, 0), (-1, 0)])[rng.integers(4, size=n)]
    low, high = moves * (directions < 0), SIDE - _DIGIT - moves * (directions > 0)
    starts = rng.integers(low, high + 1)
    for frame in range(FRAMES):
        for i, (row, column) in enumerate(starts + directions * (frame // _PAUSE)):
            window = frames[i, frame, row : row + _DIGIT, column : column + _DIGIT]
            np.maximum(window, digits[i], out=window)
    return frames


@cache
def _photograph() -> Float64Array:
    photographs = core.datasets.load_photographs()
    pixels = photographs.images[photographs.names.index("china")]
    return np.asarray(pixels.mean(axis=2) / 255)


@cache
def trained(seed: int, background: str, alpha: float | None) -> Outcome:
    """Train a network of 256, 128, 64 and 10 units on 1200 clips, and judge it on 300 others.

    It sees one frame after the other and averages the logits. Inputs and both hidden layers are quantised.

    Parameters
    ----------
    seed : int
    background : str
        One of `BACKGROUNDS`.
    alpha : float, optional
        Strength of the penalty on the mean absolute change of each layer. None trains without quantisers.
    """
    import torch

    rng = np.random.default_rng(seed)
    order = rng.permutation(1797)[: _TRAIN + _TEST]
    x = torch.from_numpy(clips(rng, order, background)).flatten(2)
    y = torch.from_numpy(core.datasets.load_digits().labels[order])
    with one_thread():
        model = _network(seed, alpha)
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
        core.train(
            model,
            x[:_TRAIN],
            y[:_TRAIN],
            optimizer=optimizer,
            n_steps=_EPOCHS * _TRAIN // _BATCH,
            batch_size=_BATCH,
            loss=lambda output, aims: core.class_loss(output[0], aims) + output[1],
            generator=seed,
        )
        model.eval()
        with torch.no_grad():
            logits, _ = model(x[_TRAIN:])
    return Outcome(core.accuracy(logits, y[_TRAIN:]), tuple(model.changed))


def _network(seed: int, alpha: float | None) -> Any:
    """Return a module from clips to mean logits and penalty, which notes what changed in its last run."""
    from torch import Tensor, nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            dense = core.models.MLP((SIDE * SIDE, 128, 64, 10), generator=seed)
            self.layers = nn.ModuleList([dense[0], dense[2], dense[4]])
            self.quantisers = nn.ModuleList(activations.DeltaActivation(alpha=alpha or 0.0) for _ in LAYERS)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            penalty, self.changed = x.new_zeros(()), []
            for layer, quantiser in zip(self.layers, self.quantisers, strict=True):
                if alpha is None:
                    self.changed.append(float((x[:, 1:] != x[:, :-1]).double().mean()))
                else:
                    found = quantiser(x)
                    x, penalty = found.y, penalty + found.penalty
                    self.changed.append(found.n_events / found.n_changes)
                x = layer(x)
                if layer is not self.layers[-1]:
                    x = x.relu()
            return x.mean(dim=1), penalty

    return Network()
