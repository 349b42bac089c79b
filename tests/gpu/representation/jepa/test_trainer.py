"""The model trains to the same bits in a plain loop and in the Trainer of transformers, and resumes there."""

import pytest
import torch
from house.quiet_trainer import train_quietly
from torch import nn
from torch.utils.data import IterableDataset

from sparsetheory.gpu.core import Linear
from sparsetheory.gpu.representation import JEPAController, SparseJEPA

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

STEPS, BATCH = 8, 6


class _Stream(IterableDataset):
    """The same examples in the same order, whoever asks."""

    def __iter__(self):
        source = torch.Generator().manual_seed(0)
        for _ in range(STEPS * BATCH):
            target = torch.randint(3, (), generator=source)
            yield {
                "patches": torch.randn(3, 4, generator=source),
                "context": torch.arange(3) != target,
                "target": target,
            }


def _setup():
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 4))
    decay = Linear(0.6, STEPS, 1.0)
    model = SparseJEPA(encoder, [[0, 1], [2, 3]], 2.0, decay, n_patches=3, n_latents=5, beta=0.01)
    optimizer = torch.optim.AdamW(model.trained_parameters(), lr=0.05)
    return model, optimizer, JEPAController(optimizer, model)


def _same(model, other):
    return all(torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items())


def test_both_loops_give_the_same_model_and_the_trainer_resumes(tmp_path):
    model, optimizer, _ = _setup()
    examples = list(_Stream())
    for start in range(0, len(examples), BATCH):
        batch = examples[start : start + BATCH]
        optimizer.zero_grad()
        model(**{name: torch.stack([one[name] for one in batch]) for name in batch[0]}).loss.backward()
        optimizer.step()
    options = {"per_device_train_batch_size": BATCH, "max_steps": STEPS, "save_steps": 5}
    theirs, other, _ = _setup()
    train_quietly(theirs, other, _Stream(), tmp_path, **options)
    assert int(model.step) == STEPS
    assert not model.incidence().all()
    assert _same(model, theirs)
    resumed, third, _ = _setup()
    train_quietly(resumed, third, _Stream(), tmp_path, resume_from=5, **options)
    assert _same(model, resumed)
