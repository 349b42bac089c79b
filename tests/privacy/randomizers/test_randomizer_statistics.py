"""Means and second moments of messages, within 4.5 standard errors; seeded, so the same on every run."""

import math

import numpy as np
import pytest
from scipy.stats import chi2

from sparsetheory.numba_kernels.privacy import directions as kernels
from sparsetheory.privacy import (
    cube_encode,
    cube_scale,
    onebit_decode,
    onebit_encode,
    privunit_encode,
    sketch_encode,
    sketch_moments,
    sketch_scale,
    sphere_decode,
    sphere_encode,
    sphere_scale,
)
from sparsetheory.privacy.randomizers.expansion import direction_table, public_key, scratch

Z = 4.5


def seeded(seed):
    rng = np.random.default_rng(seed)
    return lambda count: rng.integers(0, 2**64, count, dtype=np.uint64)


def close(samples, expected, scale=1.0):
    """Assert that means of rows lie within Z standard errors of what is expected."""
    error = samples.std(axis=0) / math.sqrt(len(samples)) + 1e-12 * scale
    assert np.abs((samples.mean(axis=0) - expected) / error).max() < Z


VECTORS = {
    1: [0.4],
    2: [0.6, -0.8],
    5: [0.1, -0.2, 0.0, 0.5, 0.3],
    7: [0.0] * 7,
}


@pytest.mark.parametrize("p", VECTORS)
@pytest.mark.parametrize("eps", [0.7, 4.0])
def test_sphere(p, eps):
    n, radius = 60_000, 1.3
    v = np.array(VECTORS[p])
    rows = np.tile(v, (n, 1))
    z = sphere_decode(sphere_encode(rows, radius, eps, public_seed=p, coin=seeded(p)), p, radius, eps, public_seed=p)
    close(z, v)
    length = sphere_scale(p, eps, radius)
    assert np.allclose(np.linalg.norm(z, axis=1), length, rtol=1e-12)
    # Covariance (B^2 / p) I - v v^T: products of two entries of messages have these means.
    rows, columns = np.triu_indices(p)
    close(z[:, rows] * z[:, columns], np.where(rows == columns, length**2 / p, 0.0), scale=length**2)


@pytest.mark.parametrize("p", VECTORS)
@pytest.mark.parametrize("eps", [0.7, 4.0])
def test_cube(p, eps):
    v = np.array(VECTORS[p])
    bits = cube_encode(np.tile(v, (60_000, 1)), 1.3, eps, coin=seeded(p))
    assert set(np.unique(bits).tolist()) == {-1, 1}
    close(cube_scale(p, eps, 1.3) * bits, v)


@pytest.mark.parametrize("p", VECTORS)
@pytest.mark.parametrize("eps", [0.7, 4.0])
def test_onebit(p, eps):
    v = np.array(VECTORS[p])
    radius = 1.3
    rows = np.tile(v, (60_000, 1))
    z = onebit_decode(onebit_encode(rows, radius, eps, public_seed=1, coin=seeded(p)), p, radius, eps, public_seed=1)
    close(z, v)
    assert np.count_nonzero(z) == len(z)
    # Second moments d R^2 coth^2(eps / 2): every non-zero has the square d times that, and one in d is not zero.
    size = p * radius / math.tanh(eps / 2)
    assert np.allclose(np.abs(z[z != 0]), size, rtol=1e-15)
    close((z != 0).astype(float), 1 / p)


@pytest.mark.parametrize("eps", [0.7, 4.0])
@pytest.mark.parametrize("z", [[0.8], [0.6, -0.8], [0.1, -0.2, 0.5, 0.3], [0.0, 0.0, 0.0]])
def test_sketch(z, eps):
    """Products of signed public normals, decoded one by one: their mean is z z^T, second moments c^2 / 2 and c^2."""
    n, radius, q = 40_000, 1.2, len(z)
    z = np.array(z)
    users = np.arange(1000, 1000 + n, dtype=np.uint64)
    signs = sketch_encode(np.tile(z, (n, 1)), radius, eps, public_seed=4, user_ids=users, coin=seeded(q))
    normals = np.empty((n, 2 * q))
    kernels.public_normals(public_key(4), users, direction_table(), scratch(2 * q)[0], normals)
    pairs = normals.reshape(n, 2, q) / 4096
    c = sketch_scale(eps, radius)
    products = np.einsum("n,ni,nj->nij", signs, pairs[:, 0], pairs[:, 1])
    messages = c * (products + products.transpose(0, 2, 1)) / 2
    close(messages.reshape(n, -1), np.outer(z, z).ravel(), scale=c)
    close((messages**2).reshape(n, -1), c**2 * (1 + np.eye(q)).ravel() / 2)
    together = sketch_moments(signs, q, radius, eps, public_seed=4, user_ids=users)
    assert np.allclose(together, messages.mean(axis=0), rtol=0, atol=1e-12 * c)


@pytest.mark.parametrize("p", [2, 3, 20])
@pytest.mark.parametrize("eps", [1.0, 6.0])
def test_privunit(p, eps):
    v = np.arange(1.0, p + 1) / np.linalg.norm(np.arange(1.0, p + 1))
    z = privunit_encode(np.tile(v, (40_000, 1)), eps, simulation=True, random_state=3)
    close(z, v)
    assert np.ptp(np.linalg.norm(z, axis=1)) < 1e-9 * np.linalg.norm(z[0])


@pytest.mark.parametrize("encode", [sphere_encode, onebit_encode, sketch_encode])
def test_bits_depend_on_data_no_more_than_the_coin_says(encode):
    """Fixed public directions, two opposite inputs: bits of many coins have frequencies of ratio e^eps, not more."""
    n, eps = 40_000, 1.0
    users = np.full(n, 12, dtype=np.uint64)
    first = np.tile([1.0, 0.0], (n, 1))
    second = np.tile([0.0, 1.0], (n, 1)) if encode is sketch_encode else -first
    found = [
        np.mean(encode(v, 1.0, eps, public_seed=2, user_ids=users, coin=seeded(k)) > 0)
        for k, v in enumerate((first, second))
    ]
    limits = 1 / (1 + math.e), math.e / (1 + math.e)
    for share in found:
        assert limits[0] - Z / (2 * math.sqrt(n)) <= share <= limits[1] + Z / (2 * math.sqrt(n))


def test_decoded_numbers_are_constants_times_a_bit():
    """Low bits: whatever the data are, a message is one of two numbers that public seeds determine."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((300, 6)) * 10.0 ** rng.uniform(-9, 3, (300, 1))
    for encode, decode in ((sphere_encode, sphere_decode), (onebit_encode, onebit_decode)):
        plus = decode(np.ones(300, dtype=np.int8), 6, 1.0, 1.0, public_seed=8)
        messages = decode(encode(vectors, 1.0, 1.0, public_seed=8), 6, 1.0, 1.0, public_seed=8)
        same, turned = (np.all(messages == sign * plus, axis=1) for sign in (1, -1))
        assert np.all(same | turned)
        assert same.any()
        assert turned.any()
    bits = cube_encode(vectors, 1.0, 1.0)
    assert set(np.unique(bits).tolist()) == {-1, 1}
    assert bits.dtype == np.int8


def test_sketch_sums_are_the_same_for_every_order_and_have_chi_square_spread():
    n, q, eps = 20_000, 5, 1.0
    rng = np.random.default_rng(3)
    z = rng.standard_normal((n, q))
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    users = rng.permutation(n).astype(np.uint64)
    signs = sketch_encode(z, 1.0, eps, user_ids=users, coin=seeded(9))
    order = rng.permutation(n)
    first = sketch_moments(signs, q, 1.0, eps, user_ids=users)
    assert np.array_equal(first, sketch_moments(signs[order], q, 1.0, eps, user_ids=users[order]))
    c = sketch_scale(eps)
    upper = np.triu_indices(q, 1)
    scores = (first - z.T @ z / n)[upper] / (c / math.sqrt(2 * n))
    low, high = chi2.ppf([1e-4, 1 - 1e-4], len(scores))
    assert low < float(scores @ scores) < high


BAD = [
    (np.array([[np.nan, 0.0]]), "must be finite"),
    (np.array([[np.inf, 0.0]]), "must be finite"),
    (np.zeros(3), "must have 2 axes"),
    (np.array([["a", "b"]]), "must be an array of real numbers"),
    (np.array([[1j, 0]]), "must be an array of real numbers"),
]


def _no_coin(count):
    raise AssertionError(f"{count} words were asked for")


@pytest.mark.parametrize("encode", [sphere_encode, onebit_encode, sketch_encode, cube_encode])
@pytest.mark.parametrize(("vectors", "words"), BAD)
def test_bad_vectors_toss_no_coin(encode, vectors, words):
    with pytest.raises(ValueError, match=words):
        encode(vectors, 1.0, 1.0, coin=_no_coin)


@pytest.mark.parametrize("encode", [sphere_encode, onebit_encode, sketch_encode, cube_encode])
def test_bad_parameters_toss_no_coin(encode):
    vectors = np.zeros((2, 3))
    for eps in (0.0, -1.0, math.nan, 20.5, "1", None):
        with pytest.raises(ValueError, match="eps must be a number"):
            encode(vectors, 1.0, eps, coin=_no_coin)
    for radius in (0.0, -1.0, math.nan, math.inf, None):
        with pytest.raises(ValueError, match="radius must be a finite positive number"):
            encode(vectors, radius, 1.0, coin=_no_coin)
    if encode is not cube_encode:
        with pytest.raises(ValueError, match="user_ids must be 2 integers"):
            encode(vectors, 1.0, 1.0, user_ids=[1], coin=_no_coin)
        with pytest.raises(ValueError, match="public_seed must be an integer"):
            encode(vectors, 1.0, 1.0, public_seed=-1, coin=_no_coin)


@pytest.mark.parametrize("encode", [sphere_encode, onebit_encode, sketch_encode, cube_encode])
def test_types_and_layouts_of_vectors(encode):
    v = np.round(np.random.default_rng(2).uniform(-0.5, 0.5, (40, 6)) * 64) / 64
    frozen = v.copy()
    frozen.setflags(write=False)
    forms = [
        v,
        v.astype(np.float32),
        frozen,
        np.asfortranarray(v),
        np.repeat(v, 2, axis=1)[:, ::2],
        v.tolist(),
        v.astype(">f8"),
    ]
    first, *others = (encode(form, 1.0, 1.0, coin=seeded(7)) for form in forms)
    assert all(np.array_equal(first, other) for other in others)
    assert encode(np.empty((0, 3)), 1.0, 1.0).shape[0] == 0


def test_privunit_only_simulates_and_only_unit_vectors():
    v = np.array([[0.6, 0.8]])
    for simulation in (False, None, 1):
        with pytest.raises(ValueError, match="simulation must be True"):
            privunit_encode(v, 1.0, simulation=simulation)
    with pytest.raises(ValueError, match="V must have rows of norm 1"):
        privunit_encode(2 * v, 1.0, simulation=True)
    with pytest.raises(ValueError, match="V must be finite"):
        privunit_encode(np.array([[np.nan, 1.0]]), 1.0, simulation=True)
