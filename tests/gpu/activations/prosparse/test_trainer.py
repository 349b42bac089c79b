"""The penalty does the same in a plain loop and in the Trainer of transformers."""

import pytest
import torch
from house.quiet_trainer import train_quietly
from torch import nn
from torch.utils.data import IterableDataset

from sparsetheory.gpu.activations import ActivationPenalty, activation_ratio_curve, relufy, sine_stage_schedule
from sparsetheory.gpu.core.models import GatedFFN

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

STEPS, BATCH = 12, 8
DATA = torch.randn(20, 6, generator=torch.Generator().manual_seed(1))


class _Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.ffn, self.head = GatedFFN(6, 24), nn.Linear(6, 3)

    def forward(self, x, labels=None):
        logits = self.head(self.ffn(x))
        if labels is None:
            return {"logits": logits}
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
    assert relufy(model) == ["ffn.activation"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    penalty = ActivationPenalty(optimizer, model, sine_stage_schedule((0.1, 0.5), (3, 9)))
    curve = activation_ratio_curve(model, [DATA], (0, 6, STEPS), optimizer=optimizer)
    return model, optimizer, penalty, curve


def _trainer(folder, n_accumulated):
    model, optimizer, penalty, curve = _setup()
    train_quietly(
        model,
        optimizer,
        _Stream(),
        folder,
        per_device_train_batch_size=BATCH // n_accumulated,
        gradient_accumulation_steps=n_accumulated,
        max_steps=STEPS,
    )
    return model, penalty, curve


def test_both_loops_give_the_same_model(tmp_path):
    model, optimizer, penalty, curve = _setup()
    examples = list(_Stream())
    for start in range(0, len(examples), BATCH):
        batch = examples[start : start + BATCH]
        x, labels = (torch.stack([one[name] for one in batch]) for name in ("x", "labels"))
        optimizer.zero_grad()
        # The loop computes its own loss here, and the model adds the penalty to its own there.
        (nn.functional.cross_entropy(model(x)["logits"], labels) + penalty.term()).backward()
        optimizer.step()
    theirs, other, other_curve = _trainer(tmp_path, 1)
    assert penalty.step == other.step == STEPS
    assert list(curve.ratios) == [0, 6, STEPS]
    assert curve.ratios == other_curve.ratios
    assert curve.ratios[STEPS]["ffn.down"] < curve.ratios[0]["ffn.down"] < 1
    for a, b in zip(model.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)


def test_accumulated_batches_share_the_penalty(tmp_path):
    whole, _, _ = _trainer(tmp_path, 1)
    parts, penalty, _ = _trainer(tmp_path, 2)
    assert penalty.step == STEPS
    # The mean of two means of halves is the mean; sums in another order differ by rounding, which Adam enlarges.
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=0.0, atol=1e-3)
