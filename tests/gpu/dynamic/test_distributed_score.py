"""Two workers with different data keep the same masks, by gradients or by scores that they share."""

import copy
import itertools
import subprocess
import sys

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from sparsetheory.gpu.core import TopologyController, random_masks
from sparsetheory.gpu.dynamic import DistributedScore, MomentumScore, gradient_magnitude, magnitude, random_order

if not dist.is_available():
    pytest.skip("this torch has no distributed package", allow_module_level=True)

WORKERS, EVENTS, EVERY, AVERAGED_EVERY = 2, 10, 3, 7
GROW = {
    "gradient": lambda: gradient_magnitude,
    "momentum": MomentumScore,
    "random": lambda: random_order,
}


def _train(rank, share, grow, parallel):
    """Train one worker; return the digest of the masks after each event, and the weights."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 32), nn.Tanh(), nn.Linear(32, 4))
    names = [name for name, p in model.named_parameters() if p.ndim > 1]
    shapes = {name: tuple(model.get_parameter(name).shape) for name in names}
    masks = random_masks(shapes, dict.fromkeys(names, 0.2), 0)
    optimizer = torch.optim.Adam(model.named_parameters(), lr=0.01)
    controller = TopologyController(
        optimizer,
        masks.by_parameter(model),
        drop=share(magnitude),
        grow=share(GROW[grow]()),
        fraction=0.3,
        every=EVERY,
        # Growth by chance needs one seed for all unless scores are shared.
        generator=rank,
    )
    network = DistributedDataParallel(model) if parallel else model
    data = torch.Generator().manual_seed(rank)
    for step in range(1, EVENTS * EVERY + 1):
        x, y = torch.randn(16, 12, generator=data), torch.randint(4, (16,), generator=data)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
        if not parallel and step % AVERAGED_EVERY == 0:
            for parameter in model.parameters():
                dist.all_reduce(parameter.data)
                parameter.data /= WORKERS
    return [event.digest for event in controller.history], [p.detach() for p in model.parameters()]


def _worker(folder, rank):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=WORKERS)
    try:
        torch.save({way: _train(rank, *_options(way)) for way in WAYS}, f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()


def _options(way):
    how, grow = way
    return (lambda score: score) if how in ("alone", "gradients") else DistributedScore, grow, how == "gradients"


WAYS = [("gradients", "gradient"), *itertools.product(["scores", "alone"], ["gradient", "momentum", "random"])]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workers")
    commands = [[sys.executable, __file__, str(folder), str(rank)] for rank in range(WORKERS)]
    workers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    for worker in workers:
        _, errors = worker.communicate(timeout=300)
        assert worker.returncode == 0, errors
    return [torch.load(folder / f"{rank}.pt") for rank in range(WORKERS)]


@pytest.mark.parametrize("grow", ["gradient", "momentum", "random"])
def test_masks_of_workers_are_equal_at_every_event_if_they_share_scores(runs, grow):
    first, other = (run["scores", grow][0] for run in runs)
    assert len(first) == EVENTS
    assert len(set(first)) == EVENTS
    assert first == other


@pytest.mark.parametrize("grow", ["gradient", "momentum", "random"])
def test_workers_with_scores_of_their_own_drift_apart(runs, grow):
    first, other = (run["alone", grow][0] for run in runs)
    assert first[0] != other[0]


def test_averaged_gradients_keep_masks_and_weights_equal_to_the_bit(runs):
    (first, weights), (other, theirs) = (run["gradients", "gradient"] for run in runs)
    assert len(set(first)) == EVENTS
    assert first == other
    assert all(torch.equal(a, b) for a, b in zip(weights, theirs, strict=True))


def test_the_memory_of_a_score_is_passed_through():
    score = DistributedScore(MomentumScore(0.5))
    score.observe(0, torch.ones(2))
    assert torch.equal(score.state_dict()["first"][0], torch.full((2,), 0.5))
    plain = DistributedScore(magnitude)
    assert not hasattr(plain, "observe")
    assert not hasattr(plain, "state_dict")


def test_a_copy_has_a_memory_of_its_own_and_the_same_workers():
    # Like a group of workers, a generator cannot be copied.
    group = (rank for rank in range(WORKERS))
    score = DistributedScore(MomentumScore(0.5), group)
    score.observe(0, torch.ones(2))
    other = copy.deepcopy(score)
    assert isinstance(other, DistributedScore)
    assert other.group is group
    other.observe(0, torch.zeros(2))
    assert torch.equal(score.state_dict()["first"][0], torch.full((2,), 0.5))
    assert torch.equal(other.state_dict()["first"][0], torch.full((2,), 0.25))


def test_without_workers_it_says_what_is_missing():
    weight = nn.Parameter(torch.ones(4))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    mask = torch.tensor([True, True, False, False])
    TopologyController(
        optimizer, {weight: mask}, drop=DistributedScore(magnitude), grow=magnitude, fraction=0.5, every=1
    )
    weight.sum().backward()
    with pytest.raises(RuntimeError, match=r"needs torch\.distributed\.init_process_group"):
        optimizer.step()


if __name__ == "__main__":
    _worker(sys.argv[1], int(sys.argv[2]))
