"""The server: streams in parts, foreign messages, and a ledger that is asked before anything counts."""

import itertools

import numpy as np
import pytest
from privacy.collection.collections_of_users import MECHANISMS, random_messages, schema

from sparsetheory.privacy import BudgetExceededError, LDPServer, MomentState, PrivacyLedger, SchemaMismatchError
from sparsetheory.privacy.collection import server as module
from sparsetheory.privacy.device.messages import pack


def stream_of(there, n, seed=0):
    """Return the messages of n users, one bytes object each, and the state that they make."""
    contents, users = random_messages(there, n, seed)
    parts = [pack(there, user, contents[i : i + 1].ravel()) for i, user in enumerate(users.tolist())]
    state = MomentState(there)
    state.update(contents, users)
    return parts, state


class RefusingLedger:
    """Charges all but some users, and remembers what it was asked for."""

    def __init__(self, refused=()):
        self.refused = set(refused)
        self.charges = []

    def charge(self, users, **spent):
        if self.refused & set(users):
            raise BudgetExceededError("user has spoken")
        self.charges.append((list(users), spent))


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_parts_of_any_number_of_messages(mechanism):
    there = schema(mechanism)
    parts, state = stream_of(there, 30)
    whole = b"".join(parts)
    streams = [
        whole,
        bytearray(whole),
        memoryview(whole),
        parts,
        iter(parts),
        [b"".join(parts[:7]), b"", b"".join(parts[7:])],
        [memoryview(whole)[: len(parts[0])], bytearray(b"".join(parts[1:]))],
        parts[::-1],
    ]
    for stream in streams:
        server = LDPServer(there)
        server.ingest(stream)
        assert server.state == state


def test_no_messages():
    server = LDPServer(schema(), ledger=RefusingLedger())
    server.ingest(b"")
    server.ingest([])
    server.ingest([b"", b""])
    assert server.state == MomentState(schema())
    assert server.ledger.charges == []


def test_an_endless_stream_is_read_in_batches(monkeypatch):
    monkeypatch.setattr(module, "_BATCH", 10)
    there = schema()
    parts, _ = stream_of(there, 1)
    server = LDPServer(there)
    waiting = []

    def endless():
        for i in itertools.count():
            waiting.append(i + 1 - server.state.count)
            if i == 1000:
                raise KeyboardInterrupt
            yield parts[0]

    with pytest.raises(KeyboardInterrupt):
        server.ingest(endless())
    assert server.state.count == 1000
    assert max(waiting) <= 11  # never more than a batch in memory


def test_foreign_messages_and_their_batch_do_not_count(monkeypatch):
    monkeypatch.setattr(module, "_BATCH", 10)
    there = schema()
    parts, _ = stream_of(there, 25)
    foreign, _ = stream_of(schema(eps=1.8), 1)
    ledger = RefusingLedger()
    server = LDPServer(there, ledger=ledger)
    with pytest.raises(SchemaMismatchError, match="1 of 10 messages belong to another collection"):
        server.ingest([*parts[:14], foreign[0], *parts[14:]])
    assert server.state.count == 10
    assert len(ledger.charges) == 1
    assert len(ledger.charges[0][0]) == 10
    expected = LDPServer(there)
    expected.ingest(parts[:10])
    assert server.state == expected.state


def test_what_is_no_stream_of_messages(monkeypatch):
    there = schema()
    parts, _ = stream_of(there, 3)
    server = LDPServer(there)
    with pytest.raises(ValueError, match="stream must consist of messages of 17 bytes; got 50 bytes"):
        server.ingest(b"".join(parts)[:-1])
    # Two halves of a message are refused, though together they would be a message.
    with pytest.raises(ValueError, match="stream must have parts of whole messages of 17 bytes; got 5"):
        server.ingest([parts[0], parts[1][:5], parts[1][5:]])
    with pytest.raises(ValueError, match="stream must hold bits"):
        server.ingest(parts[0][:-1] + b"\x07")
    for wrong in (["text"], [1, 2], 3, None):
        with pytest.raises(TypeError):
            server.ingest(wrong)
    assert server.state == MomentState(there)


def test_users_are_charged_before_their_messages_count(monkeypatch):
    monkeypatch.setattr(module, "_BATCH", 8)
    there = schema()
    parts, _ = stream_of(there, 20)
    refused = int.from_bytes(parts[11][8:16], "little")
    ledger = RefusingLedger([refused, str(refused)])  # a number beyond 63 bits comes as its digits
    server = LDPServer(there, ledger=ledger)
    with pytest.raises(BudgetExceededError):
        server.ingest(parts)
    assert server.state.count == 8
    assert [len(users) for users, _ in ledger.charges] == [8]
    assert ledger.charges[0][1] == {"eps": 1.9, "campaign": there.fingerprint.hex()}


@pytest.mark.parametrize("mechanism", ["gauss_tight", "paper"])
def test_gaussian_messages_are_charged_by_mu(mechanism):
    from sparsetheory.privacy import gaussian_delta

    there = schema(mechanism)
    ledger = RefusingLedger()
    LDPServer(there, ledger=ledger).ingest(stream_of(there, 2)[0])
    spent = ledger.charges[0][1]
    assert set(spent) == {"mu", "total_variation", "campaign"}
    delta = gaussian_delta(there.eps, spent["mu"]) + (1 + np.exp(there.eps)) * spent["total_variation"]
    assert delta <= there.delta * (1 + 1e-12)  # mu is computed once more from the noise
    if mechanism == "gauss_tight":
        assert delta > (1 - 1e-9) * there.delta


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_real_ledger_refuses_a_second_message(mechanism):
    there = schema(mechanism)
    parts, state = stream_of(there, 6)
    again = parts[:1]
    other, _ = stream_of(there, 5, seed=1)
    with PrivacyLedger(":memory:", eps=1.9, delta=1e-6 if there.delta else 0.0) as ledger:
        server = LDPServer(there, ledger=ledger)
        server.ingest(parts)
        for stream in (again, other + again, [*other, other[2]]):
            with pytest.raises(BudgetExceededError):
                server.ingest(stream)
            assert server.state == state
        server.ingest(other)  # nothing of the refused batches was charged either
        assert server.state.count == 11
        assert ledger.spent() <= 1.9 * (1 + 1e-9)


def test_users_beyond_63_bits_are_charged_by_their_digits():
    there = schema("onebit")
    users = [5, 2**63 - 1, 2**63, 2**64 - 1]
    parts = [pack(there, user, np.ones(1, dtype=np.int8)) for user in users]
    with PrivacyLedger(":memory:", eps=2.0) as ledger:
        LDPServer(there, ledger=ledger).ingest(parts)
        for user in (5, 2**63 - 1, str(2**63), str(2**64 - 1)):
            assert ledger.total(user) == pytest.approx(1.9)
        for part in parts:
            with pytest.raises(BudgetExceededError):
                LDPServer(there, ledger=ledger).ingest(part)


def test_two_servers_share_a_ledger():
    there, later = schema("onebit"), schema("onebit", public_seed=6)
    with PrivacyLedger(":memory:", eps=2.0) as ledger:
        LDPServer(there, ledger=ledger).ingest(stream_of(there, 4)[0])
        second = LDPServer(later, ledger=ledger)
        with pytest.raises(BudgetExceededError):
            second.ingest(stream_of(later, 4)[0])  # 3.8 of 2.0
        assert second.state.count == 0


def test_solve_hands_the_state_to_the_estimator():
    class Recorder:
        def fit_state(self, state):
            self.state = state
            return self

    server = LDPServer(schema())
    server.ingest(stream_of(schema(), 3)[0])
    assert server.solve(Recorder()).state is server.state
