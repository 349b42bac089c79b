"""An l1 penalty on hidden activations, and its strength over the steps of training."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsetheory.constraints import NONNEGATIVE, Choice
from sparsetheory.gpu.core.activation_ratios import hidden_layers
from sparsetheory.gpu.core.hooks.steps import StepHooks, step_is_skipped
from sparsetheory.gpu.core.layers import find_layers
from sparsetheory.gpu.core.recording import counted_rows
from sparsetheory.gpu.core.schedules import Constant, SineStages

__all__ = ["ActivationPenalty", "activation_l1", "sine_stage_schedule"]

_REDUCTIONS = Choice("mean", "token", "sum")


def sine_stage_schedule(peaks: Sequence[float], ends: Sequence[int]) -> Callable[[int], float]:
    """Return the strength of a penalty that rises from peak to peak, flat at each of them.

    Parameters
    ----------
    peaks : sequence of float
        Value at the end of each stage: positive, none below the one before.
    ends : sequence of int
        Step at which each stage ends, strictly increasing.

    Returns
    -------
    callable
        From a number of steps to the strength; a :class:`sparsetheory.gpu.core.SineStages`.

    Examples
    --------
    >>> strength = sine_stage_schedule((0.1, 0.5), (10, 20))
    >>> strength(10), round(strength(15), 12), strength(30)
    (0.1, 0.3, 0.5)
    """
    return SineStages(peaks, ends)


def activation_l1(hidden: Sequence[Tensor], reduction: str = "mean") -> Tensor:
    """Return the sum over layers of the l1 norm of their activations.

    Parameters
    ----------
    hidden : sequence of Tensor of shape (..., features)
        Activations of each layer, on one device.
    reduction : {"mean", "token", "sum"}
        Of each layer: the mean over all entries; the mean over tokens of the norm of a token; or the norm of all. A
        strength means nothing without it: that of "token" is that of "mean" over the number of features.

    Returns
    -------
    Tensor of shape ()
        In at least single precision.

    Notes
    -----
    The gradient is the sign of an entry, by their number for "mean", and 0 at 0. The paper does not say how it reduces
    over tokens.

    Examples
    --------
    >>> import torch
    >>> hidden = [torch.tensor([[1.0, -3.0], [0.0, 0.0]])]
    >>> [activation_l1(hidden, reduction).item() for reduction in ("mean", "token", "sum")]
    [1.0, 2.0, 4.0]
    """
    _REDUCTIONS.require(reduction=reduction)
    if isinstance(hidden, Tensor) or not len(hidden):
        got = "a tensor" if isinstance(hidden, Tensor) else "none"
        raise ValueError(f"hidden must be a sequence of one tensor or more; got {got}")
    return torch.stack([_norm(x, reduction) for x in hidden]).sum()


def _norm(x: Tensor, reduction: str) -> Tensor:
    sizes = x.to(torch.promote_types(x.dtype, torch.float32)).abs()
    if reduction == "mean":
        return sizes.mean()
    return sizes.sum() if reduction == "sum" else sizes.sum(-1).mean()


class ActivationPenalty(StepHooks):
    """The l1 penalty on the hidden activations of a model, for any training loop.

    Hooks keep the inputs of the chosen layers in each forward pass of training, and :meth:`term` makes the penalty of
    them. A model that returns its own loss, as those of transformers do when they get labels, has the penalty added to
    it, so that their ``Trainer`` needs nothing else. In a loop that computes the loss, it is ``loss + penalty.term()``.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Its steps are counted, for the schedule.
    model : torch.nn.Module
    alpha : float or callable
        Strength, or a schedule of it by optimiser step, as of :func:`sine_stage_schedule`.
    layers : str or sequence of str, optional
        Layers whose inputs are penalised: names or shell patterns. By default the last ones of feed-forward networks,
        see :func:`sparsetheory.gpu.core.hidden_layers`. In a gated network their inputs are products of gate and value,
        as in the paper. A penalty on the gates alone is another one.
    reduction : {"mean", "token", "sum"}
        As in :func:`activation_l1`; tokens that an ``attention_mask`` of the call leaves out do not count.

    Raises
    ------
    RuntimeError
        By :meth:`term`, and by a model that returns its loss, if there are no activations: the model has not run in
        training mode with gradients since the last term, or checkpointing hides them. By a step of the optimiser, if
        activations were kept and no term was taken.

    Notes
    -----
    The penalty is part of the loss, so whatever scales the loss scales it, too. Where gradients of K batches are
    accumulated and the loss of each is not divided by K, the penalty counts K times.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core.models import GatedFFN
    >>> network = GatedFFN(4, 8, activation="relu")
    >>> optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    >>> penalty = ActivationPenalty(optimizer, network, alpha=0.1)
    >>> loss = network(torch.ones(2, 4)).square().mean() + penalty.term()
    >>> loss.backward()
    >>> optimizer.step()
    >>> penalty.step
    1
    """

    def __init__(
        self,
        optimizer: Optimizer,
        model: nn.Module,
        alpha: float | Callable[[int], float],
        layers: str | Sequence[str] | None = None,
        *,
        reduction: str = "mean",
    ) -> None:
        _REDUCTIONS.require(reduction=reduction)
        self.alpha = alpha if callable(alpha) else Constant(NONNEGATIVE.check("alpha", alpha))
        self.reduction, self.step = reduction, 0
        chosen = find_layers(model, hidden_layers(model) if layers is None else layers)
        self._hidden: list[Tensor] = []
        self._mask: Tensor | None = None
        self._earlier = 0
        super().__init__(optimizer)
        self._handles += [layer.register_forward_pre_hook(self._keep, with_kwargs=True) for layer in chosen.values()]
        self._handles.append(model.register_forward_pre_hook(self._begin, with_kwargs=True))
        self._handles.append(model.register_forward_hook(self._end, always_call=True))

    def term(self) -> Tensor:
        """Return the penalty on what was kept since the last term, and forget it."""
        if not self._hidden:
            raise RuntimeError(
                "no hidden activations to penalise: the model has not run in training mode with gradients since the "
                "last term, has added the penalty to its loss already, or runs under checkpointing that hides them "
                "(use_reentrant=True)"
            )
        hidden, self._hidden = self._hidden, []
        return self.alpha(self.step) * activation_l1(hidden, self.reduction)

    def before_step(self) -> None:
        """Find out whether the penalty was forgotten."""
        if self._hidden:
            self._hidden = []
            raise RuntimeError("the penalty was not added: use loss + penalty.term(), or give the model its labels")

    def after_step(self) -> None:
        """Count the step."""
        if not step_is_skipped(self.optimizer):
            self.step += 1

    def _keep(self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        x = args[0] if args else next(iter(kwargs.values()))
        # A checkpointed block runs again within the backward pass.
        within_backward = torch._C._current_graph_task_id() != -1
        if layer.training and torch.is_grad_enabled() and x.requires_grad and not within_backward:
            counted = counted_rows(self._mask, x)
            self._hidden.append(x if counted is None else x[counted.bool()])

    def _begin(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._mask, self._earlier = kwargs.get("attention_mask"), len(self._hidden)

    def _end(self, model: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        self._mask = None
        if output is None:
            # The pass ended with an error.
            del self._hidden[self._earlier :]
        loss = output.get("loss") if isinstance(output, dict) else None
        if isinstance(loss, Tensor) and (self._hidden or (model.training and loss.requires_grad)):
            output["loss"] = loss + self.term()
        return output
