"""Runs that are interrupted and continued."""

import numpy as np
import pytest
from sklearn.base import clone

from sparsetheory.coding import LqDictionaryLearning
from sparsetheory.coding.dictionary.history import DictionaryHistory
from sparsetheory.coding.dictionary.learner import BatchLearner
from sparsetheory.coding.dictionary.online_update import Surrogate
from sparsetheory.coding.dictionary.state import (
    CheckpointError,
    DictionaryState,
    data_checksum,
    read_state,
    write_state,
)
from sparsetheory.penalties import CEL0


@pytest.fixture
def X(rng):
    signals = rng.standard_normal((900, 12))
    return signals - signals.mean(axis=1, keepdims=True)


def _interrupt_after(monkeypatch, n_batches):
    learn = BatchLearner.learn

    def interrupted(self, state, signals):
        if state.n_batches == n_batches:
            raise KeyboardInterrupt
        return learn(self, state, signals)

    monkeypatch.setattr(BatchLearner, "learn", interrupted)


def _same(first, second):
    np.testing.assert_array_equal(first.components_, second.components_)
    assert first.alpha_ == second.alpha_
    for name, array in first.history_.arrays().items():
        np.testing.assert_array_equal(array, second.history_.arrays()[name])


_VARIANTS = [
    {"penalty": "l1"},
    {"penalty": "l1", "target_active": 2.0},
    {"penalty": "cel0", "update": "olshausen", "learning_rate": 1e-3},
]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("given", _VARIANTS)
def test_an_interrupted_run_continues_to_the_same_bits(X, tmp_path, monkeypatch, given, dtype):
    X, path = X.astype(dtype), tmp_path / "folder" / "run.npz"
    model = LqDictionaryLearning(20, n_batches=25, batch_size=64, checkpoint_every=4, random_state=1, **given)
    expected = clone(model).fit(X)
    broken = clone(model).set_params(checkpoint=path)
    with monkeypatch.context() as patch:
        _interrupt_after(patch, 10)
        with pytest.warns(RuntimeWarning, match="interrupted after 10 of 25 batches; fit with resume=True"):
            broken.fit(X)
    # What there is at the interrupt is a fitted model.
    assert broken.n_iter_ == 10
    assert broken.certificate_.check(X).status == broken.certificate_.status
    np.testing.assert_array_equal(broken.history_.objective, expected.history_.objective[:10])
    assert broken.transform(X[:5]).shape == (5, 20)
    _same(clone(broken).fit(X, resume=True), expected)
    # The finished run is kept as well.
    _same(clone(broken).fit(X, resume=True), expected)


def test_a_killed_run_continues_from_the_last_write(X, tmp_path, monkeypatch):
    model = LqDictionaryLearning(20, n_batches=25, checkpoint_every=4, checkpoint=tmp_path / "run", random_state=1)
    learn = BatchLearner.learn
    seen = []

    def killed(self, state, signals):
        seen.append(state.n_batches)
        if len(seen) == 11:
            raise MemoryError
        return learn(self, state, signals)

    monkeypatch.setattr(BatchLearner, "learn", killed)
    with pytest.raises(MemoryError):
        clone(model).fit(X)
    resumed = clone(model).fit(X, resume=True)
    assert seen[10:13] == [10, 8, 9]
    _same(resumed, clone(model).set_params(checkpoint=None).fit(X))


def test_a_longer_run_extends_a_shorter_one(X, tmp_path):
    model = LqDictionaryLearning(20, penalty="l1", checkpoint=tmp_path / "run", random_state=None)
    short = clone(model).set_params(n_batches=5).fit(X)
    long = clone(model).set_params(n_batches=9).fit(X, resume=True)
    np.testing.assert_array_equal(long.history_.objective[:5], short.history_.objective)
    assert long.n_iter_ == 9


def test_without_resume_the_file_is_replaced(X, tmp_path):
    model = LqDictionaryLearning(20, n_batches=3, checkpoint=tmp_path / "run", random_state=0).fit(X)
    again = clone(model).set_params(alpha=0.5).fit(X)
    assert again.history_.alpha.tolist() == [0.5] * 3
    _same(clone(again).fit(X, resume=True), again)


def test_only_the_same_run_is_continued(X, tmp_path):
    path = tmp_path / "run"
    model = LqDictionaryLearning(20, n_batches=3, target_active=2.0, checkpoint=path, random_state=0).fit(X)
    for changed in ({"alpha": 0.5}, {"n_batches": 4}, {"init": np.eye(20, 12) + 1}, {"random_state": 1}):
        with pytest.raises(CheckpointError, match=f"its {next(iter(changed))} is"):
            clone(model).set_params(**changed).fit(X, resume=True)
    other = X.copy()
    other[-1, -1] += 1
    with pytest.raises(CheckpointError, match="its data is"):
        clone(model).fit(other, resume=True)
    clone(model).set_params(n_jobs=2, verbose=False, transform_solver="cd").fit(X, resume=True)
    path.write_bytes(b"something else")
    with pytest.raises(CheckpointError, match="no checkpoint of dictionary learning"):
        clone(model).fit(X, resume=True)
    np.savez(path.open("wb"), atoms=np.eye(2))
    with pytest.raises(CheckpointError, match="no checkpoint of dictionary learning"):
        clone(model).fit(X, resume=True)


def test_long_arrays_of_numbers_tell_runs_apart(X, tmp_path):
    # The text of an array of more than a thousand entries leaves out the middle.
    model = LqDictionaryLearning(1200, n_batches=1, checkpoint=tmp_path / "run", random_state=0)
    for entry in (1.0, 1.0 + 1e-9):
        norms = np.ones(1200)
        norms[600] = entry
        model = clone(model).set_params(penalty=CEL0(0.1, norms))
        if entry == 1.0:
            model.fit(X)
    with pytest.raises(CheckpointError, match="its penalty is"):
        model.fit(X, resume=True)


@pytest.mark.parametrize("source", [np.random.default_rng, np.random.RandomState])
def test_another_generator_continues_the_kept_run(X, tmp_path, source):
    model = LqDictionaryLearning(20, penalty="l1", checkpoint=tmp_path / "run", random_state=source(1))
    short = clone(model).set_params(n_batches=2).fit(X)
    long = clone(model).set_params(n_batches=4, random_state=source(1)).fit(X, resume=True)
    np.testing.assert_array_equal(long.history_.objective[:2], short.history_.objective)


@pytest.mark.parametrize("about", [None, "5", "{}", '{"header": 3, "numbers": {}}', '{"header": {}, "numbers": {}}'])
def test_files_that_are_no_checkpoints(X, tmp_path, about):
    path = tmp_path / "run.npy"
    if about is None:
        np.save(path, np.ones(3))
    else:
        np.savez(path.open("wb"), about=np.array(about))
    with pytest.raises(CheckpointError, match="no checkpoint of dictionary learning"):
        LqDictionaryLearning(20, checkpoint=path).fit(X, resume=True)


def test_a_folder_is_refused_before_the_run(X, tmp_path):
    with pytest.raises(ValueError, match="checkpoint must name a file; got the folder"):
        LqDictionaryLearning(20, checkpoint=tmp_path).fit(X)


def test_resume_needs_a_file_name(X):
    with pytest.raises(ValueError, match="resume=True needs the parameter checkpoint"):
        LqDictionaryLearning(20).fit(X, resume=True)


@pytest.mark.parametrize("surrogate", [None, Surrogate(np.eye(3, dtype=np.float32), np.ones((3, 2), np.float32), 0.1)])
def test_states_are_read_as_they_were_written(tmp_path, surrogate):
    history = DictionaryHistory.empty().appended(
        objective=1 / 3, active=2.5, mse=0.1, alpha=0.2, reseeded=1, unconverged=2, skipped=True
    )
    state = DictionaryState(np.eye(3, 2, dtype=np.float32), surrogate, 1 / 7, 2**62 + 1, 5, np.arange(3), history)
    write_state(tmp_path / "a", state, {"name": [1, "x"]})
    found = read_state(tmp_path / "a", {"name": [1, "x"]})
    assert (found.alpha, found.seed, found.n_signals, found.n_batches) == (1 / 7, 2**62 + 1, 5, 1)
    np.testing.assert_array_equal(found.atoms, state.atoms)
    np.testing.assert_array_equal(found.uses, state.uses)
    assert found.atoms.dtype == np.float32
    assert (found.surrogate is None) == (surrogate is None)
    if surrogate is not None:
        np.testing.assert_array_equal(found.surrogate.moments, surrogate.moments)
        np.testing.assert_array_equal(found.surrogate.products, surrogate.products)
        assert found.surrogate.energy == 0.1
    for name, array in history.arrays().items():
        np.testing.assert_array_equal(array, found.history.arrays()[name])
        assert array.dtype == found.history.arrays()[name].dtype
    assert read_state(tmp_path / "missing", {}) is None


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    state = DictionaryState(np.eye(2), None, 0.5, 1, 0, np.zeros(2, int), DictionaryHistory.empty())
    write_state(tmp_path / "a", state, {})

    def fails(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fails)
    with pytest.raises(OSError, match="disk full"):
        write_state(tmp_path / "a", state, {"new": 1})
    assert read_state(tmp_path / "a", {}).alpha == 0.5


def test_the_checksum_sees_shape_type_and_values(rng):
    X = rng.standard_normal((5000, 3))
    assert data_checksum(X) == data_checksum(np.asfortranarray(X))
    other = X.copy()
    other[4500, 1] = np.nextafter(other[4500, 1], np.inf)
    assert len({str(data_checksum(a)) for a in (X, other, X.reshape(-1, 5), X.astype(np.float32))}) == 4
