"""Fixed and changing masks in the user's own loop and in the Trainer of transformers: the same run, to the bit."""

import math

import pytest
import torch
from house.quiet_trainer import train_quietly
from torch import nn
from torch.utils.data import IterableDataset

from sparsetheory.gpu.core import Cosine, TopologyController, attach_state, er_densities, random_masks
from sparsetheory.gpu.dynamic import MomentumScore, gradient_magnitude, magnitude, normal_start, random_order

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

STEPS, STOP, BATCH, DENSITY = 24, 13, 8, 0.1
# What grows, which values it starts from, and when.
WAYS = {
    "static": (random_order, None, 0.0),
    "SET": (random_order, normal_start(0.1), 0.3),
    "RigL": (gradient_magnitude, None, Cosine(0.3, 20)),
    "momentum": (MomentumScore, None, Cosine(0.3, 20)),
}


class _Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 40), nn.Tanh(), nn.Linear(40, 3))

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


def _setup(way):
    torch.manual_seed(0)
    grow, start, fraction = WAYS[way]
    model = _Net()
    optimizer = torch.optim.AdamW(model.named_parameters(), lr=0.01, weight_decay=0.1)
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters() if p.ndim > 1}
    masks = random_masks(shapes, er_densities(shapes, DENSITY), 0)
    controller = TopologyController(
        optimizer,
        masks.by_parameter(model),
        drop=magnitude,
        grow=grow() if grow is MomentumScore else grow,
        start=start,
        fraction=fraction,
        every=4,
        rounding=math.ceil,
        skip_update=way == "RigL",
        generator=0,
    )
    attach_state(optimizer, topology=controller)
    return model, optimizer, controller


def _plain_loop(way="RigL"):
    model, optimizer, controller = _setup(way)
    examples = list(_Stream())
    for start in range(0, len(examples), BATCH):
        batch = examples[start : start + BATCH]
        optimizer.zero_grad()
        loss = model(torch.stack([one["x"] for one in batch]), torch.stack([one["labels"] for one in batch]))["loss"]
        loss.backward()
        optimizer.step()
    return model, controller


def _trainer(folder, way="RigL", *, n_accumulated=1, resume=False):
    model, optimizer, controller = _setup(way)
    train_quietly(
        model,
        optimizer,
        _Stream(),
        folder,
        per_device_train_batch_size=BATCH // n_accumulated,
        gradient_accumulation_steps=n_accumulated,
        max_steps=STEPS,
        save_steps=STOP,
        resume_from=STOP if resume else None,
    )
    return model, controller


def _assert_equal(model, other):
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("way", WAYS)
def test_a_run_is_the_same_in_a_plain_loop_and_in_the_trainer_and_continues_from_its_checkpoint(way, tmp_path):
    model, controller = _plain_loop(way)
    theirs, other = _trainer(tmp_path, way)
    assert controller.step == other.step == STEPS
    assert controller.history == other.history
    assert len(controller.history) == {"static": 0, "SET": 6}.get(way, 4)
    assert all(event.n_grown > 0 for event in controller.history[:2])
    budgets = er_densities({name: tuple(mask.shape) for name, mask in controller.masks.items()}, DENSITY)
    for name, mask in controller.masks.items():
        assert int(mask.sum()) == pytest.approx(budgets[name] * mask.numel(), abs=0.5001)
        assert not model.get_parameter(name)[~mask].any()
    _assert_equal(model, theirs)
    resumed, continued = _trainer(tmp_path, way, resume=True)
    assert continued.history == controller.history
    assert continued.masks == controller.masks
    _assert_equal(model, resumed)


def test_accumulated_gradients_count_as_one_step(tmp_path):
    model, controller = _plain_loop()
    theirs, other = _trainer(tmp_path, n_accumulated=2)
    assert other.step == STEPS
    assert [event.step for event in other.history] == [event.step for event in controller.history]
    # Sums of gradients in another order differ by rounding, and so may a choice between two scores.
    assert other.masks.overlap(controller.masks) > 0.9
    for a, b in zip(model.parameters(), theirs.parameters(), strict=True):
        assert float((a - b).detach().norm()) < 0.2 * float(b.detach().norm())
