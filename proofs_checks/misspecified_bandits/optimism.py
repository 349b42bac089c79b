"""Claims about the elimination of optimistic candidates."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from hypothesis import strategies as st

from sparsetheory.bandits import OptimisticElimination
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.misspecified_bandits.instances import Searched, SparseBandit, bandits
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

# The search allows for rounding of predictions.
_ROUNDING = 1e-11


@dataclass(frozen=True, eq=False)
class _Elimination(Searched[OptimisticElimination]):
    """A search among candidates, of which the last one is at most rho from the truth."""

    n_candidates: int

    @cached_property
    def error(self) -> float:
        """What a good candidate errs by, at most."""
        return self.bandit.eps + self.bandit.longest * self.search.rho


def _candidates(bandit: SparseBandit, n: int, rho: float) -> Float64Array:
    """Draw sparse candidates; some are larger than the truth, and more optimistic. The last one is near it."""
    rng, d = bandit.rng(), len(bandit.theta)
    candidates = rng.standard_normal((n, d)) * (rng.random((n, d)) < bandit.n_nonzero / d)
    candidates *= bandit.norm_bound * rng.uniform(0.1, 3.0, (n, 1))
    direction = rng.standard_normal(d)
    near = bandit.theta + rng.random() * rho * direction / np.linalg.norm(direction)
    return np.vstack([candidates, near])


def _eliminate(bandit: SparseBandit, n: int, share: float) -> _Elimination:
    rho = share * bandit.norm_bound
    search = OptimisticElimination(_candidates(bandit, n, rho), eps=bandit.eps, rho=rho)
    return _Elimination(bandit, search, n + 1)


def _eliminations() -> st.SearchStrategy[_Elimination]:
    kinds = ("gauss", "correlated", "blocks", "signs", "integers", "copies", "low rank", "code")
    return st.builds(_eliminate, bandits(kinds), st.integers(0, 60), st.sampled_from([0.0, 0.05, 0.3]))


def _optimistic_gap(elimination: _Elimination, *, with_net: bool = True) -> Measurement:
    r"""Compare the largest gap that unseen rewards can cause with twice the error of a good candidate.

    A good candidate errs by at most :math:`e = eps + L \rho` everywhere, so no answer removes it. The most optimistic
    one promises at least what the good one does: the best reward less e. It is returned when its answer is at most e
    below its promise. Else the answer removes it, so queries are at most as many as candidates.
    """
    error = elimination.error if with_net else elimination.bandit.eps
    scale = elimination.bandit.scale + elimination.error
    return Measurement(elimination.gap, 2 * error, scale)


optimistic_gap = Claim(
    name="misspecified_bandits.optimistic_gap",
    summary="Whoever trusts the most optimistic model until it is caught lying loses twice the error of the best one.",
    statement=r"\max_a r_a - r_{\hat a} \le 2\, (\varepsilon + L \rho)",
    source=Source.ours("optimistic elimination in a net of candidates"),
    verdict=Always(_ROUNDING),
    instances=_eliminations,
    evaluate=_optimistic_gap,
    # The distance to the nearest candidate is forgotten.
    near_miss=lambda elimination: _optimistic_gap(elimination, with_net=False),
)


def _survival(elimination: _Elimination, *, halved: bool = False) -> Measurement:
    """Count the good candidate if it was removed, and compare queries with candidates."""
    end, least = elimination.end, elimination.n_candidates
    removed = float(least - 1 not in end.alive_)
    return Measurement.worst([removed, end.n_queries_], [0.0, least / 2 if halved else least])


optimistic_survival = Claim(
    name="misspecified_bandits.optimistic_survival",
    summary="A good candidate is never removed, and every query removes another one.",
    statement=r"\|\theta - \theta^*\| \le \rho \implies \theta \text{ survives}, \quad |Q| \le |N|",
    source=Source.ours("optimistic elimination in a net of candidates"),
    verdict=Always(0.0),
    instances=_eliminations,
    evaluate=_survival,
    # As if half of the candidates went with each query.
    near_miss=lambda elimination: _survival(elimination, halved=True),
)
