"""Small networks and streams of numbers on which tasks are learned."""

import pytest
import torch
from torch import nn

CLASSES = 2


def _make_mlp(*, seed=0, widths=(6, 12, 12, 6), norm=True, bias=True):
    """Return a perceptron with batch normalisation; its head is the layer "head"."""
    torch.manual_seed(seed)
    layers = {"first": nn.Linear(widths[0], widths[1], bias=bias)}
    if norm:
        layers["norm"] = nn.BatchNorm1d(widths[1])
    layers |= {"act": nn.ReLU(), "second": nn.Linear(widths[1], widths[2], bias=bias), "act2": nn.ReLU()}
    layers["head"] = nn.Linear(widths[2], widths[3], bias=bias)
    model = nn.Sequential()
    for name, layer in layers.items():
        model.add_module(name, layer)
    return model


def _train_steps(model, optimizer, task, n_steps=6, *, seed=0, shape=(6,), dtype=torch.float32):
    """Train on random inputs whose labels a random plane gives, other ones for each task."""
    generator = torch.Generator().manual_seed(100 * seed + task)
    size = int(torch.tensor(shape).prod())
    plane = torch.randn(size, generator=generator)
    place = next(model.parameters()).device
    model.train()
    for _ in range(n_steps):
        x = torch.randn(16, *shape, generator=generator)
        labels = (x.flatten(1) @ plane > 0).long()
        optimizer.zero_grad()
        logits = model(x.to(place, dtype))[:, CLASSES * task : CLASSES * (task + 1)]
        nn.functional.cross_entropy(logits.float(), labels.to(place)).backward()
        optimizer.step()


@pytest.fixture
def make_mlp():
    return _make_mlp


@pytest.fixture
def train_steps():
    return _train_steps
