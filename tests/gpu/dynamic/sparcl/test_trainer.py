"""SparCL in the user's own loop and in the Trainer of transformers: the same weights, to the bit."""

import pytest
import torch
from house.quiet_trainer import train_quietly
from torch import nn
from torch.utils.data import Dataset, SequentialSampler

from sparsetheory.gpu.core import attach_state
from sparsetheory.gpu.core.models import MLP
from sparsetheory.gpu.dynamic import SparCL, density_path

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

# A checkpoint is written in the middle of the third epoch.
N, BATCH, EPOCHS, STOP = 32, 8, 4, 10


class _Data(Dataset):
    def __init__(self):
        self.x = torch.randn(N, 8, generator=torch.Generator().manual_seed(0))
        self.labels = (self.x[:, 0] > 0).long()

    def __len__(self):
        return N

    def __getitem__(self, row):
        return {"x": self.x[row], "labels": self.labels[row]}


class _Net(nn.Module):
    def __init__(self, seed):
        super().__init__()
        self.layers = MLP([8, 24, 16, 2], activation="tanh", generator=seed)

    def forward(self, x, labels):
        logits = self.layers(x)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


class _InOrder(transformers.Trainer):
    def _get_train_sampler(self, *args):
        return SequentialSampler(self.train_dataset)


class _Epochs(transformers.TrainerCallback):
    """Tell the method when an epoch begins; one in whose middle a run goes on has begun already."""

    def __init__(self, method):
        self._method = method

    def on_epoch_begin(self, args, state, control, **kwargs):
        if self._method.epoch < int(state.epoch or 0):
            self._method.begin_epoch()


def _made(seed=0):
    model = _Net(seed)
    optimizer = torch.optim.AdamW(model.named_parameters(), lr=0.01, weight_decay=0.1)
    path = lambda epoch: density_path(epoch, 0.25, 0.05, 0.05, settle=1, freeze=3)  # noqa: E731
    method = SparCL(model, optimizer, q=0.85, path=path, exchange_every=1, mask_every=3, generator=seed)
    attach_state(optimizer, sparcl=method)
    method.begin_task(_Data().labels)
    return model, optimizer, method


def _loop():
    model, optimizer, method = _made()
    data = _Data()
    for _ in range(EPOCHS):
        method.begin_epoch()
        for rows in torch.arange(N).split(BATCH):
            optimizer.zero_grad()
            model(data.x[rows], data.labels[rows])["loss"].backward()
            optimizer.step()
    return model, method


def _trainer(folder, *, seed=0, resume=False):
    model, optimizer, method = _made(seed)
    train_quietly(
        model,
        optimizer,
        _Data(),
        folder,
        kind=_InOrder,
        callbacks=[_Epochs(method)],
        per_device_train_batch_size=BATCH,
        num_train_epochs=EPOCHS,
        save_steps=STOP,
        resume_from=STOP if resume else None,
    )
    return model, method


def test_a_run_is_the_same_in_a_plain_loop_and_in_the_trainer_and_continues_from_its_checkpoint(tmp_path):
    model, method = _loop()
    assert len(method.trajectory) > 4
    for theirs, other in (_trainer(tmp_path), _trainer(tmp_path, seed=1, resume=True)):
        for a, b in zip(model.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(a, b)
        assert method.masks == other.masks
        assert method.trajectory == other.trajectory
        assert method.epoch == other.epoch == EPOCHS - 1
