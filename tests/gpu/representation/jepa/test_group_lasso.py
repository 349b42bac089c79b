"""The linear problem against scikit-learn, against the lasso of the package, against sparse Bayesian learning."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import MultiTaskLasso

from sparsetheory.bayesian import KroneckerSBL
from sparsetheory.gpu.representation import JEPAController, SparseJEPA, group_prox_path
from sparsetheory.regression import gram_lasso_path

GROUPS = [[0, 3], [1, 2, 4], [5]]


def _data(seed=0, n=80, m=6):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, m)) @ (np.eye(m) + 0.3 * rng.standard_normal((m, m)))
    return X, X @ (rng.standard_normal((m, 6)) * (rng.random((m, 6)) < 0.5)) + 0.3 * rng.standard_normal((n, 6))


def _path(X, Y, groups, alphas, **options):
    return group_prox_path(torch.from_numpy(X), torch.from_numpy(Y), groups, alphas, **options)


def test_each_group_is_a_lasso_for_several_responses(device):
    X, Y = _data()
    path = group_prox_path(torch.from_numpy(X).to(device), torch.from_numpy(Y).to(device), GROUPS, [0.4, 0.1], tol=1e-9)
    assert path.converged
    for coefs, alpha in zip(path.coefs.cpu().numpy(), (0.4, 0.1), strict=True):
        for group in GROUPS:
            peer = MultiTaskLasso(alpha, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(X, Y[:, group])
            assert np.abs(peer.coef_ - coefs[group]).max() < 1e-6


def test_single_targets_are_plain_lassos():
    X, Y = _data(1)
    alphas = [0.5, 0.2, 0.05]
    path = _path(X, Y, [[j] for j in range(6)], alphas, tol=1e-10)
    for j in range(6):
        peer = gram_lasso_path(
            X.T @ X / len(X), X.T @ Y[:, j] / len(X), Y[:, j] @ Y[:, j] / len(X), alphas=alphas, tol=1e-12
        )
        assert np.abs(np.asarray(peer.coefs).T - path.coefs[:, j].numpy()).max() < 1e-6


def test_supports_of_sparse_bayesian_learning():
    rng = np.random.default_rng(2)
    X = rng.standard_normal((60, 8))
    support = np.array([[1, 0, 0, 1, 0, 0, 1, 0], [0, 1, 0, 0, 0, 0, 0, 1]], dtype=bool)
    W = (1 + rng.random((2, 3, 8))) * support[:, None]
    Y = X @ W.reshape(6, 8).T + 0.1 * rng.standard_normal((60, 6))
    groups = [[0, 1, 2], [3, 4, 5]]
    path = _path(X, Y, groups, [0.3])
    assert np.array_equal(path.incidence[0].numpy(), support)
    for group, truth in zip(groups, support, strict=True):
        model = KroneckerSBL().fit([X], Y[:, group])
        assert np.array_equal(np.flatnonzero(truth), model.support_)


def test_it_is_what_a_linear_sparse_jepa_solves():
    """Targets stand still, latents are given: plain gradient steps and the operator reach the group lasso."""
    source = torch.Generator().manual_seed(0)
    encoder = torch.nn.Linear(3, 4, dtype=torch.float64).requires_grad_(False)
    alpha, groups = 0.08, [[0, 1], [2, 3]]
    model = SparseJEPA(
        encoder, groups, alpha, 1.0, n_patches=2, n_latents=5, width=2, activation="identity", standardise=False
    )
    with torch.no_grad():
        model.output_weight.copy_(torch.tensor([[2.0, 0], [0, 3], [1, 0], [0, 1]]))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name == "group_weights")
    patches = torch.randn(200, 1, 3, generator=source, dtype=torch.float64).repeat(1, 2, 1)
    patches[:, 0] += 0.3 * torch.randn(200, 3, generator=source, dtype=torch.float64)
    context, target = torch.tensor([True, False]).expand(200, 2), torch.ones(200, dtype=torch.int64)
    optimizer = torch.optim.SGD(model.trained_parameters(), lr=0.5)
    JEPAController(optimizer, model)
    for _ in range(800):
        optimizer.zero_grad()
        found = model(patches, context, target)
        found.loss.backward()
        optimizer.step()
    # The loss of a JEPA is a mean over 4 features, without the half.
    path = group_prox_path(found.latents.detach(), found.target, groups, [alpha * 4 / 2], tol=1e-10)
    assert 0 < path.incidence.sum() < path.incidence.numel()
    assert torch.equal(path.incidence[0], model.incidence())
    assert torch.allclose(path.coefs[0], model.group_weights.reshape(4, 5), atol=1e-6)


def test_strong_penalties_and_empty_features():
    X, Y = _data(3)
    X[:, 2] = 0.0
    path = _path(X, Y, GROUPS, [1e-3, 1e6])
    assert not path.coefs[1].any()
    assert not path.coefs[0, :, 2].any()
    assert path.coefs.dtype == torch.float64
    assert not _path(np.zeros((4, 2)), np.ones((4, 1)), [[0]], [0.1]).coefs.any()


def test_few_steps_are_reported():
    X, Y = _data(4)
    path = _path(X, Y, GROUPS, [0.01], max_iter=3)
    assert path.n_iter == 3
    assert not path.converged


def test_bad_input():
    X, Y = map(torch.from_numpy, _data())
    with pytest.raises(ValueError, match="groups must be a partition of the features"):
        group_prox_path(X, Y, [[0, 1]], [0.1])
    with pytest.raises(ValueError, match="alphas must be"):
        group_prox_path(X, Y, GROUPS, [-0.1])
    with pytest.raises(ValueError, match="X and Y must be matrices with the same rows"):
        group_prox_path(X[:5], Y, GROUPS, [0.1])
    with pytest.raises(ValueError, match="alphas must be a sequence"):
        group_prox_path(X, Y, GROUPS, 0.1)


def test_groups_and_strengths_may_be_arrays():
    X, Y = map(torch.from_numpy, _data())
    groups = torch.arange(Y.shape[1]).view(2, -1)
    expected = group_prox_path(X, Y, groups.tolist(), [0.1, 0.2]).coefs
    for given in (groups, groups.numpy(), list(groups)):
        assert torch.equal(group_prox_path(X, Y, given, np.array([0.1, 0.2])).coefs, expected)
