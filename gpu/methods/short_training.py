"""Train a model briefly to do what it did while dense: how methods that need an optimiser are applied in one call."""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsetheory.gpu.compression.change import output_tensor
from sparsetheory.gpu.core.modes import in_mode
from sparsetheory.gpu.core.patterns import Pattern
from sparsetheory.gpu.core.recording import attention_mask, call_on, check_batches, run_batches
from sparsetheory.gpu.core.schedules import Cubic, MaskDecay
from sparsetheory.gpu.weights.training.adam_s import AdamS
from sparsetheory.gpu.weights.training.attaching import sparsify
from sparsetheory.gpu.weights.training.cast_setup import adam_s_groups
from sparsetheory.gpu.weights.training.exporting import finalize
from sparsetheory.gpu.weights.training.mask_penalty import srste_penalty
from sparsetheory.gpu.weights.training.parameter_efficient import PST, set_sparsity
from sparsetheory.gpu.weights.training.ste import SparseSTE
from sparsetheory.gpu.weights.training.step_counter import StepCounter

__all__ = ["cast", "progressive", "pst", "srste", "trained"]

_STEPS = 100


def trained(
    model: nn.Module, batches: Sequence[Any], begin: Callable[[nn.Module], Optimizer], n_steps: int
) -> Optimizer:
    """Make a model sparse in training, with the outputs of the dense model as targets; nothing else is known of them.

    The loss is the mean squared difference over the positions that count. Where nothing is pruned, it and all gradients
    are exactly 0 from the first step on: the model stays as it is. It is trained in evaluation mode, so that nothing is
    drawn.

    Parameters
    ----------
    model : torch.nn.Module
        Trained in place; its mode is restored.
    batches : sequence
        As :func:`sparsetheory.gpu.core.collect_grams` takes them; one is used in each step, one after the other.
    begin : callable
        Prepares the method, for example by ``sparsify`` and by hooks, and returns the optimiser. It is called once the
        outputs of the dense model are known.
    n_steps : int

    Returns
    -------
    torch.optim.Optimizer
        That of `begin`. What is left to do is to finalize the model.
    """
    check_batches("batches", batches)
    targets = [output_tensor(output) for output in run_batches(model, batches)]
    optimizer = begin(model)
    with in_mode(model, training=False):
        for batch, target in islice(cycle(zip(batches, targets, strict=True)), n_steps):
            optimizer.zero_grad()
            _loss(output_tensor(call_on(model, batch)), target, attention_mask(batch)).backward()
            optimizer.step()
    return optimizer


def _loss(output: Tensor, target: Tensor, kept: Tensor | None) -> Tensor:
    squares = (output - target).square()
    if kept is not None and kept.shape == output.shape[:-1]:
        squares = squares[kept.to(output.device) != 0]
    return squares.mean()


def srste(model: nn.Module, batches: Sequence[Any], pattern: Pattern, random_state: int) -> Mapping[str, Tensor]:
    """Train through the straight-through estimator, with the published penalty; nothing is drawn."""

    def begin(model: nn.Module) -> Optimizer:
        sparsify(model, pattern)
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
        srste_penalty(optimizer, model)
        return optimizer

    trained(model, batches, begin, _STEPS)
    return finalize(model)


def progressive(model: nn.Module, batches: Sequence[Any], pattern: Pattern, random_state: int) -> Mapping[str, Tensor]:
    """Train while the mask fades in, in the first 0.4 of the steps; nothing is drawn."""
    decay = MaskDecay("linear", 1 / (0.4 * _STEPS))

    def begin(model: nn.Module) -> Optimizer:
        sparsify(model, lambda weight: SparseSTE(pattern, mask_decay=decay))
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
        StepCounter(optimizer, model)
        return optimizer

    trained(model, batches, begin, _STEPS)
    return finalize(model)


def cast(model: nn.Module, batches: Sequence[Any], pattern: Pattern, random_state: int) -> Mapping[str, Tensor]:
    """Train with AdamS, whose decay is of the size of the gradients of this loss; nothing is drawn."""

    def begin(model: nn.Module) -> Optimizer:
        return AdamS(adam_s_groups(model), 2e-3, total_steps=_STEPS, alpha=1e-2, pattern=pattern)

    optimizer = trained(model, batches, begin, _STEPS)
    assert isinstance(optimizer, AdamS)
    return finalize(model, optimizer.masks)


def pst(model: nn.Module, batches: Sequence[Any], pattern: Pattern, random_state: int) -> Mapping[str, Tensor]:
    """Fine-tune the low-rank parts of PST, to exactly as many entries as the pattern keeps."""
    source = torch.Generator().manual_seed(random_state)

    def begin(model: nn.Module) -> Optimizer:
        sparsify(model, lambda weight: PST(weight.shape, generator=source))
        for one in [module for module in model.modules() if isinstance(module, PST)]:
            size = one.shape.numel()
            # The published count is rounded down: half an entry more makes it exactly this one.
            pruned = min(size, size - pattern.count(one.shape) + 0.5)
            set_sparsity(one, Cubic(0.0, _STEPS, pruned / size, warmup=0.1, cooldown=0.4))
        optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=2e-3)
        StepCounter(optimizer, model)
        return optimizer

    trained(model, batches, begin, _STEPS)
    return finalize(model)
