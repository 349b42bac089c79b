"""Ranks of updates, next to those of random matrices."""

import math

import pytest
import torch

from sparsetheory.gpu import analysis


def change(matrix):
    return {"w": torch.zeros(matrix.shape), "bias": torch.zeros(3)}, {"w": matrix, "bias": torch.ones(3)}


def test_rank_of_a_product_of_factors(device):
    generator = torch.Generator().manual_seed(0)
    product = torch.randn(20, 3, generator=generator) @ torch.randn(3, 30, generator=generator)
    before, after = change(product.to(device))
    found = analysis.update_rank(
        {k: v.to(device) for k, v in before.items()}, after | {"bias": torch.ones(3, device=device)}
    )
    (matrix,) = found.matrices
    assert (matrix.name, matrix.shape, matrix.n_changed) == ("w", (20, 30), 600)
    assert (matrix.rank, matrix.random_rank) == (3, 20)
    assert found.fraction == 3 / 20
    assert found.random_fraction == 1.0


def test_the_random_matrix_has_as_many_entries():
    """With n entries about n (1 - 1/e) rows are hit; with 2 n log n nearly all, and the rank is nearly full."""
    n = 128
    few, many = torch.zeros(n, n), torch.zeros(n, n)
    few[0] = 1.0
    many[: math.ceil(2 * math.log(n))] = 1.0
    assert 0.4 * n < analysis.update_rank(*change(few)).matrices[0].random_rank < 0.65 * n
    found = analysis.update_rank(*change(many)).matrices[0]
    assert found.rank == 1
    assert found.random_rank >= n - 3


def test_kernels_of_convolutions_are_rows_of_outputs():
    kernel = torch.zeros(4, 2, 3, 3)
    kernel[0] = 1.0
    kernel[2, 1, 0, 2] = 5.0
    matrix = analysis.update_rank({"w": torch.zeros(4, 2, 3, 3)}, {"w": kernel}).matrices[0]
    assert (matrix.shape, matrix.rank) == ((4, 18), 2)


def test_rtol_and_dtype():
    diagonal = torch.diag(torch.tensor([1.0, 1e-3, 1e-9]))
    states = change(diagonal)
    assert analysis.update_rank(*states).matrices[0].rank == 2
    assert analysis.update_rank(*states, rtol=1e-2).matrices[0].rank == 1
    assert analysis.update_rank(*states, rtol=1e-12).matrices[0].rank == 3
    # The tolerance grows with the larger side: 1000 times 1.2e-7 here.
    wide = torch.zeros(2, 1000)
    wide[0, 0], wide[1, 1] = 1.0, 1e-5
    assert analysis.update_rank(*change(wide)).matrices[0].rank == 1
    before = {"w": torch.ones(2, 2)}
    after = {"w": torch.ones(2, 2) + torch.diag(torch.tensor([1.0, 1e-4]))}
    assert analysis.update_rank(before, after).matrices[0].rank == 2
    assert analysis.update_rank(before, after, dtype=torch.bfloat16).matrices[0].rank == 1


def test_directions_that_hold_the_change():
    states = change(torch.diag(torch.tensor([3.0, 1.0, 0.5, 1e-3])))
    # Squares are 9, 1, 0.25 and 1e-6.
    for energy, directions in ((0.8, 1), (0.95, 2), (0.99, 3), (1.0, 4)):
        matrix = analysis.update_rank(*states, energy=energy).matrices[0]
        assert (matrix.rank, matrix.energy_rank) == (4, directions)


def test_no_change_has_rank_zero():
    matrix = analysis.update_rank(*change(torch.zeros(2, 3))).matrices[0]
    assert (matrix.rank, matrix.random_rank, matrix.n_changed, matrix.energy_rank) == (0, 0, 0, 0)


def test_equal_seeds_give_equal_baselines():
    sparse = torch.zeros(40, 40)
    sparse[0] = 1.0
    ranks = [analysis.update_rank(*change(sparse), generator=torch.Generator().manual_seed(5)) for _ in range(2)]
    assert ranks[0] == ranks[1]


def test_table():
    pytest.importorskip("pandas")
    frame = analysis.update_rank(*change(torch.eye(3))).to_frame()
    assert list(frame.index) == ["w"]
    assert frame.loc["w", "fraction"] == 1.0


def test_bad_arguments():
    with pytest.raises(ValueError, match="at least two axes"):
        analysis.update_rank({"b": torch.zeros(3)}, {"b": torch.ones(3)})
    with pytest.raises(ValueError, match="w has infinite"):
        analysis.update_rank(*change(torch.full((2, 2), math.inf)))
    with pytest.raises(ValueError, match="energy must be"):
        analysis.update_rank(*change(torch.eye(2)), energy=0.0)
    with pytest.raises(ValueError, match="rtol must be"):
        analysis.update_rank(*change(torch.eye(2)), rtol=-1.0)
