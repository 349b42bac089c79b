"""A linear layer that runs frame by frame and takes only what changed since the last one."""

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn

from sparsetheory.constraints import POSITIVE

__all__ = ["DeltaLinear", "count_macs"]

# The largest code up to which single precision holds every integer.
_LARGEST_CODE = 2**24
# Up to this share of changed inputs, copying their rows of the weight costs less than the whole product.
_GATHERED = 0.2


def count_macs(deltas: Tensor, fan_out: Tensor | float) -> int:
    """Return the multiply-accumulates that changes cause: one for each change and each output that it reaches.

    Parameters
    ----------
    deltas : Tensor
        Changes of activations.
    fan_out : Tensor or float
        Outputs that an activation reaches: one number, or a tensor that broadcasts against `deltas`.

    Examples
    --------
    >>> import torch
    >>> count_macs(torch.tensor([0.0, 0.5, -1.0]), 10)
    20
    """
    return round(float(((deltas != 0) * fan_out).sum(dtype=torch.float64)))


class DeltaLinear(nn.Module):
    r"""The layer :math:`W Q(x_t) + b`, computed as the last output plus :math:`W (Q(x_t) - Q(x_{t-1}))`.

    Inputs become integer codes, :math:`k_t = \mathrm{round}(x_t / q)`, and the state is ``W diag(q)`` times the codes,
    in double precision. So nothing is thresholded against the last frame alone: an input that creeps is noticed once it
    reaches the next code, and the error of an output never exceeds :math:`\frac12 \sum_i q_i |W_{oi}|`, at any time.

    Parameters
    ----------
    weight : Tensor of shape (out, in)
    q : Tensor of shape (in,) or (), or float
        Step of each input, above 0, such as ``|threshold|`` of a trained :class:`DeltaActivation`.
    bias : Tensor of shape (out,), optional

    Attributes
    ----------
    n_events : int
        Codes that changed since the last :meth:`reset`; those of a first frame that are not zero count as well.

    Raises
    ------
    ValueError
        If shapes do not fit, or a step is not above 0.

    Notes
    -----
    For inference: no gradients. A frame costs ``out`` multiply-accumulates for each input that changed in any sample of
    the batch, as long as these are at most a fifth of all inputs, and a whole product otherwise. The layer keeps the
    weight in double precision, ``8 out in`` bytes, whatever dtype it is moved to. To move it forgets the last frame.

    Source: A. Yousefzadeh and M. Sifalakis, arXiv 2107.07305; integer codes in place of accumulated values are ours.

    Examples
    --------
    >>> import torch
    >>> layer = DeltaLinear(torch.tensor([[1.0, -2.0]]), q=0.5)
    >>> [layer.step(torch.tensor(frame)).item() for frame in ([1.1, 0.2], [1.2, 0.1], [1.2, 0.6])]
    [1.0, 1.0, 0.0]
    >>> layer.n_events
    2
    """

    by_input: Tensor
    steps: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, q: Tensor | float, bias: Tensor | None = None) -> None:
        super().__init__()
        if weight.ndim != 2:
            raise ValueError(f"weight must be a matrix; got shape {tuple(weight.shape)}")
        if bias is not None and bias.shape != weight.shape[:1]:
            raise ValueError(f"bias must have shape ({weight.shape[0]},); got {tuple(bias.shape)}")
        steps = q.detach() if isinstance(q, Tensor) else weight.detach().new_tensor(POSITIVE.check("q", q))
        if steps.shape not in ((), weight.shape[1:]) or not bool((steps > 0).all()):
            raise ValueError(
                f"q must be above 0, one number or {weight.shape[1]}; got shape {tuple(steps.shape)} "
                f"with {int((steps <= 0).sum())} entries of at most 0"
            )
        self.register_buffer("steps", steps.to(weight.device).expand(weight.shape[1]).clone())
        self.register_buffer("by_input", (weight.detach().double() * self.steps.double()).T.contiguous())
        self.register_buffer("bias", None if bias is None else bias.detach().clone())
        self.reset()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move the layer. Its matrix keeps double precision, as rounded changes would no longer add up to the whole."""
        exact = self.by_input
        super()._apply(fn, recurse)
        self.by_input = exact.to(self.by_input.device)
        return self.reset()

    def reset(self) -> Self:
        """Forget the last frame: call it between clips. Returns the layer."""
        self._codes: Tensor | None = None
        self._state: Tensor | None = None
        self.n_events = 0
        return self

    @torch.no_grad()
    def step(self, x_t: Tensor) -> Tensor:
        """Return the outputs for the next frame.

        Parameters
        ----------
        x_t : Tensor of shape (in,) or (batch, in)
            One frame of a clip, or of several clips that run together.

        Returns
        -------
        Tensor of shape (out,) or (batch, out)
            In the dtype of `x_t`.

        Raises
        ------
        ValueError
            If the shape differs from that of the last frame, or a code is beyond 2**24 or no number: single precision
            does not hold each integer there. The state stays as it was.
        """
        codes = self._coded(x_t)
        if self._codes is None or self._state is None:
            before, state = torch.zeros_like(codes), codes.new_zeros((*codes.shape[:-1], self.by_input.shape[1]))
            state = state.to(self.by_input)
        elif self._codes.shape != codes.shape:
            raise ValueError(
                f"x_t must have the shape of the last frame, {tuple(self._codes.shape)}; got {tuple(codes.shape)}: "
                "reset between clips"
            )
        else:
            before, state = self._codes, self._state
        changes = codes - before
        changed = (changes != 0).reshape(-1, codes.shape[-1]).any(0).nonzero().squeeze(1)
        if changed.numel() <= _GATHERED * codes.shape[-1]:
            state = state + changes[..., changed].double() @ self.by_input[changed]
        else:
            state = state + changes.double() @ self.by_input
        self._codes, self._state = codes, state
        self.n_events += int((changes != 0).sum())
        return (state if self.bias is None else state + self.bias.double()).to(x_t.dtype)

    def _coded(self, x_t: Tensor) -> Tensor:
        if x_t.ndim not in (1, 2) or x_t.shape[-1] != self.by_input.shape[0]:
            raise ValueError(
                f"x_t must have shape ({self.by_input.shape[0]},) or with a batch before; got {tuple(x_t.shape)}"
            )
        codes = (x_t.to(torch.promote_types(x_t.dtype, torch.float32)) / self.steps).round()
        if not bool((codes.abs() <= _LARGEST_CODE).all()):
            raise ValueError(f"x_t must be at most 2**24 steps of q in size; got {float(codes.abs().max()):.3g} steps")
        return codes.to(torch.int32)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of whole clips of shape (batch, time, in), each from the start; resets before and after.

        Returns
        -------
        Tensor of shape (batch, time, out)
        """
        if x.ndim != 3:
            raise ValueError(f"x must have shape (batch, time, in); got {tuple(x.shape)}")
        self.reset()
        outputs = [self.step(frame) for frame in x.unbind(1)]
        events = self.n_events
        self.reset().n_events = events
        return torch.stack(outputs, dim=1)
