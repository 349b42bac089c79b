"""A layer that quantises activations with steps that are learnt, and penalises their changes between frames."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparsetheory.constraints import COUNT, FINITE, NONNEGATIVE, POSITIVE, Choice
from sparsetheory.gpu.activations.delta.quantiser import GRAD_MODES, rounded

__all__ = ["DeltaActivation", "DeltaOutput"]

# Steps below this share of the largest activation are enlarged to it.
_LEAST_STEP = 1e-8


@dataclass(frozen=True, eq=False)
class DeltaOutput:
    """Quantised activations of some clips, and what changed in them.

    Parameters
    ----------
    y : Tensor of shape (batch, time, ...)
        Activations on the grid, in the dtype that came in.
    penalty : Tensor of shape ()
        What to add to the loss.
    n_events : int
        Changes from one frame to the next, in all clips; the first frame has none.
    n_changes : int
        Pairs of an activation and a following frame, of which `n_events` changed.
    n_clamped : int
        Steps that were so close to zero that the least step took their place.
    """

    y: Tensor
    penalty: Tensor
    n_events: int
    n_changes: int
    n_clamped: int


class DeltaActivation(nn.Module):
    r"""Quantise activations over time, :math:`Q(x) = q\,\mathrm{round}(x/q)` with :math:`q = |\theta|`, to be sparse.

    A layer behind it need only be told what changed, :math:`Q(x_t) - Q(x_{t-1})`; see :class:`DeltaLinear`. The penalty
    ``alpha * fan_out * mean |Q(x_t) - Q(x_{t-1})|`` makes changes rare.

    Parameters
    ----------
    granularity : {"layer", "channel", "neuron"}
        What has a threshold of its own.
    threshold : float
        Start of :math:`\theta`, not 0. It may pass through zero and become negative in training.
    alpha : float
        Strength of the penalty, the rate of the paper.
    fan_out : float
        Operations that a change causes in the next layer, such as its width.
    grad_mode : {"paper", "lsq"}
        Gradient of the step, see :func:`quantize`.
    shape : int or sequence of int, optional
        Number of channels, or shape of a frame; needed where there is more than one threshold.

    Attributes
    ----------
    threshold : torch.nn.Parameter
        :math:`\theta`: of shape (), (channels,) or that of a frame.

    Raises
    ------
    ValueError
        If an argument is not as described.

    Notes
    -----
    Activations have shape (batch, time, ...) and come from behind a nonlinearity; channels are the axis after time.
    Steps below ``1e-8 max |x|`` are enlarged to that, without hiding the gradient from the parameter.

    Source: A. Yousefzadeh and M. Sifalakis, "Training for temporal sparsity in deep neural networks, application in
    video processing", arXiv 2107.07305, and the authors' code. There the width of the next layer and the strength of
    the penalty are as here, and gradients are those of ``grad_mode="paper"``.

    Examples
    --------
    >>> import torch
    >>> clip = torch.tensor([[[0.0, 1.0], [0.05, 1.0], [0.75, 1.0]]])  # one clip, three frames, two neurons
    >>> found = DeltaActivation(threshold=0.25, alpha=1.0)(clip)
    >>> found.y[0, :, 0].tolist(), found.n_events
    ([0.0, 0.0, 0.75], 1)
    >>> found.penalty.item()  # 0.75 over four pairs of neighbours in time
    0.1875
    """

    def __init__(
        self,
        granularity: str = "layer",
        threshold: float = 0.1,
        alpha: float = 1e-5,
        fan_out: float = 1,
        grad_mode: str = "paper",
        *,
        shape: int | Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        Choice("layer", "channel", "neuron").require(granularity=granularity)
        FINITE.require(threshold=threshold)
        NONNEGATIVE.require(alpha=alpha)
        POSITIVE.require(fan_out=fan_out)
        GRAD_MODES.require(grad_mode=grad_mode)
        if threshold == 0:
            raise ValueError(f"threshold must not be 0; got {threshold!r}")
        self.granularity, self.alpha, self.fan_out, self.grad_mode = granularity, alpha, fan_out, grad_mode
        self.threshold = nn.Parameter(torch.full(_sizes(granularity, shape), float(threshold)))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> DeltaOutput:
        """Quantise clips.

        Parameters
        ----------
        x : Tensor of shape (batch, time, ...)
            Activations; a clip of one frame has no changes.
        lengths : Tensor of int64 of shape (batch,), optional
            Frames of each clip; changes behind its end count nothing. By default all frames.

        Returns
        -------
        DeltaOutput
        """
        if x.ndim < 2 or 0 in x.shape or not x.is_floating_point():
            raise ValueError(f"x must be activations of shape (batch, time, ...); got {x.dtype} of {tuple(x.shape)}")
        q, n_clamped = self.step_sizes(x)
        y = rounded(x, q, self.grad_mode)
        changes = (y[:, 1:] - y[:, :-1]).abs().flatten(2)
        if lengths is not None:
            if lengths.shape != x.shape[:1]:
                raise ValueError(f"lengths must have shape {tuple(x.shape[:1])}; got {tuple(lengths.shape)}")
            changes = changes[torch.arange(1, x.shape[1], device=x.device) < lengths.to(x.device).unsqueeze(1)]
        # In single precision at least; where there is no pair of frames the mean would be no number.
        total = changes.to(torch.promote_types(x.dtype, torch.float32)).sum()
        penalty = self.alpha * self.fan_out * total / max(changes.numel(), 1)
        return DeltaOutput(y, penalty, int((changes.detach() != 0).sum()), changes.numel(), n_clamped)

    def step_sizes(self, x: Tensor) -> tuple[Tensor, int]:
        """Return the steps for some clips, in a shape that fits them, and how many had to be enlarged."""
        frame = x.shape[2:]
        wanted = {"layer": torch.Size(), "channel": frame[:1], "neuron": frame}[self.granularity]
        if self.threshold.shape != wanted:
            raise ValueError(
                f"x must fit {self.granularity} thresholds of shape {tuple(self.threshold.shape)}; "
                f"got frames of shape {tuple(frame)}"
            )
        q = self.threshold.abs().to(torch.promote_types(self.threshold.dtype, torch.float32))
        if self.granularity == "channel":
            q = q.reshape(-1, *[1] * (len(frame) - 1))
        largest = float(x.detach().abs().max())
        missing = (_LEAST_STEP * (largest if largest > 0 else 1.0) - q.detach()).clamp(min=0)
        return q + missing, int((missing > 0).sum())

    def extra_repr(self) -> str:
        """Return the arguments for the printed model."""
        return f"{self.granularity!r}, alpha={self.alpha}, fan_out={self.fan_out}, grad_mode={self.grad_mode!r}"


def _sizes(granularity: str, shape: int | Sequence[int] | None) -> tuple[int, ...]:
    if granularity == "layer":
        if shape is not None:
            raise ValueError(f"shape must be None for one threshold per layer; got {shape!r}")
        return ()
    sizes = (shape,) if isinstance(shape, int) else tuple(shape or ())
    if not sizes or (granularity == "channel" and len(sizes) > 1) or not all(COUNT.accepts(size) for size in sizes):
        wanted = "the number of channels" if granularity == "channel" else "the shape of a frame"
        raise ValueError(f"shape must be {wanted} for thresholds per {granularity}; got {shape!r}")
    return sizes
