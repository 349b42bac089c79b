import numpy as np
import pytest
import torch

from sparsetheory.gpu.dynamic import ForgettingCounter


def _counter(*words, margins=None):
    """Return a counter that has seen the answers of words such as "1001", one sample a word."""
    counter = ForgettingCounter(len(words))
    for time in range(len(words[0])):
        right = torch.tensor([word[time] == "1" for word in words])
        counter.update(torch.arange(len(words)), right, None if margins is None else torch.tensor(margins))
    return counter


def test_the_convention_to_the_letter():
    counter = _counter("100100"[::-1], "101001", "000000", "111111", "011110")
    assert counter.events[1:].tolist() == [2, 0, 0, 1]
    assert counter.first_learned[1:].tolist() == [0, -1, 0, 1]
    assert counter.never_learned[1:].tolist() == [False, True, False, False]
    assert counter.scores[1:].tolist() == [2, 6, 0, 1]
    assert counter.n_wrong[1:].tolist() == [3, 6, 0, 2]
    # "001001": learned, forgotten once, learned again.
    assert (int(counter.events[0]), int(counter.first_learned[0])) == (1, 2)


def test_a_sample_is_compared_with_its_own_last_presentation():
    counter = ForgettingCounter(2)
    for ids, right in [([0], [True]), ([1], [False]), ([1, 0], [True, False]), ([0], [False]), ([1], [False])]:
        counter.update(torch.tensor(ids), torch.tensor(right))
    assert counter.events.tolist() == [1, 1]
    assert counter.n_seen.tolist() == [3, 3]


def test_the_order_is_by_score_then_wrong_answers_then_margin_then_number():
    # Scores 1, 0, 0, 0, 0, and never learned; samples 1 and 2 were wrong once; of 3 and 4 the margins decide.
    counter = _counter("1011", "0111", "0111", "1111", "1111", "0000", margins=[9.0, 1.0, 2.0, 1.0, 1.5, 9.0])
    assert counter.easiest(6).tolist() == [4, 3, 2, 1, 0, 5]
    assert counter.easiest(2, among=torch.tensor([5, 0, 1])).tolist() == [1, 0]


def test_ties_go_to_the_lowest_number_whatever_the_sort_does():
    # So many equal samples that an unstable sort shuffles them.
    counter = ForgettingCounter(5000)
    counter.update(torch.arange(5000), torch.ones(5000) > 0)
    assert counter.easiest(100).tolist() == list(range(100))
    assert counter.easiest(3, among=torch.arange(4999, 0, -1)).tolist() == [1, 2, 3]


def test_samples_that_were_not_presented_are_not_easy():
    counter = ForgettingCounter(4)
    counter.update(torch.tensor([3, 1]), torch.tensor([False, True]))
    assert counter.easiest(2).tolist() == [1, 3]
    with pytest.raises(ValueError, match="n must be an integer from 0 to 2"):
        counter.easiest(3)


def test_logits_give_answers_over_all_classes_and_margins(device):
    counter = ForgettingCounter(3)
    logits = torch.tensor([[2.0, 0.5, 0.0], [0.0, 1.0, 4.0], [3.0, 3.0, 0.0]]).to(device)
    counter.observe(torch.arange(3), logits, torch.tensor([0, 1, 1]).to(device))
    assert counter.n_wrong.tolist() == [0, 1, 1]
    assert counter._margins.tolist() == [1.5, -3.0, 0.0]


@pytest.mark.parametrize(
    ("ids", "correct", "word"),
    [
        ([0, 0], [True, True], "ids must occur once"),
        ([0, 4], [True, True], "ids must be from 0 to 3; got 0 to 4"),
        ([-1], [True], "ids must be from 0 to 3"),
        ([0.5], [True], "ids must be integers"),
        ([0], [1], "correct must be bool"),
        ([0, 1], [True], "correct must be bool of shape \\(2,\\)"),
    ],
)
def test_bad_presentations_are_refused_and_change_nothing(ids, correct, word):
    counter = ForgettingCounter(4)
    with pytest.raises(ValueError, match=word):
        counter.update(torch.tensor(ids), torch.tensor(correct))
    with pytest.raises(ValueError, match="margin must be numbers"):
        counter.update(torch.tensor([0]), torch.tensor([True]), torch.tensor([float("nan")]))
    assert int(counter.n_seen.sum()) == 0


def test_arrays_are_taken_as_tensors_are():
    one, other = ForgettingCounter(3), ForgettingCounter(3)
    ids, correct, margin = np.array([2, 0]), np.array([True, False]), np.array([0.5, -1.0])
    one.update(ids, correct, margin)
    other.update(torch.tensor(ids), torch.tensor(correct), torch.tensor(margin))
    assert all(torch.equal(kept, other.state_dict()[name]) for name, kept in one.state_dict().items())
