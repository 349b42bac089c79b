"""Maps of labels: by hand, against trying all of them, and what must not pass."""

from itertools import permutations

import numpy as np
import pytest
import torch

from sparsetheory.gpu.analysis import frequency_label_map, map_logits


def samples(counts):
    """Return predictions and classes with these counts, source by target."""
    counts = torch.tensor(counts)
    cells = torch.arange(counts.numel()).repeat_interleave(counts.flatten())
    cells = cells[torch.randperm(len(cells), generator=torch.Generator().manual_seed(0))]
    return cells // counts.shape[1], cells % counts.shape[1]


def mapped(counts, method="greedy", n_labels=1):
    return frequency_label_map(*samples(counts), len(counts), len(counts[0]), method, n_labels=n_labels).tolist()


def test_greedy_takes_the_largest_count_first():
    assert mapped([[5, 4], [4, 0], [1, 0]]) == [0, 1]
    assert mapped([[5, 4], [4, 0], [1, 0]], "assignment") == [1, 0]


def test_ties_go_to_the_lowest_source_and_then_the_lowest_target():
    assert mapped([[2, 2], [2, 2], [0, 0]]) == [0, 1]
    # The row decides before the column: source 0 of target 1 comes before source 1 of target 0.
    assert mapped([[0, 3], [3, 0]]) == [1, 0]
    assert mapped([[0, 2, 2], [2, 2, 0], [0, 0, 1]]) == [1, 0, 2]


def test_greedy_attains_half_of_the_best():
    counts = np.array([[1, 1], [1, 0]])
    found = mapped(counts.tolist())
    assert counts[found, [0, 1]].sum() == 1
    best = mapped(counts.tolist(), "assignment")
    assert counts[best, [0, 1]].sum() == 2


def test_several_labels_remove_a_row_at_once_and_a_column_after_its_last():
    # In order 9 (source 0, target 0), 8 (1, 0): target 0 is full; 7 of (2, 0) is not taken, 3 and 2 of target 1 are.
    counts = [[9, 9], [8, 0], [7, 3], [0, 2]]
    assert mapped(counts, n_labels=2) == [[0, 1], [2, 3]]
    assert mapped(counts, "assignment", n_labels=2) == [[1, 2], [0, 3]]


@pytest.mark.parametrize("n_labels", [1, 2])
def test_maps_of_random_counts(device, n_labels):
    rng = np.random.default_rng(n_labels)
    for _ in range(30):
        counts = rng.integers(0, 4, size=(5, 2))
        counts[0] += 1
        pred, y = samples(counts.tolist())
        columns = np.repeat(np.arange(2), n_labels)
        best = max(counts[list(rows), columns].sum() for rows in permutations(range(5), len(columns)))
        sums = {}
        for method in ("greedy", "assignment"):
            found = frequency_label_map(pred.to(device), y.to(device), 5, 2, method, n_labels=n_labels)
            assert found.device.type == device
            assert found.shape == ((2,) if n_labels == 1 else (2, n_labels))
            assert found.unique().numel() == 2 * n_labels
            sums[method] = counts[found.cpu().numpy().reshape(-1), columns].sum()
        assert sums["assignment"] == best
        assert 2 * sums["greedy"] >= best


def test_a_source_class_that_is_never_predicted_may_be_used():
    assert mapped([[3, 2], [0, 0]]) == [0, 1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_source": 1}, "n_source must be at least"),
        ({"n_labels": 2}, "n_source must be at least"),
        ({"method": "best"}, "method"),
        ({"n_target": 3, "n_source": 4}, r"y must have a sample of each of 3 classes; there is none of \[2\]"),
        ({"pred": torch.tensor([0, 5, 1])}, "pred must hold classes from 0 to 2"),
        ({"pred": torch.tensor([0, 1])}, "pred and y must have equally many"),
        ({"pred": torch.tensor([0.0, 1.0, 1.0])}, "pred must hold int64"),
        ({"y": torch.tensor([0, -1, 1])}, "y must hold classes from 0 to 1"),
        ({"y": torch.tensor([[0, 1, 1]])}, "y must have shape"),
        ({"y": torch.tensor([0, 1, 1]).numpy()}, "y must be a tensor"),
    ],
)
def test_bad_input(options, words):
    good = {"pred": torch.tensor([0, 1, 1]), "y": torch.tensor([0, 1, 1]), "n_source": 3, "n_target": 2}
    with pytest.raises(ValueError, match=words):
        frequency_label_map(**{**good, **options})


def test_labels_of_a_class_ascend_though_the_last_one_is_the_most_frequent():
    y = torch.tensor([0, 0, 0, 1])
    assert frequency_label_map(torch.tensor([3, 3, 1, 0]), y, 4, 2, n_labels=2).tolist() == [[1, 3], [0, 2]]


def test_mapped_logits_of_one_label_are_those_of_the_source():
    logits = torch.randn(4, 5)
    assert torch.equal(map_logits(logits, torch.tensor([3, 0])), logits[:, [3, 0]])


def test_mapped_logits_of_several_labels_add_probabilities():
    logits = torch.randn(4, 5, dtype=torch.float64)
    found = map_logits(logits, torch.tensor([[3, 0], [1, 2]])).softmax(1)
    probs = logits.softmax(1)
    sums = torch.stack([probs[:, [3, 0]].sum(1), probs[:, [1, 2]].sum(1)], dim=1)
    torch.testing.assert_close(found, sums / sums.sum(1, keepdim=True))


@pytest.mark.parametrize(
    ("logits", "label_map", "words"),
    [
        (torch.zeros(3), torch.tensor([0]), "logits must have shape"),
        (torch.zeros(2, 3), torch.tensor(1), "label_map must have shape"),
        (torch.zeros(2, 3), torch.zeros(0, dtype=torch.int64), "label_map must have shape"),
        (torch.zeros(2, 3), torch.tensor([3]), "label_map must hold classes"),
        (torch.zeros(2, 3), [0, 1], "label_map must be a tensor"),
    ],
)
def test_bad_mapped_logits(logits, label_map, words):
    with pytest.raises(ValueError, match=words):
        map_logits(logits, label_map)
