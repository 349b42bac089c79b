"""The server of an interactive collection, asked by devices one by one."""

import pickle

import numpy as np
import pytest
from scipy import sparse

from sparsetheory.privacy import (
    LDPIHT,
    BudgetExceededError,
    GradientQuery,
    GradientRounds,
    GradientSchema,
    GradientSum,
    PrivacyLedger,
    SchemaMismatchError,
    encode_gradient,
    round_of,
)
from sparsetheory.privacy.estimators.guarantee import SeededCoin, draw_seeds

KINDS = {
    "residual": {"clip_x": 3.0, "clip_residual": 2.0, "n_rounds": 3},
    "paper": {"gradient_clip": "paper", "clip_entries": 1.0, "clip_y": 2.0, "n_rounds": 2},
    "screened": {"clip_x": 3.0, "clip_y": 2.0, "n_rounds": 2, "screen": 4, "scale_x": np.array([1, 2, 3, 1, 1, 0.5])},
}


def _data(rng, n=300):
    X = rng.standard_normal((n, 6))
    return X, X[:, 1] - 0.5 * X[:, 4] + 0.1 * rng.standard_normal(n)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
@pytest.mark.filterwarnings("ignore::sparsetheory.privacy.errors.UselessReleaseWarning")
def test_devices_and_batch_agree_bit_for_bit(kind, form, rng):
    X, y = _data(rng)
    users = rng.permutation(10_000)[:300]
    model = LDPIHT(4.0, n_nonzero=2, simulation=True, random_state=7, **KINDS[kind])
    model.fit(form(X), y, user_ids=users)
    schema = model.certificate_.schema
    coin = SeededCoin(draw_seeds(None, True, 7).coin_seed)
    server = GradientRounds(schema)
    while not server.finished:
        query = GradientQuery.from_json(server.query.to_json())
        asked = [i for i in range(300) if round_of(schema, int(users[i])) == query.round]
        server.ingest(encode_gradient(query, X[i], y[i], int(users[i]), coin=coin) for i in asked)
        server.next_round()
    history = server.history()
    np.testing.assert_array_equal(history.totals, model.history_.totals)
    np.testing.assert_array_equal(history.iterates, model.history_.iterates)
    np.testing.assert_array_equal(history.counts, model.history_.counts)
    np.testing.assert_array_equal(server.coef(2) / np.asarray(schema.scale_x), model.coef_)
    assert model.certificate_.check(form(X), y, users).valid
    assert not model.certificate_.check(X, y).valid  # other users


def _schema(**options):
    return GradientSchema(eps=2.0, n_features=6, clip_x=3.0, clip_residual=2.0, n_kept=2, **options)


def test_partial_sums_merge_in_any_order(rng):
    query = GradientRounds(_schema()).query
    users, signs = np.arange(500), rng.choice([-1, 1], 500).astype(np.int8)
    whole = GradientSum(query)
    whole.update(signs, users)
    parts = []
    for part in np.array_split(rng.permutation(500), 3):
        parts.append(GradientSum(query))
        parts[-1].update(signs[part], users[part])
    for order in ((0, 1, 2), (2, 0, 1)):
        server = GradientRounds(_schema())
        for number in order:
            server.merge(pickle.loads(pickle.dumps(parts[number])))
        server = pickle.loads(pickle.dumps(server))
        assert server.sum.count == 500
        np.testing.assert_array_equal(server.sum.total, whole.total)
    with pytest.raises(SchemaMismatchError, match="queries differ"):
        parts[0].merge(GradientSum(GradientRounds(_schema(public_seed=1)).query))


def test_messages_of_other_rounds_do_not_count(rng):
    server = GradientRounds(_schema(n_rounds=2))
    later = [user for user in range(20) if round_of(server.schema, user) == 1]
    with pytest.raises(ValueError, match="user_ids must be those of users of round 0"):
        server.sum.update(np.ones(len(later), dtype=np.int8), later)
    assert server.sum.count == 0
    stale = encode_gradient(server.query, np.ones(6), 1.0, next(u for u in range(20) if u not in later))
    server.next_round()
    with pytest.raises(SchemaMismatchError):
        server.ingest(stale)
    server.next_round()
    assert server.finished
    with pytest.raises(ValueError, match="all 2 rounds must not be over"):
        server.next_round()


def test_the_ledger_of_a_server_refuses_a_second_message():
    with PrivacyLedger(":memory:", eps=2.0) as ledger:
        rounds = GradientRounds(_schema(n_rounds=2), ledger=ledger)
        later = next(user for user in range(20) if round_of(rounds.schema, user) == 1)
        with pytest.raises(ValueError, match="user_ids must be those of users of round 0"):
            rounds.ingest(rounds.query.fingerprint + later.to_bytes(8, "little") + b"\1")
        assert ledger.total(later) == 0.0
        server = GradientRounds(_schema(), ledger=ledger)
        messages = [encode_gradient(server.query, np.ones(6), 1.0, user) for user in (3, 4)]
        server.ingest(messages)
        with pytest.raises(BudgetExceededError):
            server.ingest(encode_gradient(server.query, np.ones(6), 1.0, 4))
        with pytest.raises(BudgetExceededError):
            server.ingest([encode_gradient(server.query, np.ones(6), 1.0, user) for user in (5, 5)])
        assert server.sum.count == 2


def test_a_round_without_users_takes_no_step():
    server = GradientRounds(_schema(n_rounds=3, screen=4))
    while not server.finished:
        server.next_round()
    history = server.history()
    assert not history.iterates.any()
    assert history.features == (0, 1, 2, 3)
    assert history.counts.tolist() == [0, 0, 0, 0]
