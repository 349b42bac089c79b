import pytest
import torch

from sparsetheory.gpu.dynamic.embeddings.sparse_embedding import SparseEmbedding, score_macs


def test_the_budget_is_exact_and_the_weight_is_zero_off_the_mask(device):
    table = SparseEmbedding(11, 8, 0.3, generator=0, device=device, dtype=torch.float64)
    assert table.weight.device.type == table.mask.device.type == device
    assert table.weight.dtype == torch.float64
    assert int(table.mask.sum()) == round(0.3 * 88)
    assert torch.equal(table.weight != 0, table.mask)
    assert torch.equal(table.row_nonzeros, table.mask.sum(1))
    assert not torch.equal(SparseEmbedding(11, 8, 0.3, generator=1).mask, table.mask.cpu())
    assert torch.equal(SparseEmbedding(11, 8, 0.3, generator=0).mask, table.mask.cpu())


@pytest.mark.parametrize("padding", [0, 3, -1])
def test_the_padding_row_is_masked_out_and_is_no_part_of_the_budget(padding):
    table = SparseEmbedding(6, 4, 1.0, padding_idx=padding, generator=0)
    assert int(table.mask.sum()) == 20
    assert table.padding_idx == padding % 6
    assert table.row_nonzeros.tolist() == [0 if row == padding % 6 else 4 for row in range(6)]
    assert table.n_empty_rows_ == 0
    assert "density=1" in repr(table)
    with pytest.raises(ValueError, match=f"rows must be zero in row {padding % 6}"):
        table.set_rows(torch.ones(6, 4))


def test_rows_bring_their_mask():
    table = SparseEmbedding(3, 2, 0.5, generator=0)
    table.set_rows(torch.tensor([[0.0, 2.0], [0.0, 0.0], [3.0, 4.0]]))
    assert table.mask.tolist() == [[False, True], [False, False], [True, True]]
    assert table.n_empty_rows_ == 1
    assert table(torch.tensor([2])).tolist() == [[3, 4]]
    for rows, words in ((torch.zeros(2, 2), "must have shape"), (torch.full((3, 2), torch.nan), "must be finite")):
        with pytest.raises(ValueError, match=f"rows {words}"):
            table.set_rows(rows)


def test_the_mask_is_stored_with_the_weight():
    table, other = (SparseEmbedding(5, 4, 0.5, generator=seed) for seed in (0, 1))
    other.load_state_dict(table.state_dict())
    assert torch.equal(other.mask, table.mask)
    assert torch.equal(other.weight, table.weight)


def test_less_than_one_entry_in_the_mean_row_warns():
    with pytest.warns(RuntimeWarning, match=r"density times dim must be at least 1 .* got 0.2 \* 4"):
        SparseEmbedding(5, 4, 0.2)


def test_one_entry_in_the_mean_row_does_not_warn(recwarn):
    SparseEmbedding(5, 4, 0.25)
    assert not recwarn.list


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0, 4, 0.5), "num must be"),
        ((5, 0, 0.5), "dim must be"),
        ((5, 4, 0.0), "density must be"),
        ((5, 4, 1.5), "density must be"),
        ((5, 4, 0.5, 5), "padding_idx must be"),
    ],
)
def test_bad_sizes(arguments, words):
    with pytest.raises(ValueError, match=words):
        SparseEmbedding(*arguments)


def test_multiplications_of_a_score_are_those_of_common_entries(device):
    users, items = (SparseEmbedding(n, 8, 0.4, generator=n, device=device).mask for n in (6, 5))
    counts = score_macs(users, items)
    assert counts.dtype == torch.int64
    for u, i in torch.cartesian_prod(torch.arange(6), torch.arange(5)).tolist():
        assert counts[u, i] == len(
            set(users[u].nonzero().flatten().tolist()) & set(items[i].nonzero().flatten().tolist())
        )
    with pytest.raises(TypeError, match="right must be a tensor of bool"):
        score_macs(users, items.float())
    with pytest.raises(ValueError, match="equally long rows"):
        score_macs(users, items[:, :4])


def test_a_pruned_table_becomes_one_with_its_mask():
    rows = torch.tensor([[0.0, 0.0], [0.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    table = SparseEmbedding.from_pretrained(rows, padding_idx=0, max_norm=9.0)
    assert torch.equal(table.weight, rows)
    assert torch.equal(table.mask, rows != 0)
    assert (table.padding_idx, table.max_norm, table.weight.requires_grad) == (0, 9.0, False)
    with torch.no_grad():
        table.weight.zero_()
    assert rows[1, 1] == 2
    assert SparseEmbedding.from_pretrained(rows, False).weight.requires_grad
    with pytest.raises(ValueError, match="row 2, that of the padding"):
        SparseEmbedding.from_pretrained(rows, padding_idx=2)
    with pytest.raises(ValueError, match="embeddings must be a matrix"):
        SparseEmbedding.from_pretrained(rows[0])


def test_new_values_stay_under_the_mask():
    table = SparseEmbedding(6, 4, 0.5, padding_idx=1, generator=0)
    mask, before = table.mask.clone(), table.weight.detach().clone()
    table.reset_parameters()
    assert torch.equal(table.mask, mask)
    assert torch.equal(table.weight != 0, mask)
    assert not torch.equal(table.weight, before)


def test_rows_must_be_finite_in_the_dtype_of_the_table():
    table = SparseEmbedding(1, 2, 1.0)
    with pytest.raises(ValueError, match="rows must be finite"):
        table.set_rows(torch.tensor([[1e60, 1.0]], dtype=torch.float64))
    assert bool(table.weight.isfinite().all())


def test_masks_of_numpy_are_no_tensors():
    with pytest.raises(TypeError, match="left must be a tensor of bool; got ndarray"):
        score_macs(torch.ones(2, 2).bool().numpy(), torch.ones(2, 2).bool())
