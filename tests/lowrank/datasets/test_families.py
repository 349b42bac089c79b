"""Each family is what it says it is."""

import builtins
import importlib.util

import numpy as np
import pytest

from sparsetheory.lowrank.datasets.families import (
    advection_blocks,
    channel_blocks,
    decaying_columns,
    drift_stream,
    subspace_mixture,
)
from sparsetheory.lowrank.datasets.real_data import digits_blocks, minilm_blocks

SEEDED = {
    "advection": lambda seed: advection_blocks(3, n_time=8, n_space=32, width=16, random_state=seed),
    "channels": lambda seed: channel_blocks(3, n_antennas=8, n_subcarriers=6, random_state=seed),
    "columns": lambda seed: decaying_columns(5, 9, random_state=seed),
    "mixture": lambda seed: subspace_mixture(4, 9, 3, noise=0.1, random_state=seed).blocks,
}


@pytest.mark.parametrize("draw", SEEDED.values(), ids=SEEDED)
def test_seeds_reproduce(draw):
    first, again, other = draw(0), draw(np.random.default_rng(0)), draw(1)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("draw", SEEDED.values(), ids=SEEDED)
def test_legacy_random_states_seed_and_advance(draw):
    state = np.random.RandomState(0)
    first, second, again = draw(state), draw(state), draw(np.random.RandomState(0))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], second[0])


@pytest.mark.parametrize("draw", SEEDED.values(), ids=SEEDED)
@pytest.mark.parametrize("seed", ["x", -1, 1.5])
def test_bad_seeds(draw, seed):
    with pytest.raises(ValueError, match=f"random_state must be None.*got {seed!r}"):
        draw(seed)


def test_default_advection_has_the_shape_of_the_benchmark_fields():
    (block,) = advection_blocks(1, random_state=0)
    assert block.shape == (3072, 67)


def test_a_travelling_wave_needs_two_directions_per_mode():
    # With rows that are whole time steps, every sine is a sum of a sine and a cosine in space.
    for block in advection_blocks(4, n_time=40, n_space=64, width=64, n_modes=3, random_state=0):
        assert np.linalg.matrix_rank(block, tol=1e-9) <= 6


def test_advection_moves_at_its_speed():
    (block,) = advection_blocks(1, n_time=3, n_space=50, width=50, speed=0.1, random_state=0)
    # Time 1 shifts by 0.1, which is 5 of 50 grid points.
    assert block[1] == pytest.approx(np.roll(block[0], 5), abs=1e-12)


def test_paths_bound_the_rank_of_a_channel():
    for block in channel_blocks(3, n_paths=4, noise=0.0, random_state=0):
        assert np.linalg.matrix_rank(block, tol=1e-9) <= 8
    noisy = channel_blocks(1, n_paths=1, noise=0.01, random_state=0)[0]
    values = np.linalg.svd(noisy, compute_uv=False)
    assert 0.003 < np.linalg.norm(values[2:]) / np.linalg.norm(values) < 0.0101


def test_columns_have_unit_norm_and_a_decaying_spectrum():
    columns = np.hstack(decaying_columns(4000, 30, random_state=0))
    assert np.linalg.norm(columns, axis=0) == pytest.approx(np.ones(4000))
    values = np.linalg.svd(columns, compute_uv=False)
    slope = np.polyfit(np.log(np.arange(1, 31)), np.log(values), 1)[0]
    assert slope == pytest.approx(-1, abs=0.15)


def test_drift_stream_energies():
    strong, *weak = drift_stream(5, rank=2, sketch_rank=4, weak_energy=0.3)
    assert np.linalg.norm(strong, axis=0) ** 2 == pytest.approx([1.01, 1.011, 1.012, 1.013])
    assert len(weak) == 5
    assert all(np.linalg.norm(b) ** 2 == pytest.approx(0.3) and not (strong.T @ b).any() for b in weak)


def test_mixture_lies_in_its_subspaces():
    mixture = subspace_mixture(20, 30, 4, n_subspaces=3, rank=2, random_state=0)
    for label in np.unique(mixture.labels):
        joined = np.hstack([b for b, k in zip(mixture.blocks, mixture.labels, strict=True) if k == label])
        assert np.linalg.matrix_rank(joined) == 2


def test_digits_are_the_images():
    from sklearn.datasets import load_digits

    joined = np.hstack(digits_blocks(100))
    assert np.array_equal(joined, load_digits().data[: joined.shape[1]].T)


def test_blocks_hold_every_weight_of_the_encoder_once():
    for width in (64, 384):
        weights = minilm_blocks(width)
        assert {b.shape for b in weights.blocks} == {(384, width)}
        assert {b.dtype for b in weights.blocks} == {np.dtype(np.float32)}
        # Six layers of four 384 x 384 attention weights and two 384 x 1536 feed-forward weights.
        assert sum(b.size for b in weights.blocks) == 6 * (4 * 384 * 384 + 2 * 384 * 1536)
        assert len(set(weights.names)) == len(weights.blocks)
    assert len(minilm_blocks(384, embeddings=True).blocks) > 72


def test_missing_weights_name_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"sparsetheory\[examples\]"):
        minilm_blocks()


def test_missing_reader_names_the_extra(monkeypatch):
    real = builtins.__import__

    def without_safetensors(name, *args, **kwargs):
        if name.startswith("safetensors"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_safetensors)
    with pytest.raises(ImportError, match=r"sparsetheory\[examples\]"):
        minilm_blocks()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: advection_blocks(0), "n_blocks must be an integer from 1 to .*; got 0"),
        (lambda: advection_blocks(1, width=100), "width must divide n_time"),
        (lambda: advection_blocks(1, speed=np.nan), "speed must be a finite number; got nan"),
        (lambda: channel_blocks(1, noise=-1.0), "noise must be a finite non-negative number"),
        (lambda: channel_blocks(1, noise="loud"), "noise must be a finite non-negative number; got 'loud'"),
        (lambda: channel_blocks(1, n_paths=0), "n_paths must be an integer from 1 to .*; got 0"),
        (lambda: decaying_columns(1, 2, power=np.inf), "power must be a finite number; got inf"),
        (lambda: decaying_columns(1, 2.5), "n_rows must be an integer"),
        (lambda: drift_stream(3, 5, 4), "rank must be at most sketch_rank=4"),
        (lambda: drift_stream(3, 2, 4, weak_energy=0.9), "weak_energy must be in"),
        (lambda: drift_stream(3, 2, 4, weak_energy=0.0), "weak_energy must be in"),
        (lambda: drift_stream(3, 2, 4, weak_energy=None), r"weak_energy must be in \(0, 0.5\]; got None"),
        (lambda: subspace_mixture(1, 3, 2, rank=4), "rank must be at most n_rows=3"),
        (lambda: subspace_mixture(1, 9, 2, noise=-0.1), "noise must be a finite non-negative number"),
        (lambda: digits_blocks(0), "images_per_block must be between"),
        (lambda: minilm_blocks(100), "width must divide 384"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
