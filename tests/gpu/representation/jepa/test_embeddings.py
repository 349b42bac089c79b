"""Variance and rank of embeddings."""

import pytest
import torch

from sparsetheory.gpu.representation import embedding_statistics


def test_rank_counts_directions_of_equal_length(device):
    source = torch.Generator().manual_seed(0)
    directions = torch.linalg.qr(torch.randn(50, 3, generator=source, dtype=torch.float64)).Q
    directions = directions - directions.mean(0)
    rows = torch.linalg.qr(directions).Q @ torch.linalg.qr(torch.randn(8, 3, generator=source).double()).Q.T
    assert embedding_statistics(rows.to(device)).effective_rank == pytest.approx(3.0, rel=1e-9)


def test_an_offset_is_no_direction():
    rows = torch.randn(40, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    moved = embedding_statistics(rows + 1e4)
    assert moved.effective_rank == pytest.approx(embedding_statistics(rows).effective_rank, rel=1e-6)
    assert torch.allclose(moved.variance, rows.var(0, correction=0), rtol=1e-6)


def test_collapsed_embeddings_have_no_rank():
    found = embedding_statistics(torch.ones(5, 3))
    assert found.effective_rank == 0.0
    assert not found.variance.any()


def test_bad_input():
    with pytest.raises(ValueError, match="embeddings must be a matrix with at least two rows"):
        embedding_statistics(torch.ones(1, 3))
