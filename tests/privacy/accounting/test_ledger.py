"""The book of privacy: nobody exceeds a budget, nothing is half written, and nothing is forgotten."""

import copy
import math
import pickle
import sqlite3
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.privacy import BudgetExceededError, PrivacyLedger, PrivacyParameterError, kov_composition
from sparsetheory.privacy.device.gaussian import gaussian_delta, gaussian_mu


@pytest.fixture
def ledger():
    with PrivacyLedger(":memory:", eps=1.0) as opened:
        yield opened


@pytest.fixture
def loose():
    with PrivacyLedger(":memory:", eps=2.0, delta=1e-6) as opened:
        yield opened


def test_pure_charges_of_one_user_add_up(ledger):
    for campaign in range(10):
        ledger.charge(7, eps=0.1, campaign=str(campaign))
    assert ledger.total(7) == pytest.approx(1.0)
    with pytest.raises(BudgetExceededError, match=r"user 7 would exceed eps=1\.0, delta=0\.0; nothing was charged"):
        ledger.charge(7, eps=1e-6, campaign="more")
    assert ledger.total(7) == pytest.approx(1.0)


def test_users_compose_in_parallel(ledger):
    ledger.charge("ann", eps=0.3)
    ledger.charge("bob", eps=0.8)
    ledger.charge(range(1000), eps=0.5)
    assert (ledger.total("ann"), ledger.total("bob"), ledger.total(3), ledger.total("eve")) == (0.3, 0.8, 0.5, 0.0)
    assert ledger.spent() == 0.8


def test_nobody_speaks_twice_in_one_campaign_however_little_is_spent(ledger):
    ledger.charge("ann", eps=1e-6, campaign="spring")
    with pytest.raises(BudgetExceededError, match="user 'ann' has spoken in campaign 'spring' already"):
        ledger.charge("ann", eps=1e-6, campaign="spring")
    ledger.charge("ann", eps=1e-6, campaign="autumn")
    assert ledger.total("ann") == pytest.approx(2e-6)


def test_numbers_and_strings_are_different_users(ledger):
    ledger.charge(1, eps=0.9)
    ledger.charge("1", eps=0.8)
    ledger.charge([2, "2"], eps=0.1)
    assert (ledger.total(1), ledger.total("1"), ledger.total("2"), ledger.total("3")) == (0.9, 0.8, 0.1, 0.0)
    ledger.charge(np.array(["a", "bc"]), eps=0.2)
    ledger.charge(np.array([-5, 2**63 - 1]), eps=0.2)
    assert ledger.total("bc") == ledger.total(np.int64(-5)) == ledger.total(2**63 - 1) == 0.2


@pytest.mark.parametrize("where", [0, 57, 99])
@pytest.mark.parametrize("reason", ["budget", "repetition", "twice"])
def test_a_block_is_charged_whole_or_not_at_all(ledger, where, reason):
    block = [f"user {i}" for i in range(100)]
    if reason == "budget":
        ledger.charge(block[where], eps=0.8, campaign="before")
    elif reason == "repetition":
        ledger.charge(block[where], eps=0.1, campaign="now")
    else:
        block.append(block[where])
    before = [ledger.total(user) for user in block]
    with pytest.raises(BudgetExceededError, match="nothing was charged"):
        ledger.charge(block, eps=0.5, campaign="now")
    assert [ledger.total(user) for user in block] == before
    ledger.charge([user for i, user in enumerate(block) if i not in (where, 100)], eps=0.5, campaign="now")
    assert ledger.total(block[30]) == 0.5


def test_an_empty_block_charges_nobody(ledger):
    ledger.charge([], eps=0.5)
    assert ledger.spent() == 0


def test_equal_pure_charges_compose_optimally(loose):
    # Their sum is twice the budget.
    for campaign in range(40):
        loose.charge("ann", eps=0.1, campaign=f"{campaign}")
        if kov_composition(0.1, campaign + 2).eps_at(1e-6) > 2:
            break
    assert campaign + 1 > 20
    assert loose.total("ann") == kov_composition(0.1, campaign + 1).eps_at(1e-6) <= 2
    with pytest.raises(BudgetExceededError):
        loose.charge("ann", eps=0.1, campaign="more")
    assert loose.total("ann", 0.0) == pytest.approx(0.1 * (campaign + 1))


def test_gaussian_charges_add_their_squares(loose):
    budget = gaussian_mu(2.0, 1e-6)
    loose.charge("ann", mu=0.6 * budget, campaign="a")
    loose.charge("ann", mu=0.79 * budget, campaign="b")
    with pytest.raises(BudgetExceededError):
        loose.charge("ann", mu=0.2 * budget, campaign="c")
    spent = math.hypot(0.6, 0.79) * budget
    assert gaussian_delta(loose.total("ann"), spent) == pytest.approx(1e-6, rel=1e-6)
    assert loose.total("ann", 0.0) == math.inf


def test_a_mix_costs_less_than_its_parts_would(loose):
    loose.charge("ann", eps=0.5, campaign="a")
    loose.charge("ann", mu=gaussian_mu(1.0, 1e-6), campaign="b")
    assert 1.0 < loose.total("ann") < 1.5
    assert loose.spent() == loose.total("ann")
    assert loose.total("ann", 1e-3) < loose.total("ann")


def test_a_pure_budget_has_no_room_for_gaussian_noise(ledger):
    with pytest.raises(BudgetExceededError):
        ledger.charge("ann", mu=1e-6)


def test_the_book_outlives_its_reader(tmp_path):
    path = tmp_path / "book.db"
    with PrivacyLedger(path, eps=1.0, delta=1e-6) as first:
        first.charge([1, "1"], eps=0.75, campaign="spring")
        total = first.total("1")
    with pytest.raises(sqlite3.ProgrammingError):
        first.total(1)
    with PrivacyLedger(str(path), eps=1.0, delta=1e-6) as second:
        assert second.total("1") == total == pytest.approx(0.75, rel=1e-5)
        with pytest.raises(BudgetExceededError):
            second.charge(1, eps=0.5, campaign="autumn")
    assert [file.name for file in tmp_path.iterdir()] == ["book.db"]


def test_a_file_keeps_its_budget(tmp_path):
    PrivacyLedger(tmp_path / "book.db", eps=1.0).close()
    with pytest.raises(PrivacyParameterError, match=r"the budget of the file, 1\.0 and 0\.0; got 2\.0 and 0\.0"):
        PrivacyLedger(tmp_path / "book.db", eps=2.0)


@pytest.mark.parametrize("content", [b"not a book" * 200, None])
def test_other_files_are_left_alone(tmp_path, content):
    path = tmp_path / "other"
    if content is None:
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE budget (eps REAL, delta REAL)")
        other.close()
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"^path must be a ledger or a new file"):
        PrivacyLedger(path, eps=1.0)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("user", "arguments", "words"),
    [
        (1.5, {"eps": 0.1}, "user_id must be"),
        (True, {"eps": 0.1}, "user_id must be"),
        (None, {"eps": 0.1}, "user_id must be"),
        (b"ann", {"eps": 0.1}, "user_id must be"),
        (2**63, {"eps": 0.1}, "user_id must be"),
        ([1, 2.0], {"eps": 0.1}, "user_id must be"),
        (np.array([1.0, 2.0]), {"eps": 0.1}, "user_id must be"),
        (np.array([2**63], dtype=np.uint64), {"eps": 0.1}, "user_id must be"),
        (np.zeros((2, 2), dtype=int), {"eps": 0.1}, "user_id must be"),
        ("ann", {}, "either eps or mu must be given"),
        ("ann", {"eps": 0.1, "mu": 0.1}, "either eps or mu must be given"),
        ("ann", {"eps": 0.0}, "eps must be"),
        ("ann", {"eps": math.nan}, "eps must be"),
        ("ann", {"mu": -1.0}, "mu must be"),
        ("ann", {"mu": math.inf}, "mu must be"),
        ("ann", {"mu": 1e-200}, "mu must be"),
        ("ann", {"eps": 0.1, "campaign": 3}, "campaign must be"),
    ],
)
def test_bad_charges_are_named_and_write_nothing(ledger, user, arguments, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        ledger.charge(user, **arguments)
    assert ledger.spent() == 0


@pytest.mark.parametrize(
    "budget", [{"eps": 0.0}, {"eps": 21.0}, {"eps": 1.0, "delta": 1.0}, {"eps": 1.0, "delta": -0.1}]
)
def test_bad_budgets_are_named(budget):
    with pytest.raises(ValueError, match=r"^(eps|delta) must be"):
        PrivacyLedger(":memory:", **budget)


def test_bad_paths_and_questions_are_named(ledger):
    with pytest.raises(ValueError, match=r"^path must be"):
        PrivacyLedger(3, eps=1.0)
    with pytest.raises(ValueError, match=r"^user_id must be one user"):
        ledger.total([1, 2])
    with pytest.raises(ValueError, match=r"^delta must be"):
        ledger.spent(1.0)


CHARGE = st.tuples(st.lists(st.integers(0, 3), min_size=1, max_size=4), st.floats(0.01, 1.2), st.integers(0, 5))


@given(st.lists(CHARGE, max_size=25))
def test_no_order_of_pure_charges_exceeds_the_budget(charges):
    kept = {}
    with PrivacyLedger(":memory:", eps=1.0) as ledger:
        for users, eps, campaign in charges:
            fits = len(set(users)) == len(users) and all(
                campaign not in kept.get(user, {})
                and sum(kept.get(user, {}).values()) + Fraction(eps) <= 1 + Fraction(1, 10**12)
                for user in users
            )
            try:
                ledger.charge(users, eps=eps, campaign=str(campaign))
            except BudgetExceededError:
                assert not fits
            else:
                assert fits
                for user in users:
                    kept.setdefault(user, {})[campaign] = Fraction(eps)
        for user in range(4):
            assert ledger.total(user) == pytest.approx(float(sum(kept.get(user, {}).values())), rel=1e-14)


MIXED = st.tuples(st.integers(0, 2), st.booleans(), st.floats(0.01, 0.6), st.integers(0, 9))


@given(st.lists(MIXED, max_size=25))
def test_no_order_of_mixed_charges_exceeds_the_budget(charges):
    with PrivacyLedger(":memory:", eps=1.0, delta=1e-4) as ledger:
        spent = [0.0] * 3
        for user, pure, amount, campaign in charges:
            try:
                ledger.charge(user, campaign=str(campaign), **({"eps": amount} if pure else {"mu": amount}))
            except BudgetExceededError:
                assert ledger.total(user) == spent[user]
            else:
                assert spent[user] <= ledger.total(user) * (1 + 1e-12) <= 1 + 1e-9
                spent[user] = ledger.total(user)
        assert ledger.spent() == max(spent)


def test_rounded_probabilities_of_gaussian_noise_are_charged(loose):
    mu, distance = gaussian_mu(1.0, 1e-6) / 2, 2e-8
    loose.charge("ann", mu=mu, total_variation=distance, campaign="a")
    loose.charge("ann", mu=mu, total_variation=distance, campaign="b")
    total = loose.total("ann")
    assert gaussian_delta(total, math.sqrt(2) * mu) + (1 + math.exp(total)) * 2 * distance == pytest.approx(1e-6)
    loose.charge("bob", mu=mu, total_variation=6e-8, campaign="a")
    with pytest.raises(BudgetExceededError):
        # Both mu together have room, and so has each distance; both distances exceed delta / (1 + e^2).
        loose.charge("bob", mu=mu, total_variation=6e-8, campaign="b")
    loose.charge("bob", mu=mu, total_variation=5e-8, campaign="b")
    assert 0 < loose.total("bob") <= 2.0
    assert loose.total("bob", 2e-7) == math.inf
    with pytest.raises(ValueError, match="total_variation must be 0 for a pure message"):
        loose.charge("eve", eps=0.1, total_variation=1e-9)


def test_copies_of_a_ledger_are_the_same_book(ledger, tmp_path):
    assert copy.deepcopy(ledger) is ledger
    with pytest.raises(TypeError, match="give it the path of a file"):
        pickle.dumps(ledger)
    with PrivacyLedger(tmp_path / "book", eps=1.0) as kept, pickle.loads(pickle.dumps(kept)) as sent:
        sent.charge("ann", eps=0.7, campaign="spring")
        assert kept.total("ann") == 0.7
        with pytest.raises(BudgetExceededError):
            kept.charge("ann", eps=0.7, campaign="autumn")
