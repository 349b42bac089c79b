"""Claim about the two searches for a threshold: where they stop, and that one leaves out no less than the other."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import activations
from sparsetheory.proofs_checks.activation_sparsity.sparsing_law.cett_identities import Layer, layers
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array


@dataclass(frozen=True, eq=False)
class Search:
    """A layer and the mean error that its threshold should reach."""

    layer: Layer
    target: float

    def found(self, method: str) -> float:
        """Return the threshold of a method."""
        return activations.cett_threshold(tensor(self.layer.h), tensor(self.layer.w_out), self.target, method)

    def mean(self, eps: float) -> float:
        """Return the mean error at a threshold."""
        return float(self.layer.cett(eps).mean())

    @cached_property
    def candidates(self) -> Float64Array:
        """The grid of the authors' code."""
        import torch

        norms = self.layer.norms
        grid = torch.linspace(float(norms.min()), float(np.quantile(norms, 0.99)), 65_536, dtype=torch.float64)
        return array(grid)


def _crossings(search: Search) -> Measurement:
    """Check both thresholds by brute force.

    Bisection: its mean error is within the target, and that of the next candidate is not, unless it is the last one.
    The scan: its mean error is within the target, and no larger norm of a neuron has one that is.
    """
    by_scan, by_bisection = search.found("scan"), search.found("bisect")
    larger = np.append(np.unique(search.layer.norms), np.inf)
    beyond = [search.mean(eps) for eps in larger[larger > by_scan * (1 + 1e-12)]]
    place = int(np.abs(search.candidates - by_bisection).argmin()) + 1
    if place < search.candidates.size and search.candidates[-1] > search.candidates[0]:
        beyond.append(search.mean(float(search.candidates[place])))
    found = Measurement.worst([search.mean(by_scan), search.mean(by_bisection)], search.target, scale=1.0)
    return found.and_chain({"target": search.target, "mean error beyond": min(beyond, default=np.inf)})


def _bisection_is_best(search: Search) -> Measurement:
    """Expect bisection to find the largest threshold on its grid, as it would if errors grew with the threshold."""
    grid = search.candidates
    step = float(grid[-1] - grid[0]) / grid.size
    return Measurement(min(search.found("scan"), float(grid[-1])), search.found("bisect") + 2 * step, scale=1.0)


cett_crossing = Claim(
    name="activation_sparsity.cett_crossing",
    summary="Bisection finds a threshold where the error crosses its target; the scan finds the largest one.",
    statement=r"\overline{\text{CETT}}(\hat\epsilon_k) \le c < \overline{\text{CETT}}(\hat\epsilon_{k+1}), \quad"
    r" \epsilon_{\text{scan}} = \max\{\epsilon : \overline{\text{CETT}}(\epsilon) \le c\}",
    source=Source("Luo et al., Sparsing Law, 2024", "search of thresholds; the scan is ours", "2411.02335"),
    verdict=Always(rtol=1e-9),
    instances=lambda: st.builds(Search, layers(), st.floats(0.01, 0.95)),
    evaluate=_crossings,
    near_miss=_bisection_is_best,
)
