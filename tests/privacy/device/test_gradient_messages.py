"""One gradient of one user, against its definition."""

import math

import numpy as np
import pytest

from sparsetheory.privacy import GradientQuery, GradientSchema, SchemaMismatchError, encode_gradient, round_of
from sparsetheory.privacy.collection.gradient_blocks import encode_gradients, rounds_of
from sparsetheory.privacy.device.gradient import gradient_vectors
from sparsetheory.privacy.device.messages import unpack
from sparsetheory.privacy.estimators.guarantee import SeededCoin

RESIDUAL = {"eps": 1.0, "n_features": 5, "clip_x": 2.0, "clip_residual": 1.5, "n_kept": 2, "public_seed": 2**100 + 3}
PAPER = {**RESIDUAL, "gradient_clip": "paper", "clip_entries": 1.2, "clip_y": 0.7, "norm_bound": 2.0}
SCREENED = {**RESIDUAL, "screen": 3, "n_rounds": 2, "scale_x": (1.0, 2.0, 0.5, 10.0, 0.1)}


def _query(options, **asked):
    schema = GradientSchema(**options)
    asked = {"round": 0, "coef": (0.3, 0.0, -1.9, 0.0, 0.0)[: 3 if "features" in asked else 5], **asked}
    return GradientQuery(schema=schema, **asked)


QUERIES = {
    "residual": _query(RESIDUAL),
    "paper": _query(PAPER),
    "screened": _query(SCREENED, round=1, features=(0, 2, 3)),
}


def _records(rng, n=400):
    return 2 * rng.standard_normal((n, 5)) * 10.0 ** rng.uniform(-2, 1, (n, 1)), 2 * rng.standard_normal(n)


def test_gradients_with_a_clipped_residual(rng):
    X, y = _records(rng)
    query = QUERIES["residual"]
    theta = np.array(query.coef)
    x = X * np.minimum(1, 2.0 / np.linalg.norm(X, axis=1))[:, None]
    expected = x * np.clip(x @ theta - y, -1.5, 1.5)[:, None]
    found = gradient_vectors(query, X, y)
    np.testing.assert_allclose(found * query.unit, expected, rtol=1e-12, atol=1e-13)
    assert np.linalg.norm(found, axis=1).max() <= query.radius * (1 + 1e-12) == 1 + 1e-12


def test_gradients_of_the_paper(rng):
    X, y = _records(rng)
    query = QUERIES["paper"]
    x, clipped = np.clip(X, -1.2, 1.2), np.clip(y, -0.7, 0.7)
    expected = x * (x @ np.array(query.coef) - clipped)[:, None]
    np.testing.assert_allclose(gradient_vectors(query, X, y) * query.unit, expected, rtol=1e-12, atol=1e-13)
    bound = np.sqrt(5) * 1.2 * (np.sqrt(2) * 1.2 * 2.0 + 0.7)
    assert query.radius * query.unit == pytest.approx(bound, rel=1e-14)
    # Attained by two equal coefficients and a corner of the cube.
    corner = _query(PAPER, coef=(2**0.5, -(2**0.5), 0.0, 0.0, 0.0))
    v = gradient_vectors(corner, np.array([[9.0, -9.0, 9.0, 9.0, 9.0]]), np.array([-9.0]))
    assert np.linalg.norm(v) == pytest.approx(corner.radius, rel=1e-14)


def test_screened_gradients_use_their_own_units_and_a_shorter_clip(rng):
    X, y = _records(rng)
    query = QUERIES["screened"]
    scaled = X[:, [0, 2, 3]] / np.array([1.0, 0.5, 10.0])
    clip = np.sqrt(3) * 2.0 / np.sqrt(5)
    x = scaled * np.minimum(1, clip / np.linalg.norm(scaled, axis=1))[:, None]
    expected = x * np.clip(x @ np.array(query.coef) - y, -1.5, 1.5)[:, None]
    np.testing.assert_allclose(gradient_vectors(query, X, y) * query.unit, expected, rtol=1e-12, atol=1e-13)
    assert query.schema.radius(3) == pytest.approx(1.5 * clip)
    # Beyond the root of d, the distance from it stays.
    wide = GradientSchema(**{**SCREENED, "clip_x": np.sqrt(5) + 3})
    assert wide.radius(3) == pytest.approx(1.5 * (np.sqrt(3) + 3))


@pytest.mark.parametrize("kind", QUERIES)
def test_a_device_sends_what_the_block_says(kind, rng):
    query = QUERIES[kind]
    X, y = _records(rng, 60)
    users = rng.integers(0, 2**63, 60).astype(np.uint64) * np.uint64(2)
    own = rounds_of(query.schema, users)
    assert own.tolist() == [round_of(query.schema, int(user)) for user in users]
    asked = np.flatnonzero(own == query.round)
    block = encode_gradients(query, X[asked], y[asked], users[asked], SeededCoin(5))
    coin = SeededCoin(5)
    sent = [encode_gradient(query, X[i], y[i], int(users[i]), coin=coin) for i in asked]
    found, signs = unpack(query, b"".join(sent))
    np.testing.assert_array_equal(found, users[asked])
    np.testing.assert_array_equal(signs, block)


def test_a_user_answers_in_one_round_and_to_one_query(rng):
    X, y = _records(rng, 1)
    query = QUERIES["screened"]
    other = next(user for user in range(100) if round_of(query.schema, user) == 0)
    with pytest.raises(ValueError, match="user_id must be that of a user of round 1"):
        encode_gradient(query, X[0], y[0], other)
    own = next(user for user in range(100) if round_of(query.schema, user) == 1)
    message = encode_gradient(query, X[0], y[0], own)
    changed = _query(SCREENED, round=1, features=(0, 2, 3), coef=(0.3, 0.0, -1.8))
    with pytest.raises(SchemaMismatchError):
        unpack(changed, message)


def test_half_of_the_users_screen():
    schema = GradientSchema(**{**SCREENED, "n_rounds": 3})
    counts = np.bincount(rounds_of(schema, np.arange(60_000, dtype=np.uint64)))
    np.testing.assert_allclose(counts, [30_000, 10_000, 10_000, 10_000], rtol=0.03)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_no_coin_is_tossed_for_nan(bad):
    def coin(count):
        raise AssertionError("a coin was tossed")

    for x, y in (([bad, 0, 0, 0, 0], 1.0), ([0.0] * 5, bad)):
        with pytest.raises(ValueError, match=r"X must be finite|y must be finite"):
            encode_gradient(QUERIES["residual"], x, y, 1, coin=coin)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"clip_x": None}, "clip_x or clip_entries must be given: clipping bounds must be public"),
        ({"clip_residual": None}, "clip_residual or clip_y must be given: clipping bounds must be public"),
        ({"gradient_clip": "paper"}, "clip_entries must be given: clipping bounds must be public"),
        ({"gradient_clip": "paper", "clip_entries": 1.0}, "clip_y must be given: clipping bounds must be public"),
        ({"gradient_clip": "none"}, "gradient_clip must be one of 'residual', 'paper'; got 'none'"),
        ({"eps": 0.0}, "eps must be a number in"),
        ({"eps": 21.0}, "eps must be a number in"),
        ({"n_kept": 6}, "n_kept must be an integer from 1 to 5; got 6"),
        ({"screen": 1}, "screen must be an integer from 2 to 5; got 1"),
        ({"n_rounds": 0}, "n_rounds must be"),
        ({"scale_x": (1.0, 2.0)}, "scale_x must be"),
        ({"clip_residual": 1e-310}, "clip_residual must be a number in"),
        ({"norm_bound": None}, "norm_bound must be a number in"),
        ({"clip_x": "2"}, "clip_x must be a number in"),
        ({"n_kept": 2.0}, "n_kept must be an integer from 1 to 5; got 2.0"),
        ({"public_seed": -1}, "public_seed must be an integer in"),
    ],
)
def test_schemas_say_what_they_need(wrong, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        GradientSchema(**{**RESIDUAL, **wrong})
    assert message in str(caught.value)


def test_queries_and_schemas_survive_being_written():
    numpy_numbers = {"n_kept": np.int64(2), "n_features": np.int32(5), "clip_x": np.float32(2), "scale_x": np.ones(5)}
    schema = GradientSchema(**{**RESIDUAL, **numpy_numbers})
    assert schema.fingerprint == GradientSchema(**{**RESIDUAL, "scale_x": [1.0] * 5}).fingerprint
    for query in QUERIES.values():
        again = GradientQuery.from_json(query.to_json())
        assert again == query
        assert again.fingerprint == query.fingerprint
        assert GradientSchema.from_json(query.schema.to_json()) == query.schema
    with pytest.raises(ValueError, match="text must be a query of version 1"):
        GradientQuery.from_json("{}")
    with pytest.raises(ValueError, match="text must be a schema of version 1"):
        GradientSchema.from_json("{}")
    with pytest.raises(ValueError, match="round must be an integer from 0 to 0"):
        _query(RESIDUAL, round=1)
    with pytest.raises(ValueError, match="coef must hold 5 finite numbers"):
        _query(RESIDUAL, coef=(np.nan,) * 5)


def test_numbers_of_numpy_and_wrong_types():
    """A schema and a query are text: what would be written in another way is made plain or refused."""
    plain = {"eps": 1.0, "n_features": 3, "clip_x": 2.0, "clip_residual": 1.0, "n_kept": 1, "n_rounds": 2}
    numpy = {"eps": np.float32(1), "n_features": np.int64(3), "n_kept": np.uint8(1), "n_rounds": np.int16(2)}
    schema = GradientSchema(**plain)
    same = GradientSchema(**{**plain, **numpy})
    assert same.to_json() == schema.to_json()
    query = GradientQuery(schema=schema, round=1, coef=(0.5, 0.0), features=(0, 2))
    other = GradientQuery(
        schema=same, round=np.int64(1), coef=(np.float32(0.5), -0.0), features=(np.int64(0), np.intp(2))
    )
    assert other.fingerprint == query.fingerprint
    for field, value in (
        ("n_kept", "1"),
        ("n_features", 3.0),
        ("screen", True),
        ("public_seed", None),
        ("eps", "1"),
        ("eps", None),
    ):
        with pytest.raises(ValueError, match=f"{field} must be"):
            GradientSchema(**{**plain, field: value})
    for features in ((2, 0), (0, 0), (0, 3), (-1, 0), (0.0, 1.0)):
        with pytest.raises(ValueError, match="features must be"):
            GradientQuery(schema=schema, round=0, coef=(0.0, 0.0), features=features)
    for coef in ((math.nan, 0.0, 0.0), ("1", 0.0, 0.0), (0.0, 0.0)):
        with pytest.raises(ValueError, match="coef must hold"):
            GradientQuery(schema=schema, round=0, coef=coef)
    with pytest.raises(ValueError, match="unknown or missing: eps"):
        GradientSchema.from_json(schema.to_json().replace('"eps":1.0,', ""))
    with pytest.raises(ValueError, match=r"text must (be|hold the fields of) a query"):
        GradientQuery.from_json('{"format":1}')
