"""Training of the denoiser in the user's own loop and in the Trainer of transformers: the same bases, to the bit."""

import pytest
import torch
from house.quiet_trainer import train_quietly
from torch import nn
from torch.utils.data import IterableDataset

from sparsetheory.gpu.representation import MoLRGDenoiser, molrg_loss, sample_molrg, subspace_error

STEPS, BATCH = 30, 8
SAMPLE = sample_molrg(10, 2, 1, STEPS * BATCH, noise_std=0.05, generator=0)


class _Net(nn.Module):
    def __init__(self, assignment):
        super().__init__()
        self.denoiser = MoLRGDenoiser([torch.eye(10)[:, :2]], assignment=assignment)

    def forward(self, x):
        return {"loss": molrg_loss(self.denoiser, x, 0.3, generator=0)}


class _Stream(IterableDataset):
    def __iter__(self):
        return ({"x": row} for row in SAMPLE.X)


@pytest.mark.parametrize("assignment", ["soft", "hard"])
def test_both_loops_end_in_the_same_bases(tmp_path, assignment):
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    plain, trained = _Net(assignment), _Net(assignment)
    optimizer = torch.optim.Adam(plain.parameters(), lr=0.1)
    for batch in SAMPLE.X.split(BATCH):
        optimizer.zero_grad()
        plain(batch)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        optimizer.step()
    other = torch.optim.Adam(trained.parameters(), lr=0.1)
    train_quietly(
        trained,
        other,
        _Stream(),
        tmp_path,
        per_device_train_batch_size=BATCH,
        max_steps=STEPS,
        max_grad_norm=1.0,
    )
    assert torch.equal(plain.denoiser.bases[0], trained.denoiser.bases[0])
    # The start lies anywhere; training comes close to the plane of the points.
    assert subspace_error(plain.denoiser.bases[0], SAMPLE.bases[0]) < 0.3
    assert subspace_error(torch.eye(10)[:, :2], SAMPLE.bases[0]) > 1.0
