"""Kernels on packed tokens read and write nothing beyond their arrays, and do the same without wide registers."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sparsetheory.numba_kernels.activations import bitmap_tiles, index_rows

_GUARD = 80


def _packed(tiles):
    """Return bitmaps, offsets and values of tiles of 64 numbers, packed one after the other."""
    words, offsets, values = [], [0], []
    for tile in tiles:
        kept = np.flatnonzero(tile)
        words.append(sum(1 << (63 - int(i)) for i in kept))
        padded = np.zeros(-(-kept.size // 8) * 8, tile.dtype)
        padded[: kept.size] = tile[kept]
        values.append(padded)
        offsets.append(offsets[-1] + padded.size // 2)
    return np.array(words, np.uint64), np.array(offsets, np.int32), np.concatenate(values)


def _inside(values, fill):
    """Return the same array within a larger one whose other entries are `fill`."""
    around = np.full(values.size + 2 * _GUARD, fill, values.dtype)
    around[_GUARD : _GUARD + values.size] = values
    return around, around[_GUARD : _GUARD + values.size]


def compare_tiles(kind, tokens):
    """Compare products with tiles, between entries that are not a number, with dense products."""
    rng = np.random.default_rng(tokens)
    width, blocks = 5, -(-tokens // 64)
    x = np.zeros((blocks * 64, width), kind)
    x[:tokens] = rng.standard_normal((tokens, width)) * (rng.random((tokens, width)) < 0.6)
    q = rng.standard_normal(width).astype(kind)
    words, offsets, values = _packed(x.reshape(blocks, 64, width).transpose(0, 2, 1).reshape(-1, 64))
    _, held = _inside(values, np.nan)
    around, out = _inside(np.zeros(tokens, kind), 7.5)
    bitmap_tiles.key_scores(words, offsets, held, np.zeros(1, np.int64), q, (1, tokens, width), out)
    assert np.allclose(out, x[:tokens] @ q, atol=1e-5)
    assert (np.delete(around, slice(_GUARD, _GUARD + tokens)) == 7.5).all()

    wide = np.zeros((blocks * 64, 64), kind)
    wide[:, :width] = x
    words, offsets, values = _packed(wide)
    _, held = _inside(values, np.nan)
    a = rng.random(tokens).astype(kind)
    around, out = _inside(np.zeros(64, kind), 7.5)
    bitmap_tiles.value_sums(words, offsets, held, np.zeros(1, np.int64), a, (1, tokens, width), out)
    assert np.allclose(out, a @ wide[:tokens], atol=1e-5)
    assert (np.delete(around, slice(_GUARD, _GUARD + 64)) == 7.5).all()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("tokens", [1, 64, 100])
def test_tiles_next_to_not_a_number_do_not_read_it(kind, tokens):
    compare_tiles(kind, tokens)


def test_zeros_that_are_packed_do_not_count_twice():
    values, indices = np.array([2.0, 0.0, 3.0, 0.0]), np.array([1, 1, 0, 0], np.uint8)
    out = np.full(2, 9.0)
    index_rows.key_scores(values, indices, np.array([10.0, 100.0]), (1, 1, 2, 2, 2), out)
    assert out.tolist() == [200.0, 30.0]


def test_bits_are_gone_through_where_registers_are_short(tmp_path):
    options = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import {Path(__file__).stem} as tests\n"
    code += "assert not tests.bitmap_tiles._WIDE\n"
    code += "for tokens in (1, 100): tests.compare_tiles(tests.np.float32, tokens)\nprint('equal')"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, env={**os.environ, **options}, capture_output=True, text=True, check=False)
    assert found.stdout.strip() == "equal", found.stderr[-500:]
