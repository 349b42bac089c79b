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
    # Four queries take a tile together, and the fifth one by itself.
    n_queries, width, blocks = 5, 5, -(-tokens // 64)
    x = np.zeros((blocks * 64, width), kind)
    x[:tokens] = rng.standard_normal((tokens, width)) * (rng.random((tokens, width)) < 0.6)
    q = rng.standard_normal((n_queries, width)).astype(kind)
    words, offsets, values = _packed(x.reshape(blocks, 64, width).transpose(0, 2, 1).reshape(-1, 64))
    _, held = _inside(values, np.nan)
    around, out = _inside(np.zeros(n_queries * tokens, kind), 7.5)
    bitmap_tiles.key_scores(words, offsets, held, np.zeros(1, np.int64), q.ravel(), (n_queries, tokens, width), out)
    assert np.allclose(out.reshape(n_queries, tokens), q @ x[:tokens].T, atol=1e-5)
    assert (np.delete(around, slice(_GUARD, _GUARD + out.size)) == 7.5).all()

    wide = np.zeros((blocks * 64, 64), kind)
    wide[:, :width] = x
    words, offsets, values = _packed(wide)
    _, held = _inside(values, np.nan)
    a = rng.random((n_queries, tokens)).astype(kind)
    around, out = _inside(np.zeros(n_queries * 64, kind), 7.5)
    bitmap_tiles.value_sums(words, offsets, held, np.zeros(1, np.int64), a.ravel(), (n_queries, tokens, width), out)
    assert np.allclose(out.reshape(n_queries, 64), a @ wide[:tokens], atol=1e-5)
    assert (np.delete(around, slice(_GUARD, _GUARD + out.size)) == 7.5).all()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("tokens", [1, 64, 100])
def test_tiles_next_to_not_a_number_do_not_read_it(kind, tokens):
    compare_tiles(kind, tokens)


def compare_rows(kind, tokens):
    """Compare products with packed rows, between entries that are not a number, with dense products."""
    rng = np.random.default_rng(tokens)
    width, n_nonzero, n_queries, blocks = 20, 3, 2, -(-tokens // 16)
    _, values = _inside(rng.standard_normal(blocks * n_nonzero * 16).astype(kind), np.nan)
    indices = rng.integers(width, size=values.size).astype(np.uint8)
    x = np.zeros((16 * blocks, width))
    token = (np.arange(blocks)[:, None, None] * 16 + np.arange(16) + np.zeros((n_nonzero, 1), int)).ravel()
    np.add.at(x, (token, indices), values)
    _, q = _inside(rng.standard_normal(n_queries * width).astype(kind), np.nan)
    around, out = _inside(np.zeros(n_queries * tokens, kind), 7.5)
    index_rows.key_scores(values, indices, q, (1, n_queries, tokens, width, n_nonzero), out)
    assert np.allclose(out.reshape(n_queries, tokens), q.reshape(n_queries, width) @ x[:tokens].T, atol=1e-5)
    assert (np.delete(around, slice(_GUARD, _GUARD + out.size)) == 7.5).all()

    # One group, two blocks of channels, of one and three lines.
    _, values = _inside(rng.standard_normal(64).astype(kind), np.nan)
    indices, channels = rng.integers(tokens, size=64).astype(np.uint8), rng.permutation(32).astype(np.int32)
    x = np.zeros((tokens, 32))
    np.add.at(x, (indices, np.concatenate([channels[:16], *[channels[16:]] * 3])), values)
    offsets, starts = np.array([0, 1, 4], np.int32), np.zeros(1, np.int64)
    _, weights = _inside(rng.random(n_queries * tokens).astype(kind), np.nan)
    around, out = _inside(np.ones(n_queries * 32, kind), 7.5)
    sizes, work = (n_queries, tokens, 32, 256), np.empty(16, kind)
    index_rows.value_sums(values, indices, offsets, channels, starts, weights, sizes, out, work)
    assert np.allclose(out.reshape(n_queries, 32), 1 + weights.reshape(n_queries, tokens) @ x, atol=1e-5)
    assert (np.delete(around, slice(_GUARD, _GUARD + out.size)) == 7.5).all()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("tokens", [1, 16, 100])
def test_rows_next_to_not_a_number_do_not_read_it(kind, tokens):
    compare_rows(kind, tokens)


@pytest.mark.parametrize("processor", ["generic", "haswell"])
def test_products_are_the_same_where_registers_are_short(tmp_path, processor):
    options = {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import {Path(__file__).stem} as tests\n"
    code += "assert not tests.bitmap_tiles._WIDE\n"
    code += "for compare in (tests.compare_tiles, tests.compare_rows):\n"
    code += "    for tokens in (1, 100): compare(tests.np.float32, tokens)\nprint('equal')"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, env={**os.environ, **options}, capture_output=True, text=True, check=False)
    assert found.stdout.strip() == "equal", found.stderr[-500:]
