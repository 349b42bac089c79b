"""What a new weight starts from, where that is not zero."""

import torch
from torch import Tensor

from sparsetheory.constraints import POSITIVE
from sparsetheory.gpu.core.hooks.snapshots import Start

__all__ = ["normal_start", "survivors_mean"]


def normal_start(scale: float = 0.1) -> Start:
    """Return the rule that draws new weights from a normal distribution around zero, as SET does.

    Parameters
    ----------
    scale : float
        Standard deviation.

    Returns
    -------
    callable
        For the argument `start` of :class:`TopologyController`.

    References
    ----------
    Mocanu et al., "Scalable training of artificial neural networks with adaptive sparse connectivity inspired by
    network science", Nature Communications 2018.

    Examples
    --------
    >>> import torch
    >>> new, survivors = torch.tensor([True, False]), torch.tensor([False, True])
    >>> values = normal_start(0.1)(torch.zeros(2), new, survivors, torch.Generator().manual_seed(0))
    >>> values.shape
    torch.Size([1])
    """
    deviation = POSITIVE.check("scale", scale)

    def start(parameter: Tensor, new: Tensor, survivors: Tensor, generator: torch.Generator) -> Tensor:
        return deviation * torch.randn(int(new.sum()), generator=generator)

    return start


def survivors_mean(parameter: Tensor, new: Tensor, survivors: Tensor, generator: torch.Generator) -> Tensor:
    """Return the mean of the entries that survive, zero if there are none.

    A start for tensors whose zero means something else than absence, such as the logarithm of a scale.

    Parameters
    ----------
    parameter : Tensor
        Before the new entries have their values.
    new, survivors : Tensor of bool
        New entries, and those that were active before and still are.
    generator : torch.Generator
        Not used.

    Returns
    -------
    Tensor of shape ()

    Examples
    --------
    >>> import torch
    >>> new, survivors = torch.tensor([True, False, False]), torch.tensor([False, True, True])
    >>> survivors_mean(torch.tensor([0.0, 1.0, 2.0]), new, survivors, torch.Generator())
    tensor(1.5000)
    """
    kept = parameter.detach()[survivors]
    return kept.mean() if kept.numel() else parameter.new_zeros(())
