"""Claims about patterns: the best N:M approximation of a vector, and exact counts where entries tie."""

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import core
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import AnyArray, BoolArray, Float64Array

_KINDS = ("gaussian", "wide", "integers", "equal", "zeros")


@dataclass(frozen=True, eq=False)
class Groups:
    """Vectors in groups, a weight for each entry of the norm, and the number to keep of each group."""

    values: AnyArray
    norm_weights: Float64Array
    n: int

    @property
    def m(self) -> int:
        """Size of a group."""
        return self.values.shape[1]

    def project(self, score: AnyArray) -> BoolArray:
        """Return the mask of the pattern for some scores."""
        return array(core.NM(self.n, self.m).mask(tensor(score)))

    def lost(self, mask: BoolArray) -> float:
        """Return the squared norm of what a mask drops."""
        return float((self.norm_weights * self.values.astype(float) ** 2)[~mask].sum())


def _draw(rng: np.random.Generator, m: float, kind: str = "gaussian", n: int = 0, single: bool = False) -> Groups:
    size, count = int(m), 6
    values = rng.standard_normal((count, size))
    if kind == "wide":
        values *= 10.0 ** rng.uniform(-12, 12, values.shape)
    elif kind == "integers":
        values = rng.integers(-2, 3, values.shape).astype(float)
    elif kind == "equal":
        values = rng.choice([-1.5, 1.5], values.shape)
    elif kind == "zeros":
        values *= rng.random(values.shape) < 0.3
    typed = values.astype(np.float32) if single else values
    return Groups(typed, np.exp(2.0 * rng.standard_normal(values.shape)), n or max(size // 2, 1))


@st.composite
def _groups(draw: st.DrawFn) -> Groups:
    m = draw(st.integers(1, 8))
    n = draw(st.integers(1, m))
    rng = np.random.default_rng(draw(seeds))
    return _draw(rng, m, draw(st.sampled_from(_KINDS)), n, draw(st.booleans()))


def _least_lost(g: Groups) -> float:
    """Return the least that any choice in each group drops, by trying all of them."""
    energy = g.norm_weights * g.values.astype(float) ** 2
    choices = np.array(list(combinations(range(g.m), g.m - g.n)), dtype=int).reshape(comb(g.m, g.n), -1)
    return float(sum(row[choices].sum(-1).min() for row in energy))


def _projection(g: Groups) -> Measurement:
    """Compare what the pattern drops with the least that can be dropped.

    The distance of s to w in the norm ``sum c_j (w_j - s_j)^2`` is least, for a given support, where s equals w on it.
    It then is the energy ``c_j w_j^2`` of the other entries, group by group, so each group keeps its n largest ones.
    """
    scores = np.sqrt(g.norm_weights) * np.abs(g.values.astype(float))
    total = float((g.norm_weights * g.values.astype(float) ** 2).sum())
    return Measurement(g.lost(g.project(scores)), _least_lost(g), scale=total)


def _by_magnitude_alone(g: Groups) -> Measurement:
    """Forget the weights of the norm."""
    return Measurement(g.lost(g.project(np.abs(g.values))), _least_lost(g), _projection(g).scale)


nm_projection = Claim(
    name="layerwise_pruning.nm_projection",
    summary="The nearest N:M vector keeps the largest entries of each group, weighted as the norm weighs them.",
    statement=r"\min_{s \text{ is } n{:}m} \sum_j c_j (w_j - s_j)^2"
    r" = \sum_{\text{groups}} \sum_{i > n} \big(c_j w_j^2\big)_{(i)}",
    source=Source.classic("Blumensath and Davies (2009)", "best sparse approximation by hard thresholding, per group"),
    verdict=Always(rtol=1e-13),  # sums of at most 48 energies round by less
    instances=_groups,
    evaluate=_projection,
    near_miss=_by_magnitude_alone,
    sweep=Sweep(
        axis="size of a group m",
        values=(2, 4, 6, 8, 10, 12),
        draw=_draw,
        trials=20,
        quick_trials=5,
        measured_label="dropped by the pattern",
        bound_label="least of all choices",
        y_label="squared distance",
    ),
)


def _by_rule(g: Groups) -> BoolArray:
    """Return the mask of the rule in plain Python: by falling magnitude, the lower index first."""
    mask = np.zeros(g.values.shape, dtype=bool)
    for row, group in enumerate(np.abs(g.values)):
        order = sorted(range(g.m), key=lambda j: (-group[j], j))
        mask[row, order[: g.n]] = True
    return mask


def _ties(g: Groups) -> Measurement:
    """Count the entries in which the mask of the magnitudes differs from the rule, and the groups of a wrong count."""
    mask = g.project(np.abs(g.values))
    wrong_counts = int((mask.sum(1) != g.n).sum())
    return Measurement(float((mask != _by_rule(g)).sum() + wrong_counts), 0.0, scale=1.0)


def _by_a_threshold(g: Groups) -> Measurement:
    """Keep all that reach the n-th largest magnitude."""
    sizes = np.abs(g.values)
    mask = sizes >= -np.sort(-sizes, axis=1)[:, g.n - 1 : g.n]
    return Measurement(float((mask != _by_rule(g)).sum()), 0.0, scale=1.0)


nm_ties = Claim(
    name="layerwise_pruning.nm_ties",
    summary="Every group keeps exactly n entries; of equal ones those of the lowest indices.",
    statement=r"|\{j \in \text{group} : \text{mask}_j\}| = n, \quad \text{ties to the lowest index}",
    source=Source.ours("one rule of counts and ties for all patterns"),
    verdict=Always(rtol=0.0),
    instances=_groups,
    evaluate=_ties,
    near_miss=_by_a_threshold,
)
