"""A convolution with normal weights."""

from typing import Any

import torch
from torch import Tensor, nn

from sparsetheory.gpu.bayesian.layers.variational import VariationalLayer

__all__ = ["BayesConv2d"]


class BayesConv2d(VariationalLayer, nn.Conv2d):
    """A two-dimensional convolution whose weights are independent normal variables.

    What a call draws says :class:`VariationalLayer`. Local noise is right for each output by itself; outputs of one
    channel at places that share inputs are correlated under random weights, and are not under local noise.

    Parameters
    ----------
    *args, **kwargs
        Those of :class:`torch.nn.Conv2d`, in its order: stride, padding in all modes, dilation and groups among them.
    sampling : {"local", "weights", "mean"}
        How a call draws noise.
    prior_std : float, optional
        Standard deviation of the prior, for :meth:`kl`.
    generator : torch.Generator or int, optional
        Source of the noise, on the CPU; by default the global stream.

    Examples
    --------
    >>> import torch
    >>> layer = BayesConv2d(1, 4, 3, padding=1, prior_std=0.1)
    >>> layer(torch.ones(2, 1, 8, 8)).shape
    torch.Size([2, 4, 8, 8])
    >>> bool(layer.kl() > 0)
    True
    """

    def __init__(
        self,
        *args: Any,
        sampling: str = "local",
        prior_std: float | None = None,
        generator: torch.Generator | int | None = None,
        **kwargs: Any,
    ) -> None:
        nn.Conv2d.__init__(self, *args, **kwargs)
        self._make_variational(sampling, prior_std, generator)

    def _product(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        # Padding repeats or leaves out inputs, in every mode, so that squares of padded inputs are padded squares.
        return self._conv_forward(x, weight, bias)
