"""Random numbers of every penalty as kernels take them, from the table of the penalties."""

import numpy as np
import pytest
from penalties.penalty_table import EPS, TABLE

__all__ = ["EPS", "KINDS", "definition", "draw", "each_kind", "kinks", "row_of", "shapes_of"]

KINDS = {row.name: row.family._tag for row in TABLE}
_ROWS = {row.family._tag: row for row in TABLE}

each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def row_of(kind):
    return _ROWS[kind]


def draw(kind, rng):
    """Return u, step, alpha and shape."""
    return _ROWS[kind].draw(rng)


def definition(kind, x, alpha, shape):
    return _ROWS[kind].definition(np.abs(np.asarray(x, dtype=float)), alpha, shape)


def kinks(kind, alpha, shape):
    return _ROWS[kind].kinks(alpha, shape)


def shapes_of(kind, numbers):
    """Return numbers between zero and one, moved to where the number beside alpha may lie."""
    return np.asarray(numbers) + _ROWS[kind].family._allowed.low
