import math

import pytest
import torch

from sparsetheory.gpu.dynamic.supported_quadratic import SupportedQuadratic


def _instance(generator, kind, p=8):
    """Columns of many scales: independent, with duplicates, with a zero and a dependent column, more than rows."""
    X = torch.randn(12, p, generator=generator, dtype=torch.float64)
    X *= torch.randn(p, generator=generator, dtype=torch.float64).exp()
    if kind == "duplicate":
        X[:, 3] = 2 * X[:, 1]
    elif kind == "zero":
        X[:, 4] = 0
        X[:, 5] = X[:, 1] - X[:, 2]
    elif kind == "wide":
        X = X[:4]
    y = torch.randn(X.shape[0], generator=generator, dtype=torch.float64)
    return X, y, torch.rand(p, generator=generator) < 0.5


def _minimum(X, y, support):
    """The minimum over a support from the rows, without the Gram matrix."""
    if not bool(support.any()):
        return 0.0
    fit = X[:, support] @ torch.linalg.lstsq(X[:, support], y, driver="gelsd", rcond=1e-9).solution
    return float(fit @ fit / 2 - y @ fit)


def _flipped(support, *where):
    changed = support.clone()
    for i in where:
        changed[i] = ~changed[i]
    return changed


@pytest.mark.parametrize("kind", ["plain", "duplicate", "zero", "wide"])
def test_prices_of_all_moves_are_exact(kind, device):
    generator = torch.Generator().manual_seed(0)
    for _ in range(12):
        X, y, support = _instance(generator, kind)
        at = SupportedQuadratic((X.T @ X).to(device), (X.T @ y).to(device), support.to(device))
        tol = 1e-8 * float(y @ y)
        here = _minimum(X, y, support)
        assert float(at.objective) == pytest.approx(here, abs=tol)
        for i in range(8):
            moved = _minimum(X, y, _flipped(support, i)) - here
            assert (at.prices if support[i] else -at.gains)[i].item() == pytest.approx(moved, abs=tol)
            for j in range(8):
                if support[i] and not support[j]:
                    gain = here - _minimum(X, y, _flipped(support, i, j))
                    assert at.exchange_gains[i, j].item() == pytest.approx(gain, abs=tol)
                else:
                    assert at.exchange_gains[i, j].item() == -math.inf
        assert not bool(at.prices[~support.to(device)].any())
        assert not bool(at.gains[support.to(device)].any())


def test_one_of_two_equal_columns_costs_nothing_though_the_pseudo_inverse_says_two():
    X = torch.tensor([[2.0, 2.0], [0.0, 0.0]], dtype=torch.float64)
    at = SupportedQuadratic(X.T @ X, X.T @ torch.tensor([2.0, 1.0], dtype=torch.float64), torch.tensor([True, True]))
    assert at.prices.tolist() == [0.0, 0.0]
    pseudo = at.weight.square() / (2 * torch.linalg.pinv(X.T @ X).diagonal())
    assert pseudo.tolist() == pytest.approx([2.0, 2.0])


def test_gradient_and_weight_are_those_of_the_minimiser():
    generator = torch.Generator().manual_seed(1)
    X, y, support = _instance(generator, "plain")
    at = SupportedQuadratic(X.T @ X, X.T @ y, support)
    torch.testing.assert_close(at.gradient, X.T @ (X @ at.weight - y), rtol=1e-9, atol=1e-10)
    assert not bool(at.weight[~support].any())
    assert float(at.gradient[support].abs().max()) < 1e-10


def test_empty_and_full_supports():
    gram, target = torch.eye(3), torch.tensor([1.0, 2.0, 3.0])
    empty = SupportedQuadratic(gram, target, torch.zeros(3) > 0)
    assert float(empty.objective) == 0
    assert empty.gains.tolist() == [0.5, 2, 4.5]
    full = SupportedQuadratic(gram, target, torch.ones(3) > 0)
    assert full.prices.tolist() == pytest.approx([0.5, 2, 4.5])
    assert not bool((full.exchange_gains > -math.inf).any())


def test_single_precision_is_kept_and_resolves_equal_columns():
    X = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    X[:, 2] = 3 * X[:, 0]
    at = SupportedQuadratic(X.T @ X, X.T @ torch.ones(30), torch.tensor([True, True, True, False]))
    for found in (at.weight, at.objective, at.gradient, at.prices, at.gains, at.exchange_gains):
        assert found.dtype == torch.float32
    assert at.prices[[0, 2]].tolist() == [0, 0]
    assert at.prices[1] > 0


@pytest.mark.parametrize(
    ("gram", "target", "support", "message"),
    [
        (torch.eye(3), torch.ones(2), torch.ones(2) > 0, r"must be \(p, p\), \(p,\) and bool \(p,\); got \(3, 3\)"),
        (torch.eye(2), torch.ones(2), torch.ones(2), r"torch\.float32 of \(2,\)"),
        (torch.eye(2) * math.inf, torch.ones(2), torch.ones(2) > 0, "must be finite"),
        (torch.zeros(2, 2), torch.ones(2), torch.ones(2) > 0, "target must be in the range of gram"),
    ],
)
def test_bad_input(gram, target, support, message):
    with pytest.raises(ValueError, match=message):
        SupportedQuadratic(gram, target, support)
