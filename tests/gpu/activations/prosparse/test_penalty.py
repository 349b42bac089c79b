"""The penalty on activations: its values and gradients, its schedule, and what goes into it."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from sparsetheory.gpu.activations import ActivationPenalty, activation_l1, sine_stage_schedule
from sparsetheory.gpu.core import SineStages, train
from sparsetheory.gpu.core.models import MLP, GatedFFN


def _network(**options):
    torch.manual_seed(0)
    network = GatedFFN(4, 10, activation="relu").double()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    return network, optimizer, ActivationPenalty(optimizer, network, **options)


def _hidden(network, x):
    return torch.relu(network.gate(x)) * network.up(x)


@pytest.mark.parametrize(("reduction", "count"), [("mean", 12.0), ("token", 4.0), ("sum", 1.0)])
def test_the_gradient_is_the_sign_over_the_count(device, reduction, count):
    generator = torch.Generator().manual_seed(0)
    hidden = [torch.randn(2, 2, 3, generator=generator, dtype=torch.float64).to(device) for _ in range(2)]
    hidden[0][0, 0] = 0.0
    for x in hidden:
        x.requires_grad_()
    value = activation_l1(hidden, reduction)
    value.backward()
    assert float(value.detach()) == pytest.approx(sum(float(x.detach().abs().sum()) for x in hidden) / count, rel=1e-12)
    for x in hidden:
        assert torch.allclose(x.grad, x.detach().sign() / count, rtol=1e-12, atol=0.0)


def test_halves_are_summed_in_single_precision():
    hidden = [torch.full((300, 300), 3.0, dtype=torch.float16)]
    assert activation_l1(hidden, "sum").item() == 270_000
    assert activation_l1(hidden).dtype == torch.float32


def test_the_term_is_on_the_products_of_gate_and_value():
    network, _, penalty = _network(alpha=0.3)
    x = torch.randn(5, 4, dtype=torch.float64)
    network(x)
    assert torch.allclose(penalty.term(), 0.3 * _hidden(network, x).abs().mean())


def test_several_passes_make_one_term_and_evaluation_none():
    network, _, penalty = _network(alpha=1.0)
    x = torch.randn(2, 5, 4, dtype=torch.float64)
    network(x[0])
    network(x[1])
    with torch.no_grad():
        network(x[0])
    network.eval()(x[0])
    expected = sum(_hidden(network, part).abs().mean() for part in x)
    assert torch.allclose(penalty.term(), expected)
    with pytest.raises(RuntimeError, match="no hidden activations to penalise"):
        penalty.term()


def test_the_schedule_counts_steps_of_the_optimiser():
    schedule = sine_stage_schedule((0.1, 0.5), (1, 3))
    assert schedule == SineStages((0.1, 0.5), (1, 3))
    network, optimizer, penalty = _network(alpha=schedule)
    x, strengths = torch.ones(3, 4, dtype=torch.float64), []
    for _ in range(5):
        optimizer.zero_grad()
        network(x)
        size = _hidden(network, x).abs().mean()
        term = penalty.term()
        strengths.append(float(term / size))
        term.backward()
        optimizer.step()
    assert strengths == pytest.approx([0.1, 0.1, 0.3, 0.5, 0.5], rel=1e-12)


def test_padding_is_not_penalised():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.ffn = GatedFFN(4, 10, activation="relu")

        def forward(self, x, attention_mask=None):
            return self.ffn(x)

    model = Tokens()
    penalty = ActivationPenalty(torch.optim.SGD(model.parameters()), model, 1.0)
    x, mask = torch.randn(2, 3, 4), torch.tensor([[1, 1, 0], [1, 0, 0]])
    model(x, attention_mask=mask)
    assert torch.allclose(penalty.term(), _hidden(model.ffn, x[mask.bool()]).abs().mean())
    model(x)
    assert torch.allclose(penalty.term(), _hidden(model.ffn, x).abs().mean())


def test_a_loss_of_the_model_gets_the_penalty_in_training_alone():
    class Labelled(nn.Module):
        def __init__(self):
            super().__init__()
            self.ffn = GatedFFN(4, 10, activation="relu")

        def forward(self, x):
            return {"loss": self.ffn(x).square().mean()}

    model, x = Labelled(), torch.randn(3, 4)
    plain = model(x)["loss"]
    penalty = ActivationPenalty(torch.optim.SGD(model.parameters()), model, 0.5)
    assert torch.allclose(model(x)["loss"], plain + 0.5 * _hidden(model.ffn, x).abs().mean())
    with torch.no_grad():
        assert torch.equal(model(x)["loss"], plain)
    assert torch.equal(model.eval()(x)["loss"], plain)
    penalty.remove()
    assert torch.equal(model.train()(x)["loss"], plain)
    assert not model._forward_hooks


def test_a_forgotten_penalty_is_an_error():
    network, optimizer, _ = _network(alpha=1.0)
    network(torch.ones(1, 4, dtype=torch.float64)).sum().backward()
    with pytest.raises(RuntimeError, match=r"the penalty was not added: use loss \+ penalty.term\(\)"):
        optimizer.step()


def test_checkpoints_count_once():
    network, optimizer, penalty = _network(alpha=0.7)
    x = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    (checkpoint(network, x, use_reentrant=False).sum() + penalty.term()).backward()
    found = [parameter.grad.clone() for parameter in network.parameters()]
    optimizer.step()
    optimizer.zero_grad()
    network, _, penalty = _network(alpha=0.7)
    (network(x).sum() + penalty.term()).backward()
    for one, parameter in zip(found, network.parameters(), strict=True):
        assert torch.allclose(one, parameter.grad, rtol=0.0, atol=1e-12)


def test_checkpoints_that_hide_activations_are_an_error():
    class Labelled(nn.Module):
        def __init__(self):
            super().__init__()
            self.ffn = GatedFFN(4, 10, activation="relu")

        def forward(self, x):
            return {"loss": checkpoint(self.ffn, x, use_reentrant=True).square().mean()}

    model = Labelled()
    ActivationPenalty(torch.optim.SGD(model.parameters()), model, 0.5)
    with pytest.raises(RuntimeError, match="checkpointing that hides them"):
        model(torch.ones(2, 4, requires_grad=True))


def test_a_pass_that_failed_leaves_nothing_behind():
    network, _, penalty = _network(alpha=1.0)
    x = torch.randn(5, 4, dtype=torch.float64)
    broken = network.down.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        network(x)
    broken.remove()
    network(x)
    assert torch.allclose(penalty.term(), _hidden(network, x).abs().mean())


def test_a_compiled_model_is_penalised_too():
    network, _, penalty = _network(alpha=1.0)
    x = torch.randn(5, 4, dtype=torch.float64)
    torch.compile(network, backend="eager")(x)
    assert torch.allclose(penalty.term(), _hidden(network, x).abs().mean())


def test_it_raises_the_share_of_zeros_in_our_own_loop():
    x = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long()
    zeros = []
    for alpha in (0.0, 0.3):
        model = MLP([8, 64, 2])
        adam = torch.optim.Adam(model.parameters(), lr=0.01)
        penalty = ActivationPenalty(adam, model, alpha, layers="2")

        def loss(output, labels, penalty=penalty):
            return nn.functional.cross_entropy(output, labels) + penalty.term()

        train(model, x, y, optimizer=adam, n_steps=100, loss=loss)
        zeros.append(float((torch.relu(model[0](x)) == 0).double().mean()))
    assert zeros[1] > zeros[0] + 0.2


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: sine_stage_schedule((0.1, 0.2), (5,)), "peaks and ends must have one entry a stage; got 2 and 1"),
        (lambda: sine_stage_schedule((0.1, 0.2), (5, 5)), r"ends must increase; got \(5, 5\)"),
        (lambda: sine_stage_schedule((0.2, 0.1), (5, 6)), r"peaks must not decrease; got \(0\.2, 0\.1\)"),
        (lambda: sine_stage_schedule((0.0, 0.1), (5, 6)), r"peaks\[0\] must be a finite positive number"),
        (lambda: activation_l1([torch.ones(2)], "max"), "reduction must be one of"),
        (lambda: activation_l1([]), "hidden must be a sequence of one tensor or more; got none"),
        (lambda: activation_l1(torch.ones(2)), "hidden must be a sequence of one tensor or more; got a tensor"),
        (lambda: _network(alpha=-1.0), "alpha must be a finite non-negative number"),
        (lambda: _network(alpha=1.0, reduction="l2"), "reduction must be one of"),
    ],
)
def test_wrong_arguments_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()
