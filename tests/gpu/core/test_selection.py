"""The one rule of ties: the largest entries, exact counts, lowest index first, against a stable sort."""

import numpy as np
import pytest
import torch
from torch.nn.utils import prune

from sparsetheory.gpu.core.selection import check_scores, keep_in_groups, keep_largest, kept_count

DTYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64]


def _by_sorting(score, counts):
    """Keep by a stable descending sort, the definition of the rule."""
    rows = score.double().cpu().reshape(-1, score.shape[-1])
    kept = torch.zeros(rows.shape, dtype=torch.bool)
    for row, values in enumerate(rows):
        order = torch.sort(values, descending=True, stable=True).indices
        kept[row, order[: int(counts[row])]] = True
    return kept.reshape(score.shape)


def _scores(kind, shape, dtype, seed=0):
    generator = torch.Generator().manual_seed(seed)
    if kind == "normal":
        return torch.randn(shape, generator=generator).to(dtype)
    if kind == "ties":
        return torch.randint(-2, 3, shape, generator=generator).to(dtype)
    if kind == "infinite":
        values = torch.tensor([-np.inf, -1.0, 0.0, -0.0, 2.0, np.inf])
        return values[torch.randint(0, 6, shape, generator=generator)].to(dtype)
    return torch.full(shape, {"zero": 0.0, "constant": 1.7, "highest": np.inf, "lowest": -np.inf}[kind], dtype=dtype)


KINDS = ("normal", "ties", "infinite", "zero", "constant", "highest", "lowest")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_rows_keep_what_a_stable_sort_puts_first(device, dtype, kind):
    score = _scores(kind, (6, 41), dtype).to(device)
    for count in (0, 1, 5, 20, 40, 41):
        kept = keep_largest(score, count)
        assert kept.dtype == torch.bool
        assert torch.equal(kept.cpu(), _by_sorting(score, [count] * 6))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_rows_may_keep_different_counts(device, dtype, kind):
    score = _scores(kind, (2, 3, 17), dtype).to(device)
    counts = torch.tensor([[0, 1, 17], [16, 5, 5]])
    assert torch.equal(keep_largest(score, counts).cpu(), _by_sorting(score, counts.flatten()))
    assert not keep_largest(score, torch.zeros_like(counts)).any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", range(1, 25))
def test_groups_keep_what_a_stable_sort_puts_first(device, dtype, m):
    for kind in KINDS:
        score = _scores(kind, (3, 4 * m), dtype, seed=m).to(device)
        for n in {0, 1, m // 2, m - 1, m}:
            kept = keep_in_groups(score, n, m)
            assert torch.equal(kept.cpu(), _by_sorting(score.reshape(12, m), [n] * 12).reshape(score.shape))


def test_memory_formats_do_not_change_what_is_kept():
    score = _scores("ties", (12, 20), torch.float32)
    assert torch.equal(keep_largest(score.T.contiguous().T, 7), keep_largest(score, 7))
    assert torch.equal(keep_in_groups(score.T.contiguous().T, 2, 4), keep_in_groups(score, 2, 4))
    wide = score.repeat_interleave(2, 1)
    assert torch.equal(keep_in_groups(wide[:, ::2], 2, 4), keep_in_groups(score, 2, 4))


@pytest.mark.parametrize("shape", [(0, 8), (3, 0), (0, 0), (2, 0, 8)])
def test_nothing_of_nothing(shape):
    empty = torch.zeros(shape)
    for m in (4, 20) if shape[-1] == 0 else (4, 8):
        assert keep_in_groups(empty, 2, m).shape == shape
    assert keep_largest(empty, 0).shape == shape
    assert keep_largest(empty, torch.zeros(shape[:-1], dtype=torch.int64)).shape == shape


def test_large_rows_with_many_ties_have_exact_counts():
    score = torch.arange(300_000).remainder(7).to(torch.bfloat16)
    kept = keep_largest(score, 100_000)
    assert int(kept.sum()) == 100_000
    assert kept[score >= 5].all()
    fours = torch.nonzero(score == 4).flatten()
    missing = 100_000 - int((score >= 5).sum())
    assert torch.equal(torch.nonzero(kept & (score == 4)).flatten(), fours[:missing])


def test_counts_are_those_of_torch_prune():
    linear = torch.nn.Linear(1000, 1)
    for sparsity in (0.0, 0.05, 0.3, 0.5, 0.9, 0.995, 0.9995, 1.0):
        prune.l1_unstructured(linear, "weight", sparsity)
        assert kept_count(1.0 - sparsity, 1000) == int(linear.weight_mask.sum()), sparsity
        prune.remove(linear, "weight")
        torch.nn.init.uniform_(linear.weight, 1.0, 2.0)
    assert (kept_count(0.1, 1000), kept_count(0.5, 5), kept_count(0.5, 7), kept_count(0.3, 0)) == (100, 3, 3, 0)


def test_scores_that_cannot_be_ordered_are_refused():
    with pytest.raises(ValueError, match=r"fc must not hold NaN; got 2 of 3 entries"):
        check_scores(torch.tensor([np.nan, 1.0, np.nan]), "fc")
    for wrong in (torch.ones(3, dtype=torch.int64), torch.ones(3, dtype=torch.complex64), torch.ones(3) > 0):
        with pytest.raises(TypeError, match=r"score must be a tensor of real floating-point numbers; got torch\."):
            check_scores(wrong)
    with pytest.raises(TypeError, match="got ndarray"):
        check_scores(np.ones(3))
    assert not check_scores(torch.ones(3, requires_grad=True)).requires_grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_works_within_transformations_of_torch_func_and_on_lazy_views(dtype):
    score = _scores("ties", (3, 20), dtype)

    def kept(values):
        return (values * keep_largest(values.detach(), 7)).sum()

    assert torch.equal(torch.func.grad(kept)(score), _by_sorting(score, [7] * 3).to(dtype))
    lazy = torch.complex(score, -score).conj().imag
    assert lazy.is_neg()
    assert torch.equal(keep_largest(lazy, 7), _by_sorting(score, [7] * 3))
