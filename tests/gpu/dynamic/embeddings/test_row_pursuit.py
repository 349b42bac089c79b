import heapq

import pytest
import torch

from sparsetheory.gpu.dynamic.embeddings.row_pursuit import greedy_rows
from sparsetheory.gpu.dynamic.supported_quadratic import SupportedQuadratic
from sparsetheory.gpu.solvers.matching_pursuit import omp_gram


def _problem(seed, n=30, dim=7, rows=9, dtype=torch.float64, device="cpu"):
    generator = torch.Generator().manual_seed(seed)
    U = torch.randn(n, dim, generator=generator, dtype=torch.float64) + torch.randn(n, 1, generator=generator)
    V = torch.randn(rows, dim, generator=generator, dtype=torch.float64)
    R = U @ V.T + torch.randn(n, rows, generator=generator, dtype=torch.float64)
    return [array.to(dtype).to(device) for array in (U.T @ U, R.T @ U)]


def _queue(gains, order, n_nonzero):
    """Merge by a priority queue of the next gain of every row."""
    queue = [(-float(row[0]), i) for i, row in enumerate(gains)]
    heapq.heapify(queue)
    counts = [0] * len(gains)
    while queue and sum(counts) < n_nonzero:
        row = heapq.heappop(queue)[1]
        counts[row] += 1
        if counts[row] < gains.shape[1] and order[row, counts[row]] >= 0:
            heapq.heappush(queue, (-float(gains[row, counts[row]]), row))
    return counts


@pytest.mark.parametrize("rule", ["gain", "correlation"])
@pytest.mark.parametrize("n_nonzero", [1, 9, 20, 45, 63])
def test_running_minima_are_the_priority_queue(rule, n_nonzero, device):
    rising = 0
    for seed in range(8):
        gram, correlations = _problem(seed, device=device)
        rows = greedy_rows(gram, correlations, n_nonzero, rule=rule)
        rising += int((rows.gains.diff(dim=1) > 0).sum())
        assert rows.row_nonzeros.tolist() == _queue(rows.gains, rows.order, n_nonzero)
        assert torch.equal(rows.mask.sum(1), rows.row_nonzeros)
        assert torch.equal(rows.coefficients != 0, rows.mask)
        assert int(rows.mask.sum()) == n_nonzero
    # Otherwise a plain choice of the largest gains would pass as well.
    assert rising > 3 or n_nonzero == 1


def test_every_step_takes_the_largest_exact_gain_of_all_pairs():
    gram, correlations = _problem(11, rows=4)
    support = torch.zeros(4, 7, dtype=torch.bool)
    for count in range(1, 15):
        pairs = zip(correlations, support, strict=True)
        gains = torch.stack([2 * SupportedQuadratic(gram, b, s).gains.masked_fill(s, -1.0) for b, s in pairs])
        support.view(-1)[gains.argmax()] = True
        rows = greedy_rows(gram, correlations, count)
        assert torch.equal(rows.mask, support)
        best = rows.row_nonzeros[gains.argmax() // 7] - 1
        torch.testing.assert_close(rows.gains[gains.argmax() // 7, best], gains.max())


def test_gains_add_up_to_what_the_coefficients_explain(device):
    gram, correlations = _problem(5, device=device)
    rows = greedy_rows(gram, correlations, 30)
    explained = 2 * (rows.coefficients * correlations).sum(1) - ((rows.coefficients @ gram) * rows.coefficients).sum(1)
    taken = torch.arange(rows.gains.shape[1], device=device) < rows.row_nonzeros.unsqueeze(1)
    torch.testing.assert_close(explained, (rows.gains * taken).sum(1), rtol=1e-9, atol=1e-9)


def test_equal_numbers_of_columns_are_matching_pursuit():
    gram, correlations = _problem(2)
    rows = greedy_rows(gram, correlations, 63, rule="correlation")
    for count in range(1, 8):
        pursued = omp_gram(gram, correlations, n_nonzero=count) != 0
        chosen = torch.zeros_like(pursued).scatter_(1, rows.order[:, :count], True)
        assert torch.equal(chosen, pursued)


def test_for_orthogonal_columns_the_largest_products_stay():
    # Then rows need no least squares, and truncation of the whole table is the best choice of all.
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([0.5, 1.0, 2.0, 4.0], dtype=torch.float64)
    correlations = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    worth = (correlations.square() / scales).flatten()
    for count in (1, 5, 13, 24):
        rows = greedy_rows(torch.diag(scales), correlations, count)
        kept = torch.zeros(24, dtype=torch.bool)
        kept[worth.argsort(descending=True)[:count]] = True
        assert torch.equal(rows.mask.flatten(), kept)
        torch.testing.assert_close(rows.coefficients, torch.where(rows.mask, correlations / scales, 0.0))


def test_what_gains_nothing_gets_nothing():
    gram = torch.diag(torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64))
    gram = torch.block_diag(gram, torch.ones(2, 2, dtype=torch.float64))
    correlations = torch.tensor([[1.0, 0.0, 0.0, 2.0, 2.0], [0.0] * 5, [3.0, 0.0, 1.0, 0.0, 0.0]], dtype=torch.float64)
    rows = greedy_rows(gram, correlations, 15)
    assert rows.row_nonzeros.tolist() == [2, 0, 2]
    assert rows.order.tolist()[0] == [3, 0, -1, -1, -1]
    assert rows.coefficients.tolist()[2] == [3, 0, 1, 0, 0]


def test_single_precision_keeps_its_dtype_and_bfloat16_computes_in_it():
    for dtype in (torch.float32, torch.bfloat16):
        gram, correlations = _problem(3, dtype=dtype)
        rows = greedy_rows(gram, correlations, 20)
        assert rows.coefficients.dtype == rows.gains.dtype == dtype
        assert int(rows.mask.sum()) == 20
    exact = greedy_rows(*_problem(3), 20)
    single = greedy_rows(*_problem(3, dtype=torch.float32), 20)
    torch.testing.assert_close(single.gains.sum().double(), exact.gains.sum(), rtol=1e-4, atol=0.0)


def test_chunks_of_rows_do_not_change_the_result(monkeypatch):
    problem = _problem(4)
    whole = greedy_rows(*problem, 30)
    monkeypatch.setattr("sparsetheory.gpu.solvers.arguments._CPU_BYTES", 1000)
    parts = greedy_rows(*problem, 30)
    assert torch.equal(parts.mask, whole.mask)
    torch.testing.assert_close(parts.coefficients, whole.coefficients)


def test_bad_arguments():
    gram, correlations = torch.eye(3), torch.ones(2, 3)
    for arguments, words in (
        ((torch.ones(3, 2), correlations, 1), "gram must be a square matrix"),
        ((gram, torch.ones(2, 4), 1), "correlations must be a matrix with 3 columns"),
        ((gram, correlations, 7), "n_nonzero must be at most 6"),
        ((gram, correlations, 0), "n_nonzero must be"),
        ((gram, correlations * torch.nan, 1), "correlations must be finite"),
    ):
        with pytest.raises(ValueError, match=words):
            greedy_rows(*arguments)
    with pytest.raises(ValueError, match="rule must be one of"):
        greedy_rows(gram, correlations, 1, rule="largest")
