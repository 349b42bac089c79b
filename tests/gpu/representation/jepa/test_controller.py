"""Steps of the controller against steps by hand, and runs that stop and go on."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from sparsetheory.gpu.core import Linear
from sparsetheory.gpu.representation import JEPAController, SparseJEPA, group_soft_threshold

ALPHA, STEPS = 2.0, 12


def _setup(kind=torch.optim.AdamW, lr=0.05, alpha=ALPHA, **options):
    encoder = nn.Sequential(nn.Linear(3, 6), nn.GELU(), nn.Linear(6, 4), nn.BatchNorm1d(3))
    torch.manual_seed(0)
    for parameter in encoder.parameters():
        nn.init.normal_(parameter)
    model = SparseJEPA(
        encoder, [[0, 1], [2, 3]], alpha, Linear(0.6, STEPS, 1.0), n_patches=3, n_latents=5, width=3, **options
    )
    optimizer = kind(model.trained_parameters(), lr=lr)
    return model, optimizer


def _batch(step):
    source = torch.Generator().manual_seed(step)
    patches = torch.randn(20, 3, 3, generator=source)
    target = torch.randint(3, (20,), generator=source)
    return patches, ~nn.functional.one_hot(target, 3).bool(), target


def _step(model, optimizer, step):
    optimizer.zero_grad()
    model(*_batch(step)).loss.backward()
    optimizer.step()


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_steps_by_hand(kind):
    model, optimizer = _setup(kind)
    twin = copy.deepcopy(model)
    other = kind(twin.trained_parameters(), lr=0.05)
    JEPAController(optimizer, model)
    decay = Linear(0.6, STEPS, 1.0)
    for step in range(4):
        _step(model, optimizer, step)
        _step(twin, other, step)
        with torch.no_grad():
            twin.group_weights.copy_(group_soft_threshold(twin.group_weights, 0.05 * ALPHA, dim=1))
            pairs = zip(twin.target_encoder.parameters(), twin.encoder.parameters(), strict=True)
            for average, parameter in pairs:
                average.copy_(decay(step) * average + (1 - decay(step)) * parameter)
            for buffer, own in zip(twin.target_encoder.buffers(), twin.encoder.buffers(), strict=True):
                buffer.copy_(own)
        for name, parameter in model.named_parameters():
            assert torch.allclose(parameter, twin.get_parameter(name), atol=1e-6), name
        # Running averages of a normalisation are copied, not averaged.
        assert torch.equal(model.target_encoder[3].running_mean, model.encoder[3].running_mean)
    assert int(model.step) == 4
    assert not model.incidence().all()


def test_the_rate_of_a_schedule_sets_the_threshold():
    model, optimizer = _setup(torch.optim.SGD, lr=0.1)
    controller = JEPAController(optimizer, model)
    before = model.group_weights.detach().clone()
    for factor in (1.0, 0.5):
        optimizer.param_groups[0]["lr"] = 0.1 * factor
        model.group_weights.grad = torch.zeros_like(model.group_weights)
        optimizer.step()
        before = group_soft_threshold(before, 0.1 * factor * ALPHA, dim=1)
    assert torch.allclose(model.group_weights, before, atol=1e-7)
    controller.remove()
    optimizer.step()
    assert int(model.step) == 2


def test_a_step_that_is_left_out_changes_nothing():
    model, optimizer = _setup(partial(torch.optim.SGD, fused=True), lr=0.1)
    JEPAController(optimizer, model)
    before = copy.deepcopy(model.state_dict())
    (0 * model.group_weights.sum()).backward()
    # As a GradScaler says to fused optimisers.
    optimizer.found_inf = torch.ones(())
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    optimizer.found_inf = torch.zeros(())
    optimizer.step()
    assert int(model.step) == 1
    assert not torch.equal(model.group_weights, before["group_weights"])


def test_columns_without_gradients_stay():
    model, optimizer = _setup()
    JEPAController(optimizer, model)
    before = model.group_weights.detach().clone()
    optimizer.step()
    assert torch.equal(model.group_weights, before)
    assert int(model.step) == 1


@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_a_run_that_is_continued_ends_at_the_same_bits(tmp_path, beta):
    model, optimizer = _setup(beta=beta)
    JEPAController(optimizer, model)
    for step in range(8):
        if step == 5:
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "state.pt")
        _step(model, optimizer, step)
    again, other = _setup(beta=beta, generator=5)
    JEPAController(other, again)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    again.load_state_dict(state["model"])
    other.load_state_dict(state["optimizer"])
    for step in range(5, 8):
        _step(again, other, step)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    assert not model.incidence().all()


def test_optimisers_that_do_not_fit():
    model, _ = _setup()
    with pytest.raises(ValueError, match=r"optimizer must train model\.group_weights"):
        JEPAController(torch.optim.SGD(model.encoder.parameters(), lr=0.1), model)
    with pytest.raises(ValueError, match="optimizer must leave the target encoder alone"):
        JEPAController(torch.optim.SGD(model.parameters(), lr=0.1), model)
    with pytest.raises(ValueError, match="model must be a SparseJEPA"):
        JEPAController(torch.optim.SGD(model.parameters(), lr=0.1), nn.Linear(1, 1))


def test_a_schedule_out_of_range_is_an_error():
    model, _ = _setup()
    model._decay = lambda step: 1.5
    with pytest.raises(ValueError, match="decay must be a number in"):
        model.update_target()


def test_free_latents_make_up_for_small_columns():
    """Without standardised latents they grow where the columns shrink; with them their spread is held."""
    spread = {}
    for standardise in (False, True):
        for alpha in (0.0, 2.0):
            model, optimizer = _setup(alpha=alpha, lr=0.01, standardise=standardise)
            JEPAController(optimizer, model)
            for step in range(150):
                _step(model, optimizer, step % 5)
            spread[standardise, alpha] = model(*_batch(0)).latents.std(0).mean().item()
    assert spread[False, 2.0] > 1.3 * spread[False, 0.0]
    assert spread[True, 2.0] == pytest.approx(spread[True, 0.0], rel=0.05)
