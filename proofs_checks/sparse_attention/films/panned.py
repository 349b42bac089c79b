"""A film made of a real photograph, seen by a camera that pans, and heads of attention whose patterns are planted."""

import math
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from sparsetheory.gpu import attention
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread, tensor
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["COLUMNS", "HEADS", "PLANTED", "PannedFilm", "draw_film", "modes"]

_SIDE, _PIXELS, _PAN, _DIM, _FREQUENCIES = 7, 8, 2, 32, 8
_FRAMES, _PLACES = 6, _SIDE**2

HEADS = ("place", "place and frame", "few keys", "content", "content, small")
"""What each head looks at; the last one has values of a fiftieth of the size."""

PLANTED = ("multi-diagonal", "diagonal", "stripe", None, "skip")
"""The mode that fits each head; None where it depends on the picture."""

COLUMNS = (7, 60, 120, 200, 280)
"""Tokens that the third head looks at."""


def LAYOUT() -> Any:
    """Return the layout of the tokens."""
    return attention.Layout(_FRAMES, _PLACES)


@cache
def modes() -> dict[str, Any]:
    """Return the masks that are tried, of sparsity 0.936, 0.825 and 0.983."""
    layout = attention.Layout(_FRAMES, _PLACES)
    return {
        "diagonal": attention.diagonal(layout, 9),
        "multi-diagonal": attention.multi_diagonal(layout, 4),
        "stripe": attention.stripe(layout, COLUMNS),
    }


@cache
def _photograph() -> Float64Array:
    from sklearn.datasets import load_sample_image

    return np.asarray(load_sample_image("china.jpg"), dtype=np.float64) / 255


@dataclass(frozen=True, eq=False)
class PannedFilm:
    """Six frames of 7 x 7 patches of 8 x 8 pixels, each frame two pixels to the right of the last one.

    Parameters
    ----------
    row, column : int
        Upper left corner of the first frame.
    seed : int
        Of the projections of patches to values, queries and keys.
    """

    row: int
    column: int
    seed: int

    @cached_property
    def patches(self) -> Float64Array:
        """Tokens of all frames, centred and of unit variance, of shape (294, 192)."""
        size = _SIDE * _PIXELS
        frames = []
        for frame in range(_FRAMES):
            left = self.column + frame * _PAN
            crop = _photograph()[self.row : self.row + size, left : left + size]
            cells = crop.reshape(_SIDE, _PIXELS, _SIDE, _PIXELS, 3).swapaxes(1, 2)
            frames.append(cells.reshape(_PLACES, -1))
        patches = np.concatenate(frames)
        patches -= patches.mean(0)
        return patches / patches.std()

    @cached_property
    def heads(self) -> tuple[Any, Any, Any]:
        """Queries, keys and values of all heads, float32 tensors of shape (heads, tokens, dim).

        Products of queries and keys over the root of the dimension are 6 times the likeness of places; 4 times that
        and 4 times that of frames; 12 for five keys; and products of two projections of the patches.
        """
        rng = np.random.default_rng(self.seed)
        values, query, key = self.patches @ rng.standard_normal((3, self.patches.shape[1], _DIM))
        values, query, key = (x / x.std() for x in (values, query, key))
        place, frame = np.arange(_FRAMES * _PLACES) % _PLACES, np.arange(_FRAMES * _PLACES) // _PLACES
        places, frames = _code(place / _PLACES), _code(frame / (3 * _FRAMES))
        q = [math.sqrt(6) * places, np.hstack([2 * places, 2 * frames]), _unit(0, range(len(values))), query, query]
        k = [q[0], q[1], 12 * _unit(0, COLUMNS), key, key]
        v = [values] * 4 + [0.02 * values]
        # The scores of the content heads are standard normal products; those of planted ones must not be divided.
        scale = [_DIM**0.25] * 3 + [1.0] * 2
        q, k = ([s * _padded(x) for s, x in zip(scale, side, strict=True)] for side in (q, k))
        return tuple(tensor(np.stack(side).astype(np.float32)) for side in (q, k, v))

    def plan(self, **options: Any) -> Any:
        """Search the modes of all heads."""
        with one_thread():
            return attention.search_modes([self.heads], modes(), **options)


def draw_film(rng: np.random.Generator, seed: int) -> PannedFilm:
    """Draw a place of the photograph."""
    height, width, _ = _photograph().shape
    size = _SIDE * _PIXELS
    row, column = rng.integers(height - size), rng.integers(width - size - (_FRAMES - 1) * _PAN)
    return PannedFilm(int(row), int(column), seed)


def _code(position: Float64Array) -> Float64Array:
    """Return a code of positions whose products are 1 for equal ones: cosines and sines of 8 frequencies."""
    angle = 2 * np.pi * np.arange(1, _FREQUENCIES + 1) * position[:, None]
    return np.hstack([np.cos(angle), np.sin(angle)]) / math.sqrt(_FREQUENCIES)


def _unit(feature: int, tokens: Any) -> Float64Array:
    """Return one feature that is 1 for some tokens."""
    rows: IndexArray = np.fromiter(tokens, dtype=np.int64)
    x = np.zeros((_FRAMES * _PLACES, _DIM))
    x[rows, feature] = 1.0
    return x


def _padded(x: Float64Array) -> Float64Array:
    return np.pad(x, ((0, 0), (0, _DIM - x.shape[1])))
