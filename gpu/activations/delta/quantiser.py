"""Rounding to multiples of a step, with two gradients of the step."""

from typing import Any

import torch
from torch import Tensor

from sparsetheory.constraints import POSITIVE, Choice

__all__ = ["GRAD_MODES", "quantize", "rounded"]

GRAD_MODES = Choice("paper", "lsq")


def quantize(x: Tensor, q: Tensor | float, grad_mode: str = "paper") -> Tensor:
    r"""Round activations to multiples of a step, :math:`Q(x) = q \,\mathrm{round}(x / q)`; halves go to even codes.

    Parameters
    ----------
    x : Tensor
        Activations of any shape.
    q : Tensor or float
        Step above 0; a tensor must broadcast against `x`.
    grad_mode : {"paper", "lsq"}
        Gradient of the step. That of x passes unchanged either way. Rounding is taken for the identity, and then

        - "lsq" has the derivative of what is computed, ``round(x / q) - x / q``;
        - "paper" has ``-round(x / q)``: ``x / q`` is held fixed, and the sign is turned, as in the authors' code. A
          penalty on ``|Q(x)|`` or on its changes would make the step smaller with the true sign, and nothing sparser.
          Turned, it enlarges the step. The gradient of a task is turned along with it.

    Returns
    -------
    Tensor
        Of the shape and dtype of `x`.

    Raises
    ------
    ValueError
        If `q` is not above 0, or `grad_mode` is another one.

    Notes
    -----
    No value moves by more than ``q / 2``, up to rounding, and values on the grid stay.

    Source: A. Yousefzadeh and M. Sifalakis, "Training for temporal sparsity in deep neural networks, application in
    video processing", arXiv 2107.07305, and the authors' code; "lsq": S. K. Esser et al., "Learned step size
    quantization", ICLR 2020, without its range and its scale of the gradient.

    Examples
    --------
    >>> import torch
    >>> q = torch.tensor(0.5, requires_grad=True)
    >>> y = quantize(torch.tensor([0.2, 0.7, -1.3]), q)
    >>> y.tolist()
    [0.0, 0.5, -1.5]
    >>> y.sum().backward()
    >>> q.grad  # minus the sum of the codes 0, 1 and -3
    tensor(2.)
    """
    GRAD_MODES.require(grad_mode=grad_mode)
    if not isinstance(q, Tensor):
        POSITIVE.require(q=q)
        step = x.new_tensor(q)
    elif bool((q > 0).all()):
        step = q
    else:
        raise ValueError(f"q must be above 0; got entries down to {float(q.min()):.3g}")
    return rounded(x, step, grad_mode)


def rounded(x: Tensor, q: Tensor, grad_mode: str) -> Tensor:
    """Round as :func:`quantize` does, without checks."""
    result: Tensor = _Rounding.apply(x, q, grad_mode)
    return result


class _Rounding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, q: Tensor, grad_mode: str) -> Tensor:
        # Half precision has no number for more than 65504 steps, and a step of it may round to 0.
        ratio = x.to(torch.promote_types(x.dtype, torch.float32)) / q
        codes = ratio.round()
        ctx.sign = -1 if grad_mode == "paper" else 1
        ctx.save_for_backward(codes if grad_mode == "paper" else codes - ratio)
        ctx.like = q
        return (codes * q).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (gradient,), (slope,), q = gradients, ctx.saved_tensors, ctx.like
        if not ctx.needs_input_grad[1]:
            return gradient, None, None
        if q.ndim:
            of_q = (gradient * slope).sum_to_size(q.shape)
        else:
            # One pass over memory in place of two.
            of_q = gradient.flatten().to(slope.dtype) @ slope.flatten()
        return gradient, (ctx.sign * of_q).to(q.dtype), None
