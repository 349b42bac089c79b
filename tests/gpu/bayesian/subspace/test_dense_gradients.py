"""Dense gradients that are set aside within backward passes, whatever a training loop does around them."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from sparsetheory.gpu.bayesian import SSVIScheduler, bayesianise, sampling
from sparsetheory.gpu.bayesian.layers.modes import variational_layers

DATA = torch.Generator().manual_seed(3)
X, Y = torch.randn(24, 5, generator=DATA), torch.randint(3, (24,), generator=DATA)


def _setup(**options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 3))
    bayesianise(model, 0.4, prior_std=0.5, mu_std="fan_in", sigma_init=(0.3, 0.1), dense_first=False, generator=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return model, optimizer, SSVIScheduler(model, optimizer, **{"period": 4, "t_end": 40, **options})


def _dense(model, x, y):
    """The dense gradients of the means without noise, by a copy."""
    twin = deepcopy(model)
    layers = list(variational_layers(twin).values())
    for layer in layers:
        layer.dense_gradient = True
    with sampling(twin, "mean"):
        return torch.autograd.grad(functional.cross_entropy(twin(x), y), [layer.weight for layer in layers])


def _means(scheduler):
    scheduler._dense_gradients.end_step(None)
    return scheduler._dense_gradients.means()


@pytest.mark.parametrize("set_to_none", [True, False])
def test_several_backward_passes_before_a_step_add_up(set_to_none):
    model, optimizer, scheduler = _setup(noise_free_grad=True)
    for _ in range(3):
        optimizer.zero_grad(set_to_none=set_to_none)
        functional.cross_entropy(model(X), Y).backward()
        optimizer.step()
    wanted = _dense(model, X, Y)
    optimizer.zero_grad(set_to_none=set_to_none)
    for x, y in zip(X.split(8), Y.split(8), strict=True):
        (functional.cross_entropy(model(x), y) / 3).backward()
    masked = [layer.weight.grad.clone() for layer in variational_layers(model).values()]
    for gradient, dense, small, layer in zip(
        _means(scheduler), wanted, masked, variational_layers(model).values(), strict=True
    ):
        torch.testing.assert_close(gradient, dense)
        torch.testing.assert_close(small, torch.where(layer.mask, dense, 0))
        assert bool(dense[~layer.mask].any())


@pytest.mark.parametrize("set_to_none", [True, False])
def test_a_batch_that_is_thrown_away_does_not_count(set_to_none):
    model, optimizer, scheduler = _setup(noise_free_grad=True)
    scheduler.request()
    wanted = _dense(model, X[:8], Y[:8])
    functional.cross_entropy(model(X), Y).backward()
    optimizer.zero_grad(set_to_none=set_to_none)
    functional.cross_entropy(model(X[:8]), Y[:8]).backward()
    for gradient, dense in zip(_means(scheduler), wanted, strict=True):
        torch.testing.assert_close(gradient, dense)


def test_gradients_of_the_last_steps_are_averaged():
    model, optimizer, scheduler = _setup(grad_accumulation=3)
    for layer in variational_layers(model).values():
        layer.sampling = "mean"
    found, wanted = [], []
    adopt = scheduler._take_means
    scheduler._take_means = lambda: (adopt(), found.append([dense[0].clone() for dense in scheduler._dense]))
    for step in range(8):
        if step % 4 == 0:
            wanted.append([])
        batch = slice(3 * step % 12, 3 * step % 12 + 12)
        if step % 4:
            wanted[-1].append(_dense(model, X[batch], Y[batch]))
        optimizer.zero_grad()
        functional.cross_entropy(model(X[batch]), Y[batch]).backward()
        optimizer.step()
    assert len(found) == len(scheduler.history) == 2
    for means, steps in zip(found, wanted, strict=True):
        for mean, parts in zip(means, zip(*steps, strict=True), strict=True):
            torch.testing.assert_close(mean, sum(parts) / 3)


@pytest.mark.parametrize("noise_free", [True, False])
def test_only_the_minibatch_of_the_swap_is_without_noise(noise_free):
    model, optimizer, _ = _setup(noise_free_grad=noise_free, grad_accumulation=2)
    for step in range(1, 9):
        with torch.no_grad():
            looked = model(X)
        optimizer.zero_grad()
        output = model(X)
        with torch.no_grad(), sampling(model, "mean"):
            plain = model(X)
        # Outputs without gradients are predictions of the user, noisy as ever.
        assert not torch.equal(looked, plain)
        assert torch.equal(output, plain) == (noise_free and step % 4 == 0)
        functional.cross_entropy(output, Y).backward()
        optimizer.step()
    assert {layer.sampling for layer in variational_layers(model).values()} == {"local"}


def test_layers_get_their_settings_back_when_a_forward_pass_fails():
    model, _, scheduler = _setup(noise_free_grad=True)
    scheduler.request()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        model(torch.ones(2, 7))
    layers = list(variational_layers(model).values())
    assert {(layer.sampling, layer.dense_gradient) for layer in layers} == {("local", False)}


def test_dense_gradients_are_computed_in_the_steps_of_swaps_only():
    model, optimizer, _ = _setup(grad_accumulation=2)
    layer = model[0]
    seen = []
    layer.register_forward_pre_hook(lambda module, args: seen.append(module.dense_gradient))
    for _ in range(8):
        optimizer.zero_grad()
        functional.cross_entropy(model(X), Y).backward()
        optimizer.step()
    assert seen == [False, False, True, True] * 2


def test_a_forward_pass_that_is_computed_again_in_the_backward_pass():
    masks = []
    for again in (True, False):
        model, optimizer, scheduler = _setup(noise_free_grad=True)
        for layer in variational_layers(model).values():
            layer.sampling = "mean"
        for _ in range(8):
            optimizer.zero_grad()
            output = checkpoint(model, X, use_reentrant=False) if again else model(X)
            functional.cross_entropy(output, Y).backward()
            optimizer.step()
        masks.append([event.digest for event in scheduler.history])
    assert len(masks[0]) == 2
    assert masks[0] == masks[1]


def test_a_scaled_loss_swaps_as_a_plain_one():
    masks = []
    for scale in (1.0, 1024.0):
        model, optimizer, scheduler = _setup()
        scaler = torch.amp.GradScaler("cpu", init_scale=scale, enabled=scale != 1)
        torch.manual_seed(1)
        for _ in range(12):
            optimizer.zero_grad()
            scaler.scale(functional.cross_entropy(model(X), Y)).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            scaler.step(optimizer)
            scaler.update()
        masks.append([event.digest for event in scheduler.history])
    assert len(masks[0]) == 3
    assert masks[0] == masks[1]


def test_gradients_that_are_clipped_between_backward_passes_still_add_up():
    model, _, scheduler = _setup(noise_free_grad=True)
    scheduler.request()
    wanted = [_dense(model, x, y) for x, y in zip(X.split(12), Y.split(12), strict=True)]
    for x, y in zip(X.split(12), Y.split(12), strict=True):
        functional.cross_entropy(model(x), y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1e9)
    for gradient, *parts in zip(_means(scheduler), *wanted, strict=True):
        torch.testing.assert_close(gradient, sum(parts))


@pytest.mark.parametrize("set_to_none", [True, False])
def test_a_step_that_a_scaler_leaves_out_is_made_up_for(set_to_none):
    model, optimizer, scheduler = _setup()
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for step in range(5):
        optimizer.zero_grad(set_to_none=set_to_none)
        loss = functional.cross_entropy(model(X), Y)
        scaler.scale(loss * float("inf") if step == 3 else loss).backward()
        scaler.step(optimizer)
        scaler.update()
        assert len(scheduler.history) == (step == 4)
    assert scheduler.step == 4
    assert all(bool(p.isfinite().all()) for p in model.parameters())


@pytest.mark.parametrize("set_to_none", [True, False])
def test_a_fused_optimiser_that_leaves_out_a_step_makes_up_for_the_swap(set_to_none, recwarn):
    model, _, scheduler = _setup()
    scheduler.detach()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=True)
    scheduler = SSVIScheduler(model, optimizer, period=4, t_end=40, min_swaps=1, noise_free_grad=True)
    recwarn.clear()
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    found, adopt = [], scheduler._take_means
    scheduler._take_means = lambda: (adopt(), found.extend(dense[0].clone() for dense in scheduler._dense))
    for step in range(5):
        optimizer.zero_grad(set_to_none=set_to_none)
        loss = functional.cross_entropy(model(X), Y)
        scaler.scale(loss * float("inf") if step == 3 else loss).backward()
        wanted = _dense(model, X, Y)
        scaler.step(optimizer)
        scaler.update()
        assert len(scheduler.history) == (step == 4)
    # In units of the loss, though the optimiser sees a scaled one.
    for gradient, dense in zip(found, wanted, strict=True):
        torch.testing.assert_close(gradient, dense)
    assert scheduler.report().n_left_out == 0
    assert not [str(warning.message) for warning in recwarn if "not finite" in str(warning.message)]


def test_a_swap_that_is_asked_for_after_the_end_costs_no_dense_gradients():
    model, optimizer, scheduler = _setup(period=2, t_end=3)
    seen = []
    for step in range(6):
        if step == 3:
            scheduler.request()
            model[0].register_forward_pre_hook(lambda module, args: seen.append(module.dense_gradient))
        optimizer.zero_grad()
        functional.cross_entropy(model(X), Y).backward()
        optimizer.step()
    assert seen == [False] * 3
    assert [event.step for event in scheduler.history] == [2]


def test_a_copy_of_the_model_does_not_disturb():
    model, optimizer, scheduler = _setup(noise_free_grad=True)
    scheduler.request()
    twin = deepcopy(model)
    wanted = _dense(model, X, Y)
    functional.cross_entropy(model(X), Y).backward()
    functional.cross_entropy(twin(X[:3]), Y[:3]).backward()
    for layer in variational_layers(twin).values():
        assert not layer.weight.grad[~layer.mask].any()
    for gradient, dense in zip(_means(scheduler), wanted, strict=True):
        torch.testing.assert_close(gradient, dense)
    optimizer.zero_grad()


@pytest.mark.parametrize("when", ["before", "forward", "backward"])
def test_a_swap_that_is_asked_for_within_a_step_has_dense_gradients(when):
    model, optimizer, scheduler = _setup(noise_free_grad=True, period=30)
    layers = list(variational_layers(model).values())
    found, adopt = [], scheduler._take_means
    scheduler._take_means = lambda: (adopt(), found.extend(dense[0].clone() for dense in scheduler._dense))
    for step in range(4):
        optimizer.zero_grad()
        if step == 1 and when == "before":
            scheduler.request()
        loss = functional.cross_entropy(model(X), Y)
        if step == 1 and when == "forward":
            scheduler.request()
        wanted, masks = _dense(model, X, Y), [layer.mask.clone() for layer in layers]
        loss.backward()
        if step == 1 and when == "backward":
            scheduler.request()
        optimizer.step()
        assert len(scheduler.history) == (step >= (1 if when == "before" else 2))
        if found:
            for gradient, dense, mask in zip(found, wanted, masks, strict=True):
                torch.testing.assert_close(gradient, dense)
                assert bool(dense[~mask].any())
            found.clear()


def test_a_swap_without_gradients_counts_for_nothing_later():
    model, optimizer, scheduler = _setup(noise_free_grad=True)
    for _ in range(3):
        optimizer.zero_grad()
        functional.cross_entropy(model(X), Y).backward()
        optimizer.step()
    with pytest.raises(RuntimeError, match="a swap needs dense gradients"):
        optimizer.step()
    wanted = _dense(model, X, Y)
    optimizer.zero_grad()
    functional.cross_entropy(model(X), Y).backward()
    for gradient, dense in zip(_means(scheduler), wanted, strict=True):
        torch.testing.assert_close(gradient, dense)
