"""A mask in the forward pass that is chosen anew each time, and gradients that pass it by: SR-STE and its kin."""

from typing import Any

import torch
from torch import Tensor, nn

from sparsetheory.constraints import MISSING, NONNEGATIVE, Choice, Instance
from sparsetheory.gpu.core.layer_masks import check_layer_shape, layer_mask
from sparsetheory.gpu.core.pattern_frames import StructureDecay
from sparsetheory.gpu.core.patterns import Pattern
from sparsetheory.gpu.core.schedules import MaskDecay
from sparsetheory.gpu.weights.training.masked_weight import MaskedWeight

__all__ = ["SparseSTE"]


class SparseSTE(MaskedWeight):
    """Compute with the largest entries of a weight; train all of them.

    With E the mask of the largest entries of the stored weight W, chosen anew in every forward pass, and D the factor
    of `mask_decay`, the layer computes with ``W * (E + (1 - E) D)``. The gradient of that reaches W unchanged
    (straight-through estimator), so an entry off the mask goes on learning and may come back.

    Together with :func:`srste_penalty`, which pulls entries off the mask to zero, this is SR-STE. With a
    `mask_decay` or a :class:`StructureDecay` it is progressive gradient flow. With a fixed mask it is static sparsity.

    Parameters
    ----------
    pattern : Pattern, StructureDecay or Tensor of bool
        What the layer keeps: of its largest entries, as :func:`layer_mask` reads a pattern; a sequence of patterns; or
        a fixed mask of the shape of the weight.
    mask_decay : MaskDecay, optional
        Factor of the entries off the mask, by optimiser step; by default 0. It moves with a :class:`StepCounter`.
    backward : {"ste", "scaled"}
        Whether the gradient passes unchanged, or is multiplied by ``E + (1 - E) D``, which is the true derivative for a
        mask that stays.
    alpha : float
        Adds ``alpha (1 - E) W`` to each gradient, as published code of SR-STE does. It counts once a backward pass, so
        K accumulated batches count it K times and a loss scale divides it: use :func:`srste_penalty` for training.

    Raises
    ------
    ValueError
        If an argument is not as described; while a weight is attached, if it cannot have the pattern.

    Notes
    -----
    For a quadratic loss and step size s, gradient descent with the penalty settles exactly at the fixed points of
    iterative hard thresholding with step 1 / alpha. Without it, no mask settles where the sparse set cannot fit the
    loss: off the mask, entries grow until they come back. See the claims ``sparse_training.srste_*``.

    Sources: A. Zhou et al., "Learning N:M Fine-grained Structured Sparse Neural Networks From Scratch", ICLR 2021;
    A. Bambhaniya et al., "Progressive Gradient Flow for Robust N:M Sparsity Training in Transformers", 2024.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sparsetheory.gpu.core import NM
    >>> from sparsetheory.gpu.weights import finalize, sparsify
    >>> model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> sparsify(model, NM(1, 4), include="0")
    MaskSet(1 masks, 8 of 32 entries kept)
    >>> model(torch.ones(3, 8)).sum().backward()
    >>> finalize(model), int(model[0].weight.count_nonzero())
    (MaskSet(1 masks, 8 of 32 entries kept), 8)
    """

    fixed: Tensor

    # The stored weight of the last forward pass, its version, and the mask.
    _latest: tuple[int, int, Tensor] | None = None

    def __init__(
        self,
        pattern: Pattern | StructureDecay | Tensor,
        *,
        mask_decay: MaskDecay | None = None,
        backward: str = "ste",
        alpha: float = 0.0,
    ) -> None:
        super().__init__()
        (MISSING | Instance(MaskDecay, "a MaskDecay")).check("mask_decay", mask_decay)
        Choice("ste", "scaled").check("backward", backward)
        NONNEGATIVE.check("alpha", alpha)
        if isinstance(pattern, Tensor):
            if pattern.dtype != torch.bool:
                raise TypeError(f"pattern must hold bool where it is a mask; got {pattern.dtype}")
            # A copy, as loading a state writes to it.
            self.register_buffer("fixed", pattern.clone())
            self.pattern = None
        elif isinstance(pattern, Pattern | StructureDecay):
            self.pattern = pattern
        else:
            raise TypeError(f"pattern must be a pattern, a StructureDecay or a mask; got {type(pattern).__name__}")
        self.mask_decay, self.backward_rule, self.alpha = mask_decay, backward, float(alpha)

    @property
    def factor(self) -> float:
        """What entries off the mask are multiplied by now."""
        return 0.0 if self.mask_decay is None else self.mask_decay(self.step)

    @property
    def scheduled(self) -> bool:
        """Whether a decay or a sequence of patterns moves from step to step."""
        return self.mask_decay is not None or isinstance(self.pattern, StructureDecay)

    def pattern_now(self) -> Pattern | None:
        """Return the pattern of this step; None for a fixed mask."""
        return self.pattern.pattern_at(self.step) if isinstance(self.pattern, StructureDecay) else self.pattern

    def check_shape(self, shape: torch.Size) -> None:
        """Raise ValueError where a weight of this shape cannot have the pattern, or one of its sequence."""
        if self.pattern is None:
            if self.fixed.shape != shape:
                got = tuple(self.fixed.shape)
                raise ValueError(f"{self.weight_name} must have the shape of its mask, {got}; got {tuple(shape)}")
            return
        patterns = self.pattern.frames if isinstance(self.pattern, StructureDecay) else (self.pattern,)
        for pattern in patterns:
            check_layer_shape(pattern, shape, transposed=self.transposed, name=self.weight_name)

    def mask(self, weight: Tensor) -> Tensor:
        """Return the largest entries that the pattern of this step allows."""
        pattern = self.pattern_now()
        if pattern is None:
            return self.fixed
        return layer_mask(pattern, weight.detach().abs(), transposed=self.transposed, name=self.weight_name)

    def soft(self, weight: Tensor) -> Tensor:
        """Return ``W * (E + (1 - E) D)`` with the gradient that `backward` names."""
        factor = self.factor
        if factor == 1.0 and not self.alpha:
            return weight
        mask = self.mask(weight)
        self._latest = (id(weight), weight._version, mask) if isinstance(weight, nn.Parameter) else None
        return _Masked.apply(weight, mask, factor, self.backward_rule == "scaled", self.alpha)

    def latest_mask(self, weight: Tensor) -> Tensor:
        """Return the mask of the last forward pass, if that was of this weight and nothing was written to it since.

        What is written through ``weight.data`` counts from the next forward pass on: torch does not tell of it.
        """
        if self._latest is not None and self._latest[:2] == (id(weight), weight._version):
            return self._latest[2]
        return self.mask(weight)

    def advance(self) -> None:
        """Take note of one more optimiser step."""
        super().advance()
        self._latest = None

    def extra_repr(self) -> str:
        """Return what is masked and how."""
        what = "fixed mask" if self.pattern is None else str(self.pattern)
        return f"{what}, backward={self.backward_rule!r}"


class _Masked(torch.autograd.Function):
    """``W * (E + (1 - E) D)``, with a gradient that passes, or is multiplied likewise."""

    # So that gradients of single samples can be taken with torch.func.
    generate_vmap_rule = True

    @staticmethod
    def forward(weight: Tensor, mask: Tensor, factor: float, scaled: bool, alpha: float) -> Tensor:
        return _faded(weight, mask, factor)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        weight, mask, ctx.factor, ctx.scaled, ctx.alpha = inputs
        ctx.save_for_backward(mask, weight if ctx.alpha else None)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        mask, weight = ctx.saved_tensors
        gradient = _faded(gradients[0], mask, ctx.factor) if ctx.scaled else gradients[0]
        if ctx.alpha:
            gradient = torch.add(gradient, weight * ~mask, alpha=ctx.alpha)
        return gradient, None, None, None, None


def _faded(values: Tensor, mask: Tensor, factor: float) -> Tensor:
    # Products with the mask as numbers: torch.where takes three times as long on CPUs. The larger of 1 and D is 1.
    return values * (mask.to(values.dtype).clamp_(min=factor) if factor else mask)
