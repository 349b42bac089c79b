"""The estimator: conventions, what it records, its two criteria, its warnings and its errors."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsetheory.gpu.dynamic import QuickSelection, column_subset_error, greedy_column_subset, neuron_strength
from sparsetheory.gpu.dynamic.feature_selection.estimator import DenseAutoencoderWarning, UnequalScalesWarning

_UNEQUAL = "ignore::sparsetheory.gpu.dynamic.feature_selection.estimator.UnequalScalesWarning"
_DENSE = "ignore::sparsetheory.gpu.dynamic.feature_selection.estimator.DenseAutoencoderWarning"


@pytest.mark.filterwarnings(_UNEQUAL, _DENSE)
@parametrize_with_checks(
    [
        QuickSelection(1, n_hidden=10, epsilon=2, max_iter=2, random_state=0),
        QuickSelection(1, n_hidden=10, epsilon=2, max_iter=2, when="pruned", rule="official", random_state=0),
        QuickSelection(1, criterion="css"),
    ]
)
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


def _digits(seed=0, n_noise=136, dtype=np.float64):
    """Return standardised pixels of digits, three of which are constant, beside columns of noise."""
    pixels = load_digits().data
    noise = np.random.default_rng(seed).standard_normal((len(pixels), n_noise))
    return StandardScaler().fit_transform(np.hstack([pixels, noise])).astype(dtype)


def _selector(n=50, **options):
    return QuickSelection(n, **({"n_hidden": 100, "epsilon": 5, "max_iter": 3, "random_state": 0} | options))


def test_pixels_are_found_among_noise():
    """Of 50 columns drawn at random 16 are pixels; after 20 epochs 28 of them and more, on all of 7 seeds."""
    found = [_selector(max_iter=20, random_state=seed).fit(_digits(seed)).support_[:64].sum() for seed in range(3)]
    assert np.mean(found) >= 25


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_attributes(dtype):
    X = _digits(dtype=dtype)
    model = _selector().fit(X)
    assert model.support_.dtype == bool
    assert model.support_.sum() == 50
    assert model.strength_.dtype == model.strength_path_.dtype == model.encoder_.dtype == dtype
    assert model.strength_path_.shape == model.connections_path_.shape == (4, 200)
    np.testing.assert_array_equal(model.strength_path_[-1], model.strength_)
    np.testing.assert_allclose(model.strength_, neuron_strength(model.encoder_), rtol=1e-5)
    assert set(np.flatnonzero(model.support_)) == set(np.argsort(-model.strength_)[:50])
    # The number of connections never changes, where they are does.
    assert model.connections_path_.sum(axis=1).tolist() == [model.n_nonzero_[0]] * 4
    assert (np.diff(model.connections_path_, axis=0) != 0).any(axis=1).tolist() == [False, True, True]
    assert (model.encoder_.nnz, model.decoder_.nnz) == model.n_nonzero_
    assert (model.encoder_.shape, model.decoder_.shape) == ((100, 200), (200, 100))
    assert [len(bias) for bias in model.biases_] == [100, 200]
    assert model.losses_.shape == (model.n_iter_,) == (3,)
    assert model.losses_[-1] < model.losses_[0]
    assert model.relative_error_ == pytest.approx(column_subset_error(X, model.get_support(indices=True)))
    assert model.transform(X).dtype == dtype


def test_reconstruction_takes_the_share_of_units_that_speak():
    X = _digits()
    model = _selector(dropout=0.2).fit(X)
    hidden = 1 / (1 + np.exp(-(X @ model.encoder_.toarray().T + model.biases_[0])))
    expected = 0.8 * (hidden @ model.decoder_.toarray().T + model.biases_[1])
    np.testing.assert_allclose(model.reconstruct(X), expected, atol=1e-12)
    assert ((model.reconstruct(X) - X) ** 2).mean() < (X**2).mean()
    assert model.reconstruct(X.astype(np.float32)).dtype == np.float64


def test_strengths_before_regrowth():
    """The published code selects by them: new connections and the last epoch do not count."""
    X = _digits()
    final, early = (_selector(when=when).fit(X) for when in ("final", "pruned"))
    np.testing.assert_array_equal(final.strength_path_, early.strength_path_)
    assert not np.array_equal(final.strength_, early.strength_)
    # Dropping can only take strength away from what it was after the last epoch but one.
    assert (early.strength_ <= early.strength_path_[-2] + 1e-12).all()
    lost = early.strength_path_[-2].sum() - early.strength_.sum()
    assert 0 < lost < 0.2 * early.strength_path_[-2].sum()
    with pytest.raises(ValueError, match="max_iter must be at least 2 with when"):
        _selector(when="pruned", max_iter=1).fit(X)
    assert _selector(max_iter=1).fit(X).n_iter_ == 1


def test_rules_differ_in_what_they_drop():
    X = _digits()
    exact, official = (_selector(rule=rule).fit(X) for rule in ("exact", "official"))
    np.testing.assert_array_equal(exact.strength_path_[:2], official.strength_path_[:2])
    assert not np.array_equal(exact.strength_path_[2], official.strength_path_[2])
    assert exact.n_nonzero_ == official.n_nonzero_


def test_results_depend_on_the_seed_alone():
    X = _digits()
    first = _selector(random_state=3).fit(X).strength_
    for given in (np.asfortranarray(X), pd.DataFrame(X)):
        np.testing.assert_array_equal(first, _selector(random_state=3).fit(given).strength_)
    np.testing.assert_array_equal(first, _selector(random_state=np.random.default_rng(3)).fit(X).strength_)
    np.testing.assert_array_equal(first, _selector(random_state=3, verbose=True).fit(X).strength_)
    assert np.abs(first - _selector(random_state=4).fit(X).strength_).max() > 0.1


def test_names_and_frames():
    X = pd.DataFrame(_digits(n_noise=6)).add_prefix("column ")
    model = _selector(5).set_output(transform="pandas").fit(X)
    names = X.columns[model.support_].tolist()
    assert model.get_feature_names_out().tolist() == names
    assert model.transform(X).columns.tolist() == names


def test_css_is_deterministic_and_bounded():
    X = _digits()
    model = _selector(criterion="css", random_state=None).fit(X)
    expected = greedy_column_subset(X, 50)
    assert sorted(expected.indices) == model.get_support(indices=True).tolist()
    assert model.relative_error_ == pytest.approx(expected.errors[-1], abs=1e-12)
    assert model.error_bound_ == expected.bounds[-1] < model.relative_error_
    # No choice beats the bound, and training optimises something else than this error.
    trained = _selector(max_iter=20).fit(X)
    assert model.error_bound_ < model.relative_error_ < trained.relative_error_
    with pytest.raises(AttributeError, match="criterion"):
        model.reconstruct(X)


def test_a_second_fit_leaves_nothing_of_the_first():
    X = _digits()
    model = _selector().fit(X).set_params(criterion="css").fit(X)
    assert not hasattr(model, "strength_")
    assert not hasattr(model, "encoder_")
    assert not hasattr(model.set_params(criterion="strength").fit(X), "subset_")


def test_sparse_matrices():
    X = np.maximum(_digits(), 0)
    for given in (sparse.csr_array(X), sparse.csc_matrix(X)):
        css = _selector(criterion="css").fit(given)
        np.testing.assert_array_equal(css.support_, _selector(criterion="css").fit(X).support_)
        assert css.transform(sparse.csr_array(X)).shape == (len(X), 50)
        with pytest.raises(TypeError, match=r"(?i)sparse.*dense data is required"):
            _selector().fit(given)


def test_scaling_a_column_changes_its_strength():
    """So columns must be standardised, and what is not is reported."""
    X = _digits()
    unequal = X * np.where(np.arange(200) == 20, 30.0, 1.0)
    with pytest.warns(UnequalScalesWarning, match="between 1 and 30"):
        model = _selector().fit(unequal)
    assert abs(model.strength_[20] / _selector().fit(X).strength_[20] - 1) > 0.2
    with pytest.warns(UnequalScalesWarning):
        _selector(criterion="css").fit(sparse.csr_array(unequal))


@pytest.mark.filterwarnings("error")
def test_constant_columns_are_no_reason_to_warn():
    X = _digits()
    assert (X.std(axis=0) == 0).sum() == 3
    _selector().fit(X)


def test_dense_autoencoders_are_reported():
    X = _digits(n_noise=0)
    with pytest.warns(DenseAutoencoderWarning, match="epsilon=13 draws 949 connections where only 576"):
        model = QuickSelection(5, n_hidden=9, max_iter=2, random_state=0).fit(X)
    assert model.n_nonzero_ == (576, 576)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_features_to_select": 201}, "n_features_to_select must be at most the number of features, 200; got 201"),
        ({"max_iter": 0}, "max_iter must be an integer from 1"),
        ({"drop_fraction": 1.0}, r"drop_fraction must be a number in \(0, 1\); got 1.0"),
        ({"drop_fraction": 0.0}, "drop_fraction"),
        ({"epsilon": 1e-4}, "epsilon must be at least 1 / "),
        ({"criterion": "degree"}, "criterion must be one of 'strength', 'css'; got 'degree'"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_bad_parameters(options, message):
    with pytest.raises(ValueError, match=message):
        _selector(**({"n": options.pop("n_features_to_select", 50)} | options)).fit(_digits())


def test_bad_data():
    X = _digits()
    X[3, 4] = np.nan
    for criterion in ("strength", "css"):
        with pytest.raises(ValueError, match="NaN"):
            _selector(criterion=criterion).fit(X)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_divergence_is_an_error():
    with pytest.raises(FloatingPointError, match=r"epoch \d+: standardise X, or lower learning_rate, which is 50"):
        _selector(max_iter=20, learning_rate=50.0).fit(_digits(dtype=np.float32))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_neuron_strength(dtype):
    W = np.random.default_rng(0).standard_normal((4, 7)).astype(dtype)
    for axis in (0, 1):
        expected = np.abs(W).sum(axis=axis)
        for given in (W, sparse.csr_array(W), sparse.csc_matrix(W), torch.from_numpy(W)):
            found = neuron_strength(given, axis)
            assert found.shape == expected.shape
            np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-6)
    assert isinstance(neuron_strength(torch.from_numpy(W)), torch.Tensor)
    with pytest.raises(ValueError, match="axis must be an integer from 0 to 1; got 2"):
        neuron_strength(W, 2)
    with pytest.raises(ValueError, match="W must be a matrix"):
        neuron_strength(W[0])


def test_no_array_holds_all_pairs_of_features_and_units():
    """With 2000 features and 4000 units a dense weight of single precision takes 32 MB."""
    import tracemalloc

    X = np.random.default_rng(0).standard_normal((64, 2000)).astype(np.float32)
    model = QuickSelection(5, n_hidden=4000, epsilon=3, max_iter=2, random_state=0)
    model.fit(X[:, :100])
    tracemalloc.start()
    model.fit(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2000 * 4000 * 4 / 2


def test_noise_is_drawn_once(monkeypatch):
    """And it is added to what the network sees, not to what it shall return."""
    from sparsetheory.gpu.dynamic.feature_selection import search

    seen = []

    def recorded(encoder, decoder, X, noisy, steps, rng):
        seen.append((X.copy(), noisy.copy()))
        return search_epoch(encoder, decoder, X, noisy, steps, rng)

    search_epoch = search.train_epoch
    monkeypatch.setattr(search, "train_epoch", recorded)
    X = _digits()
    _selector(noise_std=0.5).fit(X)
    assert len(seen) == 3
    for clean, noisy in seen:
        np.testing.assert_array_equal(clean, X)
        np.testing.assert_array_equal(noisy, seen[0][1])
    assert abs((seen[0][1] - X).std() - 0.5) < 0.01


def test_samples_come_in_a_new_order_every_epoch(monkeypatch):
    from sparsetheory.gpu.dynamic.feature_selection.training import Gradients

    orders, add = [], Gradients.add

    def recorded(self, X, noisy, rows, active):
        orders.append(rows.tolist())
        return add(self, X, noisy, rows, active)

    monkeypatch.setattr(Gradients, "add", recorded)
    _selector(max_iter=2, batch_size=1000).fit(_digits())
    assert [len(rows) for rows in orders] == [1000, 797] * 2
    epochs = [orders[0] + orders[1], orders[2] + orders[3]]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(1797))
    assert epochs[0] != epochs[1]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constants_that_rounding_lets_vary_are_no_reason_to_warn(dtype):
    """The mean of many equal numbers is not exactly that number."""
    X = np.full((1797, 3), 0.1)
    X[:, 1:] = np.random.default_rng(0).standard_normal((1797, 2))
    for criterion in ("strength", "css"):
        QuickSelection(1, n_hidden=4, epsilon=1, max_iter=1, criterion=criterion, random_state=0).fit(X.astype(dtype))
    QuickSelection(1, criterion="css").fit(sparse.csr_array(X.astype(dtype)))


def test_reconstruction_is_that_of_the_fit():
    """Parameters that are set later wait for the next fit."""
    X = _digits(n_noise=0)
    model = _selector(10, dropout=0.2, epsilon=2).fit(X)
    before = model.reconstruct(X)
    np.testing.assert_array_equal(model.set_params(dropout=0.9).reconstruct(X), before)


@pytest.mark.parametrize("criterion", ["strength", "css"])
def test_clones_and_pickles(criterion):
    X = _digits(n_noise=6)
    model = _selector(5, criterion=criterion).fit(X)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).transform(X), model.transform(X))
    fresh = clone(model)
    assert not hasattr(fresh, "support_")
    assert fresh.get_params() == model.get_params()
