"""The running diagonal of the empirical Fisher matrix, against gradients of single samples."""

import copy
import io

import pytest
import torch
from torch import nn
from torch.nn import functional

from sparsetheory.gpu.bayesian import BayesLinear, FisherDiagonal
from sparsetheory.gpu.core import attach_state, class_loss
from sparsetheory.gpu.dynamic.sparcl.curvatures import gauss_newton_diagonal


def per_sample(model, x, labels):
    """Return the mean of the squared gradients of single samples, one backward pass each."""
    sums = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for row, label in zip(x, labels, strict=True):
        model.zero_grad()
        functional.cross_entropy(model(row[None]), label[None]).backward()
        for name, p in model.named_parameters():
            sums[name] += p.grad.square()
    model.zero_grad()
    return {name: total / len(x) for name, total in sums.items()}


def batch(shape, n_classes, seed, device="cpu"):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*shape, generator=generator, dtype=torch.float64)
    labels = torch.randint(n_classes, shape[:1], generator=generator)
    return x.to(device), labels.to(device)


def perceptron(device="cpu"):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.ReLU(inplace=True), nn.Linear(7, 3, bias=False)).double().to(device)


class Tokens(nn.Module):
    """Attends nothing: a layer on tokens, their mean, a head."""

    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.embed(x).tanh().mean(1))


def test_linear_layers_have_the_squares_of_single_samples(device):
    model, (x, labels) = perceptron(device), batch((9, 5), 3, 1, device)
    with FisherDiagonal(model, decay=0.0) as fisher:
        class_loss(model(x), labels).backward()
    expected = per_sample(model, x, labels)
    assert set(fisher.curvatures) == {"0", "2"}
    for name, found in fisher.curvatures.items():
        torch.testing.assert_close(found, expected[f"{name}.weight"], rtol=1e-10, atol=0)


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (Tokens, (6, 5, 4)),
        (lambda: nn.Sequential(nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(27, 3)),
         (4, 2, 5, 5)),
    ],
)  # fmt: skip
def test_gradients_of_several_places_are_added_before_squaring(model, shape, monkeypatch):
    torch.manual_seed(1)
    model = model().double()
    x, labels = batch(shape, 3, 2)
    expected = per_sample(model, x, labels)
    from sparsetheory.gpu.solvers import arguments

    for size in (2**23, 1):
        monkeypatch.setattr(arguments, "_CPU_BYTES", size)
        with FisherDiagonal(model, decay=0.0) as fisher:
            class_loss(model(x), labels).backward()
        for name, found in fisher.curvatures.items():
            torch.testing.assert_close(found, expected[f"{name}.weight"], rtol=1e-10, atol=0)


def test_mean_over_labels_of_the_model_is_the_gauss_newton_diagonal():
    model, (x, _) = perceptron(), batch((1, 5), 3, 3)
    p = model(x).detach().softmax(-1)[0]
    total = torch.zeros_like(model[0].weight)
    for label in range(3):
        with FisherDiagonal(model, "0", decay=0.0) as fisher:
            class_loss(model(x), torch.tensor([label])).backward()
        total += p[label] * fisher.curvatures["0"]
    torch.testing.assert_close(total, gauss_newton_diagonal(model, x, ["0.weight"])["0.weight"], rtol=1e-10, atol=0)


def test_mean_runs_over_batches_with_weights_that_sum_to_one():
    model, decay = perceptron(), 0.7
    batches = [batch((8, 5), 3, seed) for seed in (4, 5, 6)]
    with FisherDiagonal(model, decay=decay) as fisher:
        for x, labels in batches:
            class_loss(model(x), labels).backward()
    found = fisher.curvatures["2"]
    parts = [per_sample(model, *each)["2.weight"] for each in batches]
    weights = torch.tensor([decay**2, decay, 1.0], dtype=torch.float64)
    expected = sum(w * part for w, part in zip(weights / weights.sum(), parts, strict=True))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)


def test_size_of_the_batch_does_not_change_the_unit():
    model, (x, labels) = perceptron(), batch((6, 5), 3, 7)
    found = []
    for copies in (1, 5):
        with FisherDiagonal(model, decay=0.0) as fisher:
            class_loss(model(x.repeat(copies, 1)), labels.repeat(copies)).backward()
        found.append(fisher.curvatures["0"])
    torch.testing.assert_close(*found, rtol=1e-10, atol=0)


def test_a_layer_with_normal_weights_has_it_off_its_mask():
    torch.manual_seed(2)
    layer = BayesLinear(5, 3, bias=False).double()
    layer.sampling = "mean"
    with torch.no_grad():
        layer.mask[:, 2:] = False
    x, labels = batch((7, 5), 3, 8)
    with FisherDiagonal(layer, decay=0.0) as fisher:
        class_loss(layer(x), labels).backward()
    plain = nn.Linear(5, 3, bias=False).double()
    with torch.no_grad():
        plain.weight.copy_(layer.mean)
    expected = per_sample(plain, x, labels)["weight"]
    assert (expected > 0).all()
    torch.testing.assert_close(fisher.curvatures[""], expected, rtol=1e-10, atol=0)


def test_two_calls_of_a_layer_in_a_pass_are_added():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.head = nn.Linear(5, 5, bias=False), nn.Linear(10, 3)

        def forward(self, x):
            return self.head(torch.cat([self.inner(x), self.inner(x.flip(1)).tanh()], 1))

    torch.manual_seed(3)
    model, (x, labels) = Twice().double(), batch((1, 5), 3, 9)
    weights = model.inner.weight.detach()
    parts = [weights.clone().requires_grad_() for _ in range(2)]
    outputs = [functional.linear(x, parts[0]), functional.linear(x.flip(1), parts[1]).tanh()]
    functional.cross_entropy(model.head(torch.cat(outputs, 1)), labels).backward()
    expected = sum(part.grad.square() for part in parts)
    with FisherDiagonal(model, "inner", decay=0.6) as fisher:
        for _ in range(2):
            class_loss(model(x), labels).backward()
    torch.testing.assert_close(fisher.curvatures["inner"], expected, rtol=1e-10, atol=0)


class Keywords(nn.Module):
    """Calls its layer by keyword."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(input=x)


@pytest.mark.parametrize(("layer", "shape"), [(nn.Linear(5, 3), (5,)), (nn.Conv2d(2, 3, 2), (2, 4, 4))])
def test_a_single_sample_without_an_axis_of_samples_counts_as_one(layer, shape):
    layer, x = layer.double(), torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with FisherDiagonal(Keywords(layer)) as fisher:
        layer(input=x).square().sum().backward()
    assert fisher.curvatures["layer"].shape == layer.weight.shape
    torch.testing.assert_close(fisher.curvatures["layer"], layer.weight.grad.square(), rtol=1e-10, atol=0)


def test_outputs_and_gradients_stay_as_they_are():
    model, (x, labels) = perceptron(), batch((9, 5), 3, 10)
    plain = copy.deepcopy(model)
    class_loss(plain(x), labels).backward()
    with FisherDiagonal(model):
        class_loss(model(x), labels).backward()
        with torch.no_grad():
            assert torch.equal(model(x), plain(x))
    for own, other in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(own.grad, other.grad)


def test_hooks_go_after_an_exception():
    model, (x, labels) = perceptron(), batch((9, 5), 3, 11)
    with pytest.raises(KeyError), FisherDiagonal(model) as fisher:
        raise KeyError
    class_loss(model(x), labels).backward()
    assert fisher.curvatures == {}
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_copy_of_the_model_is_not_watched():
    model, (x, labels) = perceptron(), batch((9, 5), 3, 14)
    with FisherDiagonal(model) as fisher:
        other = copy.deepcopy(model)
        class_loss(other(x), labels).backward()
        assert fisher.curvatures == {}
        class_loss(model(x), labels).backward()
    torch.testing.assert_close(fisher.curvatures["0"], per_sample(model, x, labels)["0.weight"], rtol=1e-10, atol=0)


def test_undefined_gradients_are_left_out():
    model, (x, labels) = perceptron(), batch((9, 5), 3, 12)
    with FisherDiagonal(model) as fisher:
        (class_loss(model(x), labels) * torch.nan).backward()
        assert fisher.curvatures == {}
        class_loss(model(x), labels).backward()
        before = fisher.curvatures["0"].clone()
        (class_loss(model(x), labels) * torch.inf).backward()
    assert torch.equal(fisher.curvatures["0"], before)
    torch.testing.assert_close(before, per_sample(model, x, labels)["0.weight"], rtol=1e-10, atol=0)


def test_low_precision_is_gathered_in_single():
    model = perceptron().bfloat16()
    x, labels = batch((9, 5), 3, 13)
    with FisherDiagonal(model, "2") as fisher:
        class_loss(model(x.bfloat16()), labels).backward()
    assert fisher.curvatures["2"].dtype == torch.float32


def test_state_goes_through_a_file_and_goes_on_to_the_bit():
    batches = [batch((8, 5), 3, seed) for seed in range(6)]
    model = perceptron()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    fisher = FisherDiagonal(model)
    attach_state(optimizer, fisher=fisher)

    def train(model, optimizer, batches):
        for x, labels in batches:
            optimizer.zero_grad()
            class_loss(model(x), labels).backward()
            optimizer.step()

    train(model, optimizer, batches[:3])
    kept = fisher.state_dict()
    before = kept["sums"]["0"].clone()
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    train(model, optimizer, batches[3:])
    assert torch.equal(kept["sums"]["0"], before)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    resumed = perceptron()
    resumed.load_state_dict(state["model"])
    other = torch.optim.SGD(resumed.parameters(), lr=0.1)
    fisher_resumed = FisherDiagonal(resumed)
    attach_state(other, fisher=fisher_resumed)
    other.load_state_dict(state["optimizer"])
    train(resumed, other, batches[3:])
    for name, found in fisher.curvatures.items():
        assert torch.equal(found, fisher_resumed.curvatures[name])


def test_arguments():
    model = perceptron()
    with pytest.raises(ValueError, match="decay must be a number in"):
        FisherDiagonal(model, decay=1.0)
    with pytest.raises(ValueError, match="layers must name linear"):
        FisherDiagonal(model, "head")
    with pytest.raises(ValueError, match="model must be a torch"):
        FisherDiagonal([model])
    with pytest.raises(ValueError, match="state must be of layers that are watched; got head"):
        FisherDiagonal(model).load_state_dict({"sums": {"head": torch.ones(1)}, "weights": {"head": torch.ones(())}})
