"""Penalties on what a mask will drop: of channels (MaskSparsity), and of the weights off an N:M mask (SR-STE)."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim import Optimizer

from sparsetheory.constraints import NONNEGATIVE, Choice
from sparsetheory.gpu.core.hooks.penalties import GradientPenalty
from sparsetheory.gpu.weights.training.masked_weight import Parametrised, parametrised_weights

__all__ = ["MaskedPenalty", "srste_penalty"]

Mask = Tensor | Callable[[], Tensor]


class MaskedPenalty(GradientPenalty):
    """Add the gradient of a penalty on the masked-out entries of parameters, once a step, before momentum.

    It is added to gradients that have been accumulated, unscaled and clipped. The other entries are not penalised, so
    they do not shrink.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Any but LBFGS.
    scales : iterable of Tensor
        Parameters of the optimiser, such as the scales of batch normalisations.
    prune_masks : sequence of Tensor of bool, or of callables that return one
        For each parameter, True where an entry is penalised. A callable is asked at every step.
    alpha : float
        Strength of the penalty, at least 0.
    kind : {"l1", "l2", "smooth_l1"}
        What is added: ``alpha sign(p)``; ``alpha p``; or ``alpha p`` where ``|p| < lr alpha``, else ``alpha sign(p)``,
        with the learning rate of the parameter's group.

    Raises
    ------
    ValueError
        If the optimiser is LBFGS, it does not have a parameter, or masks and parameters do not agree.

    Notes
    -----
    Source: N. Jiang et al., "Pruning-aware Sparse Regularization for Network Pruning", 2022. The quadratic kind with
    the live masks of N:M weights is the term of SR-STE, see :func:`srste_penalty`. For an orthonormal design it is a
    lasso with weights 0 and alpha: what is kept is not biased, see the claim ``sparse_training.masksparsity_bias``.

    To prune channels, as published: train with this on all scales of batch normalisations; choose channels by
    :func:`threshold_masks`; train the network of before again with the penalty on these; take the channels out by
    :func:`remove_channels`; train on. Scales reach zero only if the sum of the learning rates, times alpha, divided by
    one minus the momentum, is larger than they are. At ``lr alpha`` the smooth kind jumps from ``lr alpha^2`` to alpha,
    as the published code does.

    Examples
    --------
    >>> import torch
    >>> scale = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = torch.optim.SGD([scale], lr=0.5)
    >>> penalty = MaskedPenalty(optimizer, [scale], [torch.tensor([False, True])], alpha=0.1)
    >>> (0 * scale).sum().backward()
    >>> optimizer.step()
    >>> scale.detach()
    tensor([ 1.0000, -1.9500])
    """

    def __init__(
        self,
        optimizer: Optimizer,
        scales: Iterable[Tensor],
        prune_masks: Sequence[Mask],
        alpha: float,
        kind: str = "l1",
    ) -> None:
        parameters, self._masks = list(scales), list(prune_masks)
        NONNEGATIVE.check("alpha", alpha)
        Choice("l1", "l2", "smooth_l1").check("kind", kind)
        if len(parameters) != len(self._masks):
            raise ValueError(f"prune_masks must have one mask a parameter; got {len(self._masks)}, {len(parameters)}")
        for index, (parameter, mask) in enumerate(zip(parameters, self._masks, strict=True)):
            _check_mask(index, mask() if callable(mask) else mask, parameter)
        self.alpha, self.kind = float(alpha), kind
        super().__init__(optimizer, parameters, self._gradient)

    def term(self, index: int, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        """Return the gradient of the penalty: zero where the mask is False."""
        mask = self._masks[index]
        return self._gradient(parameter, group) * (mask() if callable(mask) else mask)

    def _gradient(self, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        if self.kind == "l2":
            return self.alpha * parameter
        constant = self.alpha * parameter.sign()
        if self.kind == "l1":
            return constant
        return torch.where(parameter.abs() < float(group["lr"]) * self.alpha, self.alpha * parameter, constant)


def srste_penalty(optimizer: Optimizer, model: nn.Module, alpha: float = 2e-4) -> MaskedPenalty:
    """Pull the weights off their masks to zero: the term that makes the straight-through estimator SR-STE.

    Each step adds ``alpha (1 - E) W`` to the gradient of a stored weight W, with the mask E of that step. It is the
    gradient of ``alpha / 2 ||(1 - E) W||^2`` for a mask that stays.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Any but LBFGS, with the parameters of `model`.
    model : torch.nn.Module
        After :func:`sparsify`.
    alpha : float
        Strength; by default that of the published code.

    Returns
    -------
    MaskedPenalty
        Call its ``remove()`` to stop it, at the latest where an optimiser goes on after :func:`finalize`.

    Raises
    ------
    ValueError
        If the model has no sparse weights that are trained.

    Notes
    -----
    Source: A. Zhou et al., "Learning N:M Fine-grained Structured Sparse Neural Networks From Scratch", ICLR 2021.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.weights import sparsify
    >>> model = torch.nn.Linear(8, 4)
    >>> _ = sparsify(model, "2:4")
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> penalty = srste_penalty(optimizer, model)
    """
    weights = [one for one in parametrised_weights(model) if one.masked is not None and one.stored.requires_grad]
    if not weights:
        raise ValueError("model must have sparse weights that are trained; got none, call sparsify first")
    return MaskedPenalty(optimizer, [one.stored for one in weights], [_dropped(one) for one in weights], alpha, "l2")


def _dropped(one: Parametrised) -> Callable[[], Tensor]:
    def dropped() -> Tensor:
        if not parametrize.is_parametrized(one.layer, one.leaf):
            raise ValueError(
                f"{one.name} must be sparse while it is penalised; it was finalized, call penalty.remove()"
            )
        return ~one.mask(latest=True)

    return dropped


def _check_mask(index: int, mask: Tensor, parameter: Tensor) -> None:
    if mask.dtype != torch.bool or mask.shape != parameter.shape:
        raise ValueError(
            f"prune_masks[{index}] must be bool of shape {tuple(parameter.shape)}; got {mask.dtype} of shape "
            f"{tuple(mask.shape)}"
        )
