"""Public directions: compiled code and the device agree bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsetheory.numba_kernels.privacy import directions as kernels
from sparsetheory.privacy.device.directions import public_index, public_normals, public_words
from sparsetheory.privacy.randomizers.expansion import direction_table, public_key, scratch, user_numbers

_SEEDS = st.one_of(st.integers(0, 2**128 - 1), st.sampled_from([0, 2**64 - 1, 2**64, 2**128 - 1]))
_USERS = st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 2**63 - 1, 2**63, 2**64 - 1]))


def compiled_normals(seed, users, size, stream=0):
    out = np.empty((len(users), size))
    users = np.array(users, dtype=np.uint64)
    kernels.public_normals(public_key(seed, stream), users, direction_table(), scratch(size)[0], out)
    return out


@given(_SEEDS, st.lists(_USERS, min_size=1, max_size=4), st.integers(1, 40), st.integers(0, 3))
def test_normals(seed, users, size, stream):
    expected = [public_normals(seed, user, size, stream) for user in users]
    assert np.array_equal(compiled_normals(seed, users, size, stream), expected)


def test_many_normals_meet_every_way_through_the_guide():
    """A hundred thousand numbers, with cells up to the far end of the table."""
    found = compiled_normals(11, [2**64 - 1, 5], 60_001)
    assert np.array_equal(found, [public_normals(11, user, 60_001) for user in (2**64 - 1, 5)])
    assert np.abs(found).max() > 4 * 4096


def test_every_edge_of_a_cell():
    """All words at thresholds, put through the compiled search: its guide starts at or before the right cell."""
    thresholds, guide, shift = direction_table()
    edges = np.unique(np.concatenate([thresholds[:-1].astype(np.int64) + k for k in (-1, 0, 1)]))
    edges = edges[(edges >= 0) & (edges < 2**31)].astype(np.uint64)
    right = np.searchsorted(thresholds, edges, side="right")
    assert np.all(guide[edges >> shift] <= right)


@given(
    _SEEDS, st.lists(_USERS, min_size=1, max_size=5), st.integers(0, 2**64 - 1), st.integers(0, 50), st.integers(1, 9)
)
def test_choices_of_products(seed, users, cross_words, n_second, n_cross):
    chosen = np.empty(len(users), dtype=np.int64)
    kernels.product_choices(
        public_key(seed), np.array(users, dtype=np.uint64), np.uint64(cross_words), n_second, n_cross, chosen
    )
    for user, product in zip(users, chosen.tolist(), strict=True):
        block, place = public_words(seed, user, 2).tolist()
        if n_second == 0 or block < cross_words:
            assert product == n_second + public_index(place, n_cross)
        else:
            assert product == public_index(place, n_second)


@given(_SEEDS, _USERS, st.integers(1, 30), st.sampled_from([-1, 1]))
def test_sums_of_signed_directions(seed, user, size, sign):
    users, signs = np.array([user], dtype=np.uint64), np.array([sign], dtype=np.int8)
    total = np.zeros(size, dtype=np.int64)
    kernels.sphere_sum(signs, public_key(seed), users, direction_table(), *scratch(size), total)
    g = public_normals(seed, user, size)
    exact = int(g @ g)
    expected = sign * np.rint(g * (kernels.LATTICE / np.sqrt(np.float64(exact)))).astype(np.int64)
    assert np.array_equal(total, expected)
    assert abs(np.sqrt(float(total @ total)) / kernels.LATTICE - 1) < 1e-8


@settings(max_examples=30)
@given(_SEEDS, _USERS, st.integers(1, 25), st.randoms())
def test_signs_of_projections(seed, user, size, random):
    """Integer vectors, so that sums are exact; zero counts as positive."""
    v = np.array([[float(random.randint(-3, 3)) for _ in range(size)]])
    users, sign = np.array([user], dtype=np.uint64), np.empty(1, dtype=np.int8)
    kernels.sphere_signs(v, public_key(seed), users, direction_table(), *scratch(size), sign)
    assert sign[0] == (-1 if public_normals(seed, user, size) @ v[0].astype(int) < 0 else 1)
    kernels.sketch_signs(v, public_key(seed), users, direction_table(), *scratch(2 * size), sign)
    first, second = public_normals(seed, user, 2 * size).reshape(2, size) @ v[0].astype(int)
    assert sign[0] == (-1 if (first < 0) != (second < 0) else 1)


def test_the_zero_vector_has_the_sign_plus():
    users, signs = np.arange(50, dtype=np.uint64), np.empty(50, dtype=np.int8)
    kernels.sphere_signs(np.zeros((50, 3)), public_key(0), users, direction_table(), *scratch(3), signs)
    assert np.all(signs == 1)
    kernels.sketch_signs(np.zeros((50, 3)), public_key(0), users, direction_table(), *scratch(6), signs)
    assert np.all(signs == 1)


def test_directions_are_white():
    """200000 numbers: means, squares and products of neighbours within 4.5 standard errors of a normal law."""
    g = compiled_normals(3, range(20_000), 10) / 4096
    assert np.abs(g.mean(axis=0)).max() < 4.5 / np.sqrt(20_000)
    assert np.abs((g**2).mean(axis=0) - 1).max() < 4.5 * np.sqrt(2 / 20_000)
    gram = g.T @ g / 20_000
    assert np.abs(gram[~np.eye(10, dtype=bool)]).max() < 4.5 / np.sqrt(20_000)


def test_user_numbers():
    assert user_numbers(None, 3).tolist() == [0, 1, 2]
    assert user_numbers([1, 2**64 - 1], 2).tolist() == [1, 2**64 - 1]  # NumPy alone would make floats of them
    assert user_numbers([], 0).dtype == np.uint64
    assert user_numbers(np.array([7], dtype=np.int16), 1).tolist() == [7]


@pytest.mark.parametrize(
    "given", [[1], [-1, 2], [0.0, 1.0], [[1, 2]], ["a", "b"], [1, 2**64], [True, False], np.ones(2, dtype=bool)]
)
def test_what_is_no_user_number(given):
    with pytest.raises(ValueError, match=r"user_ids must be 2 integers in \[0, 2\*\*64\)"):
        user_numbers(given, 2)


@pytest.mark.parametrize("seed", [-1, 2**128, 1.5, None, True])
def test_what_is_no_public_seed(seed):
    with pytest.raises(ValueError, match="public_seed must be an integer"):
        public_key(seed)
