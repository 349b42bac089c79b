"""Two workers with different data swap the same weights, whether their gradients are averaged or not."""

import subprocess
import sys

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from sparsetheory.gpu.bayesian import SSVIScheduler, bayesianise

if not dist.is_available():
    pytest.skip("this torch has no distributed package", allow_module_level=True)

WORKERS, STEPS, PERIOD = 2, 20, 4
WAYS = ("parallel", "local", "random", "infinite", "infinite bias")


def _model():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 32), nn.Tanh(), nn.Linear(32, 4))
    bayesianise(model, 0.2, prior_std=0.5, mu_std="fan_in", sigma_init=(0.05, 0.02), dense_first=False, generator=0)
    for index in (0, 2):
        model[index].sampling = "mean"
    return model


def _data(rank):
    source = torch.Generator().manual_seed(rank)
    return torch.randn(STEPS, 16, 12, generator=source), torch.randint(4, (STEPS, 16), generator=source)


def _scheduler(model, optimizer, way, rank):
    criterion = "random" if way == "random" else "snr"
    return SSVIScheduler(model, optimizer, period=PERIOD, t_end=STEPS, criterion=criterion, generator=rank)


def _spoil(scheduler):
    """Make the dense gradient of one worker infinite, once; all masked ones are finite."""
    if scheduler.step == PERIOD - 1:
        scheduler._dense_gradients._kept[0].fill_(torch.inf)


def _train(rank, way):
    """Train one worker; return the digests of the masks after each swap, masks and parameters."""
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = _scheduler(model, optimizer, way, rank)
    network = model if way in ("local", "infinite bias") else DistributedDataParallel(model)
    for step, (x, y) in enumerate(zip(*_data(rank), strict=True), start=1):
        if way == "infinite" and step == PERIOD and rank == 1:
            model[0].weight.register_post_accumulate_grad_hook(lambda weight: _spoil(scheduler))
        optimizer.zero_grad()
        (functional.cross_entropy(network(x), y) + 1e-3 * scheduler.kl()).backward()
        if way == "infinite bias" and step == PERIOD and rank == 1:
            model[2].bias.grad.fill_(torch.inf)
        optimizer.step()
        if way == "infinite bias" and step == PERIOD:
            model[2].bias.data.zero_()
            optimizer.state[model[2].bias].clear()
    return {
        "digests": [event.digest for event in scheduler.history],
        "left_out": scheduler.report().n_left_out,
        "masks": [model[index].mask.clone() for index in (0, 2)],
        "parameters": [p.detach() for p in model.parameters()],
    }


def _worker(folder, rank):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=WORKERS)
    try:
        torch.save({way: _train(rank, way) for way in WAYS}, f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workers")
    commands = [[sys.executable, "-W", "ignore", __file__, str(folder), str(rank)] for rank in range(WORKERS)]
    workers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    for worker in workers:
        _, errors = worker.communicate(timeout=300)
        assert worker.returncode == 0, errors
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(WORKERS)]


@pytest.mark.parametrize("way", WAYS)
def test_masks_of_workers_are_equal_after_every_swap(runs, way):
    first, other = (run[way] for run in runs)
    assert len(first["digests"]) == (3 if way.startswith("infinite") else 4)
    assert len(set(first["digests"])) == len(first["digests"])
    assert first["digests"] == other["digests"]
    assert all(torch.equal(a, b) for a, b in zip(first["masks"], other["masks"], strict=True))
    same = all(torch.equal(a, b) for a, b in zip(first["parameters"], other["parameters"], strict=True))
    assert same == (way not in ("local", "infinite bias"))


@pytest.mark.parametrize("way", ["infinite", "infinite bias"])
def test_a_gradient_that_is_not_finite_on_one_worker_leaves_the_swap_out_on_all(runs, way):
    assert [run[way]["left_out"] for run in runs] == [1, 1]


def test_averaged_gradients_swap_as_one_worker_with_all_data(runs):
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = _scheduler(model, optimizer, "parallel", 0)
    (x, y), (their_x, their_y) = _data(0), _data(1)
    for step in range(STEPS):
        optimizer.zero_grad()
        output = model(torch.cat([x[step], their_x[step]]))
        loss = functional.cross_entropy(output, torch.cat([y[step], their_y[step]]))
        (loss + 1e-3 * scheduler.kl()).backward()
        optimizer.step()
    # Sums in another order: no two scores at the edge of a selection are that close here.
    for index, mask in zip((0, 2), runs[0]["parallel"]["masks"], strict=True):
        overlap = int((mask & model[index].mask).sum()) / int(mask.sum())
        assert overlap > 0.95


if __name__ == "__main__":
    _worker(sys.argv[1], int(sys.argv[2]))
