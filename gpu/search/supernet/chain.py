"""A supernet for small problems: a chain of edges, each of which chooses among operations."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from sparsetheory.constraints import COUNT, Real, Several
from sparsetheory.gpu.core.models.initialisation import initialise
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.search.supernet.mixed_op import MixedOp, Zero
from sparsetheory.gpu.search.supernet.sparse_linear import SparseLinear

__all__ = ["SuperChain"]

_DENSITY = Real(0.0, 1.0, closed="right")


class SuperChain(nn.Module):
    """A linear layer with ReLU, a chain of edges of which each is a :class:`MixedOp`, and a linear layer.

    Parameters
    ----------
    in_features : int
    widths : sequence of int
        Widths between the edges: one number more than there are edges.
    out_features : int
    ops : sequence of str
        What each edge chooses among: ``"zero"``; ``"identity"``, between equal widths; ``"dense"``, linear and ReLU;
        ``"sparse:0.25"``, the same with a density, see :class:`SparseLinear`; ``"low_rank:8"``, two linear layers with
        8 values between them, and ReLU.
    generator : torch.Generator, int or None
        Source of the weights, by He's normal rule, drawn on the CPU.

    Attributes
    ----------
    stem, edges, head : torch.nn.Module
        Edges are a ``ModuleList``.

    Raises
    ------
    ValueError
        If an operation is unknown, only "zero" is offered, "identity" would join different widths, or a number is out
        of range.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.search import SuperChain
    >>> model = SuperChain(8, [16, 16, 16], 3, ["identity", "dense", "sparse:0.25"])
    >>> model(torch.zeros(5, 8)).shape, len(model.edges)
    (torch.Size([5, 3]), 2)
    >>> model.expected_cost()  # of each edge a third of 0 + 1 + 0.25
    tensor(0.8333, grad_fn=...)
    """

    def __init__(
        self,
        in_features: int,
        widths: Sequence[int],
        out_features: int,
        ops: Sequence[str] = ("identity", "dense", "sparse:0.25", "sparse:0.05"),
        *,
        generator: torch.Generator | int | None = 0,
    ) -> None:
        super().__init__()
        COUNT.require(in_features=in_features, out_features=out_features)
        Several(COUNT).require(widths=widths)
        if len(widths) < 2:
            raise ValueError(f"widths must hold at least two numbers, around one edge; got {list(widths)}")
        if isinstance(ops, str) or len(set(ops)) < len(ops) or not len(ops):
            raise ValueError(f"ops must be names, at least one and each once; got {ops!r}")
        source = cpu_generator(generator)
        self.stem = nn.Sequential(_linear(in_features, widths[0], source), nn.ReLU())
        self.edges = nn.ModuleList(
            MixedOp({name: _op(name, before, after, source) for name in ops}) for before, after in pairwise(widths)
        )
        self.head = _linear(widths[-1], out_features, source)
        self.widths = tuple(widths)
        self._costs = tuple(edge.costs(width) for edge, width in zip(self.mixed(), widths, strict=False))

    def mixed(self) -> Iterator[MixedOp]:
        """Yield the edges."""
        for edge in self.edges:
            assert isinstance(edge, MixedOp)
            yield edge

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs of shape (n, out_features) for inputs of shape (n, in_features)."""
        x = self.stem(x)
        for edge in self.edges:
            x = edge(x)
        output: Tensor = self.head(x)
        return output

    @property
    def alphas(self) -> list[nn.Parameter]:
        """Architecture parameters, one vector for each edge."""
        return [edge.alpha for edge in self.mixed()]

    @property
    def costs(self) -> tuple[tuple[float, ...], ...]:
        """Cost of every operation of every edge, relative to a dense layer there, see :meth:`MixedOp.costs`."""
        return self._costs

    def expected_cost(self) -> Tensor:
        """Return the mean cost of architectures drawn by the softmax of alpha, in dense edges: linear in the softmax.

        An edge between larger widths counts like any other.
        """
        total = torch.zeros((), dtype=self.alphas[0].dtype, device=self.alphas[0].device)
        for edge, costs in zip(self.mixed(), self._costs, strict=True):
            shares = edge.probabilities()
            total = total + shares @ shares.new_tensor(costs)
        return total

    def extra_repr(self) -> str:
        """Return the widths."""
        return f"widths={list(self.widths)}"


def _linear(in_features: int, out_features: int, generator: torch.Generator, bias: bool = True) -> nn.Linear:
    layer = nn.Linear(in_features, out_features, bias=bias)
    initialise(layer, "he_normal", generator)
    return layer


def _op(name: str, before: int, after: int, generator: torch.Generator) -> nn.Module:
    kind, _, detail = name.partition(":")
    if kind in _PLAIN and not detail:
        return _PLAIN[kind](before, after, generator)
    if kind == "sparse" and _is_number(detail):
        return nn.Sequential(SparseLinear(before, after, float(detail), generator=generator), nn.ReLU())
    if kind == "low_rank" and detail.isdecimal():
        rank = COUNT.check(f"rank of {name!r}", int(detail))
        return nn.Sequential(_linear(before, rank, generator, bias=False), _linear(rank, after, generator), nn.ReLU())
    raise ValueError(f"ops must be 'zero', 'identity', 'dense', 'sparse:DENSITY' or 'low_rank:RANK'; got {name!r}")


def _identity(before: int, after: int, generator: torch.Generator) -> nn.Module:
    if before != after:
        raise ValueError(f"widths must be equal around an edge with 'identity'; got {before} and {after}")
    return nn.Identity()


def _dense(before: int, after: int, generator: torch.Generator) -> nn.Module:
    return nn.Sequential(_linear(before, after, generator), nn.ReLU())


def _zero(before: int, after: int, generator: torch.Generator) -> nn.Module:
    return Zero(after)


_PLAIN: dict[str, Callable[[int, int, torch.Generator], nn.Module]] = {
    "zero": _zero,
    "identity": _identity,
    "dense": _dense,
}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
