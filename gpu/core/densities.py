"""How a budget of weights is shared among layers, and random masks of exactly that budget.

All rules give densities d_l with ``sum n_l d_l = density sum n_l`` for layers of n_l entries, and none above 1.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from sparsetheory.constraints import FLAG, POSITIVE, SIZE, Real
from sparsetheory.gpu.core.masks import MaskSet
from sparsetheory.gpu.core.randomness import cpu_generator

__all__ = [
    "er_densities",
    "erk_densities",
    "integer_budget",
    "random_masks",
    "uniform_densities",
    "uniform_plus_densities",
]

Shapes = Mapping[str, Sequence[int]]
_DENSITY = Real(0.0, 1.0, closed="right")
_SHARE = Real(0.0, 1.0)
# Products of sizes and densities carry rounding errors of a few units of 1e-16 of the sizes.
_ROUNDING = 1e-14


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


def integer_budget(sizes: Mapping[str, int], densities: Mapping[str, float], total: int) -> dict[str, int]:
    """Round sizes times densities to whole numbers whose sum is exactly the total.

    Every layer gets the floor of its product. What is missing goes, one each, to the layers with the largest
    fractional parts; of equal ones to the first.

    Parameters
    ----------
    sizes : mapping of str to int
        Entries of each layer.
    densities : mapping of str to float
        Share of each layer to keep, from 0 to 1.
    total : int
        Entries to keep in all layers; it differs from the sum of the products by less than the number of layers.

    Returns
    -------
    dict of str to int

    Raises
    ------
    ValueError
        If names differ, a number is out of range, or one more in each layer does not make up the total.

    Examples
    --------
    >>> integer_budget({"a": 5, "b": 5, "c": 5}, {"a": 0.5, "b": 0.5, "c": 0.5}, 8)
    {'a': 3, 'b': 3, 'c': 2}
    """
    SIZE.check("total", total)
    _same_names("densities", densities, sizes)
    for name in sizes:
        SIZE.check(f"sizes[{name!r}]", sizes[name])
        _SHARE.check(f"densities[{name!r}]", densities[name])
    counts, parts = {}, {}
    for name, size in sizes.items():
        product = _snapped(size * densities[name], size)
        counts[name] = math.floor(product)
        parts[name] = product - counts[name]
    missing = total - sum(counts.values())
    growing = sorted((name for name in sizes if counts[name] < sizes[name]), key=lambda name: -parts[name])
    if not 0 <= missing <= len(growing):
        least = sum(counts.values())
        raise ValueError(f"total must be from {least} to {least + len(growing)} for these densities; got {total}")
    for name in growing[:missing]:
        counts[name] += 1
    return counts


def random_masks(
    shapes: Shapes,
    densities: Mapping[str, float],
    generator: torch.Generator | int | None = None,
    *,
    exact: bool = True,
    min_fan_in: int = 0,
) -> MaskSet:
    """Draw random masks, by default of exactly the budget: ``round(sum n_l d_l)`` entries, see :func:`integer_budget`.

    Parameters
    ----------
    shapes : mapping of str to sequence of int
        Shape of the mask of each layer.
    densities : mapping of str to float
        Share of each layer to keep.
    generator : torch.Generator or int, optional
        On the CPU, or a seed; by default torch's global generator.
    exact : bool
        Whether counts are exact, each set of positions of a layer with the same probability. Otherwise each entry is
        kept with probability d_l by itself.
    min_fan_in : int
        Entries that each row (all entries of one output) keeps at least. These are drawn first, the others among the
        rest.

    Returns
    -------
    MaskSet
        On the CPU.

    Raises
    ------
    ValueError
        If names differ, a density is out of range, or the entries of a layer do not suffice for `min_fan_in`; the
        message names the layer and the density that is needed.

    Examples
    --------
    >>> random_masks({"fc": (8, 10)}, {"fc": 0.25}, 0, min_fan_in=1)
    MaskSet(1 masks, 20 of 80 entries kept)
    """
    SIZE.check("min_fan_in", min_fan_in)
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    exact = FLAG.check("exact", exact)
    _same_names("densities", densities, sizes)
    share = math.fsum(size * densities[name] for name, size in sizes.items())
    counts = integer_budget(sizes, densities, round(_snapped(share, sum(sizes.values()))))
    source = cpu_generator(generator)
    masks = {}
    for name, shape in shapes.items():
        kept = _some_in_each_row(name, shape, counts[name] if exact else None, min_fan_in, source)
        if exact:
            free = (~kept).nonzero().squeeze(1)
            missing = counts[name] - int(kept.sum())
            kept[free[torch.randperm(free.numel(), generator=source)[:missing]]] = True
        else:
            kept |= torch.rand(sizes[name], generator=source, dtype=torch.float64) < densities[name]
        masks[name] = kept.reshape(tuple(shape))
    return MaskSet(masks)


def _some_in_each_row(
    name: str, shape: Sequence[int], count: int | None, min_fan_in: int, generator: torch.Generator
) -> Tensor:
    """Return a flat mask with `min_fan_in` random entries in each row."""
    size, rows = math.prod(shape), shape[0] if shape else 1
    kept = torch.zeros(size, dtype=torch.bool)
    if min_fan_in == 0 or size == 0:
        return kept
    fan_in, needed = size // rows, rows * min_fan_in
    if fan_in < min_fan_in or (count is not None and count < needed):
        if fan_in < min_fan_in:
            raise ValueError(f"min_fan_in must be at most {fan_in}, the inputs of {name}; got {min_fan_in}")
        raise ValueError(f"densities must be at least {needed / size:.6g} for {name} to keep {min_fan_in} in each row")
    order = torch.rand(rows, fan_in, generator=generator, dtype=torch.float64).argsort(1)
    kept.view(rows, fan_in).scatter_(1, order[:, :min_fan_in], True)
    return kept


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
    slack = _ROUNDING * total
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


def _snapped(value: float, size: int) -> float:
    """Return the multiple of a half that rounding errors hide: floors and roundings turn there."""
    half = round(2 * value) / 2
    return half if abs(value - half) <= _ROUNDING * size else value


def _checked(shapes: Shapes, density: float) -> dict[str, int]:
    _DENSITY.check("density", density)
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    empty = [name for name, size in sizes.items() if size < 1]
    if not sizes or empty:
        raise ValueError(f"shapes must hold layers with entries; got {', '.join(empty) or 'no layer'}")
    return sizes


def _same_names(name: str, given: Mapping[str, object], like: Mapping[str, object]) -> None:
    if set(given) != set(like):
        raise ValueError(f"{name} must be given for {', '.join(like)}; got {', '.join(given) or 'none'}")
