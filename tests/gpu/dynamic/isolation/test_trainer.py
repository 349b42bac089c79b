"""Tasks in the user's own loop and in the Trainer of transformers: the same weights, to the bit."""

import pytest
import torch
from house.quiet_trainer import train_quietly
from torch import nn
from torch.utils.data import IterableDataset

from sparsetheory.gpu.core import Cosine, attach_state
from sparsetheory.gpu.dynamic import TaskIsolation

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

# A checkpoint is written in the middle of each task.
STEPS, STOP, BATCH, TASKS = 12, 7, 8, 2


class _Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Tanh())
        self.head = nn.Linear(16, 2 * TASKS)

    def forward(self, x, labels=None):
        logits = self.head(self.body(x))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return {"loss": loss, "logits": logits}


class _Stream(IterableDataset):
    """The same examples of a task in the same order, whoever asks."""

    def __init__(self, task):
        self._task = task

    def __iter__(self):
        generator = torch.Generator().manual_seed(self._task)
        for _ in range(STEPS * BATCH):
            x = torch.randn(6, generator=generator)
            yield {"x": x, "labels": (x[self._task] > 0).long() + 2 * self._task}


def _loop(model, optimizer, task):
    examples = list(_Stream(task))
    model.train()
    for start in range(0, len(examples), BATCH):
        batch = examples[start : start + BATCH]
        optimizer.zero_grad()
        model(**{key: torch.stack([one[key] for one in batch]) for key in ("x", "labels")})["loss"].backward()
        optimizer.step()


def _trainer(model, optimizer, task, folder, resume=False):
    train_quietly(
        model,
        optimizer,
        _Stream(task),
        folder,
        per_device_train_batch_size=BATCH,
        max_steps=STEPS,
        save_steps=STOP,
        resume_from=STOP if resume else None,
    )


def _made(seed=0):
    torch.manual_seed(seed)
    model = _Net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    tasks = TaskIsolation(model, optimizer, 0.3, fraction=Cosine(0.3, STEPS), every=3, generator=0, head="head")
    attach_state(optimizer, tasks=tasks)
    return model, optimizer, tasks


def _learned(fit):
    model, optimizer, tasks = _made()
    for task in range(TASKS):
        tasks.begin_task(task, [2 * task, 2 * task + 1])
        fit(model, optimizer, task)
        tasks.end_task(probe={"x": torch.eye(6)})
    return tasks


def _assert_equal(plain, theirs):
    assert plain.forgetting_ == theirs.forgetting_ == {0: 0.0, 1: 0.0}
    for task in range(TASKS):
        assert len(plain.trajectory(task)) > 2
        assert plain.trajectory(task) == theirs.trajectory(task)
        with plain.masked(task) as one, theirs.masked(task) as other:
            for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
                assert torch.equal(a, b)


def test_tasks_are_the_same_in_a_plain_loop_and_in_the_trainer(tmp_path):
    plain = _learned(_loop)
    theirs = _learned(lambda model, optimizer, task: _trainer(model, optimizer, task, tmp_path))
    _assert_equal(plain, theirs)


@pytest.mark.parametrize("begun", [False, True])
def test_a_task_goes_on_from_a_checkpoint_of_the_trainer(tmp_path, begun):
    """Of another process, which may have begun a task before it resumes: its first mask must clear no weight."""
    plain = _learned(_loop)
    _learned(lambda model, optimizer, task: _trainer(model, optimizer, task, tmp_path / str(task)))
    model, optimizer, tasks = _made(seed=1)
    last = TASKS - 1
    if begun:
        tasks.begin_task(last, [2 * last, 2 * last + 1])
    _trainer(model, optimizer, last, tmp_path / str(last), resume=True)
    tasks.end_task(probe={"x": torch.eye(6)})
    _assert_equal(plain, tasks)
