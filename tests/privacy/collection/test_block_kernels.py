"""Compiled blocks of users: nothing changes in the messages, and memory does not hold a vector for every user."""

import tracemalloc

import numpy as np
import pytest
from privacy.collection.collections_of_users import MECHANISMS, records, schema, seeded

from sparsetheory.privacy import MomentState
from sparsetheory.privacy.collection import blocks
from sparsetheory.privacy.collection.blocks import encode_block
from sparsetheory.privacy.device.quantised_normal import NOISE_BITS, normal_table
from sparsetheory.privacy.device.records import joint_radius, joint_vectors, normalised
from sparsetheory.privacy.randomizers import sketch
from sparsetheory.privacy.randomizers.expansion import noise_integers, public_key
from sparsetheory.privacy.randomizers.sphere import sphere_signs


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("n_features", [1, 2, 5, 8, 17])
def test_products_in_the_kernel_are_the_vectors_of_products(n_features, intercept):
    """Records of norms from 10^-4 to 10^15, in rows of products of many lengths modulo eight."""
    there = schema("sphere_joint", intercept=intercept, n_features=n_features)
    X, y = records(60, n_features)
    X[::3] *= 10.0 ** np.arange(-4, 16)[:, None]
    users = np.random.default_rng(1).integers(0, 2**64, 60, dtype=np.uint64)
    vectors = joint_vectors(there, *normalised(there, X, y))
    expected = sphere_signs(vectors, joint_radius(there), there.eps, public_key(there.public_seed), users, seeded(1))
    assert np.array_equal(encode_block(there, X, y, users, seeded(1)), expected)


def test_compiled_noise_is_that_of_the_table():
    """Random words, and the words on both sides of every edge of a cell, with either sign."""
    law = normal_table(*NOISE_BITS)
    edges = np.concatenate([law.thresholds[:-1], law.thresholds - np.uint64(1), np.array([0], dtype=np.uint64)])
    signed = edges << np.uint64(1)
    words = np.concatenate([signed, signed | np.uint64(1), seeded(4)(10_000)])
    assert np.array_equal(noise_integers(words), law.draw(words))
    assert noise_integers(words[:6].reshape(2, 3)).shape == (2, 3)


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("size", [1, 37, 2**20])
def test_any_size_of_blocks_gives_the_same_state(mechanism, size, monkeypatch):
    there = schema(mechanism)
    (X, y), users = records(150), np.arange(150, dtype=np.uint64) << np.uint64(57)
    messages = encode_block(there, X, y, users, seeded(2))
    state, other = MomentState(there), MomentState(there)
    state.update(messages, users)
    monkeypatch.setattr(blocks, "_BLOCK", size)
    monkeypatch.setattr(sketch, "_BLOCK", size)
    other.update(encode_block(there, X, y, users, seeded(2)), users)
    assert other == state


def _peak(work):
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("mechanism", ["sphere_joint", "sketch", "onebit"])
def test_memory_is_a_few_numbers_for_each_user(mechanism):
    """Beyond blocks, users cost checks of their records and copies of their numbers, not 230 products of 8 bytes."""
    there = schema(mechanism, n_features=20)
    (X, y), users = records(40_000, 20), np.arange(40_000, dtype=np.uint64)

    def collect(n):
        MomentState(there).update(encode_block(there, X[:n], y[:n], users[:n]), users[:n])

    collect(10)
    growth = (_peak(lambda: collect(40_000)) - _peak(lambda: collect(20_000))) / 20_000
    assert growth < 64
