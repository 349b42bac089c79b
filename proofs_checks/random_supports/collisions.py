"""Claims about random anchors on clusters of near-duplicates, where their number is what it takes."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from scipy import stats

from sparsetheory.proofs_checks.claim import Claim, Measurement, Sweep
from sparsetheory.proofs_checks.random_supports.instances import ours
from sparsetheory.proofs_checks.verdicts import Always, ScalesAs
from sparsetheory.regression import theory


@dataclass(frozen=True)
class _Collisions:
    """How often a random support hits a cluster twice that no random anchor hits."""

    k: int
    m: int
    groups: int
    failures: int
    trials: int


def _draw_collisions(rng: np.random.Generator, m: float, k: int = 5, trials: int = 20000) -> _Collisions:
    groups = int(m)
    support = rng.integers(groups, size=(trials, k))
    anchored = np.zeros((trials, groups), dtype=bool)
    anchored[np.arange(trials)[:, None], rng.integers(groups, size=(trials, int(m)))] = True
    support.sort(axis=1)
    twice = support[:, 1:] == support[:, :-1]
    open_ = ~np.take_along_axis(anchored, support[:, 1:], axis=1)
    return _Collisions(k, int(m), groups, int((twice & open_).any(axis=1).sum()), trials)


def _union_bound(instance: _Collisions) -> Measurement:
    """Compare the observed share of failures, at its lower confidence limit, with the sum over pairs of the support.

    Each of the ``k (k-1) / 2`` pairs meets in one cluster with probability 1/G, and all anchors miss that cluster with
    probability ``(1 - 1/G)^m``.
    """
    interval = stats.binomtest(instance.failures, instance.trials).proportion_ci(1 - 1e-6)
    bound = theory.cluster_failure(instance.k, instance.m, instance.groups)
    rate = instance.failures / instance.trials
    return Measurement(float(interval.low), bound, extras={"observed share": rate, "upper limit": float(interval.high)})


def _twice_the_anchors(instance: _Collisions) -> Measurement:
    measured = _union_bound(instance)
    return Measurement(measured.measured, theory.cluster_failure(instance.k, 2 * instance.m, instance.groups))


collisions = Claim(
    name="random_supports.collisions",
    statement=r"P(\alpha \gg 1) \le \tfrac{k(k-1)}{2G} (1 - 1/G)^m \text{ on } G \text{ near-duplicate clusters}",
    source=ours("random anchors on clusters, upper bound"),
    verdict=Always(0.0),
    instances=lambda: st.builds(
        lambda seed, m: _draw_collisions(np.random.default_rng(seed), m),
        st.integers(0, 2**32 - 1),
        st.integers(12, 300),
    ),
    evaluate=_union_bound,
    near_miss=_twice_the_anchors,
    sweep=Sweep(
        axis="m = G",
        values=(16.0, 32.0, 64.0, 128.0, 256.0),
        draw=_draw_collisions,
        trials=20,
        quick_trials=6,
        log="xy",
        measured_label="lower confidence limit of the share of failures",
        bound_label="union bound",
    ),
)


def _attained(instance: _Collisions) -> Measurement:
    """Compare the observed share of failures, at its upper confidence limit, with 0.8 of the sum over pairs.

    Two pairs that collide at once are counted twice by the sum, which matters little while it is below 0.65.
    """
    measured = _union_bound(instance)
    return Measurement(0.8 * measured.bound, measured.extras["upper limit"], extras=measured.extras)


def _half_the_anchors(instance: _Collisions) -> Measurement:
    bound = theory.cluster_failure(instance.k, instance.m // 2, instance.groups)
    return Measurement(0.8 * bound, _attained(instance).bound)


collisions_attained = Claim(
    name="random_supports.collisions_attained",
    statement=r"P(\alpha \gg 1) \ge 0.8\, \tfrac{k(k-1)}{2G} (1 - 1/G)^m \text{ while } k(k-1) \le 1.3\, G",
    source=ours("random anchors on clusters, tightness of the upper bound"),
    verdict=Always(0.0),
    instances=lambda: st.builds(
        lambda seed, m: _draw_collisions(np.random.default_rng(seed), m),
        st.integers(0, 2**32 - 1),
        st.integers(16, 300),
    ),
    evaluate=_attained,
    near_miss=_half_the_anchors,
    sweep=Sweep(
        axis="m = G",
        values=(16.0, 32.0, 64.0, 128.0, 256.0),
        draw=_draw_collisions,
        trials=20,
        quick_trials=6,
        log="xy",
        measured_label="0.8 of the union bound",
        bound_label="upper confidence limit of the share of failures",
    ),
)

tight_anchors = Claim(
    name="random_supports.tight_anchors",
    statement=r"P(\text{failure}) \propto k^2 / m \text{ on } m \text{ clusters, as the bound for random anchors}",
    source=ours("random anchors on clusters, rate"),
    verdict=ScalesAs(-1.0, 0.25),
    instances=lambda: st.builds(
        lambda seed, m: _draw_collisions(np.random.default_rng(seed), m),
        st.integers(0, 2**32 - 1),
        st.integers(16, 256),
    ),
    evaluate=lambda c: Measurement(max(c.failures, 1) / c.trials, theory.anchor_failure_bound(c.k, c.m)),
    near_miss=lambda c: Measurement((max(c.failures, 1) / c.trials) ** 2, 1.0),
    sweep=Sweep(
        axis="m = G",
        values=(16.0, 32.0, 64.0, 128.0, 256.0),
        draw=_draw_collisions,
        trials=20,
        quick_trials=6,
        log="xy",
        measured_label="share of failures",
        bound_label="Theorem A",
    ),
)
