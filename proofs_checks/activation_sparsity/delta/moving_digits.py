"""Digits that move over a photograph, and a network that classifies such clips from quantised activations."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsetheory.gpu import activations, core
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["LAYERS", "Outcome", "clips", "trained"]

LAYERS = ("input", "hidden 1", "hidden 2")
_FRAMES, _TRAIN, _TEST = 8, 1200, 300
# By height and width of a frame: epochs, clips of a batch, rate of Adam. Small frames are easier and need fewer steps.
_RECIPES = {12: (8, 40, 3e-3), 16: (25, 100, 2e-3)}
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


def clips(rng: np.random.Generator, chosen: IndexArray, side: int, background: str) -> NDArray[np.float32]:
    """Return clips of 8 square frames, one for each of some digits.

    A digit of 8 x 8 pixels starts anywhere that leaves room and moves by one pixel every second frame, in one of four
    directions; the brighter of digit and background is seen. The background is a crop of the photograph "china" that
    stands still, or noise that is drawn anew for each pixel and frame.

    Parameters
    ----------
    rng : numpy.random.Generator
    chosen : ndarray of int64 of shape (n,)
        Which of the digits.
    side : int
        Height and width of a frame, at least 12.
    background : {"photograph", "noise"}
    """
    digits = core.datasets.load_digits().images[chosen]
    n, moves = len(digits), (_FRAMES - 1) // _PAUSE
    frames = np.empty((n, _FRAMES, side, side), dtype=np.float32)
    if background == "noise":
        frames[:] = rng.uniform(0, _DIM, frames.shape)
    else:
        grey = _photograph()
        corners = rng.integers(0, np.array(grey.shape) - side, (n, 2))
        frames[:] = _DIM * np.stack([grey[r : r + side, c : c + side] for r, c in corners])[:, None]
    # Room for all moves on the side that the digit goes to.
    directions = np.array([(0, 1), (0, -1), (1, 0), (-1, 0)])[rng.integers(4, size=n)]
    low, high = moves * (directions < 0), side - _DIGIT - moves * (directions > 0)
    starts = rng.integers(low, high + 1)
    for frame in range(_FRAMES):
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
def trained(seed: int, side: int, background: str, alpha: float | None) -> Outcome:
    """Train a network with two hidden layers, of 128 and 64 units, on 1200 clips, and judge it on 300 others.

    It sees one frame after the other and averages the logits. Inputs and both hidden layers are quantised.

    Parameters
    ----------
    seed : int
    side : {12, 16}
        Height and width of a frame.
    background : {"photograph", "noise"}
    alpha : float, optional
        Strength of the penalty on the mean absolute change of each layer. None trains without quantisers.
    """
    import torch

    rng = np.random.default_rng(seed)
    order = rng.permutation(1797)[: _TRAIN + _TEST]
    x = torch.from_numpy(clips(rng, order, side, background)).flatten(2)
    y = torch.from_numpy(core.datasets.load_digits().labels[order])
    epochs, batch_size, lr = _RECIPES[side]
    with one_thread():
        model = _network(seed, side, alpha)
        optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        core.train(
            model,
            x[:_TRAIN],
            y[:_TRAIN],
            optimizer=optimizer,
            n_steps=epochs * _TRAIN // batch_size,
            batch_size=batch_size,
            loss=lambda output, aims: core.class_loss(output[0], aims) + output[1],
            generator=seed,
        )
        model.eval()
        with torch.no_grad():
            logits, _ = model(x[_TRAIN:])
    return Outcome(core.accuracy(logits, y[_TRAIN:]), tuple(model.changed))


def _network(seed: int, side: int, alpha: float | None) -> Any:
    """Return a module from clips to mean logits and penalty, which notes what changed in its last run."""
    from torch import Tensor, nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            dense = core.models.MLP((side * side, 128, 64, 10), generator=seed)
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
