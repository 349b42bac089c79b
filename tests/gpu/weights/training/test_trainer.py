"""Methods that train sparse weights, in the user's own loop and in the Trainer of transformers: the same run."""

import contextlib

import pytest
import torch
from house.quiet_trainer import train_quietly
from torch import nn
from torch.utils.data import IterableDataset

from sparsetheory.gpu.core import Cubic
from sparsetheory.gpu.weights import (
    PST,
    AdamS,
    StepCounter,
    adam_s_groups,
    finalize,
    scale_weights,
    set_sparsity,
    sparsify,
    srste_penalty,
)

STEPS, BATCH, ACCUMULATED, LARGEST_NORM = 14, 8, 2, 1.0


class _Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))

    def forward(self, x, labels):
        logits = self.layers(x)
        return {"loss": nn.functional.cross_entropy(3 * logits, labels), "logits": logits}


class _Stream(IterableDataset):
    """The same examples in the same order, whoever asks."""

    def __iter__(self):
        generator = torch.Generator().manual_seed(0)
        for _ in range(STEPS * BATCH):
            yield {"x": torch.randn(8, generator=generator), "labels": torch.randint(4, (), generator=generator)}


def _srste(model):
    sparsify(model, "2:4")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    srste_penalty(optimizer, model, alpha=0.05)
    return optimizer, lambda: finalize(model)


def _pst(model):
    source = torch.Generator().manual_seed(3)
    sparsify(model, lambda weight: PST(weight.shape, weight_rank=2, score_rank=2, generator=source))
    set_sparsity(model, Cubic(0.0, STEPS, 0.5, warmup=0.1, cooldown=0.3))
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.02)
    StepCounter(optimizer, model)
    return optimizer, lambda: finalize(model)


def _cast(model):
    scale_weights(model)
    optimizer = AdamS(adam_s_groups(model), 0.02, total_steps=STEPS, alpha=0.05, pattern="2:4", mask_every=4)
    return optimizer, lambda: finalize(model, optimizer.masks)


METHODS = [_srste, _pst, _cast]


def _model(dtype=torch.float32):
    torch.manual_seed(0)
    return _Net().to(dtype)


def _plain_loop(method, *, bf16=False, scaler=None, dtype=torch.float32, accumulated=ACCUMULATED):
    """Train as one writes it by hand; return the finalized model and its masks."""
    model = _model(dtype)
    optimizer, end = method(model)
    examples, size = list(_Stream()), BATCH // accumulated
    for start in range(0, len(examples), BATCH):
        optimizer.zero_grad()
        for first in range(start, start + BATCH, size):
            part = examples[first : first + size]
            x, labels = (torch.stack([one[name] for one in part]) for name in ("x", "labels"))
            with torch.autocast("cpu", dtype=torch.bfloat16) if bf16 else contextlib.nullcontext():
                loss = model(x.to(dtype), labels)["loss"] / accumulated
            (loss if scaler is None else scaler.scale(loss)).backward()
        if scaler is not None:
            scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), LARGEST_NORM)
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()
    return model, end()


def _trainer(method, folder, *, bf16=False):
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    model = _model()
    optimizer, end = method(model)
    train_quietly(
        model,
        optimizer,
        _Stream(),
        folder,
        per_device_train_batch_size=BATCH // ACCUMULATED,
        gradient_accumulation_steps=ACCUMULATED,
        max_steps=STEPS,
        max_grad_norm=LARGEST_NORM,
        bf16=bf16,
    )
    return model, end()


def _same(one, other, *, atol=0.0):
    (model, masks), (again, found) = one, other
    assert list(masks) == list(found) == ["layers.0.weight", "layers.2.weight"]
    assert list(model.state_dict()) == list(again.state_dict())
    assert all(torch.equal(mask, found[name]) for name, mask in masks.items())
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, rtol=0.0, atol=atol)


def _learned(model, masks):
    """Say whether training did something and ended sparse."""
    for name, parameter in _model().named_parameters():
        assert not torch.equal(model.get_parameter(name).float(), parameter) or name.endswith("bias")
        if name in masks:
            assert int(masks[name].sum()) == parameter.numel() // 2
            assert torch.equal(model.get_parameter(name) != 0, masks[name])


@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "autocast"])
@pytest.mark.parametrize("method", METHODS)
def test_it_is_the_same_in_a_plain_loop_and_in_the_trainer(method, bf16, tmp_path):
    by_hand = _plain_loop(method, bf16=bf16)
    _learned(*by_hand)
    _same(by_hand, _trainer(method, tmp_path, bf16=bf16))


@pytest.mark.parametrize("method", METHODS)
def test_accumulated_batches_count_as_one(method):
    # In float64 the order of sums cannot change a choice.
    _same(
        _plain_loop(method, dtype=torch.float64, accumulated=1),
        _plain_loop(method, dtype=torch.float64, accumulated=4),
        atol=1e-10,
    )


@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "autocast"])
@pytest.mark.parametrize("method", METHODS)
def test_a_loss_scale_does_not_change_the_run(method, bf16):
    # Powers of two scale without rounding.
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    _same(_plain_loop(method, bf16=bf16), _plain_loop(method, bf16=bf16, scaler=scaler))
    assert scaler.get_scale() == 2.0**16


@pytest.mark.parametrize("method", METHODS)
def test_models_that_are_in_half_precision_throughout(method):
    if method is _cast:
        with pytest.raises(TypeError, match=r"layers.0.parametrizations.weight.original must be float32 or float64"):
            _plain_loop(method, dtype=torch.bfloat16)
        return
    model, masks = _plain_loop(method, dtype=torch.bfloat16)
    _learned(model, masks)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
