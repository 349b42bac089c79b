"""A swept tableau holds least-squares solutions and the prices of moves."""

import pytest
import torch

from sparsetheory.gpu.solvers import sweep, swept_tableau, unsweep
from sparsetheory.gpu.solvers.tableaus import exchange


def _problem(device="cpu", n_targets=4, n=7):
    made = torch.Generator().manual_seed(0)
    X, Y = (torch.randn(20, size, generator=made, dtype=torch.float64) for size in (n, n_targets))
    supports = torch.stack([torch.randperm(n, generator=made) < 3 for _ in range(n_targets)])
    return tuple(a.to(device) for a in (X.T @ X, Y.T @ X, Y.square().sum(0), supports))


def _unswept(gram, correlations, energies):
    empty = torch.zeros_like(correlations, dtype=torch.bool)
    return swept_tableau(gram, correlations, energies, empty)


def test_one_factorisation_is_as_good_as_sweep_after_sweep(device):
    gram, correlations, energies, supports = _problem(device)
    one_by_one = _unswept(gram, correlations, energies)
    for step in range(3):
        one_by_one = sweep(one_by_one, supports.nonzero()[step::3, 1])
    torch.testing.assert_close(swept_tableau(gram, correlations, energies, supports), one_by_one)
    for step in range(3):
        one_by_one = unsweep(one_by_one, supports.nonzero()[step::3, 1])
    torch.testing.assert_close(one_by_one, _unswept(gram, correlations, energies))


def test_entries_are_what_they_are_said_to_be():
    gram, correlations, energies, supports = _problem()
    tableau = swept_tableau(gram, correlations, energies, supports)
    for A, b, e, support in zip(tableau, correlations, energies, supports, strict=True):
        inside, outside = support.nonzero()[:, 0], (~support).nonzero()[:, 0]
        G = gram[inside][:, inside]
        coef = torch.linalg.solve(G, b[inside])
        torch.testing.assert_close(A[inside, -1], coef)
        torch.testing.assert_close(A[-1, -1], e - b[inside] @ coef)
        torch.testing.assert_close(-A[inside, inside], torch.linalg.inv(G).diagonal())
        torch.testing.assert_close(A[outside, -1], b[outside] - gram[outside][:, inside] @ coef)
        # Least squares with one more or one fewer column: the prices of adding and dropping.
        for j in outside.tolist():
            torch.testing.assert_close(sweep(A, j)[-1, -1], A[-1, -1] - A[j, -1] ** 2 / A[j, j])
        for j in inside.tolist():
            torch.testing.assert_close(unsweep(A, j)[-1, -1], A[-1, -1] + A[j, -1] ** 2 / -A[j, j])


def test_an_exchange_is_two_sweeps(device):
    gram, correlations, energies, supports = _problem(device)
    tableau = swept_tableau(gram, correlations, energies, supports)
    leaves, enters = supports.nonzero()[1::3, 1], (~supports).nonzero()[2::4, 1]
    expected = sweep(unsweep(tableau, leaves), enters)
    changed = torch.tensor([True, True, False, True], device=device)
    expected[2] = tableau[2]
    exchange(tableau, leaves, enters, changed)
    torch.testing.assert_close(tableau, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sweeping_one_matrix_keeps_its_dtype(dtype):
    A = torch.eye(3, dtype=dtype) * 2
    assert sweep(A, 1).dtype == dtype
    torch.testing.assert_close(unsweep(sweep(A, 1), 1), A)
