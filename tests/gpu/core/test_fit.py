"""The training loop takes the steps that torch would take by hand."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from sparsetheory.gpu.core import train
from sparsetheory.gpu.core.models import MLP, CharacterDecoder


def _data(n=30):
    x = torch.randn(n, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] > 0).long()


def test_full_batch_is_plain_gradient_descent():
    x, y = _data()
    model, twin = (MLP([4, 5, 2]).double() for _ in range(2))
    run = train(model, x, y, optimizer=torch.optim.SGD(model.parameters(), lr=0.5), n_steps=3)
    for step in range(3):
        loss = nn.functional.cross_entropy(twin(x), y)
        assert float(run.losses[step]) == pytest.approx(loss.item(), rel=1e-12)
        gradients = torch.autograd.grad(loss, list(twin.parameters()))
        with torch.no_grad():
            for weight, gradient in zip(twin.parameters(), gradients, strict=True):
                weight -= 0.5 * gradient
    assert all(torch.allclose(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


def test_epochs_visit_every_row_once_and_seeds_decide_the_order():
    x = torch.arange(7, dtype=torch.float64)[:, None]
    visits = []

    def run(seed):
        model = nn.Linear(1, 1, bias=False).double()
        seen = []
        handle = model.register_forward_pre_hook(lambda layer, args: seen.append(args[0].flatten().tolist()))
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
        train(model, x, x, optimizer=optimizer, n_steps=6, batch_size=3, loss=nn.functional.mse_loss, generator=seed)
        handle.remove()
        visits.append(seen)
        return seen

    first = run(0)
    assert [len(batch) for batch in first] == [3, 3, 1, 3, 3, 1]
    epochs = [[row for batch in part for row in batch] for part in (first[:3], first[3:])]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert run(0) == first
    assert run(1) != first


def test_hooks_of_the_optimiser_and_the_scheduler_take_part():
    x, y = _data()
    model = MLP([4, 5, 2]).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    calls = []
    optimizer.register_step_post_hook(lambda *_: calls.append(optimizer.param_groups[0]["lr"]))
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    model.eval()
    train(model, x, y, optimizer=optimizer, n_steps=3, scheduler=scheduler)
    assert calls == [1.0, 0.5, 0.25]
    assert not model.training


def test_a_decoder_learns_what_is_certain():
    # After each character comes the next one of the alphabet.
    tokens = (torch.arange(9) + torch.arange(5)[:, None]) % 5
    model = CharacterDecoder(5, width=16, n_layers=1, n_heads=2, hidden=16, context=8)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    run = train(model, tokens[:, :-1], tokens[:, 1:], optimizer=optimizer, n_steps=60)
    assert float(run.losses[-1]) < 0.1 < 1 < float(run.losses[0])


def test_bad_arguments():
    x, y = _data()
    model = MLP([4, 5, 2]).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    with pytest.raises(ValueError, match="equally many rows; got 30 and 29"):
        train(model, x, y[1:], optimizer=optimizer, n_steps=1)
    with pytest.raises(ValueError, match="n_steps must be"):
        train(model, x, y, optimizer=optimizer, n_steps=0)
    with pytest.raises(ValueError, match="batch_size must be"):
        train(model, x, y, optimizer=optimizer, n_steps=1, batch_size=0)
    with pytest.raises(FloatingPointError, match="the loss is nan at step 0"):
        train(model, x * torch.nan, y, optimizer=optimizer, n_steps=1)
    assert all(weight.isfinite().all() for weight in model.parameters())


@pytest.mark.parametrize("x", [1.0, torch.nan])
def test_modules_that_a_user_holds_in_evaluation_mode_are_given_back_in_it(x):
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).double()
    model[1].eval()
    seen = []
    model[1].register_forward_hook(lambda module, args, output: seen.append(module.training))
    inputs, y = _data()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with nullcontext() if x == 1.0 else pytest.raises(FloatingPointError):
        train(model, inputs * x, y, optimizer=optimizer, n_steps=1)
    assert seen == [True]
    assert [module.training for module in model] == [True, False, True]
