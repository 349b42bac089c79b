"""Claims about sparse gradients: how many entries move, which ones, and that all others keep their bits."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import dynamic
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import BoolArray, Float64Array

_PAPER = "Wang et al., SparCL: Sparse Continual Learning on the Edge, NeurIPS 2022"
# Steps from choice to choice, when the second one is made, and the share that does not move.
_EVERY, _SECOND, _Q = 30, 5, 0.7


@dataclass(frozen=True, eq=False)
class Gradient:
    """A gradient with zeros, the mask of its weight, and which share is not to move."""

    values: Float64Array
    mask: BoolArray
    q: float


@st.composite
def _gradients(draw: st.DrawFn) -> Gradient:
    rng, size = np.random.default_rng(draw(seeds)), draw(st.integers(1, 40))
    values = rng.standard_normal(size) * (rng.random(size) < draw(st.sampled_from([0.0, 0.1, 0.5, 1.0])))
    if draw(st.booleans()):
        values = np.sign(values)
    mask = rng.random(size) < draw(st.sampled_from([0.0, 0.25, 0.6, 1.0]))
    return Gradient(values, mask, draw(st.sampled_from([0.0, 0.3, 0.5, 0.8, 0.95])))


def _faults(case: Gradient, chosen: BoolArray) -> Measurement:
    """Count entries outside the mask or without gradient, how far the count is off, and smaller ones preferred."""
    nonzero = case.mask & (case.values != 0)
    count = min(round((1 - case.q) * case.values.size), int(nonzero.sum()))
    sizes = np.abs(case.values)
    least = sizes[chosen].min(initial=np.inf)
    preferred = int((sizes[nonzero & ~chosen] > least).sum())
    return Measurement(float((chosen & ~nonzero).sum() + abs(int(chosen.sum()) - count) + preferred), 0.0, 1.0)


def _support(case: Gradient) -> Measurement:
    return _faults(case, array(dynamic.gradient_support(tensor(case.values), case.q, tensor(case.mask))))


def _at_least_the_quantile(case: Gradient) -> Measurement:
    """Choose all that is at least the q-quantile of the masked gradient, zeros among it."""
    sizes = np.abs(case.values) * case.mask
    return _faults(case, sizes >= np.quantile(sizes, case.q))


gradient_mask_count = Claim(
    name="dynamic_sparsity.gradient_mask_count",
    summary="A gradient mask lies within the mask of the weights, has the stated count, and is empty for no gradient.",
    statement=r"G \subseteq M, \quad |G| = \min(\mathrm{round}((1-q) n), |\{i \in M : g_i \ne 0\}|), \quad"
    r" \min_G |g| \ge \max_{M \setminus G} |g|",
    source=Source(_PAPER, "dynamic gradient masking", "2209.09476", "authors' code"),
    verdict=Always(rtol=0.0),
    instances=_gradients,
    evaluate=_support,
    near_miss=_at_least_the_quantile,
)


@dataclass(frozen=True, eq=False)
class Gated:
    """A weight, its mask, gradients of some steps and an optimiser."""

    start: Float64Array
    mask: BoolArray
    gradients: Float64Array
    optimizer: str
    options: dict[str, Any]

    def moved(self, *, by_gradients: bool = False) -> int:
        """Return how many entries outside the gradient mask changed a bit in the 29 steps after its second choice."""
        import torch

        weight = torch.nn.Parameter(tensor(self.start))
        optimizer = getattr(torch.optim, self.optimizer)([weight], **self.options)
        mask = tensor(self.mask)
        gate = None if by_gradients else dynamic.GradientMask(optimizer, {weight: mask}, _Q, _EVERY)
        still, before = ~mask, weight.detach().clone()
        for step, gradient in enumerate(self.gradients):
            weight.grad = tensor(gradient)
            if step in (0, _SECOND):
                still, before = ~dynamic.gradient_support(weight.grad, _Q, mask), weight.detach().clone()
                if gate is not None:
                    gate.refresh()
            if gate is None:
                weight.grad.masked_fill_(still, 0.0)
            optimizer.step()
        bits = [array(values).view(np.int64)[array(still)] for values in (weight, before)]
        return int((bits[0] != bits[1]).sum())


_OPTIMIZERS = (
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-2}),
    ("Adam", {"lr": 0.01}),
    ("AdamW", {"lr": 0.01, "weight_decay": 1e-2}),
)


@st.composite
def _gated(draw: st.DrawFn) -> Gated:
    rng, size = np.random.default_rng(draw(seeds)), draw(st.integers(4, 12))
    mask = np.append(rng.random(size - 1) < 0.7, True)
    optimizer, options = draw(st.sampled_from(_OPTIMIZERS))
    return Gated(
        rng.standard_normal(size) * mask, mask, rng.standard_normal((_SECOND + _EVERY, size)), optimizer, options
    )


def _gate(case: Gated) -> Measurement:
    """Count entries outside the gradient mask that move between two choices of it."""
    return Measurement(float(case.moved()), 0.0, 1.0)


def _gradients_only(case: Gated) -> Measurement:
    """Set their gradients to zero and leave the update to the optimiser."""
    return Measurement(float(case.moved(by_gradients=True)), 0.0, 1.0)


gradient_mask_gate = Claim(
    name="dynamic_sparsity.gradient_mask_gate",
    summary="What a gradient mask does not choose keeps its bits until the next choice, under momentum, Adam, decay.",
    statement=r"w_{t+s}[\neg G_t] = w_t[\neg G_t] \text{ bit by bit for } s < 30",
    source=Source.ours("dynamic gradient masking that gates the update"),
    verdict=Always(rtol=0.0),
    instances=_gated,
    evaluate=_gate,
    near_miss=_gradients_only,
)
