import warnings

import pytest
import torch
from torch import nn

from sparsetheory.gpu.core.datasets import load_digits
from sparsetheory.gpu.core.models import MLP
from sparsetheory.gpu.dynamic import GradientMask, gradient_support


def _literal(gradient, q):
    """The percentile rule as it is written."""
    size = gradient.abs()
    return size >= torch.quantile(size.flatten(), q)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("q", [0.0, 0.5, 0.8])
def test_the_largest_are_chosen_within_the_mask(device, dtype, q):
    generator = torch.Generator().manual_seed(0)
    gradient = torch.randn(20, 10, generator=generator).to(device, dtype)
    mask = (torch.rand(20, 10, generator=generator) < 0.4).to(device)
    chosen = gradient_support(gradient, q, mask)
    count = min(round((1 - q) * 200), int(mask.sum()))
    assert int(chosen.sum()) == count
    assert not bool((chosen & ~mask).any())
    rest = gradient.abs()[mask & ~chosen]
    assert not len(rest) or gradient.abs()[chosen].min() >= rest.max()


def test_zeros_that_fill_the_share_do_not_let_everything_through():
    gradient = torch.zeros(100)
    gradient[::6] = torch.arange(1.0, 18.0)
    assert int(_literal(gradient, 0.8).sum()) == 100
    assert torch.equal(gradient_support(gradient, 0.8), gradient != 0)


def test_dead_pixels_of_real_digits_are_enough_for_that():
    # Gradients of the first layer are zero for pixels that are blank in the batch.
    x = torch.from_numpy(load_digits().images[:4]).flatten(1)
    x = x * (torch.arange(64) % 8 < 2)
    model = MLP([64, 32, 10], generator=0)
    nn.functional.cross_entropy(model(x), torch.arange(4)).backward()
    gradient = model[0].weight.grad
    assert bool(_literal(gradient, 0.8).all())
    chosen = gradient_support(gradient, 0.8)
    assert int(chosen.sum()) == int((gradient != 0).sum()) < 0.2 * gradient.numel()


def test_of_equal_gradients_the_first_are_chosen_in_row_major_order():
    gradient = torch.ones(3, 4).T.contiguous().T
    assert gradient_support(gradient, 0.5).flatten().nonzero().flatten().tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("q", [-0.1, 1.0, 1.5, float("nan")])
def test_q_out_of_range_is_refused(q):
    with pytest.raises(ValueError, match="q must be a number in \\[0, 1\\)"):
        gradient_support(torch.ones(3), q)
    weight = nn.Parameter(torch.ones(3))
    with pytest.raises(ValueError, match="q must be a number in \\[0, 1\\)"):
        GradientMask(torch.optim.SGD([weight], lr=0.1), {weight: torch.ones(3) > 0}, q)


OPTIMIZERS = [
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4, "nesterov": True}),
    ("Adam", {"lr": 0.01}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.01, "momentum": 0.5}),
]


def _steps(weight, optimizer, n, generator):
    for _ in range(n):
        weight.grad = torch.randn(weight.shape, generator=generator).to(weight.device)
        optimizer.step()


@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS)
def test_what_is_not_chosen_keeps_its_bits_for_29_more_steps(kind, options, device):
    generator = torch.Generator().manual_seed(0)
    weight = nn.Parameter(torch.randn(10, 6, generator=generator).to(device))
    with torch.no_grad():
        weight[:, 0] = -0.0
    optimizer = getattr(torch.optim, kind)([weight], **options)
    _steps(weight, optimizer, 5, generator)
    mask = (torch.rand(10, 6, generator=generator) < 0.5).to(device)
    gate = GradientMask(optimizer, {weight: mask}, 0.8)
    before = weight.detach().clone()
    _steps(weight, optimizer, 1, generator)
    moving = gate.moving[weight]
    assert int(moving.sum()) == 12
    assert not bool((moving & ~mask).any())
    for _ in range(29):
        _steps(weight, optimizer, 1, generator)
        assert torch.equal(gate.moving[weight], moving)
        assert torch.equal(weight.detach().view(torch.int32)[~moving], before.view(torch.int32)[~moving])
    assert bool((weight.detach() != before)[moving].all())
    _steps(weight, optimizer, 1, generator)
    assert not torch.equal(gate.moving[weight], moving)


@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS)
def test_zero_gradients_alone_would_not_hold_them(kind, options):
    """The mistake that the gate avoids: momentum and decay move what has no gradient."""
    generator = torch.Generator().manual_seed(0)
    weight = nn.Parameter(torch.randn(10, 6, generator=generator))
    optimizer = getattr(torch.optim, kind)([weight], **options)
    _steps(weight, optimizer, 5, generator)
    before, still = weight.detach().clone(), torch.rand(10, 6, generator=generator) < 0.5
    weight.grad = torch.randn(10, 6, generator=generator).masked_fill_(still, 0)
    optimizer.step()
    assert bool((weight.detach() != before)[still].all())


def test_gradients_that_are_not_chosen_are_as_if_not_computed():
    weight = nn.Parameter(torch.ones(4))
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.5)
    GradientMask(optimizer, {weight: torch.ones(4) > 0}, 0.5, every=10)
    for _ in range(2):
        weight.grad = torch.arange(1.0, 5.0)
        optimizer.step()
    assert optimizer.state[weight]["momentum_buffer"].tolist() == [0.0, 0.0, 4.5, 6.0]


def test_masks_that_change_in_place_stop_what_leaves_them():
    weight, mask = nn.Parameter(torch.ones(4)), torch.ones(4) > 0
    optimizer = torch.optim.SGD([weight], lr=0.1)
    gate = GradientMask(optimizer, {weight: mask}, 0.5, every=10)
    weight.grad = torch.tensor([1.0, 2.0, 3.0, 4.0])
    optimizer.step()
    mask[3] = False
    weight.grad = torch.ones(4)
    optimizer.step()
    assert torch.allclose(weight.detach(), torch.tensor([1.0, 1.0, 0.6, 0.6]))
    gate.refresh()
    weight.grad = torch.tensor([4.0, 3.0, 2.0, 1.0])
    optimizer.step()
    assert gate.moving[weight].tolist() == [True, True, False, False]


def test_a_gradient_of_zero_keeps_nothing_and_warns():
    weight = nn.Parameter(torch.ones(5))
    optimizer = torch.optim.SGD([weight], lr=0.1, weight_decay=0.5)
    gate = GradientMask(optimizer, {weight: torch.ones(5) > 0}, 0.2, every=3)
    weight.grad = torch.zeros(5)
    with pytest.warns(RuntimeWarning, match="shape \\(5,\\) is zero within its mask; it does not move in the next 3"):
        optimizer.step()
    assert not bool(gate.moving[weight].any())
    assert torch.equal(weight.detach(), torch.ones(5))


def test_too_few_entries_for_q_warn_and_empty_masks_do_not():
    weight, other = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight, other], lr=0.1)
    GradientMask(optimizer, {weight: torch.ones(2) > 0, other: torch.zeros(2) > 0}, 0.8)
    weight.grad = other.grad = torch.ones(2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        optimizer.step()
    assert [str(one.message).split(";")[0] for one in caught] == [
        "the gradient of a parameter of shape (2,) has 2 entries, too few for q"
    ]


def test_a_parameter_without_gradient_chooses_when_it_has_one():
    first, late = nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(4))
    optimizer = torch.optim.SGD([first, late], lr=0.1)
    full = torch.ones(4) > 0
    gate = GradientMask(optimizer, {first: full, late: full}, 0.5, every=10)
    first.grad = torch.arange(4.0)
    optimizer.step()
    assert not bool(gate.moving[late].any())
    late.grad = torch.arange(4.0, 0.0, -1.0)
    optimizer.step()
    assert gate.moving[late].tolist() == [True, True, False, False]
    assert gate.moving[first].tolist() == [False, False, True, True]


def test_gradients_that_are_not_finite_choose_nothing_and_the_choice_is_made_later():
    weight = nn.Parameter(torch.ones(4))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    gate = GradientMask(optimizer, {weight: torch.ones(4) > 0}, 0.5, every=10)
    weight.grad = torch.tensor([1.0, float("nan"), 2.0, 3.0])
    optimizer.step()
    assert torch.equal(weight.detach(), torch.ones(4))
    weight.grad = torch.arange(4.0)
    optimizer.step()
    assert gate.moving[weight].tolist() == [False, False, True, True]


def test_hooks_go_and_states_of_other_masks_are_refused():
    weight, small = nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight, small], lr=0.1)
    with GradientMask(optimizer, {weight: torch.ones(4) > 0}, 0.5) as gate:
        weight.grad = torch.arange(1.0, 5.0)
        optimizer.step()
        other = GradientMask(optimizer, {small: torch.ones(3) > 0}, 0.5)
        with pytest.raises(ValueError, match="state must be one of these masks"):
            other.load_state_dict(gate.state_dict())
        other.remove()
    weight.grad = torch.ones(4)
    optimizer.step()
    assert torch.allclose(weight.detach()[:2], torch.full((2,), 0.9))


@pytest.mark.parametrize("skipped", [False, True])
def test_a_choice_that_is_due_waits_for_finite_gradients_and_for_steps_that_are_taken(skipped):
    weight = torch.nn.Parameter(torch.ones(4))
    optimizer = torch.optim.SGD([weight], lr=0.0, fused=True)
    gate = GradientMask(optimizer, {weight: torch.ones(4, dtype=torch.bool)}, q=0.75, every=2)

    def step(*gradient):
        weight.grad = torch.tensor(gradient)
        optimizer.step()
        return gate.moving[weight].int().tolist()

    assert step(9.0, 1.0, 1.0, 1.0) == [1, 0, 0, 0]
    if skipped:
        # As a GradScaler tells a fused optimiser: the step does not count, so the choice stays for one more.
        optimizer.found_inf = torch.tensor(1.0)
        assert step(1.0, 9.0, 1.0, 1.0) == [1, 0, 0, 0]
        del optimizer.found_inf
    assert step(1.0, 9.0, 1.0, 1.0) == [1, 0, 0, 0]
    if not skipped:
        assert step(1.0, 1.0, float("inf"), 1.0) == [1, 0, 0, 0]
    assert step(1.0, 1.0, 1.0, 9.0) == [0, 0, 0, 1]
    assert step(9.0, 1.0, 1.0, 1.0) == [0, 0, 0, 1]
