"""One method in the user's own loop and in the Trainer of transformers: the same run, to the bit."""

import math

import pytest
import torch
from torch import nn
from torch.utils.data import IterableDataset

from sparsetheory.gpu.core.densities import er_densities
from sparsetheory.gpu.core.hooks.topology import TopologyController
from sparsetheory.gpu.core.random_topology import random_masks
from sparsetheory.gpu.core.schedules import Cosine
from sparsetheory.gpu.dynamic.scores import gradient_magnitude, magnitude

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

STEPS, BATCH = 24, 8


class _Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3))

    def forward(self, x, labels):
        logits = self.layers(x)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


class _Stream(IterableDataset):
    """The same examples in the same order, whoever asks."""

    def __iter__(self):
        generator = torch.Generator().manual_seed(0)
        for _ in range(STEPS * BATCH):
            yield {
                "x": torch.randn(6, generator=generator),
                "labels": torch.randint(3, (), generator=generator),
            }


def _setup():
    torch.manual_seed(0)
    model = _Net()
    optimizer = torch.optim.AdamW(model.named_parameters(), lr=0.01, weight_decay=0.1)
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters() if p.ndim > 1}
    masks = random_masks(shapes, er_densities(shapes, 0.3), 0)
    controller = TopologyController(
        optimizer,
        masks.by_parameter(model),
        drop=magnitude,
        grow=gradient_magnitude,
        fraction=Cosine(0.3, 20),
        every=4,
        rounding=math.ceil,
        skip_update=True,
    )
    return model, optimizer, controller


def _plain_loop():
    model, optimizer, controller = _setup()
    examples = list(_Stream())
    for start in range(0, len(examples), BATCH):
        batch = examples[start : start + BATCH]
        optimizer.zero_grad()
        loss = model(torch.stack([one["x"] for one in batch]), torch.stack([one["labels"] for one in batch]))["loss"]
        loss.backward()
        optimizer.step()
    return model, controller


def _trainer(folder, n_accumulated):
    model, optimizer, controller = _setup()
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=BATCH // n_accumulated,
        gradient_accumulation_steps=n_accumulated,
        max_steps=STEPS,
        max_grad_norm=0.0,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
    constant = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    trainer = transformers.Trainer(
        model=model, args=arguments, train_dataset=_Stream(), optimizers=(optimizer, constant)
    )
    trainer.train()
    return model, controller


def test_rigl_is_the_same_in_a_plain_loop_and_in_the_trainer(tmp_path):
    model, controller = _plain_loop()
    theirs, other = _trainer(tmp_path, 1)
    assert controller.step == other.step == STEPS
    assert [event.step for event in controller.history] == [4, 8, 12, 16]
    assert controller.history == other.history
    assert all(event.n_grown > 0 for event in controller.history[:2])
    for a, b in zip(model.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)


def test_accumulated_gradients_count_as_one_step(tmp_path):
    model, controller = _plain_loop()
    theirs, other = _trainer(tmp_path, 2)
    assert other.step == STEPS
    assert [event.step for event in other.history] == [event.step for event in controller.history]
    # Sums of gradients in another order differ by rounding, and so may a choice between two scores.
    assert other.masks.overlap(controller.masks) > 0.9
    for a, b in zip(model.parameters(), theirs.parameters(), strict=True):
        assert float((a - b).detach().norm()) < 0.2 * float(b.detach().norm())
