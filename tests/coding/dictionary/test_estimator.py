"""What dictionary learning finds, and the steps by which it does."""

import numpy as np
import pytest
from coding.coding_references import planted
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.coding import LqDictionaryLearning, encode
from sparsetheory.coding.dictionary.olshausen_update import published_settings
from sparsetheory.coding.dictionary.online_update import Surrogate
from sparsetheory.coding.dictionary.sampling import batch_rows, split_rows
from sparsetheory.penalties import L1

pytestmark = pytest.mark.filterwarnings("ignore::sparsetheory.coding.dictionary.sampling.UncentredSignalsWarning")


@pytest.mark.parametrize(("penalty", "alpha"), [("cel0", 0.2), ("l1", 0.3), ("mcp", 0.5)])
def test_planted_atoms_are_found(rng, penalty, alpha):
    X, atoms = planted(rng, width=20, n_atoms=30, active=3)
    model = LqDictionaryLearning(30, penalty=penalty, alpha=alpha, batch_size=200, n_batches=100, random_state=0).fit(X)
    matched = np.abs(atoms @ model.components_.T).max(axis=1)
    # Local minima without a few of the atoms exist.
    assert np.count_nonzero(matched > 0.99) >= 25
    # No two unit vectors of the start are as close to a planted one.
    assert np.abs(atoms @ X[:2000].T / np.linalg.norm(X, axis=1)).max() < 0.99


def test_history_describes_the_codes_before_each_step(rng):
    X, atoms = planted(rng, n_samples=100)
    model = LqDictionaryLearning(24, penalty="l1", alpha=0.2, init=atoms, batch_size=100, n_batches=1).fit(X)
    found = encode(X, atoms, L1(0.2))
    codes = found.codes
    assert model.history_.objective[0] == pytest.approx(found.objective.mean(), rel=1e-9)
    assert model.history_.active[0] == np.count_nonzero(codes) / 100
    assert model.history_.mse[0] == pytest.approx(np.mean((X - codes @ atoms) ** 2), rel=1e-9)


def test_one_batch_is_the_exact_update_of_its_codes(rng):
    X, atoms = planted(rng, n_samples=150, noise=0.2)
    model = LqDictionaryLearning(24, penalty="l1", alpha=0.2, init=atoms, batch_size=150, n_batches=1).fit(X)
    codes = encode(X, atoms, L1(0.2)).codes
    expected = atoms.copy()
    for j in range(24):
        others = np.delete(np.arange(24), j)
        linear = codes[:, j] @ (X - codes[:, others] @ expected[others])
        expected[j] = linear / np.linalg.norm(linear)
    np.testing.assert_allclose(model.components_, expected, atol=1e-6)


@pytest.mark.parametrize("forgetting", [0.0, 3.0])
def test_old_batches_weigh_less(rng, forgetting):
    X, atoms = planted(rng, n_samples=200, noise=0.2)
    model = LqDictionaryLearning(24, penalty="l1", alpha=0.3, init=atoms, forgetting=forgetting)
    first = model.partial_fit(X[:100]).components_
    second = model.partial_fit(X[100:]).components_
    past = Surrogate.empty(24, 16).absorb(encode(X[:100], atoms, L1(0.3)).codes, X[:100])
    past = past.absorb(encode(X[100:], first, L1(0.3)).codes, X[100:], 0.5**forgetting)
    np.testing.assert_allclose(second, past.improve(first), atol=1e-6)


def test_partial_fit_on_the_batches_of_fit_is_fit(rng):
    X, atoms = planted(rng, n_samples=500)
    model = LqDictionaryLearning(24, init=atoms + 0.3, batch_size=100, n_batches=12, random_state=5)
    whole, stepwise = clone(model).fit(X), clone(model)
    batches = batch_rows(np.arange(500), 100, whole._state.seed)
    for _ in range(12):
        stepwise.partial_fit(X[next(batches)])
    np.testing.assert_array_equal(stepwise.components_, whole.components_)
    np.testing.assert_array_equal(stepwise.history_.objective, whole.history_.objective)
    assert stepwise.n_iter_ == 12


def test_batches_cover_all_rows_in_new_orders():
    batches = batch_rows(np.arange(10, 21), 3, seed=0)
    passes = [np.concatenate([next(batches) for _ in range(3)]) for _ in range(20)]
    assert all(np.unique(rows).size == 9 for rows in passes)
    assert np.unique(passes).tolist() == list(range(10, 21))
    later = batch_rows(np.arange(10, 21), 3, seed=0, first=4)
    np.testing.assert_array_equal(np.concatenate([next(later), next(later)]), passes[1][3:])
    assert next(batch_rows(np.arange(4), 256, seed=0)).size == 4


@pytest.mark.parametrize("update", ["online", "olshausen"])
def test_unused_atoms_are_replaced_by_badly_coded_signals(rng, update):
    X, atoms = planted(rng, noise=0.0)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    # The last atoms are orthogonal to all signals.
    X, atoms = np.hstack([X, np.zeros((2000, 2))]), np.hstack([atoms, np.zeros((24, 2))])
    atoms[20:] = 0.0
    atoms[20:, 16] = 1.0
    settings = {
        "alpha": 0.1,
        "penalty": "l1",
        "n_batches": 30,
        "update": update,
        "learning_rate": 1e-4,
        "random_state": 0,
    }
    model = LqDictionaryLearning(24, init=atoms, **settings).fit(X)
    assert model.history_.reseeded.sum() == 4
    np.testing.assert_array_equal(model.components_[:, 16:], 0.0)
    assert (np.count_nonzero(model.transform(X), axis=0) > 0).all()
    left = LqDictionaryLearning(24, init=atoms, reseed=False, **settings).fit(X)
    np.testing.assert_array_equal(left.components_[20:], atoms[20:])
    assert left.history_.reseeded.sum() == 0


def test_what_the_past_says_of_a_replaced_atom_is_forgotten(rng):
    def along(axes):
        return np.eye(6)[rng.permutation(np.repeat(axes, 30))] * rng.uniform(1, 2, (30 * len(axes), 1))

    # One nonzero per signal: every batch has more than 20 per atom, and all atoms are looked at.
    model = LqDictionaryLearning(4, alpha=0.1, init=np.eye(4, 6), random_state=0)
    model.partial_fit(along([0, 1, 2, 3]))
    assert (model._state.surrogate.moments.diagonal() > 0).all()
    model.partial_fit(along([0, 1, 2, 5]))
    assert model.history_.reseeded.tolist() == [0, 1]
    np.testing.assert_allclose(model.components_, np.eye(6)[[0, 1, 2, 5]], atol=1e-12)
    past = model._state.surrogate
    for row in (past.moments[3], past.moments[:, 3], past.products[3]):
        np.testing.assert_array_equal(row, 0.0)


@pytest.mark.parametrize(("penalty", "alpha"), [("l1", 0.3), ("cel0", 0.01), ("lq", 0.1)])
def test_target_number_of_nonzeros_is_reached_on_held_out_signals(rng, penalty, alpha):
    X, _ = planted(rng, n_samples=6000, active=4, noise=0.3)
    X, new = X[:5000], X[5000:]
    q = 0.5 if penalty == "lq" else None
    model = LqDictionaryLearning(24, penalty=penalty, q=q, alpha=alpha, target_active=3.0, n_batches=40, random_state=0)
    model.fit(X)
    held_out = np.setdiff1d(np.arange(5000), _learned_from(model, 5000))
    assert held_out.size == 1000
    assert np.count_nonzero(model.transform(X[held_out])) / 1000 == pytest.approx(3.0, abs=0.01)
    counts = np.count_nonzero(model.transform(new), axis=1)
    # Two samples of 1000: four standard errors of the difference of their means.
    assert counts.mean() == pytest.approx(3.0, abs=0.01 + 4 * counts.std() * np.sqrt(2 / 1000))
    history = model.history_
    assert history.active[-5:].mean() == pytest.approx(3.0, abs=0.15)
    # Batch 28 of 40 ends the first part of the run, where the control is five times as strong.
    gain = np.where(np.arange(1, 40) <= 28, 0.3, 0.06)
    step = np.clip(gain * (history.active[:-1] / 3.0 - 1.0), -np.log(2), np.log(2))
    np.testing.assert_allclose(history.alpha[1:], history.alpha[:-1] * np.exp(step))


def _learned_from(model, n_rows):
    rows, _ = split_rows(n_rows, True, model._state.seed)
    return rows


def test_gradient_update_is_that_of_olshausen_and_field(rng):
    X, atoms = planted(rng, n_samples=80, noise=0.3)
    model = LqDictionaryLearning(
        24, penalty="l1", alpha=0.2, init=atoms, update="olshausen", learning_rate=0.01, learning_rate_decay=1.0
    )
    codes = encode(X, atoms, L1(0.2)).codes
    first = model.partial_fit(X).components_
    expected = atoms + 0.01 * codes.T @ (X - codes @ atoms)
    np.testing.assert_allclose(first, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-8)
    codes = encode(X, first, L1(0.2)).codes
    expected = first + 0.005 * codes.T @ (X - codes @ first)
    second = model.partial_fit(X).components_
    np.testing.assert_allclose(second, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-8)


@pytest.mark.parametrize("penalty", ["l1", "l0", "lq", "cel0"])
def test_published_settings_learn(rng, penalty):
    X, _ = planted(rng, noise=0.0)
    settings = published_settings(penalty) | {"n_components": 24, "n_batches": 30}
    model = LqDictionaryLearning(**settings, random_state=0).fit(X)
    history = model.history_
    assert not history.skipped.any()
    assert history.mse[-5:].mean() < history.mse[:5].mean()
    assert model.certificate_.penalty.alpha == settings["alpha"]


def test_a_batch_that_does_not_converge_changes_nothing(rng):
    X, atoms = planted(rng, n_samples=20)
    # Just beyond twice the inverse curvature, steps overshoot more and more, but slowly.
    step = 2.001 / np.linalg.norm(atoms, 2) ** 2
    model = LqDictionaryLearning(
        24, penalty="l1", alpha=1e-3, init=atoms, stop_rule="published", step=step, n_batches=2
    )
    with pytest.warns(ConvergenceWarning, match="2 of 2 batches were skipped"):
        model.fit(X)
    assert model.history_.skipped.all()
    assert model.n_iter_ == 2
    np.testing.assert_allclose(model.components_, atoms, atol=1e-15)


def test_signals_of_zeros(rng):
    X = np.zeros((50, 6))
    model = LqDictionaryLearning(4, n_batches=3, random_state=0).fit(X)
    np.testing.assert_allclose(np.linalg.norm(model.components_, axis=1), 1.0)
    assert not model.transform(X).any()
    assert not model.history_.objective.any()
    X[7] = rng.standard_normal(6)
    model = LqDictionaryLearning(4, n_batches=30, random_state=0).fit(X)
    assert np.isfinite(model.components_).all()
    assert np.abs(model.components_ @ X[7]).max() == pytest.approx(np.linalg.norm(X[7]))


def test_unused_atoms_are_replaced_where_scales_differ(rng):
    # Squares of all signals but two vanish beside theirs; four atoms are orthogonal to all.
    X = rng.standard_normal((60, 8)) * np.where(np.arange(60) < 2, 1e100, 1e-100)[:, None]
    X[:, 7] = 0.0
    atoms = np.eye(8)[[0, 1, 2, 3, 7, 7, 7, 7]]
    model = LqDictionaryLearning(8, alpha=1e195, init=atoms, n_batches=80, random_state=0).fit(X)
    assert model.history_.reseeded.sum() > 0
    np.testing.assert_allclose(np.linalg.norm(model.components_, axis=1), 1.0, rtol=1e-14)


def test_many_copies_of_few_signals(rng):
    X = np.repeat(rng.standard_normal((3, 8)), 100, axis=0)
    model = LqDictionaryLearning(6, alpha=0.1, n_batches=40, random_state=0).fit(X)
    # One atom per signal is enough, and the others stay in reserve.
    assert np.count_nonzero(model.transform(X)) == 300
    assert model.history_.mse[-1] < 1e-12
    np.testing.assert_allclose(np.linalg.norm(model.components_, axis=1), 1.0, rtol=1e-14)


def test_first_atoms(rng):
    X, atoms = planted(rng, n_samples=10)

    def fit(**given):
        return LqDictionaryLearning(penalty="l1", alpha=1e3, n_batches=1, random_state=0, **given).fit(X).components_

    # Nothing is active at this strength, so that the first atoms stay.
    units = X / np.linalg.norm(X, axis=1, keepdims=True)
    drawn = fit(n_components=12)
    assert ((drawn[:10] @ units.T) > 1 - 1e-12).any(axis=1).all()
    assert ((fit(n_components=12, init="gaussian") @ units.T) < 0.999).all()
    np.testing.assert_allclose(fit(init=1e200 * atoms), atoms, atol=1e-14)
    assert fit(init=atoms.astype(np.float32)).shape == (24, 16)
