"""Sparse weights in training beside the published way: one process, on CUDA where there is one.

Run ``python benchmarks/weight_training.py``; ``--quick`` cuts the sizes, ``--only PART`` runs one part, ``--json FILE``
also writes one JSON line per row. The published way sorts each group, scatters zeros into a mask of floats, and adds
the penalty within the backward pass. Both sides give the same weights and gradients, which these parts check. AdamS,
which has no published code, runs beside Adam.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from _timing import Row, best_of_each, run_parts
from torch import Tensor, nn

from sparsetheory.gpu.core import NM
from sparsetheory.gpu.weights import AdamS, SparseSTE, sparsify, srste_penalty

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
# At least as fast as the published way.
_TARGET = 1.0
_ALPHA = 2e-4


class SortedSTE(torch.autograd.Function):
    """The straight-through estimator with a sort and a scatter, and the penalty in its backward pass."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, n: int, m: int) -> Tensor:
        """Return the weight with zeros for the smallest m - n of each group."""
        groups = weight.detach().abs().reshape(-1, m)
        dropped = groups.argsort(dim=1)[:, : m - n]
        mask = torch.ones_like(groups).scatter_(1, dropped, 0.0).reshape(weight.shape)
        ctx.save_for_backward(weight, mask)
        return weight * mask

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Pass the gradient on, with the penalty."""
        weight, mask = ctx.saved_tensors
        return gradients[0] + _ALPHA * (1 - mask) * weight, None, None


class SortedLinear(nn.Linear):
    """A linear layer that computes with the largest n of every m weights, in the published way."""

    def __init__(self, dense: nn.Linear, n: int, m: int) -> None:
        super().__init__(dense.in_features, dense.out_features)
        self.load_state_dict(dense.state_dict())
        self.n, self.m = n, m

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs with a mask that is chosen now."""
        return nn.functional.linear(x, SortedSTE.apply(self.weight, self.n, self.m), self.bias)


def _waited(function: Callable[[], object]) -> None:
    function()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def _row(quick: bool, task: str, ours: Callable[[], Any], peer: Callable[[], Any]) -> Row:
    times = best_of_each(partial(_waited, ours), partial(_waited, peer), repeats=1 if quick else 10)
    mine, other = (1e3 * seconds for seconds in times)
    return Row(task, "sort, scatter, penalty in backward", mine, other, None if quick else _TARGET, "ms")


def _pass_through(make: Callable[[Tensor], Tensor], weight: nn.Parameter, incoming: Tensor) -> Tensor:
    weight.grad = None
    used = make(weight)
    used.backward(incoming)
    return used.detach()


def bench_weights(quick: bool) -> list[Row]:
    """Make a sparse weight of a dense one and bring its gradient back."""
    rows = []
    source = torch.Generator().manual_seed(0)
    shape = (96, 64) if quick else (1536, 384)
    for n, m in ((2, 4), (1, 4), (4, 8), (1, 16)):
        values, incoming = (torch.randn(shape, generator=source).to(DEVICE) for _ in range(2))
        weights = [nn.Parameter(values.clone()) for _ in range(2)]
        ours = partial(_pass_through, SparseSTE(NM(n, m), alpha=_ALPHA), weights[0], incoming)
        peer = partial(_pass_through, lambda weight, n=n, m=m: SortedSTE.apply(weight, n, m), weights[1], incoming)
        torch.testing.assert_close(ours(), peer(), rtol=0, atol=0)
        torch.testing.assert_close(weights[0].grad, weights[1].grad)
        rows.append(_row(quick, f"{n}:{m}, forward and backward, {shape}", ours, peer))
    return rows


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor) -> None:
    optimizer.zero_grad()
    model(x).square().mean().backward()
    optimizer.step()


def bench_steps(quick: bool) -> list[Row]:
    """Do a whole step of SR-STE on two layers, with the penalty as a hook of the optimiser."""
    rows = []
    inner, outer, tokens = (32, 64, 16) if quick else (384, 1536, 512)
    for n, m in ((2, 4), (1, 4)):
        torch.manual_seed(0)
        dense = [nn.Linear(inner, outer), nn.Linear(outer, inner)]
        peer_model = nn.Sequential(*(SortedLinear(layer, n, m) for layer in dense)).to(DEVICE)
        model = nn.Sequential(*dense).to(DEVICE)
        sparsify(model, NM(n, m))
        optimizers = [torch.optim.SGD(one.parameters(), lr=1e-3, momentum=0.9) for one in (model, peer_model)]
        srste_penalty(optimizers[0], model, _ALPHA)
        x = torch.randn(tokens, inner, generator=torch.Generator().manual_seed(1)).to(DEVICE)
        ours, peer = partial(_step, model, optimizers[0], x), partial(_step, peer_model, optimizers[1], x)
        ours()
        peer()
        torch.testing.assert_close(model[0].parametrizations.weight.original, peer_model[0].weight)
        rows.append(_row(quick, f"{n}:{m}, a step on {inner}-{outer}-{inner}, {tokens} rows", ours, peer))
    return rows


def bench_optimiser(quick: bool) -> list[Row]:
    """Do a step of AdamS beside one of Adam on all tensors at once; masks are chosen in every tenth step, as always."""
    rows = []
    source = torch.Generator().manual_seed(0)
    shape, count = ((96, 64), 2) if quick else ((1536, 384), 6)
    for sparse in (False, True):
        values = [torch.randn(shape, generator=source).to(DEVICE) for _ in range(count)]
        sides = [[nn.Parameter(value.clone()) for value in values] for _ in range(2)]
        for parameter in (*sides[0], *sides[1]):
            parameter.grad = torch.randn(shape, generator=source).to(DEVICE)
        group = {"params": sides[0], "sparse": sparse}
        optimizer = AdamS([group], 1e-3, total_steps=1000, alpha=1e-3, pattern=NM(2, 4))
        peer = torch.optim.Adam(sides[1], lr=1e-3, foreach=True)
        steps = 1 if quick else 10
        ours, other = (partial(_repeat, one.step, steps) for one in (optimizer, peer))
        times = best_of_each(partial(_waited, ours), partial(_waited, other), repeats=1 if quick else 5)
        task = f"AdamS, {count} tensors of {shape}, {'2:4' if sparse else 'nothing sparse'}, {steps} steps"
        rows.append(Row(task, "Adam with foreach", *(1e3 * seconds for seconds in times), None, "ms"))
    return rows


def _repeat(step: Callable[[], object], n_steps: int) -> None:
    for _ in range(n_steps):
        step()


PARTS: dict[str, Callable[[bool], list[Row]]] = {
    "weights": bench_weights,
    "steps": bench_steps,
    "optimiser": bench_optimiser,
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    name = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "CPU, one thread"
    run_parts(f"Sparse weights in training beside the published way, on {name}", __doc__, PARTS)
