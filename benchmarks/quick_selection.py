"""One epoch of a sparse autoencoder: one process, one thread, all take turns, the fastest counts.

Run ``python benchmarks/quick_selection.py``; ``--quick`` cuts the sizes, ``--only PART`` runs one part, ``--json FILE``
also writes one JSON line per row. "Dense" holds both weights as dense tensors with zeros, differentiates by torch, sets
gradients without a connection to zero, and steps in place: what a mask costs and saves. "Products of scipy" takes our
place, except that products with the weights are those of scipy.sparse, and that the gradient is the dense product where
there is a connection, a block of connections at a time. Data are random: times do not depend on them. Memory is the
peak of what NumPy allocates in training beyond the data and their noise, which every way needs; tracemalloc counts it.
"""

import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from _timing import Row, best_of_each, run_parts
from torch.nn import functional

from sparsetheory.gpu.dynamic.feature_selection.evolution import pruned, regrown
from sparsetheory.gpu.dynamic.feature_selection.layer import SparseLayer, draw_layer
from sparsetheory.gpu.dynamic.feature_selection.training import Steps, train_epoch

_STEPS = Steps(batch_size=100, learning_rate=0.01, momentum=0.9, weight_decay=1e-5, dropout=0.2)
_BLOCK = 4096
# What is promised of 5000 samples of 200 features, 1000 hidden units, 5 % of all connections.
_TARGET = 5.0


@dataclass(frozen=True)
class Size:
    """Samples, features, hidden units, and the share of the connections that exist."""

    n_samples: int
    n_features: int
    n_hidden: int
    density: float

    def __str__(self) -> str:
        return f"{self.n_samples} x {self.n_features}, {self.n_hidden} hidden, {100 * self.density:g} %"

    def layers(self, dtype: str) -> list[SparseLayer]:
        """Draw an encoder and a decoder."""
        rng, m, h = np.random.default_rng(0), self.n_features, self.n_hidden
        # So many draws with replacement leave that share of places empty.
        epsilon = np.log1p(-self.density) / np.log1p(-1 / (m * h)) / (m + h)
        return [draw_layer(rng, shape, epsilon, dtype) for shape in ((h, m), (m, h))]

    def data(self, dtype: str) -> tuple[np.ndarray, np.ndarray]:
        """Draw samples, without and with noise."""
        rng = np.random.default_rng(1)
        X = rng.standard_normal((self.n_samples, self.n_features)).astype(dtype)
        return X, X + (0.2 * rng.standard_normal(X.shape)).astype(dtype)


class _Dense:
    """Weights and masks as tensors."""

    def __init__(self, layers: list[SparseLayer], X: np.ndarray, noisy: np.ndarray) -> None:
        weights = [torch.from_numpy(layer.matrix().toarray()) for layer in layers]
        biases = [torch.from_numpy(layer.bias.copy()) for layer in layers]
        self.parameters = [p.requires_grad_() for pair in zip(weights, biases, strict=True) for p in pair]
        self.masks = [weight != 0 for weight in weights]
        self.velocity = [torch.zeros_like(p) for p in self.parameters]
        self.X, self.noisy = torch.from_numpy(X), torch.from_numpy(noisy)
        self.generator = torch.Generator().manual_seed(0)

    def epoch(self) -> None:
        first, bias, second, other = self.parameters
        for rows in torch.randperm(len(self.X), generator=self.generator).split(_STEPS.batch_size):
            hidden = torch.sigmoid(functional.linear(self.noisy[rows], first, bias))
            active = torch.rand(hidden.shape, generator=self.generator) >= _STEPS.dropout
            error = functional.linear(hidden * active, second, other) - self.X[rows]
            (error.square().sum() / 2 / len(rows)).backward()
            with torch.no_grad():
                for p, mask in zip(self.parameters[::2], self.masks, strict=True):
                    p.grad *= mask
                for p, v in zip(self.parameters, self.velocity, strict=True):
                    v.mul_(_STEPS.momentum).sub_(p.grad, alpha=_STEPS.learning_rate)
                    p.mul_(1 - _STEPS.weight_decay).add_(v)
                    p.grad = None


class _Scipy:
    """The same with products of scipy.sparse."""

    def __init__(self, layers: list[SparseLayer], X: np.ndarray, noisy: np.ndarray) -> None:
        self.weights = [layer.matrix() for layer in layers]
        self.places = [weight.tocoo().coords for weight in self.weights]
        self.biases = [layer.bias.copy() for layer in layers]
        self.velocity = [np.zeros_like(part) for part in (*(w.data for w in self.weights), *self.biases)]
        self.X, self.noisy, self.rng = X, noisy, np.random.default_rng(0)

    def epoch(self) -> None:
        order = self.rng.permutation(len(self.X))
        first, second = self.weights
        for start in range(0, len(order), _STEPS.batch_size):
            rows = order[start : start + _STEPS.batch_size]
            seen = np.ascontiguousarray(self.noisy[rows].T)
            hidden = (1 + np.tanh((first @ seen + self.biases[0][:, None]) / 2)) / 2
            hidden *= self.rng.random(hidden.shape, dtype=np.float32) >= np.float32(_STEPS.dropout)
            error = second @ hidden + self.biases[1][:, None] - self.X[rows].T
            back = (second.T @ error) * hidden * (1 - hidden)
            gradients = [self._sampled(0, back, seen), self._sampled(1, error, hidden), back.sum(1), error.sum(1)]
            parts = [first.data, second.data, *self.biases]
            for part, v, g in zip(parts, self.velocity, gradients, strict=True):
                v *= _STEPS.momentum
                v -= _STEPS.learning_rate / len(rows) * g
                part *= 1 - _STEPS.weight_decay
                part += v

    def _sampled(self, layer: int, d: np.ndarray, x: np.ndarray) -> np.ndarray:
        i, j = self.places[layer]
        blocks = range(0, i.size, _BLOCK)
        return np.concatenate([np.einsum("ks,ks->k", d[i[k : k + _BLOCK]], x[j[k : k + _BLOCK]]) for k in blocks])


def _compared(size: Size, dtype: str, repeats: int, target: float | None) -> list[Row]:
    (X, noisy), layers, rng = size.data(dtype), size.layers(dtype), np.random.default_rng(0)
    dense, scipy = _Dense(layers, X, noisy), _Scipy(layers, X, noisy)
    calls: list[Callable[[], object]] = [lambda: train_epoch(*layers, X, noisy, _STEPS, rng), dense.epoch, scipy.epoch]
    times = best_of_each(*calls, repeats=repeats)
    task = f"epoch, {size}, {dtype}"
    return [
        Row(task, "dense torch under masks", times[0], times[1], target),
        Row(task, "products of scipy", times[0], times[2]),
    ]


def bench_epoch(quick: bool) -> list[Row]:
    """Compare one epoch at the promised size, and at others."""
    if quick:
        return _compared(Size(500, 100, 200, 0.05), "float32", 2, None)
    rows = []
    for dtype in ("float32", "float64"):
        rows += _compared(Size(5000, 200, 1000, 0.05), dtype, 7, _TARGET)
        rows += _compared(Size(5000, 784, 1000, 0.03), dtype, 3, None)
    return rows


def bench_evolution(quick: bool) -> list[Row]:
    """Compare dropping and regrowing, once an epoch, with the epoch itself: what it adds."""
    size = Size(500, 100, 200, 0.05) if quick else Size(5000, 200, 1000, 0.05)
    (X, noisy), layers, rng = size.data("float32"), size.layers("float32"), np.random.default_rng(0)

    def evolve() -> None:
        for layer in layers:
            regrown(pruned(layer, 0.2, "exact"), layer.n_nonzero, rng)

    times = best_of_each(evolve, lambda: train_epoch(*layers, X, noisy, _STEPS, rng), repeats=3)
    return [Row(f"drop and grow, {size}", "an epoch", *times)]


def bench_memory(quick: bool) -> list[Row]:
    """Compare the peak of memory in training with both dense weights and their velocities, from size to size."""
    rows = []
    for m, h in [(500, 500)] if quick else [(500, 1000), (2000, 4000), (8000, 16000)]:
        # As published: the number of connections grows as m + h, not as m h.
        rng = np.random.default_rng(0)
        X = rng.standard_normal((200, m)).astype(np.float32)
        train_epoch(*(draw_layer(rng, shape, 1, "float32") for shape in ((h, m), (m, h))), X, X, _STEPS, rng)
        tracemalloc.start()
        layers = [draw_layer(rng, shape, 13, "float32") for shape in ((h, m), (m, h))]
        train_epoch(*layers, X, X, _STEPS, rng)
        layers = [regrown(pruned(layer, 0.2, "exact"), layer.n_nonzero, rng) for layer in layers]
        peak = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
        nnz = sum(layer.n_nonzero for layer in layers)
        task = f"peak, {m} features, {h} hidden, {nnz} connections"
        rows.append(Row(task, "dense weights and velocities", peak, 2 * 2 * m * h * 4 / 2**20, unit="MB"))
    return rows


_PARTS: dict[str, Callable[[bool], list[Row]]] = {
    "epoch": bench_epoch,
    "evolution": bench_evolution,
    "memory": bench_memory,
}


if __name__ == "__main__":
    run_parts("Sparse autoencoders", __doc__, _PARTS)
