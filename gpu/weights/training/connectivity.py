"""Connections that are learned: each weight has a trained score, and is there while its score is positive (SCL)."""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsetheory.constraints import NONNEGATIVE, POSITIVE, Choice, Real
from sparsetheory.gpu.core.masks import MaskSet
from sparsetheory.gpu.weights.training.exporting import export
from sparsetheory.gpu.weights.training.masked_weight import MaskedWeight, weight_shape

__all__ = ["SCLMask", "export_scl"]

Seen = tuple[int, int, int]


class SCLMask(MaskedWeight):
    """Compute with the weights whose trained scores are positive; ship those that were there half of the time.

    With scores m, of the shape of the weight w, and H the unit step, the layer computes with ``w * H(m)``. The weight
    has the true gradient ``g * H(m)``, with g the gradient of what the layer computes with. The step is passed straight
    through, so a score has the gradient ``g * w``. It is divided by its norm over the weights of the same output, and
    `alpha` is added: each connection costs that much, in all layers alike.

    A :class:`StepCounter` must be made, with the optimiser that trains the scores: before each step it divides by the
    norm and adds `alpha`, and after it the mean of the masks moves on. A warning says so where scores move without.

    Parameters
    ----------
    shape : sequence of int
        Of the weight, at least two axes.
    alpha : float
        Cost of a connection, at least 0. For a `norm` other than "none" it is relative to the gradients.
    init : float
        Score at the start, above 0: all connections are there. Scores fall by at most ``alpha`` times the step size
        where the loss does not ask for the connection, so let the sum of the step sizes be ten times ``init / alpha``
        or more.
    norm : {"l2", "linf", "none"}
        Norm that the gradients of the scores of an output are divided by; "none" leaves them. Gradients that are all
        zero stay zero.
    ema : float
        Share of the past in the running mean of the masks, in [0, 1).

    Raises
    ------
    ValueError
        If an argument is not as described.

    Attributes
    ----------
    scores : Parameter
        m, trained. For weights of half precision they and their mean are of single precision, as their steps are small.
    mask_ema : Tensor
        Running mean of ``H(m)``. What is shipped are the weights where it is at least 1/2.

    Notes
    -----
    Why a mean: a weight at its optimum has no gradient while it is there, so its score falls at the speed of `alpha`,
    turns negative, and the gradient of the loss brings it back. The mask never settles. For an orthonormal design with
    least-squares coefficient b, it is on for the share ``max(0, 1 - alpha / b^2)`` of the steps. Half of the time is
    ``b^2 > 2 alpha``, which is the rule of least squares with a cost of alpha per coefficient. See the claims
    ``sparse_training.scl_*``.

    Why once a step: the sum of the gradients of K micro-batches is that of the batch, but K normalised gradients do
    not add up to a normalised one, and K backward passes would count `alpha` K times. So backward passes only sum up
    ``g * w``. A loss scale cancels in the norm, and is taken out before `alpha` is added.

    The weight must not decay. A weight without connection has no gradient, so weight decay takes it to zero, where the
    gradient of its score is zero, too, and it never comes back. Gradients of scores count when all gradients are
    clipped by their common norm.

    Source: Z. Tang et al., "Automatic Sparse Connectivity Learning for Neural Networks", IEEE TNNLS 2022. No code was
    published. That the normaliser is the Euclidean norm over an output, that scores start at 0.1, and the running mean
    are ours.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sparsetheory.gpu.weights import StepCounter, finalize, sparsify
    >>> layer = nn.Linear(2, 1, bias=False)
    >>> with torch.no_grad():
    ...     _ = layer.weight.copy_(torch.tensor([[2.0, 0.1]]))
    >>> _ = sparsify(layer, lambda weight: SCLMask(weight.shape, alpha=0.5, norm="none", ema=0.9))
    >>> optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    >>> counter = StepCounter(optimizer, layer)
    >>> for _ in range(100):
    ...     optimizer.zero_grad()
    ...     (0.5 * (layer(torch.eye(2)) - torch.tensor([[2.0], [0.1]])) ** 2).sum().backward()
    ...     optimizer.step()
    >>> finalize(layer), layer.weight.detach()
    (MaskSet(1 masks, 1 of 2 entries kept), tensor([[2., 0.]]))
    """

    mask_ema: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        *,
        alpha: float,
        init: float = 0.1,
        norm: str = "l2",
        ema: float = 0.99,
    ) -> None:
        super().__init__()
        NONNEGATIVE.check("alpha", alpha)
        POSITIVE.check("init", init)
        Choice("l2", "linf", "none").check("norm", norm)
        Real(0.0, 1.0, closed="left").check("ema", ema)
        self.alpha, self.norm, self.ema = float(alpha), norm, float(ema)
        self.scores = nn.Parameter(torch.full(weight_shape(shape), float(init), dtype=torch.float32))
        self.register_buffer("mask_ema", torch.ones_like(self.scores, requires_grad=False))
        self._joined = False
        self._seen: Seen | None = None
        self._moves = 0

    def place(self, weight: Tensor) -> None:
        """Move scores and mean to the device of a weight, and to its dtype, single precision at least."""
        self.to(weight.device, torch.promote_types(weight.dtype, torch.float32))

    def check_shape(self, shape: torch.Size) -> None:
        """Raise ValueError unless the scores have the shape of the weight."""
        if self.scores.shape != shape:
            got = tuple(self.scores.shape)
            raise ValueError(f"shape must be that of {self.weight_name}, {tuple(shape)}; got {got}")

    def mask(self, weight: Tensor) -> Tensor:
        """Return which connections were there for half of the remembered time."""
        return self.mask_ema >= 0.5

    def soft(self, weight: Tensor) -> Tensor:
        """Return the weight where scores are positive, and zeros elsewhere."""
        if not self._joined and self.training and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            self._look_for_steps()
        connected: Tensor = _Connected.apply(weight, self.scores)
        return connected

    def join(self, optimizer: Optimizer, stored: Tensor) -> None:
        """Refuse an optimiser that does not train the scores; warn of weight decay."""
        super().join(optimizer, stored)
        groups = {id(one): group for group in optimizer.param_groups for one in group["params"]}
        self._joined = True
        for what, tensor in ((self.weight_name, stored), (f"the scores of {self.weight_name}", self.scores)):
            if groups.get(id(tensor), {}).get("weight_decay"):
                warnings.warn(
                    f"{what} must not decay, or connections that are off cannot come back: give a group with "
                    "weight_decay=0",
                    RuntimeWarning,
                    stacklevel=3,
                )

    @torch.no_grad()
    def before_step(self, scale: Tensor | None) -> None:
        """Turn the summed gradient of the scores into the normalised one with the cost of a connection."""
        gradient = self.scores.grad
        if gradient is None:
            return
        complete = self._normalised(gradient if scale is None else gradient / scale) + self.alpha
        gradient.copy_(complete if scale is None else complete * scale)

    @torch.no_grad()
    def advance(self) -> None:
        """Take note of one more optimiser step: move the mean of the masks on."""
        super().advance()
        self.mask_ema.mul_(self.ema).add_((self.scores > 0).to(self.mask_ema.dtype), alpha=1.0 - self.ema)

    def inspect(self, weight: Tensor) -> None:
        """Warn of outputs whose connections are all off and whose weights are all zero: they could not come back."""
        stuck = ((self.scores <= 0) & (weight == 0)).all(self._inputs(weight.ndim)).sum()
        if stuck:
            warnings.warn(
                f"{self.weight_name} has {int(stuck)} outputs without connections whose weights are all zero: neither "
                "weights nor scores had gradients; keep weights from zero, without weight decay",
                RuntimeWarning,
                stacklevel=4,
            )

    def set_extra_state(self, state: Any) -> None:
        """Continue from a step."""
        super().set_extra_state(state)
        self._seen = None

    def extra_repr(self) -> str:
        """Return the cost and the norm."""
        return f"{tuple(self.scores.shape)}, alpha={self.alpha:g}, norm={self.norm!r}, ema={self.ema:g}"

    def _inputs(self, n_axes: int) -> tuple[int, ...]:
        """Return the axes of a weight over which the inputs of one output run."""
        output = n_axes - 1 if self.transposed else 0
        return tuple(axis for axis in range(n_axes) if axis != output)

    def _normalised(self, gradient: Tensor) -> Tensor:
        if self.norm == "none":
            return gradient
        # First by the largest entry: squares of small gradients would underflow.
        axes = self._inputs(gradient.ndim)
        unit = _divided(gradient, gradient.abs().amax(axes, keepdim=True))
        return unit if self.norm == "linf" else _divided(unit, unit.square().sum(axes, keepdim=True).sqrt())

    def _look_for_steps(self) -> None:
        """Warn, once, where an optimiser moves the scores from pass to pass, and no step is counted."""
        # Each write to a tensor in place raises its version. One alone may be the user's.
        now = (self.step, id(self.scores), self.scores._version)
        before, self._seen = self._seen, now
        self._moves += before is not None and before[:2] == now[:2] and before[2] < now[2]
        if self._moves == 2:
            self._moves += 1
            warnings.warn(
                f"the scores of {self.weight_name} move without their cost, and no masks are remembered: make "
                "StepCounter(optimizer, model) before training",
                RuntimeWarning,
                stacklevel=3,
            )


class _Connected(torch.autograd.Function):
    """``w * H(m)``; the gradient of w is the true one, that of m passes the step straight through."""

    generate_vmap_rule = True

    @staticmethod
    def forward(weight: Tensor, scores: Tensor) -> Tensor:
        return torch.where(scores > 0, weight, torch.zeros_like(weight))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        weight, scores = ctx.saved_tensors
        gradient = gradients[0]
        # In the precision of the scores: products of half-precision numbers would underflow.
        product = gradient.to(scores.dtype) * weight.to(scores.dtype)
        return torch.where(scores > 0, gradient, torch.zeros_like(gradient)), product


def _divided(values: Tensor, by: Tensor) -> Tensor:
    return values / torch.where(by > 0, by, torch.ones_like(by))


def export_scl(model: nn.Module) -> MaskSet:
    """Turn the weights with learned connections into plain ones, in place, and leave other sparse weights as they are.

    A weight stays where its connection was there for half of the remembered time. :func:`finalize` does the same for
    the weights of all methods.

    Parameters
    ----------
    model : torch.nn.Module
        With weights that have an :class:`SCLMask`.

    Returns
    -------
    MaskSet
        Masks of these weights, by name.

    Raises
    ------
    ValueError
        If there are none.

    Warns
    -----
    RuntimeWarning
        If all connections of an output are off and all its weights are zero.

    Examples
    --------
    >>> from torch import nn
    >>> from sparsetheory.gpu.weights import sparsify
    >>> model = nn.Sequential(nn.Linear(8, 4))
    >>> _ = sparsify(model, lambda weight: SCLMask(weight.shape, alpha=0.01))
    >>> export_scl(model)
    MaskSet(1 masks, 32 of 32 entries kept)
    """
    found = export(model, (SCLMask,))
    if not found:
        raise ValueError("model must have weights with an SCLMask; got none")
    return MaskSet(found)
