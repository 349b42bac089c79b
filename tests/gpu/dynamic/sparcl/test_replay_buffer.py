import pytest
import torch
from torch import nn

from sparsetheory.gpu.dynamic import ReplayBuffer, replay_loss


def _stored(n, capacity, seed, batches=(1,)):
    """Return which of n samples a buffer holds, shown in batches of sizes that take turns."""
    buffer, start, turn = ReplayBuffer(capacity, seed), 0, 0
    while start < n:
        ids = torch.arange(start, min(n, start + batches[turn % len(batches)]))
        buffer.add(ids[:, None], ids)
        start, turn = start + len(ids), turn + 1
    return buffer.stored


def test_it_is_vitters_algorithm_whatever_the_batches():
    source, held = torch.Generator().manual_seed(7), list(range(10))
    for one in range(10, 500):
        place = int(torch.rand((), dtype=torch.float64, generator=source) * (one + 1))
        if place < 10:
            held[place] = one
    for batches in [(1,), (7,), (64, 1, 3), (500,)]:
        found = _stored(500, 10, 7, batches)
        assert found.labels.tolist() == held
        assert torch.equal(found.inputs[:, 0], found.labels)


def test_each_sample_of_a_stream_is_held_with_the_same_probability():
    n, capacity, runs = 40, 8, 1500
    counts = torch.zeros(n)
    for seed in range(runs):
        counts[_stored(n, capacity, seed, (9,)).labels] += 1
    assert int(counts.sum()) == capacity * runs
    expected = runs * capacity / n
    # Without replacement the statistic is that of chi-square with n - 1 degrees times 1 - capacity / n: about 31 +- 7.
    statistic = float(((counts - expected) ** 2 / expected).sum())
    assert statistic < 31 + 6 * 7
    # First and last quarters differ where a batch is given the probability of its first sample.
    first, last = float(counts[:10].sum()), float(counts[-10:].sum())
    assert abs(first - last) < 6 * (2 * 10 * expected) ** 0.5


def test_a_short_stream_is_held_whole(device):
    buffer = ReplayBuffer(10, 0)
    assert buffer.stored is None
    x = torch.arange(12.0).reshape(4, 3).to(device, torch.bfloat16)
    buffer.add(x, torch.arange(4).to(device), x * 2)
    assert len(buffer) == 4
    assert torch.equal(buffer.stored.inputs, x)
    assert buffer.stored.logits.dtype == torch.bfloat16
    drawn = buffer.draw(99)
    assert sorted(drawn.labels.tolist()) == [0, 1, 2, 3]
    assert torch.equal(drawn.logits, drawn.inputs * 2)
    assert drawn.inputs.device == x.device


def test_what_is_stored_does_not_change_with_the_batch_it_came_from():
    buffer, x = ReplayBuffer(3, 0), torch.ones(2, 1, requires_grad=True)
    buffer.add(x, torch.zeros(2, dtype=torch.int64))
    with torch.no_grad():
        x.zero_()
    assert float(buffer.stored.inputs.sum()) == 2
    assert not buffer.stored.inputs.requires_grad


def test_a_buffer_continues_from_its_state():
    one = ReplayBuffer(5, 3)
    one.add(torch.arange(20)[:, None], torch.arange(20))
    other = ReplayBuffer(5, 99)
    other.load_state_dict(one.state_dict())
    for buffer in (one, other):
        buffer.add(torch.arange(20, 60)[:, None], torch.arange(20, 60))
    assert torch.equal(one.stored.labels, other.stored.labels)
    assert torch.equal(one.draw(3).labels, other.draw(3).labels)
    with pytest.raises(ValueError, match="state must hold 9 samples; got \\[5, 5\\]"):
        ReplayBuffer(9).load_state_dict(one.state_dict())


def test_bad_batches_and_draws_are_refused():
    buffer = ReplayBuffer(4, 0)
    with pytest.raises(ValueError, match="it is empty"):
        buffer.draw(1)
    with pytest.raises(ValueError, match="equally many rows; got \\[2, 3\\]"):
        buffer.add(torch.ones(2, 1), torch.zeros(3, dtype=torch.int64))
    buffer.add(torch.ones(2, 1), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match="must be shaped as before"):
        buffer.add(torch.ones(2, 1), torch.zeros(2, dtype=torch.int64), torch.ones(2, 3))
    assert buffer.n_seen == 2
    with pytest.raises(ValueError, match="capacity"):
        ReplayBuffer(0)


def _filled(logits=True):
    generator = torch.Generator().manual_seed(0)
    buffer = ReplayBuffer(6, 1)
    parts = torch.randn(6, 3, generator=generator), torch.arange(6) % 4, torch.randn(6, 4, generator=generator)
    buffer.add(*(parts if logits else parts[:2]))
    return buffer, parts


@pytest.mark.parametrize("method", ["er", "der", "der++"])
def test_losses_are_the_sums_of_their_parts(method, device):
    buffer, (x, y, z) = _filled()
    torch.manual_seed(0)
    model = nn.Linear(3, 4).to(device)
    new, labels = torch.ones(2, 3).to(device), torch.tensor([1, 2]).to(device)
    buffer = ReplayBuffer(6, 1)
    x, y, z = x.to(device), y.to(device), z.to(device)
    buffer.add(x, y, z)
    # All six are drawn, so that their order does not matter.
    found = replay_loss(model, buffer, new, labels, method=method, alpha=0.3, beta=0.7, batch_size=6)
    wanted = nn.functional.cross_entropy(model(new), labels)
    if method != "er":
        wanted = wanted + 0.3 * (model(x) - z).square().mean()
    if method != "der":
        wanted = wanted + 0.7 * nn.functional.cross_entropy(model(x), y)
    assert torch.allclose(found.loss, wanted, rtol=1e-5)
    assert torch.equal(found.logits, model(new))
    assert not found.logits.requires_grad


def test_other_classes_are_not_pushed_down_by_new_samples():
    model = nn.Linear(3, 4)
    found = replay_loss(model, ReplayBuffer(2), torch.ones(2, 3), torch.tensor([2, 3]), classes=[2, 3])
    found.loss.backward()
    assert torch.equal(model.bias.grad[:2], torch.zeros(2))
    assert bool((model.bias.grad[2:] != 0).all())
    assert bool(torch.isfinite(found.logits).all())
    with pytest.raises(ValueError, match="labels must be among classes, \\[2, 3\\]; got \\[0, 2\\]"):
        replay_loss(model, ReplayBuffer(2), torch.ones(2, 3), torch.tensor([2, 0]), classes=[2, 3])


def test_logits_that_are_needed_must_be_stored():
    buffer, _ = _filled(logits=False)
    model, x, y = nn.Linear(3, 4), torch.ones(1, 3), torch.zeros(1, dtype=torch.int64)
    assert replay_loss(model, buffer, x, y, method="er").loss > 0
    with pytest.raises(ValueError, match="method 'der\\+\\+' must have logits in the buffer"):
        replay_loss(model, buffer, x, y)
    with pytest.raises(ValueError, match="method must be one of"):
        replay_loss(model, buffer, x, y, method="agem")


def test_a_batch_without_rows_is_refused():
    model, buffer = torch.nn.Linear(2, 4), ReplayBuffer(8, generator=0)
    for _ in range(2):
        with pytest.raises(ValueError, match="inputs must have at least 1 row"):
            replay_loss(model, buffer, torch.ones(0, 2), torch.ones(0, dtype=torch.int64))
        buffer.add(torch.ones(3, 2), torch.ones(3, dtype=torch.int64), torch.ones(3, 4))
