"""A linear layer that learns which of its weights to use: scores of its own, and gradients that pass the mask by."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from sparsetheory.constraints import COUNT, FLAG, Choice, Real
from sparsetheory.gpu.core.models.initialisation import initialise
from sparsetheory.gpu.core.patterns import PerTensor
from sparsetheory.gpu.core.randomness import cpu_generator

__all__ = ["SparseLinear"]


class SparseLinear(nn.Linear):
    """A linear layer that computes with a share of its weights: those of the largest learnable scores.

    The weight is ``W * m(S)``, where m keeps the ``density`` share of the entries of the score S, chosen anew whenever
    the weight is computed. The gradient g of the loss by that product reaches W as ``g * m``, and S as ``g * W``, as if
    the mask were the score (straight-through estimator).

    Parameters
    ----------
    in_features, out_features : int
    density : float
        Share of the weights that is used, above 0 and at most 1. With 1 it computes what :class:`torch.nn.Linear` does.
    score_init : {"magnitude", "random"}
        Scores at the start: ``|W| / max |W|``, or uniform in [0, 1].
    bias : bool
    generator : torch.Generator, int or None
        Source of the weights, by He's normal rule, and of random scores; drawn on the CPU.

    Attributes
    ----------
    density : float
    masked : bool
        Whether the mask acts. Without it the layer is dense, for a warm-up.

    Raises
    ------
    ValueError
        If an argument is out of range, or the density keeps no weight.

    Notes
    -----
    The weight is a parametrisation: ``layer.weight`` is what the layer computes with, zeros included, so reports and
    masks see what is used. The parameters are ``parametrizations.weight.original``, W, and
    ``parametrizations.weight.0.score``, S. Scores without a gradient keep the mask as it is.
    A pass takes O(n) operations for n weights to choose, and memory for a mask. It saves no time: it is a search, and
    :func:`derive` returns what it found.

    References
    ----------
    H. Mousavi, M. Loni, M. Alibeigi, M. Daneshtalab. DASS: differentiable architecture search for sparse neural
    networks. ACM TECS 22, 2023, arXiv 2207.06968: the operation. V. Ramanujan et al. What's hidden in a randomly
    weighted neural network? CVPR 2020: the gradient of the scores.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.search import SparseLinear
    >>> layer = SparseLinear(8, 4, density=0.25)
    >>> layer(torch.ones(2, 8)).sum().backward()
    >>> int(layer.weight.count_nonzero()), int(layer.score.grad.count_nonzero())
    (8, 32)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        density: float,
        score_init: str = "magnitude",
        *,
        bias: bool = True,
        generator: torch.Generator | int | None = 0,
    ) -> None:
        COUNT.require(in_features=in_features, out_features=out_features)
        FLAG.require(bias=bias)
        self.density = Real(0.0, 1.0, closed="right").check("density", density)
        Choice("magnitude", "random").require(score_init=score_init)
        if PerTensor(self.density).count((out_features, in_features)) == 0:
            n_weights = in_features * out_features
            raise ValueError(f"density must keep at least 1 of {n_weights} weights; got {density}")
        super().__init__(in_features, out_features, bias=bias)
        source = cpu_generator(generator)
        initialise(self, "he_normal", source)
        weight = self.weight.detach()
        drawn = score_init == "random"
        score = torch.rand(weight.shape, generator=source, dtype=weight.dtype) if drawn else _relative_size(weight)
        parametrize.register_parametrization(self, "weight", _LargestScores(score, self.density))

    @property
    def score(self) -> nn.Parameter:
        """Scores of the weights, of the shape of the weight."""
        return self._largest.score

    @property
    def mask(self) -> Tensor:
        """Which weights are used now."""
        return self._largest.mask()

    @property
    def masked(self) -> bool:
        """Whether the mask acts."""
        return self._largest.active

    @masked.setter
    def masked(self, value: bool) -> None:
        self._largest.active = FLAG.check("masked", value)

    def score_by_magnitude(self) -> None:
        """Set the scores to what the present weights W say: ``|W| / max |W|``."""
        parametrisations = self.parametrizations
        assert isinstance(parametrisations, nn.ModuleDict)
        with torch.no_grad():
            self.score.copy_(_relative_size(parametrisations["weight"].original))  # type: ignore[arg-type]

    @property
    def _largest(self) -> "_LargestScores":
        parametrisations = self.parametrizations
        assert isinstance(parametrisations, nn.ModuleDict)
        found = parametrisations["weight"][0]  # type: ignore[index]
        assert isinstance(found, _LargestScores)
        return found

    def __deepcopy__(self, memo: dict[int, Any]) -> "SparseLinear":
        """Return a copy whose parametrisation can be removed without a trace in this layer.

        Torch keeps the property that computes a weight in a class that it makes for the layer, and an ordinary copy
        shares the class.
        """
        kind = type(self)
        twin: SparseLinear = kind.__new__(kind)
        memo[id(self)] = twin
        twin.__dict__ = copy.deepcopy(self.__dict__, memo)
        if parametrize.is_parametrized(twin):
            twin.__class__ = type(kind.__name__, kind.__bases__, dict(kind.__dict__))
        return twin

    def extra_repr(self) -> str:
        """Return sizes and density."""
        return f"{super().extra_repr()}, density={self.density:g}"


def _relative_size(weight: Tensor) -> Tensor:
    sizes = weight.detach().abs()
    return sizes / sizes.max().clamp(min=torch.finfo(weight.dtype).tiny)


class _LargestScores(nn.Module):
    """The parametrisation: a weight on the entries of the largest scores."""

    def __init__(self, score: Tensor, density: float) -> None:
        super().__init__()
        self.score = nn.Parameter(score)
        self.pattern, self.active = PerTensor(density), True

    def mask(self) -> Tensor:
        if not self.active:
            return torch.ones_like(self.score, dtype=torch.bool)
        return self.pattern.mask(self.score)

    def forward(self, weight: Tensor) -> Tensor:
        if not self.active:
            return weight
        return _StraightThrough.apply(weight, self.score, self.mask())

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight


class _StraightThrough(torch.autograd.Function):
    """``W * m``, with the gradient by m handed to the scores."""

    # So that gradients of single samples can be taken with torch.func.
    generate_vmap_rule = True

    @staticmethod
    def forward(weight: Tensor, score: Tensor, mask: Tensor) -> Tensor:
        return weight.masked_fill(~mask, 0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        weight, _, mask = inputs
        ctx.save_for_backward(weight, mask)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        weight, mask = ctx.saved_tensors
        (gradient,) = gradients
        needs_weight, needs_score, _ = ctx.needs_input_grad
        to_weight = gradient.masked_fill(~mask, 0) if needs_weight else None
        return to_weight, gradient * weight if needs_score else None, None
