"""A network of CRATE blocks in the user's own loop and in the Trainer of transformers: the same run, to the bit."""

import pytest
import torch
from house.quiet_trainer import train_quietly
from torch import nn
from torch.utils.data import IterableDataset

from sparsetheory.gpu.representation import CrateBlock, CrateDecoderBlock

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

STEPS, BATCH, DIM, TOKENS = 6, 8, 12, 5


class _Net(nn.Module):
    def __init__(self, mode):
        super().__init__()
        self.encoder, self.decoder = CrateBlock(DIM, 3, mode), CrateDecoderBlock(DIM, 3)
        self.head = nn.Linear(DIM, 3)

    def forward(self, x, mask, labels):
        logits = self.head(self.decoder(self.encoder(x, mask), mask)[:, 0])
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


class _Stream(IterableDataset):
    """The same examples in the same order, whoever asks."""

    def __iter__(self):
        generator = torch.Generator().manual_seed(0)
        for _ in range(STEPS * BATCH):
            yield {
                "x": torch.randn(TOKENS, DIM, generator=generator),
                "mask": torch.arange(TOKENS) < torch.randint(1, TOKENS + 1, (), generator=generator),
                "labels": torch.randint(3, (), generator=generator),
            }


def _setup(mode):
    torch.manual_seed(0)
    model = _Net(mode)
    return model, torch.optim.AdamW(model.parameters(), lr=0.01)


@pytest.mark.parametrize("mode", ["code", "exact"])
def test_a_run_is_the_same_in_a_plain_loop_and_in_the_trainer(mode, tmp_path):
    model, optimizer = _setup(mode)
    start = [parameter.detach().clone() for parameter in model.parameters()]
    examples = list(_Stream())
    for first in range(0, len(examples), BATCH):
        batch = examples[first : first + BATCH]
        optimizer.zero_grad()
        model(**{name: torch.stack([one[name] for one in batch]) for name in batch[0]})["loss"].backward()
        optimizer.step()
    theirs, other = _setup(mode)
    train_quietly(theirs, other, _Stream(), tmp_path, per_device_train_batch_size=BATCH, max_steps=STEPS)
    for a, b, before in zip(model.parameters(), theirs.parameters(), start, strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, before)
