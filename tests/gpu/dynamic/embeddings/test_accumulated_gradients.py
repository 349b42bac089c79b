import pytest
import torch

from sparsetheory.gpu.core.hooks.snapshots import Snapshot
from sparsetheory.gpu.core.schedules import Constant
from sparsetheory.gpu.dynamic.embeddings.accumulated_gradients import GradientAccumulator
from sparsetheory.gpu.dynamic.embeddings.learning import DynamicEmbeddings
from sparsetheory.gpu.dynamic.embeddings.sparse_embedding import SparseEmbedding
from sparsetheory.gpu.dynamic.scores import MomentumScore, gradient_magnitude


def _gradients(n_steps, share, device="cpu", dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    touched = torch.rand(n_steps, 9, 1, generator=generator) < share
    return (torch.randn(n_steps, 9, 4, generator=generator, dtype=dtype) * touched).to(device)


def _snapshot(like):
    mask = torch.zeros_like(like, dtype=torch.bool)
    return Snapshot(0, 1, mask, mask, (like,), (None,), {}, torch.Generator())


@pytest.mark.parametrize("share", [0.05, 0.3, 1.0])
def test_lazy_decay_gives_the_dense_sum_and_the_order_of_the_dense_mean(share, device):
    lazy, dense, total = GradientAccumulator(0.8), MomentumScore(0.8), 0
    for gradient in _gradients(30, share, device):
        lazy.observe(0, gradient)
        dense.observe(0, gradient)
        total = 0.8 * total + gradient
        torch.testing.assert_close(lazy.total(0), total, rtol=1e-12, atol=1e-14)
    seen = _snapshot(gradient)
    torch.testing.assert_close(lazy(seen) * 0.2, dense(seen), rtol=1e-12, atol=1e-14)


def test_masks_of_one_controller_are_kept_apart():
    score = GradientAccumulator(0.5)
    score.observe(0, torch.ones(2, 3))
    score.observe(1, 4 * torch.ones(5, 1))
    score.observe(0, torch.zeros(2, 3))
    assert score.total(0).tolist() == [[0.5] * 3] * 2
    assert score.total(1).tolist() == [[4]] * 5
    with pytest.raises(RuntimeError, match="needs gradients under mask 2"):
        score.total(2)


def test_a_state_continues_the_sum_and_is_no_view_of_it():
    gradients = _gradients(12, 0.3)
    score, other = GradientAccumulator(0.7), GradientAccumulator(0.7)
    for gradient in gradients[:6]:
        score.observe(0, gradient)
    state = score.state_dict()
    for gradient in gradients[6:]:
        score.observe(0, gradient)
    for _ in range(2):
        other.load_state_dict(state)
        for gradient in gradients[6:]:
            other.observe(0, gradient)
        assert torch.equal(other.total(0), score.total(0))


def test_single_precision_and_a_decay_of_zero():
    score = GradientAccumulator(0.0)
    gradients = _gradients(5, 0.5, dtype=torch.float32)
    for gradient in gradients:
        score.observe(0, gradient)
        assert torch.equal(score.total(0), gradient)
    assert score.total(0).dtype == torch.float32
    with pytest.raises(ValueError, match="decay must be"):
        GradientAccumulator(1.0)


@pytest.mark.parametrize(("grow", "rows"), [(gradient_magnitude, {0}), (None, {1, 2})])
def test_the_last_batch_can_grow_in_its_own_rows_only(grow, rows):
    # Rows 1 and 2 lack entries in all batches but the last one, which holds row 0 alone. By default all count.
    table = SparseEmbedding(3, 4, 0.5)
    table.set_rows(torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.5, 0.6, 0.0, 0.0], [0.7, 0.8, 0.0, 0.0]]))
    optimizer = torch.optim.SGD([table.weight], lr=1e-6)
    DynamicEmbeddings([table], optimizer, Constant(0.4), 8, grow=grow)
    before = table.mask.clone()
    pull = torch.tensor([[0.0, 0.0, 0.1, 0.1], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    for step in range(8):
        rows_of_batch = torch.tensor([0] if step == 7 else [1, 2])
        optimizer.zero_grad()
        (table(rows_of_batch) * pull[rows_of_batch]).sum().backward()
        optimizer.step()
    grown = (table.mask & ~before).nonzero()[:, 0]
    assert set(grown.tolist()) == rows


def test_a_state_replaces_all_sums():
    score, other = GradientAccumulator(), GradientAccumulator()
    score.observe(0, torch.ones(2, 2))
    other.observe(1, torch.ones(2, 2))
    other.load_state_dict(score.state_dict())
    assert torch.equal(other.total(0), torch.ones(2, 2))
    with pytest.raises(RuntimeError, match="mask 1; there was none"):
        other.total(1)
