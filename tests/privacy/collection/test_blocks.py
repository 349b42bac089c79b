"""Blocks of users send what single clients send, and the decoded moments have the stated law."""

import math

import numpy as np
import pytest
from privacy.collection.collections_of_users import KINDS, MECHANISMS, records, schema, seeded
from scipy.stats import chi2

from sparsetheory.numba_kernels.privacy import directions as kernels
from sparsetheory.privacy import LDPClient, LDPSchema
from sparsetheory.privacy.collection import blocks
from sparsetheory.privacy.collection.blocks import encode_block
from sparsetheory.privacy.collection.moments import decode_moments
from sparsetheory.privacy.collection.noise import release_noise
from sparsetheory.privacy.collection.state import MomentState
from sparsetheory.privacy.device.messages import unpack
from sparsetheory.privacy.randomizers.expansion import direction_table, public_key, scratch


def one_by_one(there, X, y, users, coin):
    client = LDPClient.from_schema(there)
    stream = b"".join(client.encode(*record, coin=coin) for record in zip(X, y, users.tolist(), strict=True))
    return unpack(there, stream)[1]


@pytest.mark.parametrize(("mechanism", "moments", "intercept"), KINDS)
def test_a_block_sends_what_its_clients_send(mechanism, moments, intercept):
    there = schema(mechanism, moments, intercept)
    X, y = records(60)
    users = np.random.default_rng(1).integers(0, 2**64, 60, dtype=np.uint64)
    together = encode_block(there, X, y, users, seeded(2))
    assert np.array_equal(together, one_by_one(there, X, y, users, seeded(2)))
    assert together.dtype == (np.int32 if there.delta else np.int8)


@pytest.mark.parametrize("mechanism", ["sphere_joint", "sketch", "onebit"])
@pytest.mark.parametrize("scale", [1.0, (1.0, 0.1, 2.0, 3.0)])
def test_binary_records_have_the_same_ties_everywhere(mechanism, scale):
    """Equal entries make projections zero for some directions: blocks and clients then agree on plus."""
    there = schema(mechanism, scale_x=scale, clip_entries=None, clip_x=2.0, response_weight=1.0)
    rng = np.random.default_rng(4)
    X = rng.choice([0.0, 1.0], (1500, 4)) * np.asarray(scale)
    y = rng.choice([-1.0, 0.0, 1.0], 1500)
    users = np.arange(1500, dtype=np.uint64)
    assert np.array_equal(encode_block(there, X, y, users, seeded(3)), one_by_one(there, X, y, users, seeded(3)))


def test_exact_ties_count_as_plus_everywhere():
    """Four equal entries, and users whose public numbers sum to zero: one in ten thousand.

    Without the lattice of the vectors half of these signs depend on the order in which products are added.
    """
    there = LDPSchema(mechanism="sphere_joint", eps=1.0, n_features=4, clip_x=1.0, clip_y=1.0, moments="cross")
    users = np.arange(400_000, dtype=np.uint64)
    normals = np.empty((len(users), 4))
    kernels.public_normals(public_key(0), users, direction_table(), scratch(4)[0], normals)
    tied = users[normals.sum(axis=1) == 0]
    assert 10 <= len(tied) <= 100
    X, y = np.full((len(tied), 4), 0.1 / 1.7), np.ones(len(tied))
    always = seeded_words(0)
    assert np.all(encode_block(there, X, y, tied, always) == 1)
    assert np.all(one_by_one(there, X, y, tied, always) == 1)


def seeded_words(word):
    return lambda count: np.full(count, word, dtype=np.uint64)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_the_size_of_a_block_does_not_matter(mechanism, monkeypatch):
    there = schema(mechanism, intercept=True)
    X, y = records(50)
    users = np.arange(50, dtype=np.uint64)
    whole = encode_block(there, X, y, users, seeded(5))
    monkeypatch.setattr(blocks, "_BLOCK", 7 * there.n_products)
    assert np.array_equal(whole, encode_block(there, X, y, users, seeded(5)))


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_no_users_and_other_types(mechanism):
    there = schema(mechanism)
    none = encode_block(there, np.empty((0, 4)), np.empty(0), np.empty(0, dtype=np.uint64))
    assert none.shape == ((0, there.n_products) if there.delta else (0,))
    X, y = records(30)
    X, y = X.astype(np.float32), y.astype(np.float32)
    users = np.arange(30, dtype=np.uint64)
    first = encode_block(there, X, y, users, seeded(6))
    X.setflags(write=False)
    assert np.array_equal(first, encode_block(there, X.astype(float), y.astype(float), users, seeded(6)))
    assert np.array_equal(first, encode_block(there, np.repeat(X, 2, axis=1)[:, ::2], y, users, seeded(6)))


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_bad_records_toss_no_coin(mechanism):
    there = schema(mechanism)

    def no_coin(count):
        raise AssertionError(f"{count} words were asked for")

    X, y = records(5)
    users = np.arange(5, dtype=np.uint64)
    for place, value, name in (((4, 3), np.nan, "X"), ((0, 0), np.inf, "X"), (4, np.nan, "y")):
        bad = {"X": X.copy(), "y": y.copy()}
        bad[name][place] = value
        with pytest.raises(ValueError, match=f"{name} must be finite"):
            encode_block(there, bad["X"], bad["y"], users, no_coin)
    with pytest.raises(ValueError, match="X must be of shape"):
        encode_block(there, X[:, :3], y, users, no_coin)


def clipped_moments(there, X, y):
    """Return moments of clipped records, computed without the code of the device."""
    d = there.n_features
    entries = np.clip(X / np.asarray(there.scale_x), -there.largest_entry, there.largest_entry)
    norms = np.linalg.norm(entries, axis=1, keepdims=True)
    short = entries * np.minimum(1, there.largest_norm / np.maximum(norms, 1e-300))
    if there.fit_intercept:
        entries, short = (np.column_stack([Z, np.full(len(Z), there.constant)]) for Z in (entries, short))
    u = np.clip(y, -there.clip_y, there.clip_y)
    by_entries = there.mechanism == "onebit"
    A = (entries if by_entries else short).T @ (entries if by_entries else short) / len(X)
    b = (entries if by_entries or there.mechanism == "paper" else short).T @ u / len(X)
    assert A.shape[0] == d + there.fit_intercept
    return A, b, float(np.mean(u**2))


@pytest.mark.parametrize(("mechanism", "moments", "intercept"), KINDS)
def test_decoded_moments_have_the_stated_noise(mechanism, moments, intercept):
    """24 collections of 3000 users: all entries unbiased, and their spread that of the stated law by chi-square.

    For bits the stated law is the second moment; the variance is less by the square of the mean, which is subtracted.
    """
    there = schema(mechanism, moments, intercept, scale_x=(1.0, 0.5, 2.0, 1.0))
    n, repeats = 3000, 24
    X, y = records(n, seed=7)
    X = X * np.asarray(there.scale_x)
    A, b, square = clipped_moments(there, X, y)
    coin, rng = seeded(8), np.random.default_rng(9)
    found = []
    for _ in range(repeats):
        users = rng.integers(0, 2**64, n, dtype=np.uint64)
        state = MomentState(there)
        state.update(encode_block(there, X, y, users, coin), users)
        found.append(state.moments())
    noise = release_noise(there)
    groups = {"cross": (np.array([m.cross for m in found]), b, noise.cross_std)}
    if moments == "joint":
        seconds = np.array([m.second for m in found])
        d = there.n_features
        rows, columns = np.triu_indices(len(A), 1)
        groups["off"] = seconds[:, rows, columns], A[rows, columns], noise.off_diagonal_std
        groups["diagonal"] = seconds[:, range(d), range(d)], np.diag(A)[:d], noise.diagonal_std
        assert np.array_equal(seconds, seconds.transpose(0, 2, 1))
        if intercept:
            assert np.all(seconds[:, d, d] == there.constant**2)
    if mechanism == "sketch":
        size = release_noise(there).diagonal_std / there.radius**2 * (there.clip_y / there.response_weight) ** 2
        groups["square"] = np.array([[m.response_square] for m in found]), np.array([square]), size
    for name, (values, expected, std) in groups.items():
        # A lower bound of the variance of a bit's contribution takes off the square of the mean of one record.
        excess = 0.0 if there.delta else np.mean(expected**2)
        spread = math.sqrt((std**2 - excess) / n)
        scores = (values - expected) / spread
        assert np.abs(scores.mean(axis=0)).max() * math.sqrt(repeats) < 4.5, name
        total, count = float(np.sum(scores**2)), scores.size
        low, high = chi2.ppf([1e-4, 1 - 1e-4], count)
        # Entries are nearly uncorrelated; the squares of means, which differ between records, leave two percent.
        assert 0.97 * low < total < 1.03 * high, name


def test_decoding_is_linear_in_the_sums():
    for mechanism, moments, intercept in KINDS:
        there = schema(mechanism, moments, intercept)
        shape = MomentState(there).total.shape
        rng = np.random.default_rng(0)
        first, second = (rng.integers(-(2**40), 2**40, shape) for _ in range(2))
        parts = [decode_moments(there, total, 10).cross for total in (first, second, first + second)]
        assert np.allclose(parts[0] + parts[1], parts[2], rtol=1e-12)


def test_noise_law_of_gauss_and_bits_against_formulas():
    """Closed forms for unit clips: no weights, no units."""
    plain = {"clip_x": 1.0, "clip_entries": None, "clip_y": 1.0, "response_weight": 1.0, "eps": 1.0}
    t = math.tanh(0.5)
    sketch = release_noise(schema("sketch", **plain))
    assert sketch.diagonal_std == pytest.approx(math.pi / t, rel=1e-14)
    assert sketch.off_diagonal_std == pytest.approx(math.pi / t / math.sqrt(2), rel=1e-14)
    sphere = release_noise(schema("sphere_joint", **plain))
    length = math.sqrt(2) / t * math.sqrt(math.pi) * math.exp(math.lgamma(7.5) - math.lgamma(7))
    assert sphere.diagonal_std == pytest.approx(length / math.sqrt(14), rel=1e-13)
    assert sphere.off_diagonal_std == pytest.approx(length / math.sqrt(28), rel=1e-13)
    onebit = release_noise(schema("onebit", **plain))
    assert onebit.cross_std == pytest.approx(math.sqrt(8) / t, rel=1e-14)
    assert onebit.diagonal_std == pytest.approx(math.sqrt(20) / t, rel=1e-14)
