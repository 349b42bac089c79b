"""SparCL in the state of the optimiser: a run stops in the middle of an epoch and goes on to the same bits."""

import io

import pytest
import torch

from sparsetheory.gpu.core import attach_state
from sparsetheory.gpu.core.models import MLP
from sparsetheory.gpu.dynamic import ReplayBuffer, SparCL, density_path, replay_loss

N, BATCH, EPOCHS = 32, 8, 4
OPTIMIZERS = {
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=1e-3),
    "Adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01),
}


def _path(epoch):
    return density_path(epoch, 0.25, 0.05, 0.05, settle=1, freeze=3)


class _Run:
    """A user's loop on two tasks of two classes, cut into steps."""

    def __init__(self, optimizer="SGD", seed=0):
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(2 * N, 8, generator=generator)
        self.y = (self.x[:, 0] > 0).long() + 2 * (torch.arange(2 * N) >= N)
        self.model = MLP([8, 24, 16, 4], activation="tanh", generator=seed)
        self.optimizer = OPTIMIZERS[optimizer](self.model.named_parameters())
        self.buffer = ReplayBuffer(10, seed)
        self.method = SparCL(
            self.model,
            self.optimizer,
            q=0.85,
            remove_fraction=0.25,
            removal_epochs=(1, 2),
            path=_path,
            exchange_every=1,
            mask_every=3,
            buffer=self.buffer,
            generator=seed,
        )
        attach_state(self.optimizer, sparcl=self.method)

    def steps(self):
        """Return the place of each step: task, epoch and number within the epoch."""
        sizes = [4, 4, 3, 3]
        return [(task, epoch, step) for task in range(2) for epoch in range(EPOCHS) for step in range(sizes[epoch])]

    def learn(self, steps):
        for task, epoch, step in steps:
            x, y = self.x[N * task : N * (task + 1)], self.y[N * task : N * (task + 1)]
            if (epoch, step) == (0, 0):
                self.method.begin_task(y)
            if step == 0:
                self.rows = self.method.begin_epoch()
            # The order of an epoch is a function of its number, so that it is there after a stop.
            order = torch.randperm(len(self.rows), generator=torch.Generator().manual_seed(epoch))
            ids = self.rows[order][BATCH * step : BATCH * (step + 1)]
            found = replay_loss(self.model, self.buffer, x[ids], y[ids], classes=[2 * task, 2 * task + 1])
            self.optimizer.zero_grad()
            found.loss.backward()
            self.optimizer.step()
            self.method.observe(ids, found.logits)
            self.buffer.add(x[ids], y[ids], found.logits)

    def stored(self):
        file = io.BytesIO()
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "rows": self.rows}
        torch.save(state, file)
        return file.getvalue()

    def resume(self, stored, place="cpu"):
        state = torch.load(io.BytesIO(stored), weights_only=True, map_location=place)
        self.model.load_state_dict(state["model"])
        # Wrappers load the present state once more before that of the checkpoint, to move it between devices.
        self.optimizer.load_state_dict(self.optimizer.state_dict())
        self.optimizer.load_state_dict(state["optimizer"])
        self.rows = state["rows"].cpu()


def _assert_equal(run, other):
    for mine, theirs in zip(run.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
        for key, kept in run.optimizer.state[mine].items():
            assert torch.equal(kept, other.optimizer.state[theirs][key]), key
    assert run.method.masks == other.method.masks
    assert run.method.trajectory == other.method.trajectory
    assert run.method.data_fractions == other.method.data_fractions
    for mine, theirs in zip(run.method.moving.values(), other.method.moving.values(), strict=True):
        assert torch.equal(mine, theirs)
    for name in ("inputs", "labels", "logits"):
        assert torch.equal(getattr(run.buffer.stored, name), getattr(other.buffer.stored, name))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("stop", [(0, 0, 1), (0, 1, 2), (0, 3, 0), (1, 1, 1)])
@pytest.mark.parametrize("n_before", [0, 6])
def test_the_state_of_the_optimiser_continues_in_the_middle_of_an_epoch(optimizer, stop, n_before, device):
    run = _Run(optimizer)
    cut = run.steps().index(stop)
    run.learn(run.steps()[:cut])
    stored = run.stored()
    run.learn(run.steps()[cut:])
    other = _Run(optimizer, seed=1)
    other.learn(other.steps()[:n_before])
    # Generators and counts belong on the CPU, wherever a loop loads states.
    other.resume(stored, device)
    other.learn(other.steps()[cut:])
    _assert_equal(run, other)


def test_loading_the_present_state_changes_no_weight_of_a_checkpoint():
    run = _Run()
    run.learn(run.steps()[:5])
    weights = [p.detach().clone() + 1.0 for p in run.model.parameters()]
    with torch.no_grad():
        for p, weight in zip(run.model.parameters(), weights, strict=True):
            p.copy_(weight)
    run.optimizer.load_state_dict(run.optimizer.state_dict())
    assert all(torch.equal(p, weight) for p, weight in zip(run.model.parameters(), weights, strict=True))


def test_a_state_from_before_the_first_task_gives_up_the_one_that_has_begun():
    run = _Run()
    state = run.method.state_dict()
    run.learn(run.steps()[:5])
    run.method.load_state_dict(state)
    assert (run.method.epoch, run.method.data_fractions) == (-1, [])
    with pytest.raises(RuntimeError, match="begin_task must be called"):
        run.method.begin_epoch()


def test_a_kept_state_does_not_change_when_training_goes_on():
    run = _Run()
    run.learn(run.steps()[:5])
    file = io.BytesIO()
    state = run.method.state_dict()
    torch.save(state, file)
    for _ in range(2):
        run.learn(run.steps()[5:7])
        _assert_same(state, torch.load(io.BytesIO(file.getvalue()), weights_only=True))
        run.method.load_state_dict(state)


def _assert_same(state, other):
    if isinstance(state, torch.Tensor):
        assert torch.equal(state, other)
    elif isinstance(state, dict):
        for key, value in state.items():
            _assert_same(value, other[key])
    elif isinstance(state, list | tuple):
        for value, kept in zip(state, other, strict=True):
            _assert_same(value, kept)
    else:
        assert state == other
