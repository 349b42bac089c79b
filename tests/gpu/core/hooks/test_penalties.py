import pytest
import torch
from torch import nn

from sparsetheory.gpu.core.hooks.penalties import GradientPenalty


def _decay(parameter, group):
    return 0.5 * parameter


def _run(n_micro, scale, fused=False, penalty=True):
    torch.manual_seed(0)
    layer = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9, fused=fused, foreach=False)
    if penalty:
        GradientPenalty(optimizer, [layer.weight], _decay)
    scaler = torch.amp.GradScaler("cpu", init_scale=scale, enabled=scale != 1.0)
    x = torch.randn(8, 4)
    for _ in range(3):
        optimizer.zero_grad()
        for part in x.chunk(n_micro):
            scaler.scale(layer(part).square().sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    return torch.cat([parameter.detach().flatten() for parameter in layer.parameters()])


@pytest.mark.parametrize(
    ("n_micro", "scale", "fused"), [(4, 1.0, False), (1, 2.0**16, False), (4, 2.0**16, True), (1, 1.0, True)]
)
def test_a_penalty_is_added_once_a_step_whatever_the_backward_passes_and_the_scale(n_micro, scale, fused):
    torch.testing.assert_close(_run(n_micro, scale, fused), _run(1, 1.0), rtol=1e-5, atol=1e-6)


def test_a_penalty_goes_through_momentum_as_weight_decay_does():
    assert not torch.allclose(_run(1, 1.0), _run(1, 1.0, penalty=False), atol=1e-3)
    weight, other = nn.Parameter(torch.tensor([1.0, -2.0])), nn.Parameter(torch.tensor([1.0, -2.0]))
    ours = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    theirs = torch.optim.SGD([other], lr=0.1, momentum=0.9, weight_decay=0.5)
    GradientPenalty(ours, [weight], _decay)
    for _ in range(5):
        for parameter, optimizer in ((weight, ours), (other, theirs)):
            parameter.grad = torch.ones(2)
            optimizer.step()
    torch.testing.assert_close(weight, other)


def test_terms_see_the_group_of_the_parameter_and_missing_gradients_are_left_alone():
    weights = [nn.Parameter(torch.ones(1)) for _ in range(3)]
    optimizer = torch.optim.SGD([{"params": weights[:1], "lr": 0.5}, {"params": weights[1:], "lr": 2.0}])
    GradientPenalty(optimizer, weights, lambda parameter, group: torch.full_like(parameter, group["lr"]))
    for weight in weights[:2]:
        weight.grad = torch.zeros(1)
    optimizer.step()
    assert [weight.item() for weight in weights] == [0.75, -3.0, 1.0]
    assert weights[2].grad is None


def test_penalties_act_in_the_order_in_which_they_were_made():
    weight = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    seen = []
    for name in ("first", "second"):
        GradientPenalty(optimizer, [weight], lambda parameter, group, name=name: seen.append(name) or torch.zeros(1))
    weight.grad = torch.zeros(1)
    optimizer.step()

    def closure():
        seen.append("closure")
        return torch.zeros(())

    optimizer.step(closure)
    assert seen == ["first", "second", "closure", "first", "second"]


def test_unknown_parameters_are_refused():
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    with pytest.raises(ValueError, match="parameters must be those of the optimiser; number 0"):
        GradientPenalty(optimizer, [nn.Parameter(torch.ones(1))], _decay)
