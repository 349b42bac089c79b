"""Claims about budgets of weights over layers: Erdős-Rényi densities in closed form, and exact whole numbers."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from hypothesis import strategies as st

from sparsetheory.gpu import core
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array
from sparsetheory.proofs_checks.verdicts import Always

Shape = tuple[int, ...]

# Sums over at most 12 layers of products that are each rounded a few times.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Network:
    """Shapes of the weights of a network, and the share of all entries to keep."""

    shapes: Mapping[str, Shape]
    density: float
    rng_seed: int = 0

    @property
    def sizes(self) -> dict[str, int]:
        """Entries of each layer."""
        return {name: math.prod(shape) for name, shape in self.shapes.items()}

    def proportions(self, axes: int | None) -> dict[str, float]:
        """Return sum over product of the first axes of every shape; None takes all axes."""
        return {name: sum(shape[:axes]) / math.prod(shape[:axes]) for name, shape in self.shapes.items()}


_widths = st.sampled_from([1, 2, 3, 5, 8, 10, 64, 256, 1000])
_linear = st.tuples(_widths, _widths)
_convolution = st.tuples(_widths, _widths, st.sampled_from([1, 3, 5]), st.sampled_from([1, 3, 7]))
_densities = st.one_of(st.floats(1e-4, 1.0), st.sampled_from([0.1, 0.5, 1.0]), st.floats(0.9, 1.0))


def _networks() -> st.SearchStrategy[Network]:
    shapes = st.lists(st.one_of(_linear, _convolution), min_size=1, max_size=12)
    named = shapes.map(lambda found: {f"layer {i}": shape for i, shape in enumerate(found)})
    return st.builds(Network, named, _densities, seeds)


def _water_filling(network: Network, raw: Mapping[str, float], *, saturate: bool = True) -> dict[str, float]:
    """Return densities by the published loop: the layers of the largest proportion become dense until all fit."""
    sizes, dense = network.sizes, set[str]()
    while True:
        rest = [name for name in sizes if name not in dense]
        budget = network.density * sum(sizes.values()) - sum(sizes[name] for name in dense)
        factor = budget / sum(sizes[name] * raw[name] for name in rest) if rest else 0.0
        largest = max((raw[name] for name in rest), default=0.0)
        if not saturate or factor * largest <= 1.0:
            return {name: 1.0 if name in dense else min(factor * raw[name], 1.0) for name in sizes}
        dense |= {name for name in rest if raw[name] == largest}


def _misfit(network: Network, found: Mapping[str, float], raw: Mapping[str, float]) -> float:
    """Return the largest of: the relative error of the budget, the distance to the loop, a wrongly dense layer."""
    sizes = network.sizes
    total = sum(sizes.values())
    budget = abs(sum(sizes[name] * found[name] for name in sizes) / total - network.density)
    loop = _water_filling(network, raw)
    # Below 1 all densities are one factor times the proportion. It would make exactly the dense layers reach 1.
    factors = [found[name] / raw[name] for name in sizes if found[name] < 1.0]
    reached = max((abs(f - factors[0]) / factors[0] for f in factors), default=0.0)
    if factors:
        reached = max(reached, *(max(1.0 - factors[0] * raw[name], 0.0) for name in sizes if found[name] == 1.0), 0.0)
    return max(budget, reached, *(abs(found[name] - loop[name]) for name in sizes))


def _closed_form(network: Network, rule: str, axes: int | None) -> Measurement:
    """Compare the closed form with the budget, with the published loop, and with the rule that says who is dense.

    ``sum_l n_l min(1, e p_l)`` is continuous in e and increases strictly until all layers are dense. So one e meets the
    budget, and the layers that it makes dense are those of ``e p_l >= 1``.
    """
    found = getattr(core, rule)(network.shapes, network.density)
    return Measurement(_misfit(network, found, network.proportions(axes)), 0.0, scale=1.0)


def _clipped(network: Network, axes: int | None) -> Measurement:
    """Clip densities at 1 and let what was cut off be lost."""
    raw = network.proportions(axes)
    return Measurement(_misfit(network, _water_filling(network, raw, saturate=False), raw), 0.0, scale=1.0)


def _budget_claim(name: str, rule: str, axes: int | None, proportion: str, paper: str, summary: str) -> Claim:
    evaluate: Callable[[Network], Measurement] = partial(_closed_form, rule=rule, axes=axes)
    evaluate.__doc__ = _closed_form.__doc__
    return Claim(
        name=f"layerwise_pruning.{name}",
        summary=summary,
        statement=r"d_l = \min(1, \epsilon p_l), \quad \sum_l n_l d_l = D \sum_l n_l, \quad p_l = " + proportion,
        source=Source.ours(f"closed form of the densities of {paper}, which are found by a loop"),
        verdict=Always(_ROUNDING),
        instances=_networks,
        evaluate=evaluate,
        near_miss=partial(_clipped, axes=axes),
    )


er_budget = _budget_claim(
    "er_budget",
    "er_densities",
    2,
    r"\frac{\text{outputs} + \text{inputs}}{\text{outputs} \cdot \text{inputs}}",
    "Mocanu et al. (2018)",
    "Erdős-Rényi densities meet the budget exactly, and equal those of the published loop.",
)
erk_budget = _budget_claim(
    "erk_budget",
    "erk_densities",
    None,
    r"\frac{\text{sum of all axes}}{\text{product of all axes}}",
    "Evci et al. (2020, 1911.11134)",
    "Erdős-Rényi densities with kernels meet the budget exactly, and equal those of the published loop.",
)


def _counts(network: Network) -> tuple[dict[str, int], dict[str, float], int]:
    densities = core.erk_densities(network.shapes, network.density)
    return network.sizes, densities, round(network.density * sum(network.sizes.values()))


def _whole(network: Network) -> Measurement:
    """Compare the numbers of entries with the budget as a whole number, and each with its product.

    The floors of the products miss less than one entry a layer, so one more for the layers of the largest fractional
    parts makes up the total, and no count differs from its product by 1 or more.
    """
    sizes, densities, total = _counts(network)
    counts = core.integer_budget(sizes, densities, total)
    off = max(abs(counts[name] - sizes[name] * densities[name]) for name in sizes)
    small = {name: shape for name, shape in network.shapes.items() if sizes[name] <= 4096}
    drawn = core.random_masks(small, {name: densities[name] for name in small}, network.rng_seed) if small else {}
    kept = sum(int(array(mask).sum()) for mask in drawn.values())
    wanted = sum(sizes[name] * densities[name] for name in small)
    # A count and its product differ by less than 1; the sum over drawn masks rounds once.
    return Measurement.worst(
        [abs(sum(counts.values()) - total), max(off - 1.0, 0.0), max(abs(kept - wanted) - 0.5, 0.0)], 0.0, scale=1.0
    )


def _rounded_one_by_one(network: Network) -> Measurement:
    """Round every product by itself."""
    sizes, densities, total = _counts(network)
    return Measurement(abs(sum(round(sizes[name] * densities[name]) for name in sizes) - total), 0.0, scale=1.0)


integer_budget = Claim(
    name="layerwise_pruning.integer_budget",
    summary="Whole numbers of entries per layer sum exactly to the budget, and none is off by one entry.",
    statement=r"\sum_l k_l = \mathrm{round}\Big(D \sum_l n_l\Big), \quad |k_l - n_l d_l| < 1",
    source=Source.classic("Hamilton (1792)", "apportionment by largest remainders"),
    verdict=Always(1e-8),  # products of up to 5e7 entries carry their rounding errors
    instances=_networks,
    evaluate=_whole,
    near_miss=_rounded_one_by_one,
)
