"""The autoencoder of skinning weights in the user's own loop and in the Trainer of transformers: the same run."""

import pytest
import torch
from house.quiet_trainer import train_quietly
from torch import nn
from torch.utils.data import IterableDataset

from sparsetheory.gpu.representation import SkinningVAE, make_tube_rig, skinning_loss

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

STEPS, BATCH = 6, 4


class _WithLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.vae = SkinningVAE(width=12)

    def forward(self, points, labels):
        logits = self.vae(points, labels)
        return {"loss": skinning_loss(logits, labels), "logits": logits}


class _Columns(IterableDataset):
    """The same columns in the same order, whoever asks."""

    def __iter__(self):
        rig = make_tube_rig(n_vertices=30)
        for place in range(STEPS * BATCH):
            yield {"points": rig.vertices, "labels": rig.weights[:, place % 8]}


def _setup():
    model = _WithLoss()
    return model, torch.optim.AdamW(model.parameters(), lr=0.01)


def _train(model, optimizer, examples):
    for first in range(0, len(examples), BATCH):
        batch = examples[first : first + BATCH]
        optimizer.zero_grad()
        model(**{name: torch.stack([one[name] for one in batch]) for name in batch[0]})["loss"].backward()
        optimizer.step()


def test_a_run_is_the_same_in_a_plain_loop_and_in_the_trainer(tmp_path):
    (model, optimizer), (theirs, other) = _setup(), _setup()
    _train(model, optimizer, list(_Columns()))
    train_quietly(theirs, other, _Columns(), tmp_path, per_device_train_batch_size=BATCH, max_steps=STEPS)
    for a, b, before in zip(model.parameters(), theirs.parameters(), _setup()[0].parameters(), strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, before)


def test_a_saved_run_goes_on_to_the_bit(tmp_path):
    examples, half = list(_Columns()), STEPS * BATCH // 2
    (model, optimizer), (later, other) = _setup(), _setup()
    _train(model, optimizer, examples[:half])
    # The grid of levels follows from the arguments, so it is not saved.
    assert not [name for name in model.state_dict() if "fsq" in name]
    torch.save((model.state_dict(), optimizer.state_dict()), tmp_path / "run.pt")
    states = torch.load(tmp_path / "run.pt", weights_only=True)
    later.load_state_dict(states[0])
    other.load_state_dict(states[1])
    for run in ((model, optimizer), (later, other)):
        _train(*run, examples[half:])
    for a, b in zip(model.parameters(), later.parameters(), strict=True):
        assert torch.equal(a, b)
