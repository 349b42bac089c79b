"""Claims about searches that learn every support from a design: gaps and numbers of queries without one over eps."""

import math
from typing import Any

from hypothesis import strategies as st

from sparsetheory.bandits import SupportDesignNet, SupportGreedy, bounds, iter_supports, make_reed_solomon_needle
from sparsetheory.bandits.environments.instance import NeedleInstance
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.misspecified_bandits.instances import Searched, SparseBandit, bandits, fitted, seeds
from sparsetheory.proofs_checks.verdicts import Always

# Least squares in an orthonormal basis of columns that are nearly copies, up to a thousandth.
_ROUNDING = 1e-9


def _greedy(bandit: SparseBandit, screen: bool) -> Searched[SupportGreedy]:
    return Searched(bandit, SupportGreedy(bandit.n_nonzero, eps=bandit.eps, screen=screen))


def _net(bandit: SparseBandit, **options: Any) -> Searched[SupportDesignNet]:
    return Searched(bandit, SupportDesignNet(bandit.n_nonzero, eps=bandit.eps, **options))


def _greedy_searches() -> st.SearchStrategy[Searched[SupportGreedy]]:
    return st.builds(_greedy, bandits(), st.booleans())


def _net_searches() -> st.SearchStrategy[Searched[SupportDesignNet]]:
    return st.builds(
        _net, bandits(), eta=st.sampled_from([0.1, 0.5, 1.0, 3.0]), prune=st.booleans(), screen=st.booleans()
    )


def _greedy_gap(searched: Searched[SupportGreedy], leverage: float = 2.0) -> Measurement:
    r"""Compare the largest gap that unseen rewards can cause with the bound of the search, and that with the theorem's.

    On the true support the errors of the answers, of at most eps, move a prediction by at most eps times the
    amplification of the design, at most :math:`(2s)^{1/2}`. The best prediction loses that twice, and the errors of two
    rewards. What was observed to be best is no worse. The bound of the search is the worst over all supports that the
    answers allow.
    """
    eps, s = searched.bandit.eps, searched.bandit.n_nonzero
    bound = 2 * eps * (1 + math.sqrt(leverage * s))
    if leverage != 2.0:
        return Measurement(searched.gap, bound, searched.bandit.scale)
    return Measurement.chain(searched.gap, searched.end.bound_, {"2 eps (1 + sqrt(2 s))": bound}, searched.bandit.scale)


greedy_gap = Claim(
    name="misspecified_bandits.greedy_gap",
    summary="The best prediction of a design on every support loses eps times the root of the number of non-zeros.",
    statement=r"\max_a r_a - r_{\hat a} \le 2\, \varepsilon\, (1 + \sqrt{2s})",
    source=Source.ours("one design on every support"),
    verdict=Always(_ROUNDING),
    instances=_greedy_searches,
    evaluate=_greedy_gap,
    # Errors of rewards alone, as if least squares amplified nothing.
    near_miss=lambda searched: _greedy_gap(searched, leverage=0.0),
)


def _net_gap(searched: Searched[SupportDesignNet], errors: float = 2.0) -> Measurement:
    r"""Compare the largest gap that unseen rewards can cause with :math:`(2 + \eta)\,eps`.

    In coordinates z that the design on the true support whitens, least squares are a mean of answers times z. So fitted
    coefficients are within eps of the true ones, and along a difference of z of at most :math:`\eta` a prediction is
    wrong by at most :math:`\eta\,eps` more or less. The best linear part survives pruning, as its prediction is wrong
    by at most eps times its |z|. Its representative in the net was visited no later, and so predicted no worse.
    """
    eps, eta = searched.bandit.eps, float(searched.search.eta)
    return Measurement(searched.gap, errors * eps + eta * eps, searched.bandit.scale)


design_net_gap = Claim(
    name="misspecified_bandits.design_net_gap",
    summary="A net in the metric of a design loses a constant times eps, whatever the number of non-zeros.",
    statement=r"\max_a r_a - r_{\hat a} \le (2 + \eta)\, \varepsilon",
    source=Source.ours("nets in the metric of a design on every support"),
    verdict=Always(_ROUNDING),
    instances=_net_searches,
    evaluate=_net_gap,
    near_miss=lambda searched: _net_gap(searched, errors=1.0),
)


def _alive_searches() -> st.SearchStrategy[Searched[SupportGreedy] | Searched[SupportDesignNet]]:
    return _greedy_searches() | _net_searches()


def _lost(searched: Searched[SupportGreedy] | Searched[SupportDesignNet], *, others: bool = False) -> Measurement:
    """Count supports that hold the true one and were discarded.

    On these the prediction at an action is wrong by at most eps times its norm in whitened coordinates, and its answer
    by eps. Supports that were kept although they do not hold the true one are allowed, too.
    """
    bandit, true = searched.bandit, set(searched.bandit.true_support.tolist())
    holding = {M for M in iter_supports(len(bandit.theta), bandit.n_nonzero) if true <= set(M)}
    alive = {tuple(map(int, support)) for support in searched.end.alive_supports_}
    return Measurement(float(len(alive - holding if others else holding - alive)), 0.0, 1.0)


consistent_supports = Claim(
    name="misspecified_bandits.consistent_supports",
    summary="Searches never discard a support that holds the true one.",
    statement=r"\mathrm{supp}\, \theta^* \subseteq M \implies |y_a - z_a^T \hat w_M| \le \varepsilon\, (1 + \|z_a\|)"
    r" \text{ for all queried } a",
    source=Source.ours("consistency of answers with the design on one support"),
    verdict=Always(0.0),
    instances=_alive_searches,
    evaluate=_lost,
    # And always discard all others.
    near_miss=lambda searched: _lost(searched, others=True),
)


def _unscreened(bandit: SparseBandit, eta: float) -> tuple[Searched[SupportGreedy], Searched[SupportDesignNet]]:
    return _greedy(bandit, False), _net(bandit, eta=eta, prune=False, screen=False)


def _queries(searches: tuple[Searched[SupportGreedy], Searched[SupportDesignNet]], dimension: int = 0) -> Measurement:
    r"""Compare numbers of queries, without screening and pruning, with those of the theorem.

    A design needs a number of actions that depends on its rank alone. Whitened rows have length at most
    :math:`(2s)^{1/2}`, so balls of radius :math:`\eta / 2` around separated ones are disjoint in a ball of radius
    :math:`(2s)^{1/2} + \eta / 2`.
    """
    greedy, net = searches
    d, s, eps = greedy.bandit.features.shape[1], greedy.bandit.n_nonzero, greedy.bandit.eps
    most = bounds.design_net(eps, net.search.eta, d, s).n_queries
    if dimension:
        most = math.comb(d, s) * (1 + 2 * math.sqrt(2 * s) / net.search.eta) ** (s - dimension)
    return Measurement.worst(
        [greedy.end.n_queries_, net.end.n_queries_], [bounds.support_greedy(eps, d, s).n_queries, most]
    )


design_queries = Claim(
    name="misspecified_bandits.design_queries",
    summary="Searches by designs take a number of queries in which eps does not occur.",
    statement=r"|Q_{\mathrm{greedy}}| \le \binom{d}{s} (c_s + 1), \quad |Q_{\mathrm{net}}| \le \binom{d}{s}"
    r" \Bigl(c_s + \bigl(1 + \tfrac{2 \sqrt{2s}}{\eta}\bigr)^s\Bigr), \quad c_s = 4 s \log \log s + 16",
    source=Source.ours("designs and nets on every support"),
    verdict=Always(0.0),
    instances=lambda: st.builds(_unscreened, bandits(), st.sampled_from([0.3, 1.0, 3.0])),
    evaluate=_queries,
    # One dimension less, and the designs forgotten.
    near_miss=lambda searches: _queries(searches, dimension=1),
)


def _needle(size: tuple[int, int, int, bool], seed: int) -> NeedleInstance:
    q, s, k, centred = size
    return make_reed_solomon_needle(q, s, k, centred=centred, random_state=seed)


def _needles() -> st.SearchStrategy[tuple[NeedleInstance, float]]:
    # Misspecifications of 1/3, 1/4 and 1/3.
    sizes = st.sampled_from([(3, 3, 2, False), (3, 3, 2, True), (5, 2, 2, True)])
    return st.tuples(st.builds(_needle, sizes, seeds), st.sampled_from([0.5, 0.9]))


def _missed(instance: tuple[NeedleInstance, float], most: float = 1.0) -> Measurement:
    r"""Count a needle that was missed although :math:`(2 + \eta)\,eps < 1`: any other action has a gap of one.

    So the search must query nearly all actions, and does: that is what its guarantee costs.
    """
    needle, eta = instance
    search = fitted(SupportDesignNet(needle.n_nonzero, eps=needle.eps, eta=eta), needle.problem())
    missed, share = float(search.action_ != needle.needle), search.n_queries_ / needle.n_actions
    return Measurement.worst([missed, share], [0.0, most], 1.0)


design_net_needle = Claim(
    name="misspecified_bandits.design_net_needle",
    summary="Where a constant times eps is less than what a needle earns, the design net finds every needle.",
    statement=r"(2 + \eta)\, \varepsilon < 1 \implies \hat a = \text{needle}",
    source=Source.ours("the gap of the design net, on needles among Reed-Solomon codes"),
    verdict=Always(0.0),
    instances=_needles,
    evaluate=_missed,
    # And does so with less than half of the actions.
    near_miss=lambda instance: _missed(instance, most=0.5),
)
