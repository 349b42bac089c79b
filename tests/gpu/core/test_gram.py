"""Gram matrices: streaming, masks, shards, merging and memory, against products in double precision."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sparsetheory.gpu.core import Gram
from sparsetheory.gpu.core.gram import as_gram

DTYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64]
# An entry is a sum of n products; two orders of summation differ by at most 2 n u times the sum of their magnitudes,
# which is at most n times the largest square. Relative to the largest diagonal entry that leaves 2 n u.
ORDERS = 2 * 2.0**-53


def _rows(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def _close(one, two, n):
    # By Cauchy's inequality the sum of magnitudes of an entry is at most the largest diagonal entry.
    scale = float(two.diagonal().max())
    assert float((one.cpu() - two.cpu()).abs().max()) <= n * ORDERS * scale


def _reference(x):
    x = x.reshape(-1, x.shape[-1]).double().cpu().numpy()
    return torch.from_numpy(x.T @ x / max(len(x), 1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_batches_of_any_precision_give_the_matrix_of_all_rows(device, dtype):
    x = _rows(50, 7, dtype=dtype).to(device)
    gram = Gram.empty(7, device=device)
    for part in x.split([1, 20, 0, 29]):
        gram.update(part)
    assert gram.sums.dtype == torch.float64
    assert (gram.n_samples, gram.n_features, gram.n_shards) == (50, 7, 4)
    _close(gram.matrix, _reference(x), 50)
    _close(Gram.of(x).matrix, gram.matrix, 50)
    assert torch.equal(gram.matrix, gram.matrix.T)


def test_integers_are_exact_in_any_order():
    x = torch.randint(-9, 10, (64, 6), generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    whole = Gram.of(x, n_shards=1)
    parts = Gram.empty(6, n_shards=1)
    for part in x.split(5):
        parts.update(part)
    assert torch.equal(whole.sums, parts.sums)
    assert torch.equal(whole.sums[0].long(), x.long().T @ x.long())


def test_axes_before_the_last_are_rows():
    x = _rows(3, 5, 2, 4)
    gram = Gram.empty(4)
    gram.update(x)
    assert gram.n_samples == 30
    _close(gram.matrix, _reference(x), 30)
    one = Gram.empty(4)
    one.update(x[0, 0, 0])
    assert one.n_samples == 1


def test_inputs_need_not_be_contiguous_and_are_not_changed():
    x = _rows(6, 40)
    kept = x.clone()
    for view in (x.T, x.T[::2], x.T.reshape(8, 5, 6).transpose(0, 1), x.T.flip(0), _rows(1, 6).expand(9, 6)):
        gram = Gram.empty(6)
        gram.update(view)
        _close(gram.matrix, _reference(view), 40)
    assert torch.equal(x, kept)


@pytest.mark.parametrize("kind", [torch.bool, torch.int64, torch.float32])
def test_masks_count_what_is_not_zero(device, kind):
    x = _rows(4, 6, 3).to(device)
    mask = (_rows(4, 6, seed=1) > 0).to(kind).to(device)
    gram = Gram.empty(3, device=device)
    x[mask == 0] = np.nan  # what does not count may be anything
    gram.update(x, mask)
    assert gram.n_samples == int((mask != 0).sum())
    _close(gram.matrix, _reference(x[mask != 0]), 24)
    gram.update(x, torch.zeros(4, 6))
    assert gram.n_samples == int((mask != 0).sum())


def test_nothing_is_a_matrix_of_zeros():
    gram = Gram.empty(3)
    gram.update(torch.zeros(0, 3))
    gram.update(torch.zeros(2, 0, 3))
    gram.update(torch.zeros(0, 3), torch.zeros(0))
    assert (gram.n_samples, float(gram.matrix.abs().max())) == (0, 0.0)
    with pytest.raises(ValueError, match="gram must hold at least 1 row"):
        as_gram(gram, 3)


def test_workers_merge_to_one():
    x = _rows(60, 5)
    one = Gram.empty(5)
    workers = [Gram.empty(5) for _ in range(3)]
    for i, part in enumerate(x.split(4)):
        one.update(part, shard=i % 4)
        workers[i % 3].update(part, shard=i % 4)
    merged = workers[0].merge(workers[1]).merge(workers[2])
    assert torch.equal(merged.counts, one.counts)
    for i in range(4):
        _close(merged.shard(i), one.shard(i), 60)
    _close(merged.matrix, one.matrix, 60)
    assert torch.equal(workers[0].merge(workers[1]).sums, workers[1].merge(workers[0]).sums)
    untouched = workers[0].sums.clone()
    workers[0].merge(workers[1]).update(x)
    assert torch.equal(workers[0].sums, untouched)
    assert torch.equal(workers[0].merge(Gram.empty(5)).sums, workers[0].sums)


def test_shards_hold_their_rows_and_add_up():
    x = _rows(23, 4)
    gram = Gram.of(x, n_shards=5)
    assert gram.counts.tolist() == [5, 5, 5, 4, 4]
    parts = x.tensor_split(5)
    for i in range(5):
        _close(gram.shard(i), _reference(parts[i]), 23)
        rest = torch.cat([part for j, part in enumerate(parts) if j != i])
        _close(gram.without(i), _reference(rest), 23)
    total = sum(gram.shard(i) * int(gram.counts[i]) for i in range(5)) / 23
    _close(total, gram.matrix, 23)


def test_what_is_left_without_a_shard_is_never_indefinite():
    # As the difference of two sums the small shard would vanish in the rounding of the large one.
    gram = Gram.of(torch.cat([1e9 * _rows(8, 3), _rows(8, 3, seed=1)]), n_shards=2)
    _close(gram.without(0), _reference(_rows(8, 3, seed=1)), 8)
    assert float(torch.linalg.eigvalsh(gram.without(0)).min()) > 0
    single = Gram.of(_rows(4, 3), n_shards=1)
    assert float(single.without(0).abs().max()) == 0.0


def test_batches_go_to_the_shard_with_the_fewest_rows():
    gram = Gram.empty(2, n_shards=3)
    for length in (5, 1, 1, 1, 2, 1):
        gram.update(_rows(length, 2))
    assert sorted(gram.counts.tolist()) == [3, 3, 5]
    gram.update(_rows(2, 2), shard=1)
    assert gram.counts.sum() == 13


def test_states_are_restored():
    gram = Gram.of(_rows(9, 3))
    again = Gram.from_state_dict(gram.state_dict())
    assert torch.equal(again.sums, gram.sums)
    assert torch.equal(again.counts, gram.counts)
    assert torch.equal(gram.to("cpu").matrix, gram.matrix)


class _Widest(TorchDispatchMode):
    """Records the most entries of a new tensor in double precision that an operation returns."""

    def __init__(self, known):
        super().__init__()
        self.known, self.entries = known.untyped_storage().data_ptr(), 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        if isinstance(found, torch.Tensor) and found.dtype == torch.float64:
            new = found.untyped_storage().data_ptr() != self.known
            self.entries = max(self.entries, found.numel() if new else 0)
        return found


@pytest.mark.parametrize(("rows", "p"), [(50_000, 8), (3, 500)])
def test_neither_long_batches_nor_the_matrix_are_copied(rows, p):
    gram, x = Gram.empty(p), torch.ones(rows, p)
    with _Widest(gram.sums) as widest:
        gram.update(x)
    # The rows in double precision, 4096 at a time, beside the sums that are there.
    assert 0 < widest.entries <= min(rows, 4096) * p
    assert torch.equal(gram.matrix, torch.ones(p, p, dtype=torch.float64))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda gram: gram.update(torch.ones(2, 4)), r"x must have 3 features; got shape \(2, 4\)"),
        (lambda gram: gram.update(torch.ones(2, 3), torch.ones(3)), r"mask must have shape \(2,\); got \(3,\)"),
        (lambda gram: gram.update(torch.tensor([[1.0, np.inf, 0.0]])), "x must be finite"),
        (lambda gram: gram.update(torch.tensor([[1.0, np.nan, 0.0]])), "x must be finite"),
        (lambda gram: gram.update(torch.ones(1, 3), shard=4), "shard must be None or an integer from 0 to 3"),
        (lambda gram: gram.shard(4), "index must be an integer from 0 to 3"),
        (lambda gram: gram.without(-1), "index must be an integer from 0 to 3"),
        (lambda gram: gram.merge(Gram.empty(2)), "other must have 3 features in 4 shards; got 2 in 4"),
        (lambda gram: gram.merge(Gram.empty(3, n_shards=2)), "other must have 3 features in 4 shards; got 3 in 2"),
        (lambda gram: Gram.empty(0), "n_features must be"),
        (lambda gram: Gram.empty(3, n_shards=0), "n_shards must be"),
    ],
)
def test_bad_arguments_change_nothing(change, message):
    gram = Gram.of(_rows(8, 3))
    before = gram.sums.clone()
    with pytest.raises(ValueError, match=message):
        change(gram)
    assert torch.equal(gram.sums, before)
    assert gram.n_samples == 8


def test_matrices_are_grams_of_one_shard():
    matrix = _reference(_rows(9, 3))
    for given in (matrix, matrix.numpy(), matrix.tolist()):
        found = as_gram(given, 3)
        assert torch.equal(found.matrix, (matrix + matrix.T) / 2)
        assert found.n_shards == 1
    gram = Gram.of(_rows(9, 3))
    assert as_gram(gram, 3) is gram
    # In single precision the two halves of a product may differ by its rounding.
    rounded = matrix.float()
    rounded[0, 1] *= 1 + 2.0**-22
    assert torch.equal(as_gram(rounded, 3).matrix, as_gram(rounded, 3).matrix.T)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (torch.ones(2, 3), r"H must be a square matrix; got shape \(2, 3\)"),
        (torch.ones(3), "H must be a square matrix"),
        (torch.tensor([[1.0, np.nan], [np.nan, 1.0]]), "H must be finite"),
        (torch.tensor([[1.0, 0.5], [0.4, 1.0]]), "H must be symmetric; got entries that differ by 0.1"),
        (torch.tensor([[1.0, 0.5 + 1e-6], [0.5, 1.0]], dtype=torch.float64), "H must be symmetric"),
        (torch.eye(4), "H must have 2 rows and columns; got 4"),
        (torch.tensor([[1.0, 0.0], [0.0, -1.0]]), "H must have no negative diagonal entry"),
    ],
)
def test_other_matrices_are_refused(matrix, message):
    with pytest.raises(ValueError, match=message):
        as_gram(matrix, 2, name="H")
