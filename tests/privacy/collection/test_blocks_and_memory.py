"""Blocks of users: their size changes no message and no sum, and memory does not grow with the number of users."""

import tracemalloc

import numpy as np
import pytest

from sparsetheory.privacy import LDPClient, LDPSchema, MomentState
from sparsetheory.privacy.collection import blocks
from sparsetheory.privacy.collection.blocks import encode_block
from sparsetheory.privacy.device.messages import unpack
from sparsetheory.privacy.device.quantised_normal import NOISE_BITS, normal_table
from sparsetheory.privacy.device.records import joint_radius, joint_vectors, normalised
from sparsetheory.privacy.randomizers import sketch
from sparsetheory.privacy.randomizers.expansion import noise_integers, public_key
from sparsetheory.privacy.randomizers.sphere import sphere_signs

CASES = {
    "sphere": {"mechanism": "sphere_joint"},
    "sphere, intercept": {"mechanism": "sphere_joint", "fit_intercept": True, "response_weight": 0.3},
    "sphere, cross": {"mechanism": "sphere_joint", "moments": "cross"},
    "sketch": {"mechanism": "sketch", "response_weight": 1.7},
    "onebit": {"mechanism": "onebit", "clip_entries": 1.5},
    "gauss_tight": {"mechanism": "gauss_tight", "delta": 1e-6},
    "paper": {"mechanism": "paper", "delta": 1e-6, "clip_entries": 1.5},
}


def schema_of(case, n_features=5):
    fields = {"eps": 1.0, "n_features": n_features, "clip_x": 3.0, "clip_y": 2.0, "public_seed": 2**90 + 7}
    return LDPSchema(**{**fields, **CASES[case]})


def records(n, n_features=5):
    rng = np.random.default_rng(3)
    users = rng.integers(0, 2**64, n, dtype=np.uint64)
    return rng.standard_normal((n, n_features)), 2 * rng.standard_normal(n), users


def seeded_coin(seed=0):
    rng = np.random.default_rng(seed)
    return lambda count: rng.integers(0, 2**64, count, dtype=np.uint64)


@pytest.mark.parametrize("case", CASES)
def test_blocks_send_what_clients_send(case):
    schema, (X, y, users) = schema_of(case), records(40)
    client, coin = LDPClient.from_schema(schema), seeded_coin()
    alone = [client.encode(x, r, int(u), coin=coin) for x, r, u in zip(X, y, users, strict=True)]
    there, sent = unpack(schema, b"".join(alone))
    assert np.array_equal(there, users)
    assert np.array_equal(encode_block(schema, X, y, users, seeded_coin()), sent)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("size", [1, 37, 2**20])
def test_any_size_of_blocks_gives_the_same_state(case, size, monkeypatch):
    schema, (X, y, users) = schema_of(case), records(150)
    expected = encode_block(schema, X, y, users, seeded_coin())
    state = MomentState(schema)
    state.update(expected, users)
    monkeypatch.setattr(blocks, "_BLOCK", size)
    monkeypatch.setattr(sketch, "_BLOCK", size)
    assert np.array_equal(encode_block(schema, X, y, users, seeded_coin()), expected)
    other = MomentState(schema)
    for part in np.array_split(np.random.default_rng(size).permutation(150), 4):
        other.update(expected[part], users[part])
    assert other == state


@pytest.mark.parametrize("case", ["sphere", "sphere, intercept"])
def test_products_in_the_kernel_are_the_vectors_of_products(case):
    """Records on and beyond the bounds too, and long ones, whose rows of products have every length modulo eight."""
    for n_features in (1, 2, 5, 8, 17):
        schema = schema_of(case, n_features)
        X, y, users = records(60, n_features)
        X[::3] *= 10.0 ** np.arange(-4, 16)[:, None]
        vectors = joint_vectors(schema, *normalised(schema, X, y))
        slow = sphere_signs(
            vectors, joint_radius(schema), schema.eps, public_key(schema.public_seed), users, seeded_coin(1)
        )
        assert np.array_equal(encode_block(schema, X, y, users, seeded_coin(1)), slow)


def test_compiled_noise_is_that_of_the_table():
    """Random words, the largest and the smallest ones, and the words at every edge of a cell, with either sign."""
    law = normal_table(*NOISE_BITS)
    edges = np.concatenate([law.thresholds[:-1], law.thresholds - np.uint64(1), np.array([0], dtype=np.uint64)])
    signed = edges << np.uint64(1)
    words = np.concatenate([signed, signed | np.uint64(1), seeded_coin(4)(10_000)])
    assert np.array_equal(noise_integers(words), law.draw(words))
    assert noise_integers(words[:6].reshape(2, 3)).shape == (2, 3)


def _peak(work):
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("case", ["sphere", "sketch", "onebit"])
def test_memory_is_a_few_numbers_for_each_user(case):
    """Not a vector of 230 products: beyond blocks, users cost the copies of their numbers and of their signs."""
    schema = schema_of(case, 20)
    X, y, users = records(40_000, 20)
    messages = encode_block(schema, X[:10], y[:10], users[:10])
    MomentState(schema).update(messages, users[:10])

    def work(n):
        encode_block(schema, X[:n], y[:n], users[:n])
        MomentState(schema).update(np.ones(n, dtype=np.int8), users[:n])

    growth = (_peak(lambda: work(40_000)) - _peak(lambda: work(20_000))) / 20_000
    assert growth < 64


@pytest.mark.parametrize("case", CASES)
def test_a_state_of_many_users_is_as_large_as_that_of_one(case):
    schema, (X, y, users) = schema_of(case), records(500)
    sizes = set()
    for n in (1, 500):
        state = MomentState(schema)
        state.update(encode_block(schema, X[:n], y[:n], users[:n]), users[:n])
        sizes.add(len(state.to_bytes()))
    assert len(sizes) == 1
