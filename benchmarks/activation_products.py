"""Products with sparse activations: one process, one thread, all products take turns, the fastest call counts.

Run ``python benchmarks/activation_products.py``; ``--quick`` cuts the sizes, ``--only PART`` runs one part, ``--json
FILE`` also writes one JSON line per row. "Dense" is the fastest of torch's linear, mv and matmul and of numpy's product
with the matrix in either order. "Zeros, dense" is that with the same zeros in the inputs: to mask saves nothing.
"Gather" copies the active rows and multiplies; in a batch it takes the union of the rows that its tokens need, and ours
takes the rows of each token by themselves. "Kernel" is ours without the function around it, which checks and makes the
output: some 15 microseconds, and several times that on a busy machine. All weights and inputs are random: times do not
depend on their values.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from _timing import Row, best_of_each, run_parts
from torch import Tensor, nn
from torch.nn import functional

from sparsetheory.gpu.activations import (
    RSparseLinear,
    SkippingGatedFFN,
    gated_product,
    measure_crossing,
    skipping_product,
)
from sparsetheory.gpu.core.models import GatedFFN
from sparsetheory.numba_kernels.activations.row_skipping import multiply_active

_SHARES = (1.0, 0.5, 0.3, 0.1, 0.05)
# What is promised of one token in a matrix of 3072 x 3072.
_TARGETS = {0.5: 1.3, 0.1: 5.0}


def _inputs(n_tokens: int, size: int, share: float) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n_tokens, size, generator=generator)
    for row in x:
        row[torch.randperm(size, generator=generator)[round(share * size) :]] = 0
    return x


def _dense(x: Tensor, weight: Tensor, by_input: Tensor) -> list[Callable[[], object]]:
    in_numpy, W, by_column = x.numpy(), weight.numpy(), by_input.numpy()
    ways: list[Callable[[], object]] = [lambda: functional.linear(x, weight), lambda: x @ by_input]
    if len(x) == 1:
        row, column = x[0], in_numpy[0]
        ways += [lambda: torch.mv(weight, row), lambda: W @ column, lambda: column @ by_column]
    else:
        ways += [lambda: in_numpy @ W.T, lambda: in_numpy @ by_column]
    return ways


def _gather(x: Tensor, by_input: Tensor) -> Tensor:
    active = (x != 0).any(0).nonzero().flatten()
    return x[:, active] @ by_input[active]


def _check(found: Tensor, expected: Tensor) -> None:
    if not torch.allclose(found, expected, rtol=0.0, atol=1e-4 * float(expected.abs().max())):
        raise RuntimeError("the sparse and the dense product disagree")


def _compared(n_tokens: int, n_in: int, n_out: int, share: float, repeats: int) -> list[Row]:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(n_out, n_in, generator=generator)
    by_input, x, full = weight.T.contiguous(), _inputs(n_tokens, n_in, share), _inputs(n_tokens, n_in, 1.0)
    _check(skipping_product(x, by_input, crossing=1.0), x @ by_input)
    dense, zeros = _dense(full, weight, by_input), _dense(x, weight, by_input)
    arrays = x.numpy().reshape(-1), by_input.numpy().reshape(-1), np.zeros(n_tokens * n_out, dtype=np.float32)
    found, limit = np.empty(n_in, dtype=np.int64), x.numel()
    ours: list[Callable[[], object]] = [
        lambda: multiply_active(arrays[0], n_tokens, arrays[1], arrays[2], limit, found),
        lambda: skipping_product(x, by_input),
        lambda: _gather(x, by_input),
    ]
    times = best_of_each(*dense, *zeros, *ours, repeats=repeats)
    best, masked = min(times[: len(dense)]), min(times[len(dense) : -3])
    union = float((x != 0).any(0).double().mean())
    task = f"{n_out} x {n_in}, {n_tokens} token{'s' * (n_tokens > 1)}, {100 * share:g} % active"
    target = _TARGETS.get(share) if (n_tokens, n_in, n_out) == (1, 3072, 3072) else None
    rows = [Row(f"{task}, kernel", "dense", 1e6 * times[-3], 1e6 * best, unit="us")]
    rows += [Row(task, "dense", 1e6 * times[-2], 1e6 * best, target, unit="us")]
    rows.append(Row(task, "zeros, dense", 1e6 * times[-2], 1e6 * masked, unit="us"))
    rows.append(Row(task, f"gather, union {100 * union:.0f} %", 1e6 * times[-2], 1e6 * times[-1], unit="us"))
    return rows


def bench_products(quick: bool) -> list[Row]:
    """Compare a matrix times one token, at several shares of active inputs."""
    rows = []
    for n_out, n_in in [(1024, 1024)] if quick else [(3072, 3072), (4096, 11008), (576, 1536)]:
        for share in _SHARES:
            rows += _compared(1, n_in, n_out, share, 3 if quick else 25)
    return rows


def bench_batches(quick: bool) -> list[Row]:
    """Compare a matrix times several tokens, whose active inputs differ."""
    size = 1024 if quick else 3072
    shares = (0.1,) if quick else (0.3, 0.1, 0.05)
    return [row for b in (1, 4, 16) for share in shares for row in _compared(b, size, size, share, 3 if quick else 15)]


def bench_networks(quick: bool) -> list[Row]:
    """Compare a gated feed-forward network, the gate dense, and its last two products alone."""
    width, hidden = (256, 1024) if quick else (1024, 4096)
    network = GatedFFN(width, hidden, activation="relu")
    up, down = network.up.weight.detach(), network.down.weight.detach().T.contiguous()
    rows = []
    with torch.no_grad():
        for share in _SHARES:
            gates, x = _inputs(1, hidden, share).abs(), _inputs(1, width, 1.0)
            _set_share(network, x, share)
            skipping = SkippingGatedFFN.from_dense(network)
            _check(skipping(x), network(x))
            _check(gated_product(gates, x, up, down, crossing=1.0), (gates * (x @ up.T)) @ down)
            calls = [lambda: skipping(x), lambda: network(x)]  # noqa: B023 both are called before the loop goes on
            calls += [lambda: gated_product(gates, x, up, down, crossing=1.0)]  # noqa: B023
            calls += [lambda: functional.linear(gates * functional.linear(x, up), network.down.weight)]  # noqa: B023
            times = [1e6 * s for s in best_of_each(*calls, repeats=5 if quick else 25)]
            task = f"{width} and {hidden}, {100 * share:g} % active"
            rows.append(Row(f"gated network, {task}", "dense", times[0], times[1], unit="us"))
            rows.append(Row(f"up and down, {task}", "dense", times[2], times[3], unit="us"))
    return rows


def _set_share(network: GatedFFN, x: Tensor, share: float) -> None:
    """Turn rows of the gate so that a share of them is active for an input."""
    signs = torch.ones(len(network.gate.weight), 1)
    signs[round(share * len(signs)) :] = -1
    network.gate.weight.copy_(network.gate.weight * torch.sign(network.gate.weight @ x.T) * signs)


def bench_layers(quick: bool) -> list[Row]:
    """Compare R-Sparse layers with the dense layer, for one token: selection, both paths and the sum count."""
    rows = []
    for n_out, n_in in [(256, 1024)] if quick else [(3072, 3072), (576, 1536), (1536, 576)]:
        dense, x = nn.Linear(n_in, n_out), _inputs(65, n_in, 1.0)
        layers = {rho: RSparseLinear.from_linear(dense, 0.5, rho, x[:64]) for rho in (1.0, 0.8)}
        token = x[64:]
        with torch.no_grad():
            for layer in layers.values():
                kept = layer.selector(token)
                expected = token.where(kept, 0) @ dense.weight.T + dense.bias
                if layer.residual is not None:
                    expected = expected + layer.residual(token.where(~kept, 0))
                _check(layer(token), expected)
            calls = [partial(layer, token) for layer in layers.values()]
            calls.append(lambda: functional.linear(token, dense.weight, dense.bias))  # noqa: B023 called at once
            *times, best = best_of_each(*calls, repeats=5 if quick else 50)
        for (rho, layer), ours in zip(layers.items(), times, strict=True):
            task = f"R-Sparse {n_out} x {n_in}, sparsity 0.5, rho {rho:g}, rank {layer.budget.rank}"
            rows.append(Row(task, "dense layer", 1e6 * ours, 1e6 * best, unit="us"))
    return rows


def bench_crossing(quick: bool) -> list[Row]:
    """Measure the share of active inputs from which on the dense product is as fast, against the default of 0.6."""
    rows = []
    for n_in, n_out in [(1024, 1024)] if quick else [(384, 1536), (1024, 1024), (3072, 3072), (11008, 4096)]:
        found = measure_crossing(n_in, n_out, repeats=3 if quick else 25)
        rows.append(Row(f"crossing, {n_out} x {n_in}: default", "measured", 0.6, found, unit="share"))
    return rows


_PARTS: dict[str, Callable[[bool], list[Row]]] = {
    "products": bench_products,
    "batches": bench_batches,
    "networks": bench_networks,
    "layers": bench_layers,
    "crossing": bench_crossing,
}


if __name__ == "__main__":
    run_parts("Products with sparse activations", __doc__, _PARTS)
