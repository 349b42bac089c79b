"""A run that stops and goes on from its checkpoint, and one in the Trainer of transformers, are the run, to the bit."""

import io

import pytest
import torch
from torch import nn
from torch.nn import functional

from sparsetheory.gpu.bayesian import SSVIScheduler, bayesianise, kl_divergence
from sparsetheory.gpu.core import attach_state

STEPS, STOP, BATCH = 24, 13, 8


class _Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 40), nn.Tanh(), nn.Linear(40, 3))
        bayesianise(self, 0.2, prior_std=0.5, mu_std="fan_in", sigma_init=(0.05, 0.02), dense_first=False, generator=0)
        # Noise from a source of its own, whatever a loop draws meanwhile.
        for index in (0, 2):
            self.layers[index].sampling = "mean"

    def forward(self, x, labels):
        logits = self.layers(x)
        return {"loss": functional.cross_entropy(logits, labels) + 1e-3 * kl_divergence(self), "logits": logits}


def _setup(kind, **options):
    torch.manual_seed(0)
    model = _Net()
    optimizer = {
        "SGD": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
        "AdamW": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
        "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.01),
    }[kind](model.named_parameters())
    scheduler = SSVIScheduler(model, optimizer, **{"period": 4, "t_end": 30, **options})
    attach_state(optimizer, swaps=scheduler)
    return model, optimizer, scheduler


def _examples():
    generator = torch.Generator().manual_seed(0)
    for _ in range(STEPS * BATCH):
        yield {"x": torch.randn(6, generator=generator), "labels": torch.randint(3, (), generator=generator)}


def _train(model, optimizer, first, last):
    examples = list(_examples())
    for step in range(first, last):
        batch = examples[step * BATCH : (step + 1) * BATCH]
        optimizer.zero_grad()
        model(torch.stack([one["x"] for one in batch]), torch.stack([one["labels"] for one in batch]))[
            "loss"
        ].backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


def _assert_equal(model, other):
    for (name, a), (_, b) in zip(model.state_dict().items(), other.state_dict().items(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("kind", ["SGD", "AdamW", "RMSprop"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        # A checkpoint between the steps whose gradients are averaged.
        {"grad_accumulation": 3, "period": 5},
        {"rule": "gain", "n_samples": 100, "criterion": "savage_dickey"},
        {"criterion": "random", "generator": 3},
    ],
)
def test_a_run_goes_on_from_a_checkpoint_to_the_bit(kind, options):
    stop = 14 if "grad_accumulation" in options else STOP
    model, optimizer, scheduler = _setup(kind, **options)
    _train(model, optimizer, 0, STEPS)
    half, early, _ = _setup(kind, **options)
    _train(half, early, 0, stop)
    file = io.BytesIO()
    torch.save({"model": half.state_dict(), "optimizer": early.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    other, late, resumed = _setup(kind, **options)
    other.load_state_dict(saved["model"])
    late.load_state_dict(saved["optimizer"])
    assert resumed.step == stop
    for state in (saved["optimizer"], late.state_dict()):
        n_summed = state["attached"]["swaps"]["subspace"]["gradients"]["n_steps"]
        assert n_summed == (2 if "grad_accumulation" in options else 0)
    _train(other, late, stop, STEPS)
    _assert_equal(model, other)
    assert resumed.history == scheduler.history
    assert len(scheduler.history) >= 4
    assert resumed.report() == scheduler.report()


@pytest.mark.parametrize("kind", ["AdamW", "RMSprop"])
def test_a_run_is_the_same_in_a_plain_loop_and_in_the_trainer_and_continues_from_its_checkpoint(kind, tmp_path):
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from house.quiet_trainer import train_quietly
    from torch.utils.data import IterableDataset

    class Stream(IterableDataset):
        def __iter__(self):
            return _examples()

    def trainer(resume):
        model, optimizer, scheduler = _setup(kind)
        train_quietly(
            model,
            optimizer,
            Stream(),
            tmp_path,
            per_device_train_batch_size=BATCH,
            max_steps=STEPS,
            save_steps=STOP,
            max_grad_norm=1.0,
            resume_from=STOP if resume else None,
        )
        return model, scheduler

    model, optimizer, scheduler = _setup(kind)
    _train(model, optimizer, 0, STEPS)
    assert len(scheduler.history) == 6
    for resume in (False, True):
        theirs, other = trainer(resume)
        assert other.history == scheduler.history
        _assert_equal(model, theirs)


@pytest.mark.parametrize("options", [{"grad_accumulation": 3}, {"rule": "gain", "n_samples": 100}])
def test_a_scheduler_that_is_taken_off_and_put_back_between_steps_goes_on_to_the_bit(options):
    model, optimizer, scheduler = _setup("SGD", **options)
    _train(model, optimizer, 0, STEPS)
    other, again, attached = _setup("SGD", **options)
    for first, last in [(0, 6), (6, 13), (13, STEPS)]:
        _train(other, again, first, last)
        for _ in range(2):
            attached.detach()
        for _ in range(2):
            attached.attach()
    _assert_equal(model, other)
    assert attached.history == scheduler.history
    assert len(scheduler.history) >= 4
