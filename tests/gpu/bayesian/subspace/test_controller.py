"""Swaps of weights of variational layers: what they do to masks, means, deviations and moments, against references."""

import math
import warnings
from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn import functional

from sparsetheory.gpu.bayesian import BayesLinear, SSVIScheduler, bayesianise, sampling
from sparsetheory.gpu.bayesian.layers.modes import variational_layers
from sparsetheory.gpu.core import Cosine, MaskSet, TopologyController
from sparsetheory.gpu.dynamic import gradient_magnitude, magnitude

TORCH_OPTIMISERS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-3),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1, amsgrad=True),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.5),
}


def _model(density=0.3, *, dense_first=False, seed=0, device="cpu", dtype=torch.float32):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Linear(20, 3)).to(device=device, dtype=dtype)
    return bayesianise(
        model,
        density,
        prior_std=0.5,
        mu_std="fan_in",
        sigma_init=(0.05, 0.02),
        dense_first=dense_first,
        generator=seed,
    )


def _batch(seed, model):
    generator = torch.Generator().manual_seed(seed)
    weight = next(model.parameters())
    x, y = torch.randn(16, 6, generator=generator), torch.randint(3, (16,), generator=generator)
    return x.to(weight), y.to(weight.device)


def _step(model, optimizer, scheduler, seed, *, between=lambda: None):
    x, y = _batch(seed, model)
    optimizer.zero_grad()
    loss = functional.cross_entropy(model(x).float(), y) + 1e-3 * scheduler.kl()
    loss.backward()
    between()
    optimizer.step()


def _setup(kind="SGD", **options):
    model = _model(**{key: options.pop(key) for key in ("dense_first", "device", "dtype") if key in options})
    optimizer = TORCH_OPTIMISERS[kind](model.parameters())
    return model, optimizer, SSVIScheduler(model, optimizer, **{"period": 3, "t_end": 40, **options})


def _layers(model):
    return list(variational_layers(model).values())


@pytest.mark.parametrize("kind", TORCH_OPTIMISERS)
def test_counts_stay_and_everything_off_the_masks_is_zero(kind, device):
    model, optimizer, scheduler = _setup(kind, device=device)
    counts = [int(layer.mask.sum()) for layer in _layers(model)]
    assert counts == [36, 18]
    for step in range(1, 25):
        _step(model, optimizer, scheduler, step)
        assert [int(layer.mask.sum()) for layer in _layers(model)] == counts
        for layer in _layers(model):
            for parameter in (layer.weight, layer.rho):
                assert not parameter[~layer.mask].any()
                kept = [x for x in optimizer.state[parameter].values() if getattr(x, "shape", 0) == parameter.shape]
                assert not any(bool(one[~layer.mask].any()) for one in kept)
        assert len(scheduler.history) == step // 3
    assert scheduler.step == 24
    assert all(event.n_grown > 0 for event in scheduler.history)
    assert len({event.digest for event in scheduler.history}) == 8
    assert scheduler.report().explored > scheduler.report().density


@pytest.mark.parametrize("kind", TORCH_OPTIMISERS)
def test_a_swap_moves_no_surviving_weight_and_no_state(kind):
    model, optimizer, scheduler = _setup(kind)
    for step in range(2):
        _step(model, optimizer, scheduler, step)
    before, states = deepcopy(list(model.parameters())), deepcopy(optimizer.state_dict()["state"])
    masks = {id(p): layer.mask.clone() for layer in _layers(model) for p in (layer.weight, layer.rho)}
    gradients = []
    _step(model, optimizer, scheduler, 2, between=lambda: gradients.extend(p.grad for p in model.parameters()))
    assert len(scheduler.history) == 1
    # The user's gradients are still there after the step.
    assert all(p.grad is one for p, one in zip(model.parameters(), gradients, strict=True))
    now = {id(p): layer.mask for layer in _layers(model) for p in (layer.weight, layer.rho)}
    for index, (old, parameter) in enumerate(zip(before, model.parameters(), strict=True)):
        kept = masks.get(id(parameter), torch.tensor(True)) & now.get(id(parameter), torch.tensor(True))
        assert torch.equal(parameter[kept.expand_as(parameter)], old[kept.expand_as(old)])
        for key, value in optimizer.state[parameter].items():
            theirs = states[index][key]
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                assert torch.equal(value, torch.where(kept, theirs, 0)), key
            else:
                assert value == theirs, key


def _expected_swap(layer, gradient, m):
    """Kept, grown and their starts by hand, from full sorts in float64."""
    mask = layer.mask.flatten()
    mu, rho = layer.weight.detach().flatten().double(), layer.rho.detach().flatten().double()
    ratio = mu.abs() / functional.softplus(rho)
    ratio[~mask] = -math.inf
    kept = torch.zeros_like(mask)
    kept[ratio.argsort(descending=True)[: int(mask.sum()) - m]] = True
    score = gradient.flatten().double().abs()
    score[kept] = -1
    grown = torch.zeros_like(mask)
    grown[score.argsort(descending=True)[:m]] = True
    new = grown & ~mask
    after_mu, after_rho = torch.where(kept | (grown & mask), mu, 0), torch.where(kept | (grown & mask), rho, 0)
    after_rho[new] = rho[(kept | grown) & mask].mean()
    shape = layer.mask.shape
    return (kept | grown).reshape(shape), after_mu.reshape(shape), after_rho.reshape(shape)


def test_a_swap_is_what_a_computation_by_hand_says():
    model, optimizer, scheduler = _setup()
    for step in range(1, 10):
        if step % 3:
            _step(model, optimizer, scheduler, step)
            continue
        # The same noise, and gradients of a copy without any mask between the means and the loss.
        twin = deepcopy(model)
        for layer in _layers(twin):
            layer.dense_gradient = True
        x, y = _batch(step, model)
        torch.manual_seed(step)
        loss = functional.cross_entropy(twin(x), y) + 1e-3 * sum(layer.kl() for layer in _layers(twin))
        dense = torch.autograd.grad(loss, [layer.weight for layer in _layers(twin)])
        share = 0.15 * (1 + math.cos(math.pi * step / 40))
        wanted = [
            _expected_swap(layer, gradient, int(share * int(layer.mask.sum())))
            for layer, gradient in zip(_layers(model), dense, strict=True)
        ]
        torch.manual_seed(step)
        _step(model, optimizer, scheduler, step)
        for layer, (mask, mu, rho) in zip(_layers(model), wanted, strict=True):
            assert torch.equal(layer.mask, mask)
            torch.testing.assert_close(layer.weight.detach().double(), mu)
            torch.testing.assert_close(layer.rho.detach().double(), rho)
    assert len(scheduler.history) == 3


def test_clipping_sees_the_norm_of_what_is_trained_in_every_step():
    model, optimizer, scheduler = _setup()
    for step in range(1, 7):
        twin, norms = deepcopy(model), []
        x, y = _batch(step, model)
        torch.manual_seed(step)
        loss = functional.cross_entropy(twin(x), y) + 1e-3 * sum(layer.kl() for layer in _layers(twin))
        masked = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(twin.parameters()))])
        torch.manual_seed(step)

        def clip(norms=norms):
            norms.append(nn.utils.clip_grad_norm_(model.parameters(), 1e9))

        _step(model, optimizer, scheduler, step, between=clip)
        torch.testing.assert_close(norms[0], masked.norm())


def test_a_deviation_parameter_of_zero_is_a_weight_like_any_other():
    model, optimizer, scheduler = _setup(criterion="mean")
    layer = _layers(model)[0]
    counts = int(layer.mask.sum())
    with torch.no_grad():
        layer.rho[layer.mask] = 0.0  # a standard deviation of 0.69
    first = layer.mask.clone()
    assert bool((layer.sigma[first] > 0.69).all())
    for step in range(3):
        _step(model, optimizer, scheduler, step)
    assert int(layer.mask.sum()) == counts
    assert int((first & layer.mask).sum()) >= counts - int(0.3 * counts)


@pytest.mark.parametrize("criterion", ["mean", "snr", "savage_dickey"])
def test_active_weights_of_mean_zero_go_before_weights_that_are_not_there(criterion):
    model, optimizer, scheduler = _setup(criterion=criterion, grow_std="eps")
    layer = _layers(model)[0]
    _step(model, optimizer, scheduler, 0)
    _step(model, optimizer, scheduler, 1)
    with torch.no_grad():
        layer.weight.zero_()
    first = layer.mask.clone()
    _step(model, optimizer, scheduler, 2)
    # Ties or not, exactly the number of the schedule leaves at most.
    left = int((first & ~layer.mask).sum())
    assert left == int((layer.mask & ~first).sum())
    assert left <= int(0.15 * (1 + math.cos(math.pi * 3 / 40)) * int(first.sum()))
    assert len(scheduler.history) == 1


@pytest.mark.parametrize("kind", TORCH_OPTIMISERS)
def test_moments_of_new_weights_are_zero_after_the_swap(kind):
    model, optimizer, scheduler = _setup(kind)
    for step in range(2):
        _step(model, optimizer, scheduler, step)
    first = [layer.mask.clone() for layer in _layers(model)]
    _step(model, optimizer, scheduler, 2)
    for layer, old in zip(_layers(model), first, strict=True):
        new = layer.mask & ~old
        assert bool(new.any())
        assert not layer.weight[new].any()
        for parameter in (layer.weight, layer.rho):
            kept = [x for x in optimizer.state[parameter].values() if getattr(x, "shape", 0) == parameter.shape]
            assert kept
            assert not any(bool(one[new].any()) for one in kept)
            assert any(bool(one[layer.mask & old].any()) for one in kept)


def test_the_first_move_of_a_new_weight_under_adam_is_3_learning_rates():
    weight = BayesLinear(4, 1, bias=False, sampling="mean")
    weight.set_mask(torch.tensor([[True, True, True, False]]))
    with torch.no_grad():
        weight.weight.copy_(torch.tensor([[1.0, 0.9, 0.1, 0.0]]))
        weight.rho.fill_(-3.0).masked_fill_(~weight.mask, 0)
    optimizer = torch.optim.Adam(weight.parameters(), lr=1e-4)
    scheduler = SSVIScheduler(weight, optimizer, period=400, t_end=10000, drop_fraction=0.5)
    x = torch.tensor([[1.0, 1.0, 0.01, 1.0]])
    for _ in range(401):
        optimizer.zero_grad()
        before = weight.weight.detach().clone()
        (weight(x) - 10).sum().backward()
        optimizer.step()
    assert weight.mask.tolist() == [[True, True, False, True]]
    assert len(scheduler.history) == 1
    moved = (weight.weight.detach() - before)[0]
    # Bias corrections at step 400 are 1 and 1 - 0.999**400.
    expected = 0.1 / math.sqrt(0.001) * math.sqrt(1 - 0.999**400)
    assert float(-moved[3] / 1e-4) == pytest.approx(expected, rel=1e-3)
    assert float(-moved[0] / 1e-4) == pytest.approx(1.0, rel=1e-3)


def test_new_deviations_start_below_the_average_of_the_survivors_or_tiny():
    for rule in ("mean", "eps"):
        model, optimizer, scheduler = _setup(grow_std=rule)
        for step in range(2):
            _step(model, optimizer, scheduler, step)
        first = [layer.mask.clone() for layer in _layers(model)]
        _step(model, optimizer, scheduler, 2)
        for layer, old in zip(_layers(model), first, strict=True):
            new, survivors = layer.sigma[layer.mask & ~old], layer.sigma[layer.mask & old]
            assert len(new) > 0
            if rule == "mean":
                assert bool((new < survivors.mean()).all())
                assert bool((new > survivors.min()).all())
            else:
                torch.testing.assert_close(new, torch.full_like(new, 1e-6), rtol=1e-4, atol=0)


def test_without_survivors_new_deviations_are_those_of_before():
    model, optimizer, scheduler = _setup(drop_fraction=1.0, period=3, t_end=10**9, allow_regrow=False)
    for step in range(2):
        _step(model, optimizer, scheduler, step)
    before = [layer.rho[layer.mask].double().mean() for layer in _layers(model)]
    _step(model, optimizer, scheduler, 2)
    for layer, mean in zip(_layers(model), before, strict=True):
        assert not layer.weight.any()
        torch.testing.assert_close(layer.rho[layer.mask].double().mean(), mean)


def test_no_swaps_from_the_end_on_and_steps_with_nothing_to_swap_are_ordinary():
    model, optimizer, scheduler = _setup(t_end=9)
    for step in range(1, 16):
        before = model[0].bias.detach().clone()
        _step(model, optimizer, scheduler, step)
        assert torch.equal(model[0].bias.detach(), before) == (step in (3, 6))
    assert [event.step for event in scheduler.history] == [3, 6]


def test_a_fraction_of_zero_means_static_masks():
    model, optimizer, scheduler = _setup(drop_fraction=0.0)
    first = scheduler.masks.digest()
    for step in range(7):
        before = model[0].bias.detach().clone()
        _step(model, optimizer, scheduler, step)
        assert not torch.equal(model[0].bias.detach(), before)
    assert scheduler.masks.digest() == first


def test_a_full_mask_is_dense_variational_inference_to_the_bit():
    models = []
    for with_scheduler in (True, False):
        model = _model(1.0)
        optimizer = TORCH_OPTIMISERS["AdamW"](model.parameters())
        scheduler = SSVIScheduler(model, optimizer, period=2, t_end=40) if with_scheduler else None
        torch.manual_seed(5)
        for step in range(8):
            x, y = _batch(step, model)
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(x), y) + 1e-3 * sum(layer.kl() for layer in _layers(model))
            loss.backward()
            optimizer.step()
        models.append(model)
        if scheduler is not None:
            assert scheduler.history == []
            assert scheduler.report().never_swap == ("0", "2")
    assert all(torch.equal(a, b) for a, b in zip(*(model.parameters() for model in models), strict=True))


def test_a_dense_first_layer_keeps_its_weights_at_swaps_of_others():
    model, optimizer, scheduler = _setup(dense_first=True)
    for step in range(2):
        _step(model, optimizer, scheduler, step)
    before = [layer.weight.detach().clone() for layer in _layers(model)]
    _step(model, optimizer, scheduler, 2)
    assert torch.equal(_layers(model)[0].weight.detach(), before[0])
    assert not torch.equal(_layers(model)[1].weight.detach(), before[1])
    assert scheduler.report().never_swap == ("0",)


def test_small_deviations_without_a_prior_are_the_controller_of_plain_weights():
    model, plain = _model(), nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Linear(20, 3))
    with torch.no_grad():
        for layer in _layers(model):
            layer.rho[layer.mask] = -60.0  # below the smallest deviation
        for index in (0, 2):
            plain[index].weight.copy_(model[index].weight)
            plain[index].bias.copy_(model[index].bias)
    masks = MaskSet({f"{index}.weight": model[index].mask.clone() for index in (0, 2)})
    ours = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    theirs = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9)
    scheduler = SSVIScheduler(model, ours, period=3, t_end=40, criterion="mean")
    controller = TopologyController(
        theirs,
        masks.by_parameter(plain),
        drop=magnitude,
        grow=gradient_magnitude,
        fraction=Cosine(0.3, 40),
        every=3,
        skip_update="state",
    )
    for step in range(30):
        for network, optimizer in ((model, ours), (plain, theirs)):
            x, y = _batch(step, network)
            optimizer.zero_grad()
            functional.cross_entropy(network(x), y).backward()
            optimizer.step()
    assert len(scheduler.history) == len(controller.history) == 10
    for index in (0, 2):
        assert torch.equal(model[index].mask, masks[f"{index}.weight"])
        torch.testing.assert_close(model[index].weight, plain[index].weight, rtol=1e-5, atol=1e-6)


def test_layers_too_small_to_swap_are_named_once_and_may_be_made_to_swap():
    def make(**options):
        model = bayesianise(nn.Sequential(nn.Linear(6, 20), nn.Linear(20, 2)), 0.05, dense_first=False, generator=0)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        return model, optimizer, SSVIScheduler(model, optimizer, period=2, t_end=20, **options)

    with pytest.warns(RuntimeWarning, match=r"^1 never swaps: .* raise drop_fraction or min_swaps"):
        model, optimizer, scheduler = make()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = model[1].mask.clone()
        for _ in range(6):
            optimizer.zero_grad()
            model(torch.ones(2, 6)).sum().backward()
            optimizer.step()
        assert torch.equal(model[1].mask, first)
        assert int(model[1].mask.sum()) == 2
        assert scheduler.report().never_swap == ("1",)
        model, optimizer, scheduler = make(min_swaps=1)
        for _ in range(6):
            optimizer.zero_grad()
            (model(torch.randn(4, 6)).square()).sum().backward()
            optimizer.step()
        assert [event.n_grown + event.n_regrown for event in scheduler.history] == [2, 2, 2]
    with pytest.raises(ValueError, match=r"min_swaps must be at most the weights, .*; got 3: 1 has"):
        make(min_swaps=3)


def test_a_swap_with_a_gradient_that_is_not_finite_is_left_out_with_a_warning():
    model, optimizer, scheduler = _setup()
    for step in range(2):
        _step(model, optimizer, scheduler, step)
    first = scheduler.masks.digest()

    def spoil():
        model[2].bias.grad[0] = math.inf

    with pytest.warns(RuntimeWarning, match="a gradient is not finite at step 3; its swap is left out"):
        _step(model, optimizer, scheduler, 2, between=spoil)
    assert scheduler.masks.digest() == first
    assert scheduler.report().n_left_out == 1
    with torch.no_grad():
        model[2].bias.zero_()
        optimizer.state[model[2].bias].clear()
    for step in range(3, 6):
        _step(model, optimizer, scheduler, step)
    assert [event.step for event in scheduler.history] == [6]


def test_infinite_dense_gradients_count_though_the_masked_ones_are_finite():
    model, optimizer, scheduler = _setup()
    x, y = _batch(0, model)
    # An input that no active weight of the first layer sees, and whose gradients are therefore all off the mask.
    with torch.no_grad():
        model[0].mask[:, 0] = False
        model[0].weight[:, 0] = 0
        model[0].rho[:, 0] = 0
    x[:, 0] = 1e19
    optimizer.zero_grad()
    scheduler.request()
    (1e22 * functional.cross_entropy(model(x), y)).backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters())
    with pytest.warns(RuntimeWarning, match="not finite"):
        optimizer.step()
    assert scheduler.history == []


def test_a_swap_before_any_backward_pass_is_an_error_that_changes_nothing():
    model, optimizer, scheduler = _setup()
    _step(model, optimizer, scheduler, 0)
    _step(model, optimizer, scheduler, 1)
    before = deepcopy(model.state_dict())
    optimizer.zero_grad()
    with pytest.raises(RuntimeError, match=r"a swap needs dense gradients, which backward passes .* before step 3"):
        optimizer.step()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    _step(model, optimizer, scheduler, 2)
    assert [event.step for event in scheduler.history] == [3]


def test_a_swap_may_be_requested_before_the_forward_pass():
    model, optimizer, scheduler = _setup()
    scheduler.request()
    _step(model, optimizer, scheduler, 0)
    assert [event.step for event in scheduler.history] == [1]
    # Later it is that of the next step, whose backward pass sets dense gradients aside.
    _step(model, optimizer, scheduler, 1, between=scheduler.request)
    assert [event.step for event in scheduler.history] == [1]
    _step(model, optimizer, scheduler, 3)
    assert [event.step for event in scheduler.history] == [1, 3]


def test_a_layer_without_a_part_in_the_loss_stays_as_it_is():
    model, optimizer, scheduler = _setup()
    first = model[2].mask.clone()
    for _ in range(3):
        optimizer.zero_grad()
        x, _ = _batch(0, model)
        model[0](x).square().sum().backward()
        optimizer.step()
    assert torch.equal(model[2].mask, first)
    assert scheduler.history[0].n_grown > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions(dtype):
    model, optimizer, scheduler = _setup(dtype=dtype)
    for step in range(9):
        _step(model, optimizer, scheduler, step)
    assert len(scheduler.history) == 3
    assert all(p.dtype == dtype for p in model.parameters())
    assert all(event.n_grown > 0 for event in scheduler.history)


def test_ratios_of_half_precision_are_told_apart():
    layer = BayesLinear(6, 1, bias=False).bfloat16()
    layer.set_mask(torch.tensor([[True] * 4 + [False] * 2]))
    with torch.no_grad():
        # The deviations in the middle, 0.3143 and 0.3154, are one number in bfloat16.
        layer.weight[0, :4] = torch.tensor([1.0, 0.5, 0.5, 1.0])
        layer.rho[0, :4] = torch.tensor([-3.4, -0.99609375, -0.9921875, -3.4])
    assert layer.sigma[0, 1] == layer.sigma[0, 2]
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    scheduler = SSVIScheduler(layer, optimizer, period=2, t_end=1000)
    scheduler.request()
    layer(torch.tensor([[0.0, 0.0, 0.0, 0.0, 1.0, 2.0]]).bfloat16()).sum().backward()
    optimizer.step()
    assert layer.mask.tolist() == [[True, True, False, True, False, True]]


@pytest.mark.parametrize("criterion", ["mean", "snr", "snr_abs", "mean_abs", "exp_abs", "snr_exp_abs", "savage_dickey"])
def test_every_criterion_works_on_deviations_that_underflow(criterion):
    model, optimizer, scheduler = _setup(criterion=criterion)
    with torch.no_grad():
        model[0].rho[model[0].mask] = torch.linspace(-200, 2, 36)
    for step in range(3):
        _step(model, optimizer, scheduler, step)
    assert len(scheduler.history) == 1
    assert all(bool(p.isfinite().all()) for p in model.parameters())


def test_snr_of_the_size_swaps_as_snr_does():
    digests = []
    for criterion in ("snr", "snr_abs"):
        model, optimizer, scheduler = _setup(criterion=criterion)
        torch.manual_seed(3)
        for step in range(30):
            _step(model, optimizer, scheduler, step)
        digests.append([event.digest for event in scheduler.history])
    assert len(digests[0]) == 10
    assert digests[0] == digests[1]


def test_gains_in_nats_are_those_of_the_loss_times_n_over_the_temperature():
    def masks(factor, **options):
        model, optimizer, scheduler = _setup(rule="gain", **options)
        for step in range(3):
            optimizer.zero_grad()
            x, y = _batch(step, model)
            with sampling(model, "mean"):
                (factor * functional.cross_entropy(model(x), y)).backward()
            for group in optimizer.param_groups:
                group["lr"] = 0.0
            optimizer.step()
        return [event.digest for event in scheduler.history]

    assert len(masks(1.0, n_samples=100)) == 1
    assert masks(1.0, n_samples=100) == masks(1.0, n_samples=50, temperature=0.5)
    assert masks(1.0, n_samples=100) != masks(1.0, n_samples=100, temperature=1e-4)
    with pytest.raises(ValueError, match="n_samples must be given for the rule 'gain'"):
        _setup(rule="gain")


def test_whole_rows_and_one_budget_for_all_layers():
    model = _model(1.0)
    model[0].set_mask((torch.arange(20) < 10)[:, None].expand(20, 6))
    optimizer = TORCH_OPTIMISERS["SGD"](model.parameters())
    scheduler = SSVIScheduler(model, optimizer, period=3, t_end=40, units={"0": "rows"}, min_active=2)
    for step in range(12):
        _step(model, optimizer, scheduler, step)
    rows = model[0].mask.sum(1)
    assert set(rows.tolist()) == {0, 6}
    assert int((rows > 0).sum()) == 10
    assert int(scheduler.fired["0.weight"].sum()) > 60
    model = _model()
    optimizer = TORCH_OPTIMISERS["SGD"](model.parameters())
    with pytest.warns(UserWarning, match="a global budget compares scores of all layers"):
        scheduler = SSVIScheduler(model, optimizer, period=3, t_end=40, budget="global")
    for step in range(12):
        _step(model, optimizer, scheduler, step)
    counts = [int(layer.mask.sum()) for layer in _layers(model)]
    assert sum(counts) == 54
    assert counts != [36, 18]


def test_after_detaching_nothing_happens_and_a_context_manager_detaches():
    model, optimizer, scheduler = _setup()
    with scheduler:
        _step(model, optimizer, scheduler, 0)
    first = scheduler.masks.digest()
    for step in range(6):
        _step(model, optimizer, scheduler, step)
    assert scheduler.step == 1
    assert scheduler.masks.digest() == first
    assert not any(layer._forward_pre_hooks or layer._forward_hooks for layer in _layers(model))
    scheduler.attach()
    scheduler.attach()
    for step in range(6):
        _step(model, optimizer, scheduler, step)
    assert scheduler.step == 7
    assert [event.step for event in scheduler.history] == [3, 6]
    with pytest.raises(KeyError), SSVIScheduler(model, optimizer, period=2, t_end=9):
        raise KeyError
    assert len(optimizer._optimizer_step_pre_hooks) == 1


def test_masks_that_were_replaced_are_noticed():
    model, optimizer, scheduler = _setup()
    model[0].mask = model[0].mask.clone()
    with pytest.raises(RuntimeError, match="the mask of 0 must be the tensor that the scheduler was given"):
        _step(model, optimizer, scheduler, 0)


def test_frozen_layers_stay_and_half_frozen_ones_are_an_error():
    model = _model()
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    scheduler = SSVIScheduler(model, optimizer, period=3, t_end=40)
    assert list(scheduler.masks) == ["2.weight"]
    first = model[0].mask.clone()
    for step in range(6):
        _step(model, optimizer, scheduler, step)
    assert torch.equal(model[0].mask, first)
    assert len(scheduler.history) == 2
    model[2].rho.requires_grad_(False)
    with pytest.raises(ValueError, match="optimizer must train both weight and rho of 2; it has only weight"):
        SSVIScheduler(model, optimizer, period=3, t_end=40)


def test_a_layer_that_is_called_twice_counts_once():
    layer = bayesianise(nn.Sequential(nn.Linear(5, 5)), 0.4, prior_std=0.5, dense_first=False, generator=0)[0]
    model = nn.Sequential(layer, nn.Tanh(), layer)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = SSVIScheduler(model, optimizer, period=2, t_end=40)
    for step in range(4):
        optimizer.zero_grad()
        model(torch.randn(8, 5, generator=torch.Generator().manual_seed(step))).square().sum().backward()
        optimizer.step()
    assert list(scheduler.report().n_active.values()) == [10]
    assert len(scheduler.history) == 2
    other = deepcopy(layer)
    other.weight = layer.weight
    model = nn.Sequential(layer, other)
    with pytest.raises(ValueError, match="layers must have weights of their own; 0 and 1 share one"):
        SSVIScheduler(model, torch.optim.SGD(model.parameters(), lr=0.1), period=2, t_end=40)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"density": 0.0}, r"density must be"),
        ({"density": 1.5}, r"density must be"),
        ({"density": 0.1}, r"density must be that of the masks; got 0.1 where 0 keeps 36 of 120"),
        ({"drop_fraction": 1.2}, r"drop_fraction must be"),
        ({"period": 0}, r"period must be"),
        ({"period": 4, "grad_accumulation": 4}, r"period must be above grad_accumulation, 4; got 4"),
        ({"t_end": 3}, r"t_end must be above period, 3"),
        ({"criterion": "size"}, r"criterion must be"),
        ({"rule": "best"}, r"rule must be"),
        ({"noise_free_grad": 3}, r"noise_free_grad must be"),
        ({"grow_std": "zero"}, r"grow_std must be"),
        ({"min_swaps": -1}, r"min_swaps must be"),
        ({"allow_regrow": "no"}, r"allow_regrow must be"),
        ({"units": {"1": "rows"}}, r"units must be given by names of layers, 0, 2; got 1"),
        ({"rule": "gain", "n_samples": 10, "temperature": 0.0}, r"temperature must be"),
    ],
)
def test_arguments_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        _setup(**options)


def test_models_that_a_scheduler_cannot_take():
    plain = nn.Linear(3, 2)
    with pytest.raises(ValueError, match=r"model must have layers with normal weights .* call bayesianise"):
        SSVIScheduler(plain, torch.optim.SGD(plain.parameters(), lr=0.1), period=3, t_end=40)
    model = _model()
    model[0].set_mask(torch.zeros(20, 6, dtype=torch.bool))
    with pytest.raises(ValueError, match="masks must keep at least 1 weight; that of 0 keeps none of 120"):
        SSVIScheduler(model, torch.optim.SGD(model.parameters(), lr=0.1), period=3, t_end=40)
    layer = BayesLinear(3, 2)
    for options in ({"criterion": "savage_dickey"}, {"rule": "gain", "n_samples": 10}):
        with pytest.raises(ValueError, match="needs a prior_std in each layer; got None in number 0"):
            SSVIScheduler(layer, torch.optim.SGD(layer.parameters(), lr=0.1), period=3, t_end=40, **options)


def test_two_schedulers_of_one_optimiser_leave_gradients_where_they_are():
    models = [_model(seed=0), _model(seed=1)]
    optimizer = torch.optim.SGD([p for model in models for p in model.parameters()], lr=0.1)
    schedulers = [SSVIScheduler(model, optimizer, period=3, t_end=40) for model in models]
    for step in range(3):
        optimizer.zero_grad()
        sum(functional.cross_entropy(model(x), y) for model in models for x, y in [_batch(step, model)]).backward()
        gradients = [p.grad for model in models for p in model.parameters()]
        optimizer.step()
        now = [p.grad for model in models for p in model.parameters()]
        assert all(a is not None and a is b for a, b in zip(gradients, now, strict=True))
    assert [len(scheduler.history) for scheduler in schedulers] == [1, 1]


def test_a_score_that_raises_leaves_a_scheduler_that_goes_on():
    model, optimizer, scheduler = _setup()
    for step in range(2):
        _step(model, optimizer, scheduler, step)
    choose = scheduler._rules.apply

    def broken(*args):
        choose(*args)
        model[0].weight.data.fill_(1.0)
        raise KeyError("score")

    object.__setattr__(scheduler._rules, "apply", broken)
    with pytest.raises(KeyError, match="score"):
        _step(model, optimizer, scheduler, 2)
    assert all(p.grad is not None for p in model.parameters())
    assert not any(bool(layer.weight[~layer.mask].any()) for layer in _layers(model))
    assert scheduler.state_dict()["subspace"]["gradients"]["n_steps"] == 0
    object.__setattr__(scheduler._rules, "apply", choose)
    for step in range(3, 6):
        before = model[0].bias.detach().clone()
        _step(model, optimizer, scheduler, step)
        assert torch.equal(model[0].bias.detach(), before) == (step == 5)
    assert [event.step for event in scheduler.history] == [6]


def test_frozen_weights_are_counted_from_the_step_they_are_given_on():
    model, optimizer, scheduler = _setup()
    masks = scheduler.masks.digest()
    scheduler.set_frozen({layer.weight: torch.ones_like(layer.mask) for layer in _layers(model)})
    for step in range(4):
        before = model[0].bias.detach().clone()
        _step(model, optimizer, scheduler, step)
        assert not torch.equal(model[0].bias.detach(), before)
    assert scheduler.masks.digest() == masks
    assert scheduler.report().never_swap == ("0", "2")
    scheduler.set_frozen({})
    for step in range(2):
        _step(model, optimizer, scheduler, step)
    assert [event.step for event in scheduler.history] == [6]


def test_masks_that_others_load_are_counted_anew():
    model, optimizer, scheduler = _setup()
    model.load_state_dict(_model(1.0).state_dict())
    for step in range(3):
        before = model[0].bias.detach().clone()
        _step(model, optimizer, scheduler, step)
        # Full masks have nothing to swap: each step is an update.
        assert not torch.equal(model[0].bias.detach(), before)
    model.load_state_dict(_model(0.2).state_dict())
    for step in range(3):
        _step(model, optimizer, scheduler, step)
    assert [event.step for event in scheduler.history] == [6]
    assert scheduler.report().n_active == {"0": 24, "2": 12}


def test_states_of_others_are_refused_before_anything_changes():
    options = {"rule": "gain", "n_samples": 10}
    _, _, scheduler = _setup()
    first = scheduler.masks.digest()
    state = {**scheduler.state_dict(), "step": 9}
    with pytest.raises(ValueError, match="state must be that of an SSVIScheduler; got one without 'subspace'"):
        scheduler.load_state_dict({key: value for key, value in state.items() if key != "subspace"})
    with pytest.raises(ValueError, match="the same rule; got one with second derivatives"):
        scheduler.load_state_dict({**_setup(**options)[2].state_dict(), "step": 9})
    with pytest.raises(ValueError, match="the same rule; got one without second derivatives"):
        _setup(**options)[2].load_state_dict(state)
    assert (scheduler.step, scheduler.masks.digest()) == (0, first)


@pytest.mark.parametrize(("least", "left"), [(None, 1), (0, 0), (4, 4)])
def test_a_layer_keeps_a_weight_under_one_budget_for_all(least, left):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        model, optimizer, scheduler = _setup(budget="global", drop_fraction=0.6, min_active=least)
    scores = {"drop": lambda snapshot: snapshot.weight.abs(), "grow": lambda snapshot: 1.0 - snapshot.mask.float()}
    for index in range(2):
        _step(model, optimizer, scheduler, index)
    with torch.no_grad():
        model[2].weight.mul_(1e-6)
    for name, score in scores.items():
        object.__setattr__(scheduler._rules, name, lambda snapshot, score=score: score(snapshot) - 9.0 * snapshot.index)
    _step(model, optimizer, scheduler, 2)
    assert scheduler.report().n_active == {"0": 54 - left, "2": left}


def test_a_full_layer_may_give_weights_to_another_under_one_budget_for_all():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        model, optimizer, scheduler = _setup(budget="global", dense_first=True)
    for step in range(6):
        _step(model, optimizer, scheduler, step)
    assert [event.step for event in scheduler.history] == [3, 6]
    assert sum(scheduler.report().n_active.values()) == 120 + 18
    assert scheduler.report().n_active["0"] < 120


def test_a_layer_may_be_made_to_swap_all_its_weights():
    model, optimizer, scheduler = _setup(min_swaps=18, criterion="random")
    for step in range(3):
        _step(model, optimizer, scheduler, step)
    assert scheduler.history[0].n_grown + scheduler.history[0].n_regrown == 2 * 18
    with pytest.raises(ValueError, match="min_swaps must be at most the weights, or units, of each layer; got 19: 2 "):
        _setup(min_swaps=19)
