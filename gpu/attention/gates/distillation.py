"""Gates learn from the attention of a model that does not change."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparsetheory.constraints import COUNT, NONNEGATIVE, POSITIVE
from sparsetheory.gpu.attention.gates.attn_gate import AttnGate
from sparsetheory.gpu.attention.gates.examples import GateExample, gate_examples
from sparsetheory.gpu.attention.gates.losses import Reduction, gate_loss
from sparsetheory.gpu.attention.gates.pooling import Pool
from sparsetheory.gpu.core.randomness import cpu_generator

__all__ = ["GateDistillation", "distill_gate", "gate_for", "train_gate"]

# The loss of the authors' code; Adam's steps feel it only beside its epsilon.
_FACTOR = 10.0


@dataclass(frozen=True, eq=False)
class GateDistillation:
    """Gates of the layers of a model.

    Parameters
    ----------
    gates : dict of int to AttnGate
        By the number of the layer.
    losses : Tensor of float64 of shape (n_layers, n_steps)
        Loss of the batch of each step, before the step; on the CPU. Layers are in the order of `gates`.
    """

    gates: dict[int, AttnGate]
    losses: Tensor


def distill_gate(
    model: nn.Module,
    batches: Iterable[Any],
    steps: int = 500,
    lr: float = 1e-3,
    generator: torch.Generator | int | None = 0,
    *,
    layers: Iterable[int] | None = None,
    block: int = 64,
    gate_dim: int | None = None,
    q_pool: Sequence[Pool] = ("avg",),
    k_pool: Sequence[Pool] = ("max", "min", "avg"),
    force_q_map: bool = False,
    reduction: Reduction = "mean_elements",
    skip_rows: float = 0.25,
    alpha: float = 0.0,
) -> GateDistillation:
    """Train a gate for each layer of a model to say where the largest attention of each block is.

    The model does not change, and each gate sees queries and keys of the dense model. So the losses of layers share no
    weight, and each gate is trained by itself on pooled vectors that are recorded once.

    Parameters
    ----------
    model : torch.nn.Module
        As :func:`gate_examples` takes it.
    batches : iterable
        What the model takes. Each step uses one batch; each pass over them has its own order.
    steps : int
        Steps of AdamW without decay of weights.
    lr : float
        First step length; it falls to 0 along half a cosine.
    generator : torch.Generator, int or None
        Source of initial weights and orders, drawn on the CPU.
    layers : iterable of int, optional
        Numbers of the layers; all by default.
    block, gate_dim, q_pool, k_pool, force_q_map
        As in :class:`AttnGate`.
    reduction : {"mean_elements", "kl_row"}
        Of :func:`gate_loss`; times 10 in the steps, as in the authors' code.
    skip_rows : float
        Share of the block rows, the first ones, that the loss leaves out.
    alpha : float
        Strength of a ridge that the authors' code does not have: ``alpha / 2`` times the sum of squares of all weights
        is added to the loss, as in :func:`fit_gate_convex`.

    Returns
    -------
    GateDistillation

    Raises
    ------
    ValueError
        If an argument is out of range, or `gate_dim` is below the features that the model turns by positions.

    Notes
    -----
    Source: Y. Gao et al., arXiv 2410.13276, and the authors' code.

    Examples
    --------
    >>> from sparsetheory.gpu.core.models import load_minilm
    >>> encoder = load_minilm()
    >>> batches = encoder.batches(["Sparse codes are short, and this sentence is not.", "So is this one, is it not?"])
    >>> found = distill_gate(encoder.model, batches, steps=50, lr=1e-2, layers=[2], block=4)
    >>> bool(found.losses[0, -1] < 0.7 * found.losses[0, 0])
    True
    """
    source = cpu_generator(generator)
    examples = gate_examples(model, batches, layers, block, q_pool, k_pool)
    gates, losses = {}, []
    for layer, seen in examples.items():
        gate = gate_for(seen[0], q_pool, k_pool, gate_dim, force_q_map=force_q_map, generator=source)
        losses.append(train_gate(gate, seen, steps, lr, source, reduction=reduction, skip_rows=skip_rows, alpha=alpha))
        gates[layer] = gate
    return GateDistillation(gates, torch.stack(losses))


def gate_for(
    example: GateExample,
    q_pool: Sequence[Pool] = ("avg",),
    k_pool: Sequence[Pool] = ("max", "min", "avg"),
    gate_dim: int | None = None,
    *,
    force_q_map: bool = False,
    generator: torch.Generator | int | None = 0,
) -> AttnGate:
    """Return a fresh gate of the shapes, dtype and device of an example."""
    pooled = example.pooled
    gate = AttnGate(
        pooled.q.shape[-1] // len(q_pool),
        pooled.q.shape[1],
        pooled.k.shape[1],
        pooled.block,
        gate_dim,
        q_pool,
        k_pool,
        force_q_map=force_q_map,
        causal=pooled.causal,
        generator=generator,
    )
    return gate.to(pooled.q)


def train_gate(
    gate: AttnGate,
    examples: Sequence[GateExample],
    steps: int,
    lr: float,
    generator: torch.Generator | int | None = 0,
    *,
    reduction: Reduction = "mean_elements",
    skip_rows: float = 0.25,
    alpha: float = 0.0,
) -> Tensor:
    """Train one gate in place on recorded examples, one a step; return the losses of the steps as float64.

    Parameters
    ----------
    gate : AttnGate
        Trained in place.
    examples : sequence of GateExample
        As :func:`gate_examples` records them, of one layer.
    steps, lr, generator, reduction, skip_rows, alpha
        As in :func:`distill_gate`.

    Returns
    -------
    Tensor of float64 of shape (steps,)
        Without the ridge.

    Raises
    ------
    FloatingPointError
        If the loss is not finite; the message names the step.
    """
    COUNT.check("steps", steps)
    POSITIVE.check("lr", lr)
    NONNEGATIVE.check("alpha", alpha)
    source = cpu_generator(generator)
    optimizer = torch.optim.AdamW(gate.parameters(), lr=lr, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    passes = math.ceil(steps / len(examples))
    order = torch.cat([torch.randperm(len(examples), generator=source) for _ in range(passes)])[:steps]
    losses = torch.empty(steps, dtype=torch.float64)
    for step, place in enumerate(order.tolist()):
        example = examples[place]
        optimizer.zero_grad()
        with torch.enable_grad():
            loss = gate_loss(gate.score(example.pooled), example.target, reduction, skip_rows=skip_rows)
            ridge = alpha / 2 * sum(weight.square().sum() for weight in gate.parameters())
            if not loss.isfinite():
                raise FloatingPointError(f"the loss is {loss.item()} at step {step}")
            (_FACTOR * (loss + ridge)).backward()
        optimizer.step()
        schedule.step()
        losses[step] = loss.detach()
    return losses
