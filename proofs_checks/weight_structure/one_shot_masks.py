"""Exact claims about pruning at once: nested masks, and the sparsity up to which quality stays."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import weights
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import BoolArray, Float64Array

_PAPER = "Jaiswal, Liu, Chen, Wang (2023), The Emergence of Essential Sparsity in Large Pre-trained Models"


@dataclass(frozen=True)
class Pair:
    """Some weights, and two sparsities of them."""

    params: Mapping[str, Float64Array]
    less: float
    more: float
    scope: str

    def kept(self, sparsity: float) -> dict[str, BoolArray]:
        """Return the masks of a sparsity."""
        params = {name: tensor(weight) for name, weight in self.params.items()}
        return {name: array(mask) for name, mask in weights.one_shot_masks(params, sparsity, self.scope).items()}

    def miscount(self, kept: Mapping[str, BoolArray], sparsity: float) -> int:
        """Return by how much the number of removed entries differs from ``round(sparsity n)``."""
        removed = [int((~mask).sum()) for mask in kept.values()]
        sizes = [mask.size for mask in kept.values()]
        if self.scope == "global":
            removed, sizes = [sum(removed)], [sum(sizes)]
        return sum(abs(found - round(sparsity * size)) for found, size in zip(removed, sizes, strict=True))


@st.composite
def _pairs(draw: st.DrawFn) -> Pair:
    rng = np.random.default_rng(draw(seeds))
    levels = draw(st.sampled_from([0, 1, 3]))
    params = {}
    for index, size in enumerate(draw(st.lists(st.integers(1, 12), min_size=1, max_size=3))):
        normal = rng.standard_normal(size)
        params[f"layer {index}"] = normal if levels == 0 else np.round(levels * normal)
    sparsity = st.one_of(st.floats(0.0, 1.0), st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9, 1.0]))
    less, more = sorted((draw(sparsity), draw(sparsity)))
    return Pair(params, less, more, draw(st.sampled_from(["global", "layer"])))


def _nested(pair: Pair) -> Measurement:
    """Count what the sparser mask keeps and the other does not, and errors of both counts.

    One order of all entries, by magnitude and then by place, decides what is kept: the first n - round(s n) of it.
    Fewer of them are a part of more.
    """
    less, more = pair.kept(pair.less), pair.kept(pair.more)
    outside = sum(int((more[name] & ~less[name]).sum()) for name in less)
    return Measurement(float(outside + pair.miscount(less, pair.less) + pair.miscount(more, pair.more)), 0.0, scale=1.0)


def _by_a_threshold(pair: Pair) -> Measurement:
    """Keep what is above the largest magnitude to remove."""
    together = np.sort(np.abs(np.concatenate(list(pair.params.values()))))
    count = round(pair.more * together.size)
    cut = together[count - 1] if count else -1.0
    kept = {name: np.abs(weight) > cut for name, weight in pair.params.items()}
    removed = sum(int((~mask).sum()) for mask in kept.values())
    return Measurement(float(abs(removed - count)), 0.0, scale=1.0)


nested_masks = Claim(
    name="weight_structure.nested_masks",
    summary="One-shot magnitude masks of growing sparsity contain each other and have exact counts, ties included.",
    statement=r"s \le s' \Rightarrow M_{s'} \subseteq M_s, \quad |M_s| = n - \mathrm{round}(s n)",
    source=Source.ours("one order of all entries for all sparsities; torch leaves the order of ties open"),
    verdict=Always(rtol=0.0),
    instances=_pairs,
    evaluate=_nested,
    near_miss=_by_a_threshold,
)


@dataclass(frozen=True)
class Step:
    """Quality that is high up to some sparsity and low from there on, but for lucky later values."""

    grid: tuple[float, ...]
    place: float
    lucky: frozenset[float]

    def __call__(self, sparsity: float) -> float:
        """Return the quality."""
        return 1.0 if sparsity <= self.place or sparsity in self.lucky else 0.5


@st.composite
def _steps(draw: st.DrawFn) -> Step:
    grid = tuple(sorted(draw(st.sets(st.integers(1, 99), min_size=2, max_size=9))))
    place = draw(st.sampled_from(grid[:-1]))
    # The sparsity right behind the step fails, whatever comes later.
    later = [sparsity / 100 for sparsity in grid if sparsity > place][1:]
    lucky = draw(st.sets(st.sampled_from(later))) if later else set()
    return Step(tuple(sparsity / 100 for sparsity in grid), place / 100, frozenset(lucky))


def _found_step(step: Step) -> Measurement:
    """Compare the essential sparsity with the step.

    The grid holds the step itself and all below it, and these pass. The next sparsity fails and ends the search.
    """
    found = weights.essential_sparsity(step, step.grid)
    return Measurement(abs(found.s_star - step.place), 0.0, scale=1.0)


def _largest_that_passes(step: Step) -> Measurement:
    """Take the largest sparsity of the grid that passes."""
    return Measurement(abs(max(s for s in step.grid if step(s) >= 0.99) - step.place), 0.0, scale=1.0)


step_function = Claim(
    name="weight_structure.step_function",
    summary="The essential sparsity of a step is its place, whatever happens to pass behind it.",
    statement=r"E(s) = 1_{s \le s_0} \Rightarrow s^* = s_0",
    source=Source.ours(f"rule of the first failure on a grid, for the definition of {_PAPER}"),
    verdict=Always(rtol=0.0),
    instances=_steps,
    evaluate=_found_step,
    near_miss=_largest_that_passes,
)

_TRANSFORMS: dict[str, Callable[[float], float]] = {
    "cube": lambda x: x**3,
    "exponential": math.exp,
    "logarithm": math.log,
    "negative reciprocal": lambda x: -1.0 / x,
}


@dataclass(frozen=True)
class Curve:
    """Qualities on a grid, a tolerance that none of them meets exactly, and a strictly increasing map."""

    values: tuple[float, ...]
    tol: float
    transform: str

    def s_star(self, transform: Callable[[float], float], tol: float) -> float:
        """Return the essential sparsity of the mapped qualities for an absolute tolerance."""
        grid = [index / len(self.values) for index in range(len(self.values))]
        qualities = dict(zip(grid, map(transform, self.values), strict=True))
        return weights.essential_sparsity(qualities.__getitem__, grid, tol=tol, relative=False).s_star


def _curves() -> st.SearchStrategy[Curve]:
    # Multiples of 1/8 from 2 to 5, and tolerances halfway between such.
    values = st.lists(st.integers(16, 40), min_size=2, max_size=10).map(lambda found: tuple(v / 8 for v in found))
    return st.builds(Curve, values, st.integers(0, 7).map(lambda k: (k + 0.5) / 8), st.sampled_from([*_TRANSFORMS]))


def _transformed(curve: Curve) -> Measurement:
    """Compare the essential sparsities before and after the map, which takes the tolerance along.

    A quality is at least E(0) - tol exactly if its image is at least that of E(0) - tol.
    """
    transform, dense = _TRANSFORMS[curve.transform], curve.values[0]
    mapped = transform(dense) - transform(dense - curve.tol)
    difference = curve.s_star(transform, mapped) - curve.s_star(lambda x: x, curve.tol)
    return Measurement(abs(difference), 0.0, scale=1.0)


def _tolerance_kept(curve: Curve) -> Measurement:
    """Keep the tolerance as it is."""
    difference = curve.s_star(_TRANSFORMS[curve.transform], curve.tol) - curve.s_star(lambda x: x, curve.tol)
    return Measurement(abs(difference), 0.0, scale=1.0)


monotone_transforms = Claim(
    name="weight_structure.monotone_transforms",
    summary="An increasing map of the quality leaves the essential sparsity, if the tolerance is mapped as well.",
    statement=r"s^*(g \circ E, \; g(E(0)) - g(E(0) - \epsilon)) = s^*(E, \epsilon), \quad g \text{ increasing}",
    source=Source.ours(f"for the definition of {_PAPER}"),
    verdict=Always(rtol=0.0),
    instances=_curves,
    evaluate=_transformed,
    near_miss=_tolerance_kept,
)
