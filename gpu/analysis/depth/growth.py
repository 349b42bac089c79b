"""How the residual stream of a random network grows with its depth, simulated and in closed form."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from sparsetheory.constraints import COUNT, FLAG, POSITIVE, Real
from sparsetheory.gpu.core.randomness import cpu_generator

__all__ = ["VarianceGrowth", "variance_growth"]

_DENSITY = Real(0.0, 1.0, "right")


@dataclass(frozen=True, eq=False)
class VarianceGrowth:
    """The mean square of the residual stream, before each layer and after the last one.

    Parameters
    ----------
    measured : Tensor of float64 of shape (depth + 1,)
        Mean over tokens and features.
    expected : Tensor of float64 of shape (depth + 1,)
        Expectation over weights and masks, from the same start.
    """

    measured: Tensor
    expected: Tensor


def variance_growth(
    depth: int,
    width: int,
    density: float | tuple[float, float] = 1.0,
    norm: bool = True,
    rescale: bool = False,
    generator: torch.Generator | int | None = 0,
    *,
    branch_scale: float = 1.0,
    n_tokens: int = 128,
) -> VarianceGrowth:
    r"""Simulate the residual stream of a random network whose weights are masked at random.

    Layer l adds ``branch_scale * W2 relu(W1 h)`` to the stream x, with h the layer normalisation of x, or x itself.
    Entries of both square matrices are normal with variance ``1 / width``, and each is kept with probability `density`.

    Parameters
    ----------
    depth : int
        Layers.
    width : int
        Features of the stream and hidden units.
    density : float or tuple of float
        Probability with which an entry is kept, in (0, 1]; of W1 and of W2 where there are two.
    norm : bool
        Whether the input of a layer is normalised (without scales, constants and eps).
    rescale : bool
        Whether masked weights are divided by the root of their density.
    generator : torch.Generator, int or None
        Source of tokens, weights and masks, drawn on the CPU.
    branch_scale : float
        Number tau above 0 that multiplies what layers add.
    n_tokens : int
        Tokens, which start as independent normal numbers of variance 1.

    Returns
    -------
    VarianceGrowth

    Notes
    -----
    Let :math:`E_l` be the mean square and r1, r2 the densities; rescaled weights count as dense. The weights of a layer
    are independent of what enters it and symmetric, so squares add up. A normalised input has mean square 1, a
    rectifier halves it in the mean, and each masked matrix multiplies it by its density:

    1. With normalisation :math:`E_l = E_0 + l \tau^2 r_1 r_2 / 2`: linear growth, so layer l adds less and less
       relative to the stream.
    2. Without it :math:`E_l = E_0 (1 + \tau^2 r_1 r_2 / 2)^l`: exponential growth.

    So at the start sparsity does what a smaller branch scale does, and rescaling undoes it. O(depth n_tokens width^2)
    operations.

    Examples
    --------
    >>> dense, sparse = (variance_growth(12, 64, density).measured for density in (1.0, 0.25))
    >>> bool(dense[-1] > 4), bool(sparse[-1] < 2)
    (True, True)
    """
    COUNT.require(depth=depth, width=width, n_tokens=n_tokens)
    FLAG.require(norm=norm, rescale=rescale)
    POSITIVE.require(branch_scale=branch_scale)
    densities = density if isinstance(density, tuple) else (density, density)
    if len(densities) != 2:
        raise ValueError(f"density must be a number or two of them; got {density!r}")
    first, second = (_DENSITY.check("density", one) for one in densities)
    source = cpu_generator(generator)

    def weight(kept: float) -> Tensor:
        drawn = torch.randn(width, width, generator=source) / width**0.5
        if kept < 1:
            drawn *= torch.rand(width, width, generator=source) < kept
        return drawn / kept**0.5 if rescale else drawn

    x = torch.randn(n_tokens, width, generator=source)
    squares = [float(x.double().square().mean())]
    for _ in range(depth):
        # In double precision, so that the deviation of a token from its mean is never 0 by rounding.
        h = functional.layer_norm(x.double(), (width,), eps=0.0).to(x) if norm else x
        x = x + branch_scale * (torch.relu(h @ weight(first).T) @ weight(second).T)
        squares.append(float(x.double().square().mean()))
    measured = torch.tensor(squares, dtype=torch.float64)
    rate = branch_scale**2 / 2 * (1.0 if rescale else first * second)
    steps = torch.arange(depth + 1, dtype=torch.float64)
    expected = measured[0] + steps * rate if norm else measured[0] * (1 + rate) ** steps
    return VarianceGrowth(measured, expected)
