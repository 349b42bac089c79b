"""States of servers: sums in any order, bytes, and what is refused."""

import struct
import zlib
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from privacy.collection.collections_of_users import KINDS, MECHANISMS, random_messages, schema

from sparsetheory.privacy import LDPClient, LDPSchema, SchemaMismatchError
from sparsetheory.privacy.collection.state import MomentState
from sparsetheory.privacy.device.messages import unpack


def state_of(there, contents, users):
    state = MomentState(there)
    state.update(contents, users)
    return state


@given(st.sampled_from(KINDS), st.integers(0, 40), st.data())
def test_sums_are_the_same_in_any_order_and_any_split(kind, n, data):
    there = schema(*kind)
    contents, users = random_messages(there, n, data.draw(st.integers(0, 99)))
    whole = state_of(there, contents, users)
    order = np.array(data.draw(st.permutations(range(n))), dtype=int)
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=4)))
    parts = [state_of(there, contents[part], users[part]) for part in np.split(order, cuts)]
    while len(parts) > 1:
        i = data.draw(st.integers(0, len(parts) - 2))
        pair = parts[i], parts[i + 1]
        parts[i : i + 2] = [pair[0].merge(pair[1]) if data.draw(st.booleans()) else pair[1].merge(pair[0])]
    assert parts[0] == whole
    assert parts[0].to_bytes() == whole.to_bytes()
    one_by_one = MomentState(there)
    for k in order.tolist():
        one_by_one.update(contents[k : k + 1], users[k : k + 1])
    assert one_by_one == whole
    if n:
        assert np.array_equal(parts[0].moments().cross, whole.moments().cross)


@given(st.sampled_from(KINDS), st.integers(0, 20))
def test_bytes_round_trip(kind, n):
    there = schema(*kind, scale_x=(1.0, 2.0, 0.1, 1e-6))
    state = state_of(there, *random_messages(there, n))
    content = state.to_bytes()
    assert MomentState.from_bytes(content) == state
    assert MomentState.from_bytes(bytearray(content)).to_bytes() == content
    back = MomentState.from_bytes(content)
    back.update(*random_messages(there, 3, seed=1))  # the sums are not read-only
    assert back.count == n + 3
    assert state.count == n


@given(st.sampled_from(MECHANISMS), st.data())
def test_damaged_bytes(mechanism, data):
    there = schema(mechanism)
    content = bytearray(state_of(there, *random_messages(there, 5)).to_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ValueError, match="content must"):
        MomentState.from_bytes(bytes(content))


@given(st.integers(0, 400))
def test_shortened_and_lengthened_bytes(cut):
    content = state_of(schema(), *random_messages(schema(), 5)).to_bytes()
    with pytest.raises(ValueError, match="content must"):
        MomentState.from_bytes(content[: min(cut, len(content) - 1)])
    with pytest.raises(ValueError, match="content must"):
        MomentState.from_bytes(content + b"\0" * (1 + cut))


def _forged(text, sums, count=1, version=1, length=None):
    """Return bytes with a right checksum and any content."""
    head = struct.pack("<8sHIQ", b"LDPstate", version, len(text) if length is None else length, count)
    return head + text + sums + struct.pack("<I", zlib.crc32(head + text + sums))


def test_forged_bytes():
    text = schema().to_json().encode()
    sums = bytes(8 * 25)
    assert MomentState.from_bytes(_forged(text, sums)).count == 1
    with pytest.raises(ValueError, match="content must be of version 1; got version 2"):
        MomentState.from_bytes(_forged(text, sums, version=2))
    for wrong in (sums[:-1], sums[:-8], sums + bytes(8), b""):
        with pytest.raises(ValueError, match="content must hold 25 sums"):
            MomentState.from_bytes(_forged(text, wrong))
    with pytest.raises(ValueError, match="content must hold 25 sums of at most 4294967296 users"):
        MomentState.from_bytes(_forged(text, sums, count=2**32 + 1))
    for other in (
        b"",
        b"{}",
        b"[1]",
        b"\xff\xfe",
        text.replace(b'"eps":1.9', b'"eps":-1.0'),
        text[:-9],
        text.replace(b"eps", b"epz"),
    ):
        with pytest.raises(ValueError, match="content must hold a schema"):
            MomentState.from_bytes(_forged(other, sums))
    with pytest.raises(ValueError, match="content must hold a schema"):
        MomentState.from_bytes(_forged(text, sums, length=2**32 - 1))


OTHERS = {
    "mechanism": "sphere_joint",
    "eps": 1.8,
    "delta": 1e-7,
    "n_features": 5,
    "clip_x": 3.9,
    "clip_entries": None,
    "clip_y": 2.0,
    "scale_x": 2.0,
    "fit_intercept": True,
    "moments": "cross",
    "response_weight": 1.0,
    "public_seed": 6,
}


@pytest.mark.parametrize("field", [field.name for field in fields(LDPSchema)])
def test_other_collections_do_not_merge(field):
    mechanism = "gauss_tight" if field == "delta" else "onebit"
    first = MomentState(schema(mechanism))
    second = MomentState(replace(schema(mechanism), **{field: OTHERS[field]}))
    for a, b in ((first, second), (second, first)):
        with pytest.raises(SchemaMismatchError, match=f"they differ in {field}$"):
            a.merge(b)
    assert first != second


def test_merging_makes_a_new_state():
    there = schema("gauss_tight")
    first, second = (state_of(there, *random_messages(there, 4, seed)) for seed in (1, 2))
    before = first.to_bytes(), second.to_bytes()
    merged = first.merge(second)
    merged.total += 1
    assert (first.to_bytes(), second.to_bytes()) == before
    assert merged.count == 8
    assert first != merged
    assert first != "a state"


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_the_most_users(mechanism):
    there = schema(mechanism)
    contents, users = random_messages(there, 2)
    full = MomentState(there)
    full.count = 2**32 - 1
    before = full.to_bytes()
    with pytest.raises(ValueError, match="messages must come from at most 4294967296 users"):
        full.update(contents, users)
    with pytest.raises(ValueError, match="states must hold at most 4294967296 users"):
        full.merge(state_of(there, contents, users))
    assert full.to_bytes() == before
    full.update(contents[:1], users[:1])
    assert full.count == 2**32


def test_no_sum_of_so_many_messages_leaves_64_bits():
    """The largest summand times the most users: of lattice points, of directions, and of products of directions."""
    from sparsetheory.privacy.device.quantised_normal import DIRECTION_BITS, normal_table

    largest = 2 * len(normal_table(*DIRECTION_BITS).thresholds) - 1
    assert max(2**31 - 1, 2**30 + 1, largest**2) * 2**32 < 2**63
    assert 4096 * largest**2 < 2**53  # sums of one block are exact in doubles


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_the_size_does_not_depend_on_the_number_of_users(mechanism):
    there = schema(mechanism)
    few, many = (state_of(there, *random_messages(there, n)) for n in (1, 5000))
    assert len(few.to_bytes()) == len(many.to_bytes())
    assert few.total.nbytes == many.total.nbytes
    assert set(vars(many)) == {"schema", "count", "total", "simulated"}


@pytest.mark.parametrize("mechanism", ["sphere_joint", "sketch", "onebit"])
@pytest.mark.parametrize(
    "contents", [[0, 1], [2, 1], [-128, 1], [257, 1], [1.0, -1.0], [True, False], ["1", "1"], [None, 1]]
)
def test_what_is_no_sign(mechanism, contents):
    state = MomentState(schema(mechanism))
    with pytest.raises(ValueError, match="messages must be signs"):
        state.update(np.array(contents), [1, 2])
    assert state == MomentState(schema(mechanism))


@pytest.mark.parametrize(
    "contents", [np.full((1, 14), 2**31), np.full((1, 14), -(2**31) - 1), np.zeros((1, 14)), np.full((1, 14), 2**32)]
)
def test_what_is_no_lattice_point(contents):
    state = MomentState(schema("gauss_tight"))
    with pytest.raises(ValueError, match="messages must be integers of 32 bits"):
        state.update(contents, [1])
    assert state.count == 0
    assert not state.total.any()


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_wrong_shapes(mechanism):
    there = schema(mechanism)
    contents, users = random_messages(there, 3)
    state = MomentState(there)
    for wrong in (
        contents[..., None],
        contents[0, :-1] if there.delta else contents[0],
        contents.ravel()[:0].reshape(0, 1, 2),
    ):
        with pytest.raises(ValueError, match="messages must be of shape"):
            state.update(wrong, users[: len(np.atleast_1d(wrong))])
    with pytest.raises(ValueError, match="user_ids must be 3 integers"):
        state.update(contents, users[:2])
    assert state.count == 0
    assert not state.total.any()


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_no_messages(mechanism):
    there = schema(mechanism)
    state = state_of(there, *random_messages(there, 0))
    assert state == MomentState(there)
    with pytest.raises(ValueError, match="state must hold messages; got none so far"):
        state.moments()


def test_signs_of_other_types_and_lists_of_users():
    there = schema("sphere_joint")
    first = state_of(there, np.array([1, -1], dtype=np.int64), [7, 2**64 - 1])
    assert first == state_of(there, [1, -1], np.array([7, 2**64 - 1], dtype=np.uint64))
    assert first == state_of(there, np.array([[1, -1]], dtype=">i4").T[:, 0], [7, 2**64 - 1])


def test_no_room_is_made_for_sums_that_are_not_there():
    text = LDPSchema(mechanism="sketch", eps=1.0, n_features=10**9, clip_x=1.0, clip_y=1.0).to_json().encode()
    content = struct.pack("<8sHIQ", b"LDPstate", 1, len(text), 3) + text
    with pytest.raises(ValueError, match="content must hold 1000000002000000001 sums"):
        MomentState.from_bytes(content + struct.pack("<I", zlib.crc32(content)))


@pytest.mark.parametrize("mechanism", ["gauss_tight", "paper"])
def test_no_client_sends_more_than_is_accepted(mechanism):
    """The longest vectors with the largest noise are accepted, and what is beyond them is not."""
    schema = LDPSchema(mechanism=mechanism, eps=1.5, delta=1e-6, n_features=2, clip_x=1.0, clip_entries=1.0, clip_y=1.0)
    largest = [words_all_ones, lambda count: np.full(count, 2**64 - 2, dtype=np.uint64)]
    state = MomentState(schema)
    for coin in largest:
        for x, y in (([1.0, 0.0], 1.0), ([0.7, 0.7], -1.0), ([-9.0, 9.0], 9.0)):
            _, message = unpack(schema, LDPClient.from_schema(schema).encode(x, y, 0, coin=coin))
            state.update(message, [0])
    beyond = np.array(message, dtype=np.int64)
    beyond[0, -1] = 10**7
    with pytest.raises(ValueError, match=r"messages must be at most .* in magnitude"):
        state.update(beyond, [1])
    assert state.count == 6


def words_all_ones(count):
    return np.full(count, 2**64 - 1, dtype=np.uint64)
