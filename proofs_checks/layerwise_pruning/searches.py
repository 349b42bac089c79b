"""Claims about searches for masks: where they end, and that each step of the way is no worse than the one before."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import weights
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.instances import (
    ROUNDING,
    Layer,
    draw_layer,
    layers,
    swaps,
)
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import AnyArray, Float64Array


def _searched(layer: Layer) -> tuple[Float64Array, AnyArray]:
    """Return weights and masks where a swap search from random masks ends."""
    found = weights.swap_search(*layer.tensors, tensor(layer.random_mask()), layer.pattern)
    return array(found.weight), array(found.mask)


def _after_swaps(layer: Layer, row: int, mask: AnyArray) -> Iterator[float]:
    """Yield the least objectives on all masks that one swap leads to."""
    for j, i in swaps(mask, layer.m):
        yield layer.refitted(
            row, np.flatnonzero(np.where(np.arange(layer.p) == i, True, mask & (np.arange(layer.p) != j)))
        )


def _ends(layer: Layer) -> Measurement:
    """Compare the objective of every row with the least that one swap and a fresh fit lead to.

    The search stops where the largest of all exact prices gains nothing, so no swap does.
    """
    weight, mask = _searched(layer)
    found = [layer.objective(row, weight[row]) for row in range(len(weight))]
    swapped = [min(_after_swaps(layer, row, mask[row]), default=np.inf) for row in range(len(weight))]
    fitted = [layer.refitted(row, np.flatnonzero(mask[row])) for row in range(len(weight))]
    return Measurement.worst([*found, *found], [*swapped, *fitted], layer.scale)


def _best_of_all(layer: Layer) -> Measurement:
    """Expect the best mask of all."""
    weight, _ = _searched(layer)
    found = [layer.objective(row, weight[row]) for row in range(len(weight))]
    return Measurement.worst(found, [layer.least(row) for row in range(len(weight))], layer.scale)


one_swap_optimal = Claim(
    name="layerwise_pruning.one_swap_optimal",
    summary="A swap search ends at a least-squares fit that no single swap improves, in groups and in whole rows.",
    statement=r"f(S) = \min_{s \text{ on } S} f(s) \le f(S \setminus j \cup i)"
    r" \quad \text{for all } j \in S,\ i \notin S \text{ of one group}",
    source=Source.ours("swap search for N:M patterns and counts per row, with refit"),
    verdict=Always(ROUNDING),
    instances=layers,
    evaluate=_ends,
    near_miss=_best_of_all,
)


@dataclass(frozen=True, eq=False)
class Started:
    """A layer and the method whose mask comes first."""

    layer: Layer
    method: str

    def prune(self, method: str, **options: Any) -> Float64Array:
        """Prune with the damping of the layer, which the given Gram matrix does not have yet."""
        layer = self.layer
        undamped = tensor(layer.inputs.T @ layer.inputs / len(layer.inputs))
        found = weights.layerwise_prune(
            tensor(layer.weight), undamped, layer.pattern, method, damping=layer.delta, **options
        )
        return array(found.weight)

    def steps(self) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Return the weights of a swap search from the mask, of the refit on the mask, and of the method."""
        return (
            self.prune("swap", start=self.method),
            self.prune(self.method, refit=True),
            self.prune(self.method, refit=False),
        )


_METHODS = ("magnitude", "wanda", "sparsegpt", "admm", "alps", "sparseswaps", "obs", "forward")


def _starts() -> st.SearchStrategy[Started]:
    return st.builds(Started, layers(), st.sampled_from(_METHODS))


def _total(layer: Layer, weight: Float64Array) -> float:
    return sum(layer.objective(row, weight[row]) for row in range(len(weight)))


def _order(started: Started) -> Measurement:
    """Compare a swap search, the refit on the mask that it starts from, and the method that made the mask.

    The refit is least squares on the mask, so nothing on it is better. The search begins there and each swap gains.
    """
    swap, refit, start = (_total(started.layer, weight) for weight in started.steps())
    return Measurement.chain(swap, refit, {"method itself": start}, started.layer.scale)


def _without_damping(started: Started) -> Measurement:
    """Judge by the undamped objective what was fitted to the damped one."""
    undamped = replace(started.layer, delta=0.0)
    swap, refit, start = (_total(undamped, weight) for weight in started.steps())
    return Measurement.chain(swap, refit, {"method itself": start}, started.layer.scale)


order = Claim(
    name="layerwise_pruning.order",
    summary="A swap search is no worse than the refit of its first mask, and the refit no worse than the method.",
    statement=r"f(\text{swap from } M) \le f(\text{refit on } M) \le f(\text{method with mask } M)"
    r" \quad \text{for the damped objective}",
    source=Source.ours("order of start, refit and swap search"),
    verdict=Always(ROUNDING),
    instances=_starts,
    evaluate=_order,
    near_miss=_without_damping,
    sweep=Sweep(
        axis="inputs p at 2:4",
        values=(8, 16, 32, 64),
        draw=lambda rng, p: Started(draw_layer(rng, rows=4, shape=(int(p), 2, 4)), "sparsegpt"),
        trials=20,
        quick_trials=3,
        log="xy",
        measured_label="swap search from SparseGPT",
        bound_label="SparseGPT, refitted",
        y_label="objective",
    ),
)


def _eliminated(layer: Layer) -> tuple[Float64Array, AnyArray]:
    found = weights.backward_elimination(*layer.tensors, layer.pattern)
    return array(found.weight), array(found.mask)


def _distance_to_fit(layer: Layer, weight: Float64Array, mask: AnyArray) -> Measurement:
    """Return how far rows are from the least-squares fits on their masks, as outputs."""
    fits = np.array([layer.fit(row, np.flatnonzero(mask[row])) for row in range(len(mask))])
    off = np.linalg.norm((weight - fits) @ layer.root.T, axis=1)
    return Measurement(float(off.max()), 0.0, scale=float(np.sqrt(layer.scale)))


def _elimination(layer: Layer) -> Measurement:
    """Compare the coefficients that greedy elimination has updated step by step with a fresh fit on its last mask.

    Each removal moves the others to the minimum under the new constraint, and the minimum over a smaller set of
    columns is the same whatever was fitted before.
    """
    return _distance_to_fit(layer, *_eliminated(layer))


def _unchanged(layer: Layer) -> Measurement:
    """Take the mask of the elimination, and the dense weights on it."""
    mask = _eliminated(layer)[1]
    return _distance_to_fit(layer, np.where(mask, layer.weight, 0.0), mask)


elimination_is_refit = Claim(
    name="layerwise_pruning.elimination_is_refit",
    summary="Greedy elimination ends with the least-squares fit on its last mask.",
    statement=r"s - s_j \frac{P_{:j}}{P_{jj}} \text{ for one } j \text{ after the other ends at }"
    r" \operatorname{argmin}_{s \text{ on } S} (w - s)^\top H (w - s)",
    source=Source("Frantar, Singh, Alistarh, Optimal brain compression (2022)", "ExactOBS", "2208.11580"),
    verdict=Always(1e-8),  # the root of what the objective resolves, with room for 12 rank-one updates
    instances=layers,
    evaluate=_elimination,
    near_miss=_unchanged,
)
