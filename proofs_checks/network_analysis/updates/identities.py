"""Claims about update sparsity and overlaps that hold exactly."""

from dataclasses import dataclass
from functools import cached_property
from math import comb
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import analysis
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import BoolArray

_PAPER = ("Mukherjee et al., Reinforcement Learning Finetunes Small Subnetworks, 2025", "2505.11711")
_ROUNDING = 1e-12
_SHAPES = {"0.weight": (4, 5), "0.bias": (4,), "1.weight": (3, 4)}
_TOLS = (0.0, 1e-7, 1e-5, 1e-3, 1.0)


@dataclass(frozen=True, eq=False)
class Change:
    """A state, and another one after changes of sizes around the tolerances."""

    seed: int
    share: float

    @cached_property
    def states(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Both states, in float32."""
        rng = np.random.default_rng(self.seed)
        before = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in _SHAPES.items()}
        after = {}
        for name, values in before.items():
            sizes = 10.0 ** rng.uniform(-9, 1, values.shape) * (rng.random(values.shape) < self.share)
            after[name] = (values + sizes * rng.choice([-1.0, 1.0], values.shape)).astype(np.float32)
        return {k: tensor(v) for k, v in before.items()}, {k: tensor(v) for k, v in after.items()}


def _identities(case: Change) -> Measurement:
    """Collect what must hold, as inequalities: the state itself, the order of tolerances, and sums over tensors."""
    before, after = case.states
    reports = analysis.update_grid(before, after, tols=_TOLS, dtypes=[None]).reports
    totals = [report.total for report in reports]
    # Nothing changes from a state to itself, and a larger tolerance never sees more changes.
    smaller, larger = [1.0, *totals[:-1]], [analysis.update_sparsity(before, before, tol=0.0).total, *totals[1:]]
    for report in reports:
        unchanged = 1.0 - analysis.update_mask(before, after, tol=report.tol).density
        by_tensor = np.average(list(report.per_tensor.values()), weights=[t.size for t in report.tensors])
        by_layer = np.average(list(report.per_layer_weighted.values()), weights=[24, 12])
        for other in (unchanged, by_tensor, by_layer):
            smaller += [report.total, other]
            larger += [other, report.total]
    return Measurement.worst(smaller, larger, scale=1.0)


def _mislabelled(case: Change) -> Measurement:
    """Take the mean over tensors of the share that changed for the sparsity, as the published script prints it."""
    before, after = case.states
    report = analysis.update_sparsity(before, after, tol=1e-5)
    printed = float(np.mean([1.0 - sparsity for sparsity in report.per_tensor.values()]))
    return Measurement(abs(printed - report.total), 0.0, scale=1.0)


update_sparsity_identities = Claim(
    name="network_analysis.update_sparsity_identities",
    summary="Nothing changes from a state to itself, sparsity grows with the tolerance, and parts add up by size.",
    statement=r"s(\theta, \theta) = 1, \quad \tau \le \tau' \Rightarrow s_\tau \le s_{\tau'},"
    r" \quad n\, s = \textstyle\sum_t n_t s_t",
    source=Source(_PAPER[0], "definition of update sparsity", _PAPER[1]),
    verdict=Always(rtol=_ROUNDING),
    instances=lambda: st.builds(Change, seeds, st.sampled_from((0.0, 0.1, 0.5, 1.0))),
    evaluate=_identities,
    near_miss=_mislabelled,
)


@dataclass(frozen=True, eq=False)
class Sets:
    """Two sets of entries."""

    first: BoolArray
    second: BoolArray

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """Numbers of all entries, of those of each set, and of common ones."""
        return self.first.size, int(self.first.sum()), int(self.second.sum()), int((self.first & self.second).sum())

    @property
    def found(self) -> Any:
        """What the package says."""
        return analysis.overlap(tensor(self.first), tensor(self.second))


def _sets() -> st.SearchStrategy[Sets]:
    def pair(size: int) -> st.SearchStrategy[Sets]:
        flags = st.lists(st.booleans(), min_size=size, max_size=size)
        # Shares of empty sets are not numbers.
        some = flags.filter(any).map(lambda values: np.array(values, dtype=bool))
        return st.builds(Sets, some, some)

    return st.integers(1, 30).flatmap(pair)


def _against_counts(case: Sets, least: int) -> Measurement:
    n, n1, n2, _ = case.sizes
    found = case.found
    ways = sum(comb(n1, k) * comb(n - n1, n2 - k) for k in range(least, min(n1, n2) + 1)) / comb(n, n2)
    differences = [found.o1 * n1 - found.o2 * n2, found.chance1 * n1 - found.chance2 * n2, found.pvalue - ways]
    return Measurement.worst(np.abs(differences), 0.0, scale=float(n))


def _counted(case: Sets) -> Measurement:
    """Compare with the number of ways to draw the second set that have at least as many common entries."""
    return _against_counts(case, case.sizes[3])


def _more_only(case: Sets) -> Measurement:
    """Count only the ways that have more common entries."""
    return _against_counts(case, case.sizes[3] + 1)


update_overlap = Claim(
    name="network_analysis.update_overlap",
    summary="Both shares of an overlap count the same entries, and its probability is a tail of counted draws.",
    statement=r"o_1 |I_1| = o_2 |I_2|, \quad p = \sum_{k \ge |I_1 \cap I_2|}"
    r" \binom{|I_1|}{k} \binom{n - |I_1|}{|I_2| - k} \Big/ \binom{n}{|I_2|}",
    source=Source.classic("hypergeometric distribution", "overlap of random sets"),
    verdict=Always(rtol=_ROUNDING),
    instances=_sets,
    evaluate=_counted,
    near_miss=_more_only,
)
