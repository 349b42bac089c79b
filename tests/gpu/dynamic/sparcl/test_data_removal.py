import pytest
import torch

from sparsetheory.gpu.dynamic import DataRemoval, ForgettingCounter


def _shown(removal, times=2, seed=0):
    """Show all samples that remain some logits, a few times."""
    generator = torch.Generator().manual_seed(seed)
    n = len(removal.labels)
    for _ in range(times):
        logits = torch.randn(n, 3, generator=generator)
        logits[torch.arange(n), removal.labels] += 1.0
        removal.observe(removal.kept, logits[removal.kept])


@pytest.mark.parametrize(("n_remove", "n_parts"), [(0, 2), (7, 3), (12, 4), (3, 4), (20, 1)])
def test_removals_add_up_and_take_the_least_forgotten(n_remove, n_parts):
    removal = DataRemoval(torch.arange(30) % 3, n_remove, range(1, 1 + n_parts))
    removed = []
    for epoch in range(n_parts + 2):
        _shown(removal, times=4, seed=epoch)
        scores, before = removal.counter.scores, removal.kept
        gone = removal.begin_epoch(epoch)
        removed += gone.tolist()
        assert sorted([*gone.tolist(), *removal.kept.tolist()]) == before.tolist()
        if len(gone):
            assert int(scores[gone].max()) <= int(scores[removal.kept].min())
            assert int(removal.counter.n_seen.sum()) == 0
    assert len(set(removed)) == len(removed) == n_remove
    assert removal.data_fraction == (30 - n_remove) / 30


def test_parts_are_as_equal_as_whole_numbers_allow():
    removal = DataRemoval(torch.arange(30) % 3, 10, [1, 3, 4])
    sizes = []
    for epoch in range(5):
        _shown(removal, seed=epoch)
        sizes.append(len(removal.begin_epoch(epoch)))
    assert sizes == [0, 3, 0, 4, 3]


def test_a_removal_that_empties_a_class_is_refused_and_nothing_is_lost():
    labels = torch.tensor([0, 0, 0, 0, 1, 1])
    removal = DataRemoval(labels, 2, [1])
    logits = torch.zeros(6, 2)
    logits[:, 1] = 1.0
    removal.observe(torch.arange(6), logits)
    with pytest.raises(ValueError, match="n_remove must leave samples of each class; after 2 more at epoch 1 class 1"):
        removal.begin_epoch(1)
    assert removal.kept.tolist() == [0, 1, 2, 3, 4, 5]
    assert removal.counter.n_seen.tolist() == [1] * 6


@pytest.mark.parametrize(
    ("n_remove", "epochs", "word"),
    [(6, [1], "n_remove"), (-1, [1], "n_remove"), (1, [], "epochs"), (1, [2, 1], "epochs"), (1, [0], "epochs")],
)
def test_removals_out_of_range_are_refused(n_remove, epochs, word):
    with pytest.raises(ValueError, match=word):
        DataRemoval(torch.zeros(6, dtype=torch.int64), n_remove, epochs)


def test_counts_continue_from_a_state():
    one, other = (DataRemoval(torch.arange(12) % 3, 4, [1, 2]) for _ in range(2))
    _shown(one)
    one.begin_epoch(1)
    _shown(one, times=1, seed=1)
    other.load_state_dict(one.state_dict())
    for removal in (one, other):
        _shown(removal, times=2, seed=2)
    assert torch.equal(one.begin_epoch(2), other.begin_epoch(2))
    assert torch.equal(one.kept, other.kept)
    with pytest.raises(ValueError, match="state must be of 5 samples; got 12"):
        ForgettingCounter(5).load_state_dict(one.counter.state_dict())
