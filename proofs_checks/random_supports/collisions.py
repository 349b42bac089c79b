r"""Claims about random anchors on clusters of near-duplicates, where their number is what it takes.

Everything is computed on designs: supports and anchors are drawn from the columns of one, and the compatibility
compatibility from their distances. The columns of a cluster are :math:`10^{-5}` to :math:`10^{-4}` apart. Where every
cluster that the support hits twice holds an anchor, compatibility is of the order of the ratios of these sizes, about
10; elsewhere it exceeds a thousand. Failure means compatibility above 30.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from hypothesis import strategies as st

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.random_supports.instances import Anchored
from sparsetheory.proofs_checks.verdicts import Attains, ScalesAs, WithProbability
from sparsetheory.regression import make_design, residual_norms, support_compatibility, theory
from sparsetheory.regression.orthonormal import orthonormal_basis
from sparsetheory.typing import Float64Array

_LIMIT = 30.0
_FAILURE = 0.2
# Clusters, with a size of supports for which some number of anchors brings the failure down to one in five.
_SIZES = {16: 5, 32: 7, 64: 10}


@dataclass(frozen=True)
class _Draw:
    """A design on G clusters whose first k columns are the support and whose other m are the anchors.

    Its columns are those of a larger design at the places of a support and of anchors that do not meet.
    """

    X: Float64Array
    k: int

    @property
    def m(self) -> int:
        return self.X.shape[1] - self.k

    def compatibility(self, k: int | None = None, m: int | None = None) -> float:
        """Return compatibility of the first k columns of the support against the first m anchors; all by default."""
        anchors = self.X[:, self.k : self.k + (self.m if m is None else m)]
        distances = residual_norms(self.X, orthonormal_basis(anchors)[0])
        return float(
            support_compatibility(self.X, np.arange(k or self.k), Anchored(distances), exact=True).compatibility
        )


def _draw(rng: np.random.Generator, k: int, m: int, groups: int) -> _Draw:
    return _Draw(
        make_design("clusters", m + 10, k + m, n_clusters=groups, min_scale=1e-5, max_scale=1e-4, random_state=rng), k
    )


def _anchors_needed(k: int, groups: int) -> int:
    """Return the fewest anchors at which the sum over pairs of the support is at most one in five."""
    return next(m for m in range(10 * groups) if theory.cluster_failure(k, m, groups) <= _FAILURE)


def _draw_in_balance(rng: np.random.Generator, groups: float) -> _Draw:
    k = _SIZES[int(groups)]
    return _draw(rng, k, _anchors_needed(k, int(groups)), int(groups))


def _draws() -> st.SearchStrategy[_Draw]:
    return st.builds(
        lambda seed, groups: _draw_in_balance(np.random.default_rng(seed), groups),
        st.integers(0, 2**32 - 1),
        st.sampled_from(list(_SIZES)),
    )


def _compatibility(draw: _Draw) -> Measurement:
    """Compare compatibility with what anchors in all the right clusters leave.

    Each of the ``k (k-1) / 2`` pairs meets in one cluster with probability 1/G, and all anchors miss that cluster with
    probability ``(1 - 1/G)^m``.
    """
    return Measurement(draw.compatibility(), _LIMIT)


def _half_the_anchors(draw: _Draw) -> Measurement:
    return Measurement(draw.compatibility(m=draw.m // 2), _LIMIT)


def _sweep(trials: int) -> Sweep:
    return Sweep(
        axis="clusters G",
        values=tuple(map(float, _SIZES)),
        draw=_draw_in_balance,
        trials=2 * trials,
        quick_trials=trials,
        log="xy",
        measured_label="compatibility",
        bound_label="failure: compatibility above 30",
    )


collisions = Claim(
    name="random_supports.collisions",
    summary="Random anchors fail on near-duplicate clusters at most as often as the sum over pairs says.",
    statement=r"P(\alpha > 30) \le \tfrac{k(k-1)}{2G} (1 - 1/G)^m \text{ on } G \text{ near-duplicate clusters,}"
    r" \text{ where that is } 1/5",
    source=Source.ours("random anchors on clusters, upper bound"),
    verdict=WithProbability(1 - _FAILURE, margin=0.08),
    instances=_draws,
    evaluate=_compatibility,
    near_miss=_half_the_anchors,
    sweep=_sweep(600),
)


def _two_columns_less(draw: _Draw) -> Measurement:
    return Measurement(draw.compatibility(k=draw.k - 2), _LIMIT)


collisions_attained = Claim(
    name="random_supports.collisions_attained",
    summary="Random anchors fail on near-duplicate clusters nearly as often as the sum over pairs says.",
    statement=r"P(\alpha > 30) \ge 0.8\, \tfrac{k(k-1)}{2G} (1 - 1/G)^m \text{ while } k(k-1) \le 1.5\, G",
    # Two pairs that collide at once are counted twice by the sum over pairs, seldom while there are few.
    source=Source.measured("random anchors on clusters, tightness of the upper bound"),
    verdict=Attains(0.8 * _FAILURE, margin=0.05),
    instances=_draws,
    evaluate=_compatibility,
    near_miss=_two_columns_less,
    sweep=_sweep(450),
)


@dataclass(frozen=True, eq=False)
class _Batch:
    """Draws of one kind: their share of failures has a rate."""

    draws: tuple[_Draw, ...]

    @cached_property
    def failures(self) -> float:
        """Share of failures, with half a failure added so that it has a logarithm."""
        return (sum(draw.compatibility() > _LIMIT for draw in self.draws) + 0.5) / len(self.draws)


# Pairs of sizes by the value of k (k - 1) / m. As k / m is the same for all, the rate does not depend on that alone.
_RATES = {k * (k - 1) / m: (k, m) for k, m in [(2, 12), (3, 18), (4, 24), (8, 48)]}


def _draw_batch(rng: np.random.Generator, rate: float) -> _Batch:
    k, m = _RATES[rate]
    return _Batch(tuple(_draw(rng, k, m, m) for _ in range(300)))


def _per_column(batch: _Batch) -> Measurement:
    """Claim that each column fails at a rate of k / m, whatever the others are."""
    return Measurement(batch.failures / (batch.draws[0].k - 1), 1.0)


tight_anchors = Claim(
    name="random_supports.tight_anchors",
    summary="Random anchors fail at a rate that grows like the square of the support size over their number.",
    statement=r"P(\alpha > 30) \propto \big(k(k-1)/m\big)^{0.9} \text{ up to } \pm 0.35 \text{ on } m"
    r" \text{ clusters, as the bound for random anchors}",
    source=Source.measured(
        "random anchors on clusters, rate; the exponent is 1 less what pairs that collide at once take"
    ),
    verdict=ScalesAs(0.9, 0.35),
    evaluate=lambda batch: Measurement(batch.failures, theory.anchor_failure_bound(batch.draws[0].k, batch.draws[0].m)),
    near_miss=_per_column,
    sweep=Sweep(
        axis="k (k - 1) / m",
        values=tuple(sorted(_RATES)),
        draw=_draw_batch,
        trials=20,
        quick_trials=6,
        log="xy",
        measured_label="share of failures",
        bound_label="Theorem A",
    ),
)
