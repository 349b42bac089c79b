"""Random masks of exactly a budget: densities of layers become whole numbers of entries, and these are drawn."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sparsetheory.constraints import FLAG, SIZE, Real
from sparsetheory.gpu.core.densities import ROUNDING, Shapes
from sparsetheory.gpu.core.masks import MaskSet
from sparsetheory.gpu.core.patterns.units import MaskUnits, mask_units
from sparsetheory.gpu.core.randomness import cpu_generator

__all__ = ["integer_budget", "random_masks"]

_SHARE = Real(0.0, 1.0)


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
    units: Any = None,
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
    units : str, tuple or pattern, optional
        Masks consist of whole units, see :func:`mask_units`; one for all masks. Densities, counts and `min_fan_in` are
        then those of units. Where exactly n of every m are active, densities must be n / m, counts are always exact,
        and `min_fan_in` must be 0.

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
    exact = FLAG.check("exact", exact)
    if units is not None:
        return _random_units(shapes, densities, cpu_generator(generator), units, exact, min_fan_in)
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
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


def _random_units(
    shapes: Shapes, densities: Mapping[str, float], source: torch.Generator, units: Any, exact: bool, min_fan_in: int
) -> MaskSet:
    """Draw which units are active."""
    parts = {name: mask_units(units, shape, name=name) for name, shape in shapes.items()}
    grids = {name: part.grid_shape for name, part in parts.items()}
    if any(part.m is not None for part in parts.values()):
        _same_names("densities", densities, shapes)
        if min_fan_in:
            raise ValueError(f"min_fan_in must be 0 where n of every m units are active; got {min_fan_in}")
        drawn = {name: _in_groups(name, part, densities[name], source) for name, part in parts.items()}
    else:
        drawn = dict(random_masks(grids, densities, source, exact=exact, min_fan_in=min_fan_in).items())
    return MaskSet({name: part.spread(drawn[name]) for name, part in parts.items()})


def _in_groups(name: str, part: MaskUnits, density: float, source: torch.Generator) -> Tensor:
    """Return a grid with n of every m units, each such set with the same probability."""
    assert part.n is not None
    assert part.m is not None
    if abs(density - part.n / part.m) > ROUNDING:
        raise ValueError(f"densities must be {part.n}/{part.m} for units of {name}; got {density:g}")
    ranks = torch.rand(part.grid_shape, generator=source, dtype=torch.float64).reshape(-1, part.m).argsort(1).argsort(1)
    return (ranks < part.n).reshape(part.grid_shape)


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


def _snapped(value: float, size: int) -> float:
    """Return the multiple of a half that rounding errors hide: floors and roundings turn there."""
    half = round(2 * value) / 2
    return half if abs(value - half) <= ROUNDING * size else value


def _same_names(name: str, given: Mapping[str, object], like: Mapping[str, object]) -> None:
    if set(given) != set(like):
        raise ValueError(f"{name} must be given for {', '.join(like)}; got {', '.join(given) or 'none'}")
