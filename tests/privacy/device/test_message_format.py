"""Published messages: the client, and a second client that was written from the page, send the same bytes."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from privacy.device import second_client

from sparsetheory.privacy import LDPClient, LDPSchema
from sparsetheory.privacy.device.coin import keep_threshold
from sparsetheory.privacy.device.directions import public_normals, public_words
from sparsetheory.privacy.device.quantised_normal import normal_table

VECTORS = json.loads((Path(__file__).parent / "message_vectors.json").read_text(encoding="utf-8"))
COLLECTIONS = VECTORS["messages"]
PAGE = Path(__file__).resolve().parents[3] / "docs" / "ldp_message_format.md"


def _coin(words):
    """Return the next words of a list, and count how many were taken."""
    source = iter(words)
    return lambda count: [int(next(source)) for _ in range(count)], source


def test_tables_of_normal_numbers():
    for given in VECTORS["tables"]:
        law = normal_table(given["fine"], given["bits"])
        assert len(law.thresholds) == given["size"]
        assert hashlib.sha256(law.thresholds.astype("<u8").tobytes()).hexdigest() == given["sha256"]
        for m, threshold in given["some"]:
            exact = second_client._threshold(m, given["fine"], given["bits"])
            expected = 2 ** given["bits"] if m == given["size"] - 1 else exact
            assert int(law.thresholds[m]) == int(threshold) == expected


def test_secret_coins():
    for eps, kept in VECTORS["keep"]:
        assert keep_threshold(eps) == int(kept) == second_client._keep(eps)


def test_public_words_and_normals():
    for given in VECTORS["directions"]:
        seed, user, count = int(given["public_seed"]), int(given["user"]), len(given["normals"])
        words = list(map(int, given["words"]))
        assert public_words(seed, user, 4).tolist() == words == second_client.public_words(seed, user, 4)
        assert public_normals(seed, user, count).tolist() == given["normals"]
        assert second_client.public_normals(seed, user, count) == given["normals"]


def test_every_mechanism_with_both_kinds_of_moments_is_published():
    published = {(s["mechanism"], s["moments"]) for s in (json.loads(c["schema"]) for c in COLLECTIONS)}
    assert len(published) == 9  # the sketch has no cross moments


@pytest.mark.parametrize("collection", COLLECTIONS, ids=lambda c: c["fingerprint"])
def test_schemas(collection):
    schema = LDPSchema.from_json(collection["schema"])
    assert schema.to_json() == collection["schema"]
    assert schema.fingerprint.hex() == collection["fingerprint"]
    assert second_client.fingerprint(collection["schema"]).hex() == collection["fingerprint"]


@pytest.mark.parametrize("collection", COLLECTIONS, ids=lambda c: c["fingerprint"])
def test_messages(collection):
    text = collection["schema"]
    client = LDPClient.from_schema(LDPSchema.from_json(text))
    for record in collection["records"]:
        x, y, user = record["x"], record["y"], int(record["user"])
        coin, left = _coin(record["coin"])
        sent = client.encode(x, y, user, coin=lambda n, coin=coin: np.array(coin(n), dtype=np.uint64))
        assert sent.hex() == record["message"]
        assert next(left, None) is None  # every word was used
        coin, left = _coin(record["coin"])
        assert second_client.encode(text, json.loads(text), x, y, user, coin).hex() == record["message"]
        assert next(left, None) is None


def test_one_wrong_bit_of_a_coin_or_of_a_direction_shows():
    """The vectors have teeth: other coins or another user send other bits somewhere."""
    collection = next(c for c in COLLECTIONS if json.loads(c["schema"])["mechanism"] == "sketch")
    client = LDPClient.from_schema(LDPSchema.from_json(collection["schema"]))
    changed = {"coin": 0, "user": 0}
    for record in collection["records"]:
        words = np.array(list(map(int, record["coin"])), dtype=np.uint64)
        user = int(record["user"])
        other = client.encode(record["x"], record["y"], user, coin=lambda _, words=words: ~words)
        changed["coin"] += other[16] != bytes.fromhex(record["message"])[16]
        other = client.encode(record["x"], record["y"], user ^ 1, coin=lambda _, words=words: words)
        changed["user"] += other[16] != bytes.fromhex(record["message"])[16]
    assert all(changed.values())


def test_the_page_says_the_size_of_the_tables_and_shows_a_true_schema():
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"{table['size']} thresholds" in page for table in VECTORS["tables"])
    line = next(line for line in page.splitlines() if line.startswith('{"clip_entries"'))
    assert LDPSchema.from_json(line).to_json() == line
