import pytest
import torch

from sparsetheory.gpu.dynamic.embeddings.greedy_start import greedy_tables
from sparsetheory.gpu.dynamic.embeddings.pairwise import MatrixFactorisation


def _observed(seed=0):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(30, 5, generator=generator) @ torch.randn(5, 20, generator=generator)
    # Items of low numbers are had by many.
    return (scores + torch.linspace(3, -4, 20) > 1).double()


def test_one_round_with_all_entries_is_the_truncated_decomposition(device):
    observed = _observed().to(device)
    users, items = greedy_tables(observed, 6, 1.0)
    left, values, right = torch.linalg.svd(observed, full_matrices=False)
    torch.testing.assert_close(users @ items.T, (left[:, :6] * values[:6]) @ right[:6], rtol=1e-9, atol=1e-9)


def test_counts_are_exact_and_rounds_lower_the_error(device):
    observed = _observed().to(device)
    errors = []
    for n_rounds in (1, 2, 5):
        users, items = greedy_tables(observed, 8, 0.4, n_rounds=n_rounds)
        assert [int((table != 0).sum()) for table in (users, items)] == [96, 64]
        errors.append(float((observed - users @ items.T).square().sum()))
    assert errors[0] > errors[1] > errors[2]


def test_popular_items_get_more_entries_and_the_tables_take_them_over():
    observed = _observed()
    users, items = greedy_tables(observed.float(), 8, 0.4)
    assert users.dtype == torch.float32
    counts, degrees = (items != 0).sum(1), observed.sum(0)
    most = degrees.argsort()
    assert counts[most[-5:]].sum() > 1.5 * counts[most[:5]].sum()
    model = MatrixFactorisation(30, 20, 8, 0.4, generator=0)
    model.users.set_rows(users)
    model.items.set_rows(items)
    assert torch.equal(model.items.row_nonzeros, counts)
    torch.testing.assert_close(model.scores(), users @ items.T)


def test_bad_arguments():
    observed = _observed()
    for arguments, words in (
        ((observed[0], 2, 0.5), "observed must be a matrix"),
        ((observed, 21, 0.5), "dim must be at most 20"),
        ((observed, 2, 0.0), "density must be"),
        ((observed / 0, 2, 0.5), "observed must be finite"),
    ):
        with pytest.raises(ValueError, match=words):
            greedy_tables(*arguments)
    with pytest.raises(ValueError, match="n_rounds must be"):
        greedy_tables(observed, 2, 0.5, n_rounds=0)
    with pytest.raises(TypeError, match="observed must be a tensor of real floating-point numbers"):
        greedy_tables(observed.bool(), 2, 0.5)


def test_half_precision_is_kept():
    observed = (torch.rand(9, 7, generator=torch.Generator().manual_seed(0)) < 0.4).to(torch.bfloat16)
    for table, exact in zip(greedy_tables(observed, 3, 0.5), greedy_tables(observed.float(), 3, 0.5), strict=True):
        assert table.dtype == torch.bfloat16
        torch.testing.assert_close(table, exact.to(torch.bfloat16))
