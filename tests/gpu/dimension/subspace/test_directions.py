"""Directions that are chosen by gradients, and sparse coordinates."""

from functools import partial

import numpy as np
import pytest
import torch

from sparsetheory.gpu.core import UpdateGate
from sparsetheory.gpu.core.models import MLP
from sparsetheory.gpu.dimension import (
    SAID,
    DenseProjection,
    ProximalStep,
    SparseProjection,
    SubspaceModel,
    greedy_directions,
)
from sparsetheory.penalties import L1, MCP


def _pursuit(rows, n_nonzero):
    """Return the columns that matching pursuit takes to explain a constant, from the columns themselves."""
    target, chosen = np.ones(len(rows)), []
    unit = rows / np.linalg.norm(rows, axis=0)
    for _ in range(n_nonzero):
        fitted = rows[:, chosen] @ np.linalg.lstsq(rows[:, chosen], target, rcond=None)[0] if chosen else 0.0
        chosen.append(int(np.abs(unit.T @ (target - fitted)).argmax()))
    return sorted(chosen)


@pytest.mark.parametrize("seed", range(5))
def test_directions_are_those_of_the_pursuit_on_the_gradients(seed, device):
    source = torch.Generator().manual_seed(seed)
    rows = torch.randn(40, 12, generator=source, dtype=torch.float64) + torch.linspace(-1, 1, 12, dtype=torch.float64)
    mask = greedy_directions(rows.to(device), 4)
    assert mask.nonzero().flatten().tolist() == _pursuit(rows.numpy(), 4)
    assert torch.equal(greedy_directions(-3 * rows.to(device), 4), mask)


def test_a_copy_of_a_chosen_direction_is_not_chosen():
    rows = torch.randn(30, 3, generator=torch.Generator().manual_seed(0)) + 2
    doubled = torch.cat([rows, rows], dim=1)
    mask = greedy_directions(doubled, 3)
    assert mask.sum() == 3
    assert (mask[:3] | mask[3:]).all()


def test_the_mask_holds_the_other_coordinates_at_zero():
    model = SubspaceModel(MLP([6, 9, 3]), partial(DenseProjection, 10))
    x = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    y = torch.arange(20) % 3

    def loss_of(t, one, label):
        weights = {"t": t}
        output = torch.func.functional_call(model, weights, one[None])
        return torch.nn.functional.cross_entropy(output, label[None])

    gradients = torch.func.vmap(torch.func.grad(loss_of), in_dims=(None, 0, 0))(model.t.detach(), x, y)
    whole = torch.autograd.grad(torch.nn.functional.cross_entropy(model(x), y), model.t)[0]
    torch.testing.assert_close(gradients.mean(0), whole)
    mask = greedy_directions(gradients, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    with UpdateGate(optimizer, {model.t: ~mask}):
        for _ in range(10):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    assert torch.equal(model.t != 0, mask)


@pytest.mark.parametrize("wrong", [torch.ones(3), torch.ones(3, 2, dtype=torch.long), [[1.0]]])
def test_bad_gradients(wrong):
    with pytest.raises(ValueError, match="gradients must be a matrix of floating-point numbers"):
        greedy_directions(wrong, 1)
    with pytest.raises(ValueError, match="n_nonzero must be at most the number of directions, 2; got 3"):
        greedy_directions(torch.ones(3, 2), 3)
    with pytest.raises(ValueError, match="gradients must be finite"):
        greedy_directions(torch.tensor([[1.0, torch.nan]]), 1)


def test_a_proximal_step_solves_the_lasso_in_the_subspace():
    # Least squares in a subspace: X P is the sketched design. Optimality of the lasso is checked by its conditions.
    source = torch.Generator().manual_seed(0)
    x = torch.randn(60, 8, generator=source, dtype=torch.float64)
    y = x[:, :1] + 0.1 * torch.randn(60, 1, generator=source, dtype=torch.float64)
    module = torch.nn.Linear(8, 1, bias=False, dtype=torch.float64)
    model = SubspaceModel(module, partial(DenseProjection, 6, dtype=torch.float64))
    optimizer = torch.optim.SGD([model.t], lr=0.2)
    (0.5 * (model(x) - y).square().mean()).backward()
    alpha = 0.5 * float(model.t.grad.abs().max())
    with ProximalStep(optimizer, [model.t], L1(alpha)):
        for _ in range(1000):
            optimizer.zero_grad()
            (0.5 * (model(x) - y).square().mean()).backward()
            optimizer.step()
    optimizer.zero_grad()
    (0.5 * (model(x) - y).square().mean()).backward()
    t, gradient = model.t.detach(), model.t.grad
    active = t != 0
    assert 0 < active.sum() < 6
    torch.testing.assert_close(gradient[active], -alpha * t[active].sign(), atol=1e-8, rtol=0.0)
    assert gradient[~active].abs().max() < alpha


def test_scales_of_zero_leave_layers_as_they_were():
    module = MLP([6, 9, 3])
    model = SAID(module, 20, layers="module")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    ProximalStep(optimizer, [model.layer_scales], L1(1.0))
    with torch.no_grad():
        model.t.fill_(0.01)
        model.layer_scales.copy_(torch.tensor([0.05, 1.0]))
    (0 * model(torch.ones(2, 6)).sum()).backward()
    optimizer.step()
    torch.testing.assert_close(model.layer_scales.detach(), torch.tensor([0.0, 0.9]))
    merged = model.merge()
    assert torch.equal(merged[0].weight, module[0].weight)
    assert not torch.equal(merged[2].weight, module[2].weight)


def test_a_sparse_map_with_few_coordinates_changes_few_weights():
    module = MLP([16, 32, 4])
    model = SubspaceModel(module, partial(SparseProjection, 20))
    with torch.no_grad():
        model.t[3] = 1.0
    start = torch.cat([parameter.flatten() for parameter in module.parameters()])
    changed = (model.flat_parameters() != start).sum()
    assert 0 < changed < 0.15 * len(start)


def test_the_step_of_the_operator_is_the_rate_of_the_group():
    first, second = (torch.nn.Parameter(torch.tensor([1.0])) for _ in range(2))
    optimizer = torch.optim.SGD([{"params": [first], "lr": 0.5}, {"params": [second], "lr": 0.25}])
    ProximalStep(optimizer, [first, second], L1(0.4))
    (0 * (first + second)).sum().backward()
    optimizer.step()
    assert (first.item(), second.item()) == pytest.approx((0.8, 0.9))


def test_a_step_without_gradient_changes_nothing_and_bad_arguments_are_refused():
    t, other = (torch.nn.Parameter(torch.tensor([0.01])) for _ in range(2))
    optimizer = torch.optim.SGD([t], lr=0.5, fused=True)
    step = ProximalStep(optimizer, [t], MCP(1.0))
    optimizer.step()
    assert t.item() == pytest.approx(0.01)
    (0 * t).sum().backward()
    # A fused optimiser is told by a GradScaler that gradients overflowed, and leaves the step out by itself.
    optimizer.found_inf = torch.tensor(1.0)
    optimizer.step()
    assert t.item() == pytest.approx(0.01)
    del optimizer.found_inf
    optimizer.step()
    assert t.item() == 0.0
    step.remove()
    with pytest.raises(ValueError, match="parameters must be those of the optimiser; number 0 is none"):
        ProximalStep(optimizer, [other], L1(1.0))
    with pytest.raises(ValueError, match="penalty must be a penalty of sparsetheory"):
        ProximalStep(optimizer, [t], 0.1)
