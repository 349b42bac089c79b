"""The schema: bad fields, one text for equal schemas, derived bounds."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.privacy import LDPClient, LDPSchema

BASE = {"mechanism": "sphere_joint", "eps": 1.0, "n_features": 3, "clip_x": 2.0, "clip_y": 1.0}
GAUSS = {"mechanism": "gauss_tight", "delta": 1e-6}
NO_NUMBERS = [math.nan, math.inf, -math.inf, "1", None, True, 1j, 10**400]


def schema(**changes):
    return LDPSchema(**{**BASE, **changes})


@pytest.mark.parametrize("eps", [0, 0.0, -1.0, 20.000001, 1e-10, *NO_NUMBERS])
def test_eps(eps):
    with pytest.raises(ValueError, match="eps must be a number"):
        schema(eps=eps)


@pytest.mark.parametrize("eps", [1e-9, 20, 20.0, np.float32(0.5), np.int64(3)])
def test_eps_at_the_ends_and_of_other_types(eps):
    assert type(schema(eps=eps).eps) is float


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-6, 2.0, *NO_NUMBERS])
def test_delta_of_gaussian_mechanisms(delta):
    for mechanism in ("gauss_tight", "paper"):
        with pytest.raises(ValueError, match="delta must be a number"):
            schema(mechanism=mechanism, delta=delta)


@pytest.mark.parametrize("mechanism", ["sphere_joint", "sketch", "onebit"])
def test_delta_of_pure_mechanisms(mechanism):
    with pytest.raises(ValueError, match="pure mechanism; drop delta"):
        schema(mechanism=mechanism, delta=1e-6)


def test_bounds_are_needed_and_public():
    with pytest.raises(ValueError, match="must be public, they cannot be estimated from the data"):
        schema(clip_x=None)
    with pytest.raises(TypeError, match="clip_y"):
        LDPSchema(mechanism="sketch", eps=1.0, n_features=2, clip_x=1.0)


@pytest.mark.parametrize("field", ["clip_x", "clip_entries", "clip_y", "response_weight", "scale_x"])
@pytest.mark.parametrize("value", [0, -1.0, 1e-101, 1e101, *NO_NUMBERS])
def test_units_and_weights(field, value):
    if value is None and field.startswith("clip_") and field != "clip_y":
        return
    with pytest.raises(ValueError, match=f"{field} must be"):
        schema(**{field: value})


@pytest.mark.parametrize(
    "scale", [[1.0, 1.0], [1.0, 1.0, 0.0], [1.0, math.nan, 1.0], [[1.0, 1.0, 1.0]], [1.0, "2", 1.0], []]
)
def test_scales_of_features(scale):
    with pytest.raises(ValueError, match="scale_x must be"):
        schema(scale_x=scale)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("mechanism", ["gauss", None, 3, ["sketch"]]),
        ("moments", ["both", None, 3]),
        ("n_features", [0, -1, 2.0, "3", None, True, math.nan]),
        ("public_seed", [-1, 2**128, 0.0, "1", None, True]),
        ("fit_intercept", [0, 1, None, "no"]),
    ],
)
def test_other_fields(field, values):
    for value in values:
        with pytest.raises(ValueError, match=f"{field} must be"):
            schema(**{field: value})


def test_the_sketch_has_no_cross_moments():
    with pytest.raises(ValueError, match="moments must be 'joint' for the mechanism 'sketch'"):
        schema(mechanism="sketch", moments="cross")


def test_one_text_for_equal_schemas():
    plain = schema(scale_x=(1.0, 2.0, 3.0), fit_intercept=True, public_seed=5)
    numpy = schema(
        mechanism=np.str_("sphere_joint"),
        eps=np.float64(1),
        delta=-0.0,
        n_features=np.int8(3),
        clip_x=2,
        clip_y=np.float32(1),
        scale_x=np.array([1, 2, 3]),
        fit_intercept=np.True_,
        response_weight=np.int64(1),
        public_seed=np.uint64(5),
    )
    assert plain == numpy
    assert hash(plain) == hash(numpy)
    assert plain.to_json() == numpy.to_json()
    assert plain.fingerprint == numpy.fingerprint
    assert "-0.0" not in numpy.to_json()


_NUMBERS = st.floats(1e-3, 1e3)


@given(
    st.sampled_from(["sphere_joint", "sketch", "onebit", "gauss_tight", "paper"]),
    st.floats(1e-9, 20.0),
    st.integers(1, 6),
    st.one_of(st.none(), _NUMBERS),
    _NUMBERS,
    _NUMBERS,
    st.booleans(),
    st.integers(0, 2**128 - 1),
    st.data(),
)
def test_text_round_trip(mechanism, eps, n_features, clip_x, clip_entries, clip_y, intercept, seed, data):
    there = LDPSchema(
        mechanism=mechanism,
        eps=eps,
        delta=data.draw(st.floats(1e-300, 0.999)) if mechanism in ("gauss_tight", "paper") else 0.0,
        n_features=n_features,
        clip_x=clip_x,
        clip_entries=clip_entries,
        clip_y=clip_y,
        scale_x=data.draw(st.one_of(_NUMBERS, st.lists(_NUMBERS, min_size=n_features, max_size=n_features))),
        fit_intercept=intercept,
        moments="joint" if mechanism == "sketch" else data.draw(st.sampled_from(["joint", "cross"])),
        response_weight=data.draw(st.floats(1e-6, 1e6)),
        public_seed=seed,
    )
    back = LDPSchema.from_json(there.to_json())
    assert back == there
    assert back.fingerprint == there.fingerprint
    assert there.radius <= math.hypot(there.largest_norm, there.constant)
    assert there.constant <= there.largest_entry <= there.largest_norm


def test_every_field_is_in_the_fingerprint():
    one = schema(mechanism="onebit")
    others = [
        schema(mechanism="sphere_joint"),
        schema(**GAUSS),
        schema(**{**GAUSS, "delta": 1e-7}),
        *(
            schema(mechanism="onebit", **change)
            for change in (
                {"eps": 1.0000001},
                {"n_features": 4},
                {"clip_x": 2.1},
                {"clip_entries": 1.0},
                {"clip_y": 1.1},
                {"scale_x": 2.0},
                {"fit_intercept": True},
                {"moments": "cross"},
                {"response_weight": 1.1},
                {"public_seed": 1},
            )
        ),
    ]
    assert len({one.fingerprint, *(other.fingerprint for other in others)}) == 1 + len(others)


@pytest.mark.parametrize(
    "text", ["", "[]", "3", "{}", '{"format":2}', "{", "null", '{"format":1}', '{"format":1,"eps":1.0}']
)
def test_other_text(text):
    with pytest.raises(ValueError, match="text must"):
        LDPSchema.from_json(text)


def test_text_with_unknown_missing_or_wrong_fields():
    content = json.loads(schema().to_json())
    with pytest.raises(ValueError, match="unknown or missing: colour"):
        LDPSchema.from_json(json.dumps({**content, "colour": 1}))
    with pytest.raises(ValueError, match="unknown or missing: clip_y"):
        LDPSchema.from_json(json.dumps({k: v for k, v in content.items() if k != "clip_y"}))
    with pytest.raises(ValueError, match="eps must be"):
        LDPSchema.from_json(json.dumps({**content, "eps": math.nan}))
    with pytest.raises(ValueError, match=r"text must be a schema of version 1"):
        LDPSchema.from_json(json.dumps({**content, "format": 2}))


def test_derived_bounds():
    both = schema(clip_x=2.0, clip_entries=0.5, n_features=9, fit_intercept=True)
    assert (both.largest_norm, both.largest_entry, both.constant) == (1.5, 0.5, 0.5)
    assert both.radius == math.hypot(1.5, 0.5)
    assert (both.n_design, both.n_products) == (10, 65)
    alone = schema(n_features=4)
    assert (alone.largest_norm, alone.largest_entry, alone.constant, alone.radius) == (2.0, 2.0, 0.0, 2.0)
    assert schema(n_features=4, moments="cross").n_products == 4


def test_a_client_checks_the_same():
    with pytest.raises(ValueError, match="eps must be"):
        LDPClient("sketch", eps=0.0, n_features=1, clip_x=1.0, clip_y=1.0, public_seed=0)
    with pytest.raises(TypeError, match="colour"):
        LDPClient("sketch", eps=1.0, n_features=1, clip_x=1.0, clip_y=1.0, public_seed=0, colour=1)
