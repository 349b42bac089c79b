"""Multi-information against determinants of numpy, exact zeros, and partitions that are not nested."""

import numpy as np
import pytest
import torch

from sparsetheory.gpu.representation import gaussian_multi_information

PAIRS, TRIPLES = [[0, 1], [2, 3], [4, 5]], [[0, 1, 2], [3, 4, 5]]


def _covariance(seed, n=6):
    rows = np.random.default_rng(seed).standard_normal((n, n + 3))
    return rows @ rows.T


def test_it_is_the_formula(device):
    S, blocks = _covariance(0), [[4, 0], [1, 5, 2], [3]]
    parts = [np.linalg.slogdet(S[np.ix_(block, block)])[1] for block in blocks]
    expected = (sum(parts) - np.linalg.slogdet(S)[1]) / 2
    found = gaussian_multi_information(torch.from_numpy(S).to(device), blocks)
    assert found.device.type == device
    assert float(found) == pytest.approx(expected, rel=1e-10)
    assert float(gaussian_multi_information(torch.from_numpy(S), [list(range(6))])) == 0.0


def test_independent_blocks_have_none_exactly():
    S = torch.from_numpy(_covariance(1) * np.kron(np.eye(3), np.ones((2, 2))))
    assert float(gaussian_multi_information(S, PAIRS)) == 0.0
    assert float(gaussian_multi_information(torch.diag(torch.tensor([1e-12, 3.0, 1e12])))) == 0.0
    assert float(gaussian_multi_information(S)) > 0.1


def test_small_information_keeps_its_digits():
    # Of a pair it is -log(1 - r^2) / 2, that is r^2 / 2 for a small correlation r.
    S = torch.tensor([[1e8, 1e-5 * 1e4], [1e-5 * 1e4, 1.0]], dtype=torch.float64)
    assert float(gaussian_multi_information(S)) == pytest.approx(5e-11, rel=1e-4)


def test_pairs_and_triples_stand_in_either_order():
    signs = set()
    for seed in range(40):
        S = torch.from_numpy(_covariance(seed))
        signs.add(float(gaussian_multi_information(S, PAIRS)) > float(gaussian_multi_information(S, TRIPLES)))
        assert float(gaussian_multi_information(S)) > float(gaussian_multi_information(S, PAIRS))
    assert signs == {True, False}


def test_single_precision():
    S = torch.from_numpy(_covariance(2))
    found = gaussian_multi_information(S.float())
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(float(gaussian_multi_information(S)), rel=1e-3)


@pytest.mark.parametrize(
    ("S", "words"),
    [
        (torch.ones(2, 3), "square"),
        (torch.tensor([[1.0, 0.5], [0.2, 1.0]]), "symmetric"),
        (torch.tensor([[1.0, 1.0], [1.0, 1.0]]), "positive definite"),
        (torch.tensor([[1.0, 2.0], [2.0, 1.0]]), "positive definite"),
        (torch.tensor([[0.0, 0.0], [0.0, 1.0]]), "positive definite"),
        (torch.tensor([[torch.inf, 0.0], [0.0, 1.0]]), "finite"),
    ],
)
def test_bad_covariances(S, words):
    with pytest.raises(ValueError, match=f"S must be .*{words}"):
        gaussian_multi_information(S)


@pytest.mark.parametrize("blocks", [[], [[0], [2]], [[0, 1], [1]], [[0], []], [0, 1], [[0], [1], [2]], "01", [[0, -1]]])
def test_blocks_must_be_a_partition(blocks):
    with pytest.raises(ValueError, match="blocks must be a partition of the features"):
        gaussian_multi_information(torch.eye(2), blocks)
