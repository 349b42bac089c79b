import inspect

import pytest
import torch
from torch import nn

from sparsetheory.gpu.core.hooks.update_gate import UpdateGate

# SparseAdam takes sparse gradients only; LBFGS is refused.
NAMES = sorted(
    name
    for name in set(torch.optim.__all__) - {"Optimizer", "LBFGS", "SparseAdam"}
    if inspect.isclass(getattr(torch.optim, name)) and issubclass(getattr(torch.optim, name), torch.optim.Optimizer)
)


def _variants():
    ways = []
    for name in NAMES:
        known = ("plain", *inspect.signature(getattr(torch.optim, name)).parameters)
        ways += [pytest.param(name, way, id=f"{name}-{way}") for way in ("plain", "foreach", "fused") if way in known]
    return ways


def _make(name, way, parameters):
    kind = getattr(torch.optim, name)
    known = inspect.signature(kind).parameters
    options = {key: value for key, value in (("momentum", 0.9), ("weight_decay", 1e-2)) if key in known}
    if "foreach" in known:
        options["foreach"] = way == "foreach"
    if way == "fused":
        options.update(foreach=False, fused=True)
    return kind(parameters, lr=0.05, **options)


@pytest.mark.parametrize(("name", "way"), _variants())
def test_frozen_entries_keep_all_their_bits(name, way, device):
    generator = torch.Generator().manual_seed(0)
    weights = [nn.Parameter(torch.randn(6, 4, generator=generator).to(device)) for _ in range(2)]
    optimizer = _make(name, way, weights)

    def steps(count):
        for _ in range(count):
            for weight in weights:
                weight.grad = torch.randn(6, 4, generator=generator).to(device)
            optimizer.step()

    steps(5)
    frozen = (torch.rand(6, 4, generator=generator) < 0.5).to(device)
    with torch.no_grad():
        # Half of the frozen entries are zeros with a sign, which no comparison of values tells apart.
        weights[0][frozen & (torch.arange(4, device=device) < 2)] = -0.0
    before = [weight.detach().clone() for weight in weights]
    gate = UpdateGate(optimizer, {weights[0]: frozen})
    steps(30)
    assert torch.equal(weights[0].detach().view(torch.int32)[frozen], before[0].view(torch.int32)[frozen])
    # Rprop may return to where it was.
    assert float((weights[0] != before[0])[~frozen].float().mean()) > 0.7
    assert float((weights[1] != before[1]).float().mean()) > 0.7
    gate.remove()
    steps(1)
    assert bool((weights[0] != before[0])[frozen].any())


def test_all_ways_of_the_optimisers_are_tried():
    assert len(_variants()) >= 28


def test_a_zero_gradient_does_not_stop_momentum_but_a_gate_does():
    for gated in (False, True):
        weight = nn.Parameter(torch.tensor([1.0, 1.0]))
        optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9, weight_decay=1e-4)
        weight.grad = torch.ones(2)
        optimizer.step()
        start = weight.detach().clone()
        if gated:
            UpdateGate(optimizer, {weight: torch.tensor([True, False])})
        weight.grad = torch.zeros(2)
        optimizer.step()
        moved = (weight.detach() - start).tolist()
        assert moved[0] == (0.0 if gated else pytest.approx(-0.09, abs=1e-4))
        assert moved[1] == pytest.approx(-0.09, abs=1e-4)


def test_release_starts_from_a_state_of_zero():
    weight = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([weight], lr=0.1)
    gate = UpdateGate(optimizer, {weight: torch.tensor([True, True, False])})
    for _ in range(3):
        weight.grad = torch.ones(3)
        optimizer.step()
    gate.release(weight, torch.tensor([True, False, True]))
    assert optimizer.state[weight]["exp_avg"].tolist()[0] == 0
    assert all(value > 0 for value in optimizer.state[weight]["exp_avg"].tolist()[1:])
    assert gate.frozen[weight].tolist() == [False, True, False]
    gate.freeze(weight, torch.tensor([True, False, False]))
    assert gate.frozen[weight].tolist() == [True, True, False]
    gate.release(weight)
    assert gate.frozen == {}
    weight.grad = torch.zeros(3)
    before = weight.detach().clone()
    optimizer.step()
    assert torch.equal(weight.detach()[:2], before[:2])


def test_a_step_with_a_closure_is_gated():
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = weight.sum()
        loss.backward()
        return loss.detach()

    with UpdateGate(optimizer, {weight: torch.tensor([True, False])}):
        assert float(optimizer.step(closure)) == 2
        assert float(optimizer.step(closure=closure)) == pytest.approx(1.9)
    assert weight.tolist() == pytest.approx([1.0, 0.8])
    optimizer.step(closure)
    assert weight.tolist() == pytest.approx([0.9, 0.7])


def test_copies_of_an_optimiser_have_no_hooks_but_loading_keeps_them():
    weight = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=1.0, momentum=0.5)
    UpdateGate(optimizer, {weight: torch.tensor([True])})
    weight.grad = torch.ones(1)
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.step()
    assert weight.item() == 1


def _bad(change):
    weight, other = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = torch.optim.LBFGS([weight]) if change == "lbfgs" else torch.optim.SGD([weight], lr=1.0)
    mask = {"dtype": torch.ones(2), "shape": torch.ones(3) > 0}.get(change, torch.ones(2) > 0)
    return UpdateGate(object() if change == "object" else optimizer, {other if change == "other" else weight: mask})


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ("lbfgs", ValueError, "got LBFGS, which searches along lines"),
        ("other", ValueError, "frozen must be given for parameters of the optimiser"),
        ("dtype", TypeError, r"frozen must hold tensors of bool; number 0 is torch\.float32"),
        ("shape", ValueError, r"frozen must have the shapes of parameters; number 0 has \(3,\), not \(2,\)"),
        ("object", ValueError, "optimizer must be a torch optimiser"),
    ],
)
def test_bad_input(change, error, message):
    with pytest.raises(error, match=message):
        _bad(change)
