"""Claims about blocks of rows of a real layer. Nobody has proved them; they were measured."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from sparsetheory.gpu import core
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array
from sparsetheory.proofs_checks.sparse_kernels.retention import Rows
from sparsetheory.proofs_checks.verdicts import WithProbability
from sparsetheory.typing import Float64Array

_LAYER = "encoder.layer.3.attention.self.query"
_WHERE = "query of the fourth layer of the MiniLM encoder, half of its rows in each trial"
_DENSITIES = (0.1, 0.3, 0.5)
_ROWS = 192
_OTHERS = (("sorted by sums of magnitudes", "sort"), ("exchanges of rows", "swaps"))


@cache
def _weight() -> Float64Array:
    return array(core.find_layers(core.models.load_minilm().model)[_LAYER].weight).astype(float)


@dataclass(frozen=True, eq=False)
class Half(Rows):
    """Half of the rows of the layer, in their order."""


def _half(rng: np.random.Generator, density: float) -> Half:
    weight = _weight()
    return Half(weight[np.sort(rng.choice(len(weight), _ROWS, replace=False))], 4, density)


def _sweep(measured_label: str, bound_label: str) -> Sweep:
    return Sweep(
        axis="density",
        values=_DENSITIES,
        draw=_half,
        trials=40,
        quick_trials=21,
        quick_values=(_DENSITIES[0], _DENSITIES[-1]),
        measured_label=measured_label,
        bound_label=bound_label,
        y_label="share of the energy that is retained",
    )


def _by_size(half: Half) -> Measurement:
    """Compare what blocks of eight, four and two rows and single weights retain at one density."""
    eight, four, two, one = (half.retained(size=size) for size in (8, 4, 2, 1))
    return Measurement.chain(
        eight, 0.95 * four, {"0.95^2 of blocks of two": 0.95**2 * two, "0.95^3 of single weights": 0.95**3 * one}
    )


def _blocks_of_two_are_free(half: Half) -> Measurement:
    """Expect pairs of neighbours to have their large weights at the same places."""
    return Measurement(0.95 * half.retained(size=1), half.retained(size=2))


block_sizes = Claim(
    name="sparse_kernels.block_sizes",
    summary="In a real layer blocks of 2, 4 and 8 rows retain clearly less energy, step by step, than single weights.",
    statement=r"E_8 \le 0.95\, E_4, \quad E_4 \le 0.95\, E_2, \quad E_2 \le 0.95\, E_1",
    source=Source.measured(f"the price of blocks at equal density; {_WHERE}"),
    verdict=WithProbability(0.9),
    evaluate=_by_size,
    near_miss=_blocks_of_two_are_free,
    sweep=_sweep("blocks of eight", "0.95 of blocks of four"),
)


def _greedy(half: Half) -> Measurement:
    """Compare the order given with greedy grouping; sorting and exchanges are shown beside them."""
    return Measurement(
        half.retained(),
        half.retained(half.order("greedy")),
        extras={name: half.retained(half.order(method)) for name, method in _OTHERS},
    )


def _order_makes_up_for_blocks(half: Half) -> Measurement:
    """Expect an order of the rows to regain what blocks of four lose to blocks of two."""
    return Measurement(half.retained(size=2), half.retained(half.order("greedy")))


greedy_order = Claim(
    name="sparse_kernels.greedy_order",
    summary="In a real layer greedy grouping of rows retains more energy in blocks of four, but not that of pairs.",
    statement=r"E_4(W) \le E_4(\pi_{\text{greedy}} W)",
    source=Source.measured(f"a gain of 1 to 7 %, against none for sorting; {_WHERE}"),
    verdict=WithProbability(0.9),
    evaluate=_greedy,
    near_miss=_order_makes_up_for_blocks,
    sweep=_sweep("order given", "greedy grouping"),
)
