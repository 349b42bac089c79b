"""How a budget of weights is shared among layers.

All rules give densities d_l with ``sum n_l d_l = density sum n_l`` for layers of n_l entries, and none above 1.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from sparsetheory.constraints import POSITIVE, Real

__all__ = [
    "er_densities",
    "erk_densities",
    "uniform_densities",
    "uniform_plus_densities",
]

Shapes = Mapping[str, Sequence[int]]
_DENSITY = Real(0.0, 1.0, closed="right")
_SHARE = Real(0.0, 1.0)
# Products of sizes and densities carry rounding errors of a few units of 1e-16 of the sizes.
ROUNDING = 1e-14


def uniform_densities(shapes: Shapes, density: float) -> dict[str, float]:
    """Give every layer the same density.

    Parameters
    ----------
    shapes : mapping of str to sequence of int
        Shape of the weight of each layer.
    density : float
        Share of all entries to keep, above 0 and at most 1.

    Returns
    -------
    dict of str to float

    Examples
    --------
    >>> uniform_densities({"a": (256, 64), "b": (10, 256)}, 0.2)
    {'a': 0.2, 'b': 0.2}
    """
    _checked(shapes, density)
    return dict.fromkeys(shapes, float(density))


def uniform_plus_densities(
    shapes: Shapes, density: float, *, first: str, head: str, head_density: float = 0.2
) -> dict[str, float]:
    """Keep the first layer dense and the last one at a least density; give the others the same density.

    The others get what remains of the budget, so that the whole meets it exactly. (Published code divides by the size
    of the whole network instead, and misses the budget.)

    Parameters
    ----------
    shapes : mapping of str to sequence of int
        Shape of the weight of each layer.
    density : float
        Share of all entries to keep, above 0 and at most 1.
    first : str
        Name of the layer that stays dense.
    head : str
        Name of the layer that gets at least `head_density`.
    head_density : float
        Least density of the head, above 0 and at most 1.

    Returns
    -------
    dict of str to float

    Raises
    ------
    ValueError
        If the budget does not suffice for the first layer and the head; the message names the density that is needed.

    References
    ----------
    Gale, Elsen, Hooker, "The State of Sparsity in Deep Neural Networks", 2019.

    Examples
    --------
    >>> shapes = {"stem": (8, 8), "body": (32, 32), "head": (4, 32)}
    >>> found = uniform_plus_densities(shapes, 0.25, first="stem", head="head")
    >>> {name: round(density, 3) for name, density in found.items()}
    {'stem': 1.0, 'body': 0.208, 'head': 0.208}
    """
    sizes = _checked(shapes, density)
    _DENSITY.check("head_density", head_density)
    for argument, name in (("first", first), ("head", head)):
        if name not in shapes:
            raise ValueError(f"{argument} must be a layer of shapes; got {name!r}")
    if first == head:
        raise ValueError(f"first and head must be two layers; got {first!r} twice")
    alone = _shared_out(sizes, density, {first: 1.0}, _equal)
    if alone[head] >= head_density:
        return alone
    return _shared_out(sizes, density, {first: 1.0, head: float(head_density)}, _equal)


def er_densities(
    shapes: Shapes, density: float, *, fixed: Mapping[str, float] | None = None, power: float = 1.0
) -> dict[str, float]:
    """Densities in proportion to (outputs + inputs) / (outputs * inputs), at most 1: those of an Erdős-Rényi graph.

    Every unit then has about the same number of connections. Kernels of convolutions do not count in the proportion.

    Parameters
    ----------
    shapes : mapping of str to sequence of int
        Shape of the weight of each layer, (outputs, inputs, ...).
    density : float
        Share of all entries to keep, above 0 and at most 1.
    fixed : mapping of str to float, optional
        Layers whose densities are given, such as a dense classifier.
    power : float
        To which the proportion is raised.

    Returns
    -------
    dict of str to float

    Raises
    ------
    ValueError
        If fixed layers take more than the budget, or leave more than the others can hold; the message names them and
        the density that is needed.

    References
    ----------
    Mocanu et al., "Scalable training of artificial neural networks with adaptive sparse connectivity inspired by
    network science", Nature Communications 2018.

    Examples
    --------
    >>> {name: round(d, 3) for name, d in er_densities({"a": (256, 64), "b": (256, 256), "c": (10, 256)}, 0.2).items()}
    {'a': 0.337, 'b': 0.135, 'c': 1.0}
    """
    return _erdos_renyi(shapes, density, fixed, power, lambda shape: shape[:2])


def erk_densities(
    shapes: Shapes, density: float, *, fixed: Mapping[str, float] | None = None, power: float = 1.0
) -> dict[str, float]:
    """Densities in proportion to sum(shape) / prod(shape), at most 1: Erdős-Rényi with kernels.

    Equal to :func:`er_densities` for linear layers. Closed form, O(L log L) for L layers.

    Parameters
    ----------
    shapes, density, fixed, power
        As for :func:`er_densities`.

    Returns
    -------
    dict of str to float

    Raises
    ------
    ValueError
        As for :func:`er_densities`.

    References
    ----------
    Evci, Gale, Menick, Castro, Elsen, "Rigging the Lottery: Making All Tickets Winners", ICML 2020.

    Examples
    --------
    >>> erk_densities({"conv": (8, 4, 3, 3), "fc": (10, 8)}, 0.25, fixed={"fc": 1.0})
    {'conv': 0.041666666666666664, 'fc': 1.0}
    """
    return _erdos_renyi(shapes, density, fixed, power, lambda shape: shape)


def _erdos_renyi(
    shapes: Shapes,
    density: float,
    fixed: Mapping[str, float] | None,
    power: float,
    counted: Callable[[Sequence[int]], Sequence[int]],
) -> dict[str, float]:
    sizes = _checked(shapes, density)
    POSITIVE.check("power", power)
    for name, shape in shapes.items():
        if len(shape) < 2:
            raise ValueError(f"shapes must have outputs and inputs; {name} has {tuple(shape)}")
    given = dict(fixed or {})
    for name, one in given.items():
        if name not in shapes:
            raise ValueError(f"fixed must name layers of shapes; got {name!r}")
        _SHARE.check(f"fixed[{name!r}]", one)
    raw = {name: (sum(counted(s)) / math.prod(counted(s))) ** power for name, s in shapes.items() if name not in given}
    return _shared_out(sizes, density, given, lambda free, budget: _capped(free, budget, raw))


def _shared_out(
    sizes: Mapping[str, int],
    density: float,
    fixed: Mapping[str, float],
    rule: Callable[[dict[str, int], float], dict[str, float]],
) -> dict[str, float]:
    """Give the layers that are not fixed what remains of the budget, by a rule."""
    total = sum(sizes.values())
    free = {name: size for name, size in sizes.items() if name not in fixed}
    taken, room = math.fsum(sizes[name] * one for name, one in fixed.items()), sum(free.values())
    budget = density * total - taken
    slack = ROUNDING * total
    if budget > room + slack or (free and budget <= slack) or (not free and budget < -slack):
        names, low, high = ", ".join(fixed), taken / total, (taken + room) / total
        needed = f"{'above' if free else 'at least'} {low:.6g} and at most {high:.6g}"
        raise ValueError(f"density must be {needed}, as {names} have densities of their own; got {density}")
    chosen = dict.fromkeys(free, 1.0) if budget >= room else rule(free, budget)
    return {name: float(fixed[name]) if name in fixed else chosen[name] for name in sizes}


def _equal(sizes: dict[str, int], budget: float) -> dict[str, float]:
    return dict.fromkeys(sizes, budget / sum(sizes.values()))


def _capped(sizes: dict[str, int], budget: float, raw: Mapping[str, float]) -> dict[str, float]:
    """Return d = min(1, e p) with ``sum n d = budget``.

    The left side is continuous in e and increases strictly until all layers are dense, so e is unique. Layers become
    dense in the order of p. With the first j dense, e = (budget - their size) / (sum of n p of the others); the first j
    at which that leaves the next layer at most dense is the right one.
    """
    order = sorted(sizes, key=lambda name: -raw[name])
    rest = [sizes[name] * raw[name] for name in order]
    dense = 0
    for j, name in enumerate(order):
        scale = (budget - dense) / math.fsum(rest[j:])
        if scale * raw[name] <= 1.0:
            return {one: 1.0 if i < j else scale * raw[one] for i, one in enumerate(order)}
        dense += sizes[name]
    return dict.fromkeys(sizes, 1.0)


def _checked(shapes: Shapes, density: float) -> dict[str, int]:
    _DENSITY.check("density", density)
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    empty = [name for name, size in sizes.items() if size < 1]
    if not sizes or empty:
        raise ValueError(f"shapes must hold layers with entries; got {', '.join(empty) or 'no layer'}")
    return sizes
