"""Supports found by the largest correlations: certain, possible and impossible ones."""

import pytest
import torch

from sparsetheory.gpu.activations import coherence, recovery_is_certain, support_recovery_rate


def _dictionary(features, atoms, seed=0, dtype=torch.float64):
    return torch.randn(features, atoms, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_coherence_is_the_largest_cosine(device):
    K = _dictionary(6, 9).to(device)
    cosines = torch.nn.functional.cosine_similarity(K.T[:, None], K.T[None], dim=-1).abs()
    assert coherence(K) == pytest.approx(float(cosines.fill_diagonal_(0).max()), rel=1e-12)
    assert coherence(10.0 * K) == pytest.approx(coherence(K), rel=1e-12)


def test_orthogonal_atoms_are_always_found():
    K = torch.linalg.qr(_dictionary(12, 12)).Q
    assert recovery_is_certain(K, 5, 10.0)
    assert support_recovery_rate(K, 5, dynamic_range=10.0) == 1.0


def test_recovery_fails_beyond_the_condition():
    K = _dictionary(12, 60)
    assert not recovery_is_certain(K, 6)
    rates = [support_recovery_rate(K, k) for k in (1, 3, 8)]
    assert rates[0] == 1.0
    assert rates[0] > rates[1] > rates[2]


def test_twins_cannot_be_told_apart():
    K = torch.cat([torch.eye(4), torch.eye(4)], dim=1)
    assert not recovery_is_certain(K, 1)
    # The first of two equal correlations is taken.
    assert 0.3 < support_recovery_rate(K, 1, n_trials=400) < 0.7


def test_seeds_and_types():
    K = _dictionary(12, 40, dtype=torch.float32)
    assert support_recovery_rate(K, 3, generator=5) == support_recovery_rate(K, 3, generator=5)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: support_recovery_rate(torch.ones(3), 1), "K must be a matrix of finite"),
        (lambda: support_recovery_rate(torch.zeros(3, 2), 1), "K must have no column of zeros; got 2"),
        (lambda: support_recovery_rate(torch.eye(3), 4), "n_nonzero must be an integer from 1 to 3"),
        (lambda: support_recovery_rate(torch.eye(3), 1, dynamic_range=0.5), "dynamic_range must be a finite number"),
        (lambda: recovery_is_certain(torch.eye(3), 0), "n_nonzero must be an integer from 1 to 3"),
    ],
)
def test_wrong_arguments_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()
