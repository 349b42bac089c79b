"""Records on the device: what is refused before any coin, clipping of hard records, and bytes of messages."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.privacy import LDPClient, LDPSchema, SchemaMismatchError
from sparsetheory.privacy.device.coin import secret_words
from sparsetheory.privacy.device.messages import HEADER, pack, payload_size, unpack
from sparsetheory.privacy.device.records import (
    joint_radius,
    joint_vectors,
    normalised,
    on_lattice,
    require_finite,
    shortened,
    sketch_radius,
    sketch_vectors,
)

MECHANISMS = ("sphere_joint", "sketch", "onebit", "gauss_tight", "paper")


def schema(mechanism="sphere_joint", **changes):
    fields = {"eps": 1.0, "n_features": 3, "clip_x": 2.0, "clip_y": 1.0, "public_seed": 9}
    if mechanism in ("gauss_tight", "paper"):
        fields["delta"] = 1e-6
    return LDPSchema(mechanism=mechanism, **{**fields, **changes})


def _no_coin(count):
    raise AssertionError(f"{count} words were asked for")


BAD_RECORDS = [
    ([math.nan, 0, 0], 0.0, "X must be finite; got"),
    ([0, math.inf, 0], 0.0, "X must be finite; got"),
    ([0, 0, -math.inf], 0.0, "X must be finite; got"),
    ([0, 0, 0], math.nan, "y must be finite; got"),
    ([0, 0, 0], -math.inf, "y must be finite; got"),
    ([0, 0, 0], None, "y must be finite; got"),
    ([0, 0], 0.0, r"X must be of shape \(n, 3\)"),
    ([[0, 0, 0]], 0.0, r"X must be of shape \(n, 3\)"),
    (0.0, 0.0, r"X must be of shape \(n, 3\)"),
    ([0, 0, 0], [1.0], r"y must be of shape \(1,\)"),
    ([0, 0, 1j], 0.0, "X must hold real numbers"),
    (["0", "1", "2"], 0.0, "X must hold real numbers"),
    ([0, 0, 0], "1", "y must hold real numbers"),
]


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize(("x", "y", "words"), BAD_RECORDS)
def test_bad_records_toss_no_coin(mechanism, x, y, words):
    client = LDPClient.from_schema(schema(mechanism))
    with pytest.raises(ValueError, match=words):
        client.encode(x, y, 0, coin=_no_coin)


@pytest.mark.parametrize("user", [-1, 2**64, 1.0, "1", None, True, np.float64(3)])
def test_bad_users_toss_no_coin(user):
    with pytest.raises(ValueError, match=r"user_id must be an integer in \[0, 2\*\*64\)"):
        LDPClient.from_schema(schema()).encode([0, 0, 0], 0.0, user, coin=_no_coin)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_types_and_layouts_of_records_do_not_matter(mechanism):
    client = LDPClient.from_schema(schema(mechanism, fit_intercept=True))
    words = secret_words(50)
    x = np.array([0.5, -1.0, 0.25])
    frozen = x.copy()
    frozen.setflags(write=False)
    forms = [
        x.tolist(),
        x.astype(np.float32),
        frozen,
        np.repeat(x, 2)[::2],
        np.asarray(x, dtype=">f8"),
        x.astype(object),
    ]
    sent = {
        client.encode(form, y, np.uint64(8), coin=lambda n: words[:n]) for form in forms for y in (0.5, np.float32(0.5))
    }
    assert len(sent) == 1
    assert np.array_equal(frozen, [0.5, -1.0, 0.25])


_HARD = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1e300, -1.7e308, 5e-324, 1e-160, 2.0, math.nextafter(2.0, 3.0), 1 / 3]),
)


@given(
    st.lists(_HARD, min_size=3, max_size=3),
    _HARD,
    st.sampled_from([(2.0, None), (None, 0.3), (1.0, 0.9), (1e-100, None), (1e100, 1e99), (None, 1e100)]),
    st.sampled_from([1.0, 1e-100, 1e100, (1e-3, 1.0, 7.0)]),
    st.booleans(),
    st.sampled_from([1e-6, 1.0, 1.7, 1e6]),
)
def test_clipped_records_are_in_their_sets(x, y, bounds, scale, intercept, weight):
    """Whatever the record is, Gaussian privacy rests on these norms; the calibration charges 1e-9 for rounding."""
    there = schema(
        clip_x=bounds[0], clip_entries=bounds[1], scale_x=scale, fit_intercept=intercept, response_weight=weight
    )
    X, responses = np.array([x]), np.array([y])
    features, u = normalised(there, X, responses)
    assert features.shape == (1, 3 + intercept)
    assert np.linalg.norm(features) <= 1 + 1e-12
    assert abs(u[0]) <= 1
    assert np.linalg.norm(joint_vectors(there, features, u)) <= joint_radius(there) * (1 + 1e-12)
    assert np.linalg.norm(sketch_vectors(there, features, u)) <= sketch_radius(there) * (1 + 1e-12)
    entries, v = normalised(there, X, responses, by_entries=True)
    assert np.abs(entries).max() <= 1
    assert v == u


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=2), st.floats(-1e3, 1e3))
def test_records_inside_are_left_alone(x, y):
    there = schema(n_features=2, clip_x=1500.0, clip_y=1e3, fit_intercept=True)
    features, u = normalised(there, np.array([x]), np.array([y]))
    assert np.allclose(features[0, :2] * there.radius, x, rtol=1e-14, atol=0)
    assert features[0, 2] * there.radius == pytest.approx(there.constant, rel=1e-14)
    assert u[0] == y / 1e3


def test_long_records_keep_their_direction():
    rows = np.array([[3e300, -4e300], [3e-3, 4e-3], [0.0, 0.0], [1.7e308, 1.7e308]])
    short = shortened(rows, 1.0)
    assert np.allclose(short, [[0.6, -0.8], [3e-3, 4e-3], [0, 0], [math.sqrt(0.5)] * 2], rtol=1e-15)
    assert np.array_equal(short[1], rows[1])


def test_a_quotient_beyond_doubles_is_no_nan():
    """1e300 in units of 1e-100 would be infinite, and infinity over infinity is NaN, which no clip bounds."""
    for mechanism in MECHANISMS:
        there = schema(mechanism, scale_x=(1e-100, 1.0, 1.0), fit_intercept=True)
        features, _ = normalised(there, np.array([[-1e300, 1.0, 1e308]]), np.zeros(1))
        assert np.all(np.isfinite(features))
        assert features[0, 0] < 0
        assert len(LDPClient.from_schema(there).encode([-1e300, 1.0, 1e308], 1e308, 1)) == HEADER + payload_size(there)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=9), st.sampled_from([1.0, 1.5, math.sqrt(3), 2.0, 1e-3]))
def test_lattice(values, radius):
    rows = np.array([values]) * radius
    rounded = on_lattice(rows, radius)
    step = 2.0 ** (math.floor(math.log2(radius)) + 1 - 28)
    assert np.abs(rounded - rows).max() <= step / 2
    assert np.array_equal(rounded / step, np.rint(rounded / step))


def test_projections_on_the_lattice_are_exact_in_any_order():
    rng = np.random.default_rng(0)
    v = on_lattice(np.full((1, 1000), math.sqrt(1 / 1000)), 1.0)[0]
    g = (2 * rng.integers(-12000, 12000, 1000) + 1).astype(float)
    exact = math.fsum((g * v).tolist())
    assert all(float(np.cumsum((g * v)[rng.permutation(1000)])[-1]) == exact for _ in range(20))
    raw = np.full(1000, math.sqrt(1 / 1000))
    assert len({float(np.cumsum((g * raw)[rng.permutation(1000)])[-1]) for _ in range(20)}) > 1


def test_no_users():
    X, y = require_finite(np.empty((0, 3)), np.empty(0), 3)
    assert normalised(schema(fit_intercept=True), X, y)[0].shape == (0, 4)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_bytes_of_messages(mechanism):
    there = schema(mechanism)
    users = [0, 1, 2**63, 2**64 - 1]
    gaussian = payload_size(there) > 1
    if gaussian:
        contents = np.random.default_rng(1).integers(-(2**31), 2**31, (4, there.n_products)).astype(np.int32)
    else:
        contents = np.array([1, -1, -1, 1], dtype=np.int8)
    parts = [pack(there, user, contents[i : i + 1].ravel()) for i, user in enumerate(users)]
    assert all(len(part) == HEADER + payload_size(there) for part in parts)
    read, back = unpack(there, b"".join(parts))
    assert read.tolist() == users
    assert read.dtype == np.uint64
    assert np.array_equal(back, contents)
    assert back.dtype == contents.dtype
    assert unpack(there, b"")[0].shape == (0,)
    with pytest.raises(ValueError, match=f"messages of {len(parts[0])} bytes"):
        unpack(there, parts[0] + b"x")
    with pytest.raises(SchemaMismatchError, match="1 of 2 messages belong to another collection"):
        unpack(there, parts[0] + bytes([parts[1][0] ^ 1]) + parts[1][1:])
    if not gaussian:
        with pytest.raises(ValueError, match="stream must hold bits; got the byte 2"):
            unpack(there, parts[0][:-1] + b"\x02")


def test_the_real_coin_is_used_by_default():
    """Of 400 messages of one record both bits occur: the chance of one kind alone is below 0.74^400."""
    client = LDPClient.from_schema(schema("onebit"))
    sent = [client.encode([2.0, 2.0, 2.0], 1.0, 5)[HEADER] for _ in range(400)]
    assert set(sent) == {0, 1}


def test_the_zero_record_has_a_fair_bit():
    """x = 0 and y = 0: agreement is one half, so that both first words of a coin lead to both signs."""
    for mechanism in ("sphere_joint", "sketch", "onebit"):
        client = LDPClient.from_schema(schema(mechanism))
        bits = [
            client.encode([0, 0, 0], 0.0, 3, coin=lambda n, first=first: np.array([first, 0], dtype=np.uint64))[HEADER]
            for first in (2**63 - 1, 2**63)
        ]
        assert sorted(bits) == [0, 1]
