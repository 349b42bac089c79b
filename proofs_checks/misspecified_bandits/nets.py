"""Claims about the net of actions that a search queries on every support: how good its best action is, and its size."""

import math
from typing import Any

from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from sparsetheory.bandits import SupportNetSearch, bounds, iter_supports
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.misspecified_bandits.instances import Searched, SparseBandit, bandits
from sparsetheory.proofs_checks.verdicts import Always

# Sums of a few products.
_ROUNDING = 1e-12


def _search(bandit: SparseBandit, share: float, **options: Any) -> Searched[SupportNetSearch]:
    """Let a search have a radius that is a share of the longest row, or eps over the length of the coefficients."""
    rho = share * bandit.longest or bandit.eps / bandit.norm_bound or 1.0
    search = SupportNetSearch(bandit.n_nonzero, eps=bandit.eps, rho=rho, norm_bound=bandit.norm_bound, **options)
    return Searched(bandit, search)


def _searches() -> st.SearchStrategy[Searched[SupportNetSearch]]:
    return st.builds(
        _search,
        bandits(),
        st.sampled_from([0.0, 0.1, 0.5, 1.0]),
        net=st.sampled_from(["grid", "greedy"]),
        reuse=st.booleans(),
    )


def _gap(searched: Searched[SupportNetSearch], errors: float = 2.0) -> Measurement:
    r"""Compare the largest gap that unseen rewards can cause with twice eps and the length of coefficients times rho.

    On a support that holds the true one, some queried action a' is within rho of the best one a in the features of
    that support. So its linear part is at most :math:`B \rho` smaller, and its reward at most two errors more. The best
    of the queried actions earns at least as much as a'.
    """
    bandit, rho = searched.bandit, float(searched.search.rho or 0.0)
    bound = errors * bandit.eps + bandit.norm_bound * rho
    return Measurement(searched.gap, bound, bandit.scale)


net_gap = Claim(
    name="misspecified_bandits.net_gap",
    summary="The best of a net of radius rho on all supports earns nearly what the best action does.",
    statement=r"\max_a r_a - r_{\hat a} \le 2\, \varepsilon + \|\theta^*\| \rho",
    source=Source.ours("nets on all supports; the rate is claimed by Dong and Yang (2023), the constants are ours"),
    verdict=Always(_ROUNDING),
    instances=_searches,
    evaluate=_gap,
    # Only the action that is queried is in error, not the best one.
    near_miss=lambda searched: _gap(searched, errors=1.0),
)


def _radius(searched: Searched[SupportNetSearch], share: float = 1.0) -> Measurement:
    """Compare the distance of actions to the nearest queried one, on every support, with rho.

    Two actions in one cell of a grid are within its diagonal. What is not in a maximal set of separated actions is near
    one of them.
    """
    features, queried = searched.bandit.features, searched.end.queried_
    rho = float(searched.search.rho or 0.0)
    nearest = [
        cdist(features[:, support], features[queried][:, support]).min(axis=1).max()
        for support in map(list, iter_supports(features.shape[1], searched.bandit.n_nonzero))
    ]
    return Measurement.worst(nearest, share * rho, searched.bandit.longest)


net_radius = Claim(
    name="misspecified_bandits.net_radius",
    summary="On every support each action lies within rho of a queried one.",
    statement=r"\forall M, a\ \exists a' \in Q: \|\phi_M(a) - \phi_M(a')\| \le \rho",
    source=Source.ours("cells of a grid with diagonal rho, or maximal sets of separated actions"),
    verdict=Always(_ROUNDING),
    instances=_searches,
    evaluate=_radius,
    near_miss=lambda searched: _radius(searched, share=0.5),
)


def _size(searched: Searched[SupportNetSearch], dimension: int = 0) -> Measurement:
    r"""Compare numbers of queries with those of the theorem, on one support and in all.

    Balls of half the radius around separated actions are disjoint, inside a ball of radius :math:`L + \rho / 2`. An
    axis of length 2L has at most :math:`1 + 2 L s^{1/2} / \rho` cells of width :math:`\rho s^{-1/2}`.
    """
    bandit, search = searched.bandit, searched.search
    s, d = bandit.n_nonzero - dimension, bandit.features.shape[1]
    width = 2 * bandit.longest * (math.sqrt(bandit.n_nonzero) if search.net == "grid" else 1.0)
    rho = float(search.rho or 0.0)
    on_one = (1 + width / rho) ** s
    if dimension:
        return Measurement(searched.end.max_cells_, on_one)
    total = bounds.support_net(bandit.eps, rho, bandit.norm_bound, bandit.longest, d, s, net=search.net).n_queries
    return Measurement.worst([searched.end.max_cells_, searched.end.n_queries_], [on_one, total])


net_size = Claim(
    name="misspecified_bandits.net_size",
    summary="A net takes at most a power of one over its radius of queries, for each support.",
    statement=r"|Q| \le \binom{d}{s} \Bigl(1 + \tfrac{2L}{\rho}\Bigr)^s \text{ separated}, \quad"
    r" |Q| \le \binom{d}{s} \Bigl(1 + \tfrac{2L \sqrt s}{\rho}\Bigr)^s \text{ on a grid}",
    source=Source.ours(
        "volumes of disjoint balls; the rate is claimed by Dong and Yang (2023), the constants are ours"
    ),
    verdict=Always(_ROUNDING),
    instances=_searches,
    evaluate=_size,
    # One dimension less.
    near_miss=lambda searched: _size(searched, dimension=1),
)
