"""Claims about label maps: no two classes share a label, and how often what they say was predicted."""

from dataclasses import dataclass
from itertools import permutations

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import analysis
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import IndexArray

_CHEN = "Chen, Yao, Chen, Zhang, Liu (2023)"


@dataclass(frozen=True, eq=False)
class Counts:
    """How often each source class, a row, was predicted for each target class, and labels for each target class."""

    counts: IndexArray
    n_labels: int

    def label_map(self, method: str) -> IndexArray:
        """Return the map as one row of source classes for each target class."""
        n_source, n_target = self.counts.shape
        cells = np.repeat(np.arange(self.counts.size), self.counts.ravel())
        pred, y = np.divmod(np.random.default_rng(0).permutation(cells), n_target)
        found = analysis.frequency_label_map(
            tensor(pred), tensor(y), n_source, n_target, method, n_labels=self.n_labels
        )
        return np.asarray(array(found)).reshape(n_target, self.n_labels)

    def weight(self, label_map: IndexArray) -> float:
        """Return the sum of the counts of a map."""
        return float(self.counts[label_map, np.arange(self.counts.shape[1])[:, None]].sum())

    @property
    def largest(self) -> float:
        """The largest sum of all maps, by trying them."""
        n_source, n_target = self.counts.shape
        columns = np.repeat(np.arange(n_target), self.n_labels)
        return float(
            max(self.counts[list(rows), columns].sum() for rows in permutations(range(n_source), len(columns)))
        )


def _draw_counts(seed: int, n_target: int, n_labels: int, spare: int, most: int) -> Counts:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, most + 1, size=(n_target * n_labels + spare, n_target))
    # Each target class must occur.
    counts[rng.integers(len(counts), size=n_target), np.arange(n_target)] += 1
    return Counts(counts, n_labels)


def _counts() -> st.SearchStrategy[Counts]:
    one = st.builds(_draw_counts, seeds, st.integers(1, 4), st.just(1), st.integers(0, 2), st.sampled_from((1, 3, 30)))
    two = st.builds(_draw_counts, seeds, st.integers(1, 2), st.just(2), st.integers(0, 2), st.sampled_from((1, 3, 30)))
    return one | two


def _injective(case: Counts) -> Measurement:
    """Count source classes that stand for more than one target class."""
    maps = [case.label_map(method) for method in ("greedy", "assignment")]
    return Measurement(float(sum(found.size - np.unique(found).size for found in maps)), 0.0, scale=1.0)


def _most_frequent(case: Counts) -> Measurement:
    """Give each target class its most frequent source class, whatever the others have."""
    found = case.counts.argmax(axis=0)
    return Measurement(float(found.size - np.unique(found).size), 0.0, scale=1.0)


label_map_injective = Claim(
    name="network_analysis.label_map_injective",
    summary="No source class stands for two target classes.",
    statement=r"m(c) \ne m(c') \text{ for } c \ne c'",
    source=Source(_CHEN, "label mapping by frequency", "2211.11635"),
    verdict=Always(rtol=0.0),
    instances=_counts,
    evaluate=_injective,
    near_miss=_most_frequent,
)


def _greedy(case: Counts) -> Measurement:
    """Compare the sum of greedy choices with half of the largest sum.

    Each choice of the greedy map shares its row or its column with at most two pairs of the best map that are still
    free, and is at least as large as both.
    """
    return Measurement(case.largest / 2, case.weight(case.label_map("greedy")), scale=max(case.largest, 1.0))


def _greedy_is_best(case: Counts) -> Measurement:
    """Expect the greedy map to reach the largest sum."""
    return Measurement(case.largest, case.weight(case.label_map("greedy")), scale=max(case.largest, 1.0))


greedy_label_map = Claim(
    name="network_analysis.greedy_label_map",
    summary="The greedy label map reaches at least half of the largest possible sum of counts.",
    statement=r"\sum_c D_{m(c), c} \ge \tfrac{1}{2} \max_{m' \text{ injective}} \sum_c D_{m'(c), c}",
    source=Source.classic("folklore", "greedy matching is half as good as the best"),
    verdict=Always(rtol=0.0),
    instances=_counts,
    evaluate=_greedy,
    near_miss=_greedy_is_best,
)


def _assignment(case: Counts) -> Measurement:
    """Compare the sum of the assignment with the largest of all maps."""
    found = case.weight(case.label_map("assignment"))
    return Measurement(case.largest, found, scale=1.0).and_chain({"assignment": found, "largest": case.largest})


assignment_label_map = Claim(
    name="network_analysis.assignment_label_map",
    summary="The label map by assignment reaches the largest sum of counts, also with several labels for each class.",
    statement=r"\sum_c D_{m(c), c} = \max_{m' \text{ injective}} \sum_c D_{m'(c), c}",
    source=Source.classic("Kuhn (1955)", "assignment problem"),
    verdict=Always(rtol=0.0),
    instances=_counts,
    evaluate=_assignment,
    near_miss=_greedy_is_best,
)
