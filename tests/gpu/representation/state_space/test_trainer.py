"""Distillation in the user's own loop and in the Trainer of transformers: the same weights, to the bit."""

import pytest
import torch
from house.quiet_trainer import train_quietly
from torch import nn

from sparsetheory.gpu.core import Linear
from sparsetheory.gpu.representation import DenseSSM, LowRankSSM, structure_aware_loss, teacher_factors

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

STEPS, BATCH, LENGTH = 6, 4, 12


class _Distilled(nn.Module):
    """A student that returns the loss of the task and of distillation."""

    def __init__(self, form):
        super().__init__()
        source = torch.Generator().manual_seed(0)
        A = torch.randn(8, 8, generator=source) / 8**0.5 - 2 * torch.eye(8)
        B, C = torch.randn(8, 2, generator=source), torch.randn(1, 8, generator=source)
        self.teacher = DenseSSM(A, B, C, 0.1).requires_grad_(False)
        self.student = LowRankSSM.from_dense(A, B, C, 2, form, step=0.1)
        self.factors = teacher_factors(self.teacher, self.student)
        self.weights = (Linear(0.5, STEPS), 0.1, 1.5)
        self.steps_done = 0

    def forward(self, x, labels=None):
        run = self.student.run(x)
        teacher = self.teacher.run(x, factors=self.factors)
        loss = structure_aware_loss(run, teacher, self.weights, step=self.steps_done)
        self.steps_done += 1
        return {"loss": loss + nn.functional.mse_loss(run.outputs, labels), "logits": run.outputs}


def _examples():
    x = torch.randn(STEPS * BATCH, LENGTH, 2, generator=torch.Generator().manual_seed(1))
    return [{"x": one, "labels": one[:, :1].cumsum(0)} for one in x]


class _InOrder(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter(_examples())


def _optimizer(model):
    return torch.optim.AdamW(model.student.parameters(), lr=0.01)


@pytest.mark.parametrize("form", ["shifted", "paper"])
def test_distillation_is_the_same_in_a_plain_loop_and_in_the_trainer(tmp_path, form):
    plain, theirs = _Distilled(form), _Distilled(form)
    optimizer, examples = _optimizer(plain), _examples()
    plain.train()
    for start in range(0, len(examples), BATCH):
        batch = examples[start : start + BATCH]
        optimizer.zero_grad()
        plain(**{key: torch.stack([one[key] for one in batch]) for key in ("x", "labels")})["loss"].backward()
        optimizer.step()
    train_quietly(theirs, _optimizer(theirs), _InOrder(), tmp_path, per_device_train_batch_size=BATCH, max_steps=STEPS)
    start = _Distilled(form).student.state_dict()
    for name, value in plain.student.state_dict().items():
        assert torch.equal(value, theirs.student.state_dict()[name])
    assert not torch.equal(plain.student.U, start["U"])
