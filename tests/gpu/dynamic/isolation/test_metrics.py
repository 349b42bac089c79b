import math

import numpy as np
import pytest
import torch

from sparsetheory.gpu.dynamic import continual_metrics

# Learned at .9, 1.0 and .8; the first task falls to .7 and then to .6, the second to .9.
MATRIX = [[0.9, 0.4, 0.3], [0.7, 1.0, 0.6], [0.6, 0.9, 0.8]]


def test_metrics_by_hand():
    found = continual_metrics(MATRIX, baseline=[0.5, 0.5, 0.2])
    assert found.acc == pytest.approx((0.6 + 0.9 + 0.8) / 3)
    assert math.isnan(found.bwt[0])
    assert found.bwt[1] == pytest.approx(0.7 - 0.9)
    assert found.bwt[2] == pytest.approx(((0.6 - 0.9) + (0.9 - 1.0)) / 2)
    assert found.fwt == pytest.approx(((0.4 - 0.5) + (0.6 - 0.2)) / 2)
    assert found.incremental == pytest.approx([0.6, 0.75, 2.3 / 3])


def test_a_matrix_that_is_filled_at_the_end_shows_no_forgetting():
    last = np.tile(MATRIX[-1], (3, 1))
    assert continual_metrics(last).bwt[1:].tolist() == [0.0, 0.0]
    assert continual_metrics(MATRIX).bwt[-1] < -0.1


def test_later_tasks_need_not_be_judged_early():
    lower = np.where(np.tril(np.ones((3, 3))) > 0, MATRIX, np.nan)
    assert continual_metrics(lower).acc == continual_metrics(MATRIX).acc
    assert math.isnan(continual_metrics(lower).fwt)
    with pytest.raises(ValueError, match="above its diagonal"):
        continual_metrics(lower, baseline=[0.5, 0.5, 0.5])


def test_one_task():
    found = continual_metrics([[0.75]], baseline=[0.5])
    assert found.acc == 0.75
    assert math.isnan(found.fwt)
    assert math.isnan(found.bwt[0])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["matrix", "rows", "entries", "transposed"])
def test_tensors(dtype, kind, device):
    matrix = torch.tensor(MATRIX, dtype=dtype, device=device, requires_grad=True)
    given = {
        "matrix": matrix,
        "rows": list(matrix),
        "entries": [list(row) for row in matrix],
        "transposed": matrix.T.contiguous().T,
    }[kind]
    found = continual_metrics(given, baseline=matrix[0])
    expected = continual_metrics(matrix.detach().double().tolist(), matrix[0].detach().double().tolist())
    # The same numbers to the last bit: each is widened before anything is added.
    assert (found.acc, found.fwt) == (expected.acc, expected.fwt)
    assert found.bwt[1:].tolist() == expected.bwt[1:].tolist()
    assert found.incremental.tolist() == expected.incremental.tolist()
    assert found.incremental.dtype == np.float64
    assert isinstance(found.acc, float)


def test_nothing_is_written_to_what_was_given():
    matrix = np.array(MATRIX)
    found = continual_metrics(matrix)
    found.incremental[:] = 0
    found.bwt[:] = 0
    assert matrix.tolist() == MATRIX


@pytest.mark.parametrize(
    ("matrix", "baseline", "words"),
    [
        ([[0.5, 0.5]], None, "n_tasks, n_tasks"),
        ([], None, "n_tasks, n_tasks"),
        ([[0.5], [0.5, 0.5]], None, "acc_matrix must hold numbers in rows of one length; got"),
        ([[0.5]], ["half"], "baseline must hold numbers"),
        (None, None, "n_tasks, n_tasks"),
        ([[90.0]], None, "from 0 to 1; got 90"),
        ([[math.nan]], None, "from 0 to 1; got nan"),
        ([[0.5, 0.5], [0.5, 0.5]], [0.5], r"shape \(2,\)"),
        ([[0.5, 0.5], [0.5, 0.5]], [0.5, -1.0], "baseline"),
    ],
)
def test_bad_input(matrix, baseline, words):
    with pytest.raises(ValueError, match=words):
        continual_metrics(matrix, baseline)
