import math

import pytest
import torch

from sparsetheory.gpu.dynamic.embeddings.ranking import recall_ndcg


def _by_hand(scores, train, test, n_top):
    """Rank by sorted lists, the lower number first among equals."""
    recalls, gains = [], []
    for row, seen, wanted in zip(scores.tolist(), train.tolist(), test.tolist(), strict=True):
        if not any(wanted):
            continue
        candidates = [i for i in range(len(row)) if not seen[i]]
        top = sorted(candidates, key=lambda i: (-row[i], i))[:n_top]
        found = [place for place, item in enumerate(top) if wanted[item]]
        recalls.append(len(found) / sum(wanted))
        ideal = sum(1 / math.log2(place + 2) for place in range(min(sum(wanted), n_top)))
        gains.append(sum(1 / math.log2(place + 2) for place in found) / ideal)
    return sum(recalls) / len(recalls), sum(gains) / len(gains)


@pytest.mark.parametrize("n_top", [1, 3, 8, 30])
@pytest.mark.parametrize("ties", [False, True])
def test_against_sorted_lists(n_top, ties, device):
    generator = torch.Generator().manual_seed(n_top)
    scores = torch.randn(12, 20, generator=generator, dtype=torch.float64)
    if ties:
        scores = scores.round()
        scores[3], scores[4, :10], scores[5, 5:] = 0.0, -torch.inf, torch.inf
    parts = torch.rand(12, 20, generator=generator)
    train, test = parts < 0.3, parts > 0.8
    test[0] = False
    found = recall_ndcg(scores.to(device), train.to(device), test.to(device), n_top)
    assert found == pytest.approx(_by_hand(scores, train, test, n_top), abs=1e-12)


def test_items_of_an_empty_row_rank_by_their_number():
    train, test = torch.zeros(2, 1, 6, dtype=torch.bool)
    test[0, 2] = True
    assert recall_ndcg(torch.zeros(1, 6), train, test, 2)[0] == 0
    assert recall_ndcg(torch.zeros(1, 6), train, test, 3)[0] == 1


def test_bad_arguments():
    scores, nothing = torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.bool)
    some = nothing.clone()
    some[0, 1] = True
    for arguments, words in (
        ((scores, nothing, nothing), "test must hold an item of some user"),
        ((scores, some, some), "test must not share items with train; got 1 in both"),
        ((scores, nothing[:1], some), "train must be a matrix of the shape of scores"),
        ((scores * torch.nan, nothing, some), "scores must not hold NaN"),
        ((scores, nothing, some, 0), "n_top must be"),
    ):
        with pytest.raises(ValueError, match=words):
            recall_ndcg(*arguments)
    with pytest.raises(TypeError, match="test must be a tensor of bool"):
        recall_ndcg(scores, nothing, scores)
