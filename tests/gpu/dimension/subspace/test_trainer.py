"""A network in a subspace, in a loop by hand and in the Trainer of transformers: the same run."""

from functools import partial

import pytest
import torch
from house.quiet_trainer import train_quietly
from torch import nn
from torch.utils.data import IterableDataset

from sparsetheory.gpu.dimension import SAID, FastfoodProjection, SubspaceModel

STEPS, BATCH = 12, 8


class _Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 4))

    def forward(self, x, labels):
        logits = self.layers(x)
        return {"loss": nn.functional.cross_entropy(3 * logits, labels), "logits": logits}


class _Stream(IterableDataset):
    """The same examples in the same order, whoever asks."""

    def __iter__(self):
        generator = torch.Generator().manual_seed(0)
        for _ in range(STEPS * BATCH):
            yield {"x": torch.randn(8, generator=generator), "labels": torch.randint(4, (), generator=generator)}


def _plain():
    return SubspaceModel(_Net(), partial(FastfoodProjection, 20), direct="layers.3.bias")


def _structured():
    return SAID(_Net(), 30, layers="module", per_tensor=True)


def _model(make):
    torch.manual_seed(0)
    model = make()
    return model, torch.optim.Adam(model.parameters(), lr=0.05)


@pytest.mark.parametrize("make", [_plain, _structured])
def test_it_is_the_same_in_a_plain_loop_and_in_the_trainer(make, tmp_path):
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    by_hand, optimizer = _model(make)
    examples = list(_Stream())
    for first in range(0, len(examples), BATCH):
        part = examples[first : first + BATCH]
        optimizer.zero_grad()
        by_hand(*(torch.stack([one[name] for one in part]) for name in ("x", "labels")))["loss"].backward()
        optimizer.step()
    options = {"per_device_train_batch_size": BATCH, "max_steps": STEPS, "remove_unused_columns": False}
    model, optimizer = _model(make)
    train_quietly(model, optimizer, _Stream(), tmp_path, save_steps=6, **options)
    again, optimizer = _model(make)
    train_quietly(again, optimizer, _Stream(), tmp_path, save_steps=6, resume_from=6, **options)
    assert by_hand.t.abs().max() > 0.1
    for other in (model, again):
        assert list(other.state_dict()) == list(by_hand.state_dict())
        for name, tensor in by_hand.state_dict().items():
            assert torch.equal(other.state_dict()[name], tensor), name
