"""Claims about exact messages on binary chains."""

import itertools
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from scipy.special import expit, logit, logsumexp

from sparsetheory.bayesian.markov.chain import chain_messages, chain_pair_marginals
from sparsetheory.bayesian.markov.support_priors import ChainPrior, IndependentPrior
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.turbo_vbi.instances import ours
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

# A dozen sums of exponentials and logarithms, each rounded once.
_ROUNDING = 1e-12
_BAUM = "Baum, Petrie, Soules, Weiss (1970)"


@dataclass(frozen=True)
class _Chain:
    """Evidence about the nodes of a chain."""

    log_odds: tuple[float, ...]
    activation: float
    deactivation: float
    initial: float

    @property
    def evidence(self) -> Float64Array:
        return np.array(self.log_odds)


_shares = st.floats(1e-3, 1 - 1e-3)
# Beyond 700 the odds themselves leave the range of double precision.
_odds = st.floats(-40, 40) | st.floats(-800, 800)


def _chains(longest: int = 10) -> st.SearchStrategy[_Chain]:
    lists = st.lists(_odds, min_size=1, max_size=longest).map(tuple)
    return st.builds(_Chain, lists, _shares, _shares, _shares)


def _enumerated(chain: _Chain) -> tuple[Float64Array, Float64Array, float]:
    """Return marginals, pair marginals and log normaliser from all states."""
    states = np.array(list(itertools.product([0, 1], repeat=len(chain.log_odds))))
    table = np.log([[1 - chain.activation, chain.activation], [chain.deactivation, 1 - chain.deactivation]])
    logs = np.log(np.where(states[:, 0], chain.initial, 1 - chain.initial)) + states @ chain.evidence
    logs = logs + table[states[:, :-1], states[:, 1:]].sum(axis=1)
    log_z = logsumexp(logs)
    shares = np.exp(logs - log_z)
    sides = np.stack([1 - states, states])
    pairs = np.einsum("s,usi,vsi->iuv", shares, sides[:, :, :-1], sides[:, :, 1:])
    return shares @ states, pairs, float(log_z)


def _messages(chain: _Chain, swapped: bool = False) -> Measurement:
    """Compare marginals, pair marginals, normaliser and the identity of posterior and extrinsic plus own evidence."""
    p01, p10 = (chain.deactivation, chain.activation) if swapped else (chain.activation, chain.deactivation)
    found = chain_messages(chain.evidence, activation=p01, deactivation=p10, initial=chain.initial)
    pairs = chain_pair_marginals(chain.evidence, activation=p01, deactivation=p10, initial=chain.initial)
    marginals, expected, log_z = _enumerated(chain)
    errors = [
        np.abs(found.probability - marginals).max(),
        np.abs(pairs - expected).max(initial=0.0),
        np.abs(expit(found.extrinsic + chain.evidence) - found.probability).max(),
        abs(found.log_normaliser - log_z) / (1 + np.abs(chain.evidence).sum()),
    ]
    return Measurement(float(max(errors)), 0.0, scale=1.0)


messages = Claim(
    name="turbo_vbi.messages",
    summary="Forward-backward messages give the marginals of all states.",
    statement=r"\text{forward-backward messages} = \text{enumeration of } 2^N \text{ states}",
    source=Source.classic(_BAUM, "forward-backward"),
    verdict=Always(_ROUNDING),
    instances=_chains,
    evaluate=_messages,
    near_miss=lambda chain: _messages(chain, swapped=True),
)


def _extrinsic_range(chain: _Chain, sides: int = 2) -> Measurement:
    """Compare extrinsic log-odds with what two certain neighbours would say.

    The forward message is a mixture of p01 and 1 - p10, so its log-odds lie between theirs; the backward message is
    the log ratio of mixtures of (p10, 1 - p10) and of (1 - p01, p01), which is monotone in the weight.
    """
    p01, p10 = chain.activation, chain.deactivation
    upper = logit(1 - p10) + (sides - 1) * np.log((1 - p10) / p01)
    lower = logit(p01) + (sides - 1) * np.log(p10 / (1 - p01))
    ext = chain_messages(chain.evidence, activation=p01, deactivation=p10).extrinsic
    return Measurement.worst(np.concatenate([ext, -ext]), np.repeat([upper, -lower], ext.size), scale=1.0)


extrinsic_range = Claim(
    name="turbo_vbi.extrinsic_range",
    summary="What neighbours can say about a coefficient is bounded.",
    statement=r"\mathrm{logit}\,p_{01} + \ln\tfrac{p_{10}}{1-p_{01}} \le \mathrm{logit}\,\pi_i \le "
    r"\mathrm{logit}(1-p_{10}) + \ln\tfrac{1-p_{10}}{p_{01}}, \ p_{01} + p_{10} \le 1",
    source=ours("range of extrinsic messages"),
    verdict=Always(_ROUNDING),
    instances=lambda: _chains(30).filter(lambda chain: chain.activation + chain.deactivation <= 1),
    evaluate=_extrinsic_range,
    near_miss=lambda chain: _extrinsic_range(chain, sides=1),
)


def _memoryless(chain: _Chain, p10: float | None = None) -> Measurement:
    """Compare a chain that forgets its state at once with independent nodes."""
    density, ell = chain.activation, chain.evidence
    forgetful = ChainPrior(density, 1 - density if p10 is None else p10, (1, ell.size)).update(ell, None)
    independent = IndependentPrior(density).update(ell, None)
    errors = [
        np.abs(forgetful.probability - independent.probability).max(),
        abs(forgetful.log_prior - independent.log_prior) / (1 + np.abs(ell).sum()),
    ]
    return Measurement(float(max(errors)), 0.0, scale=1.0)


memoryless = Claim(
    name="turbo_vbi.memoryless",
    summary="A chain that forgets its state at once is an independent prior.",
    statement=r"p_{01} = 1 - p_{10} = \lambda \text{ is the independent prior of density } \lambda",
    source=ours("memoryless chains"),
    verdict=Always(_ROUNDING),
    instances=lambda: _chains(30),
    evaluate=_memoryless,
    near_miss=lambda chain: _memoryless(chain, p10=0.5 * (1 - chain.activation)),
)


def _reversed(chain: _Chain, stationary: bool = True) -> Measurement:
    """Compare the answer to reversed evidence with the reversed answer: a stationary binary chain is reversible."""
    p_init = None if stationary else chain.initial
    there = chain_messages(chain.evidence, activation=chain.activation, deactivation=chain.deactivation, initial=p_init)
    back = chain_messages(
        chain.evidence[::-1], activation=chain.activation, deactivation=chain.deactivation, initial=p_init
    )
    errors = [
        np.abs(there.probability[::-1] - back.probability).max(),
        abs(there.log_normaliser - back.log_normaliser) / (1 + np.abs(chain.log_odds).sum()),
    ]
    return Measurement(float(max(errors)), 0.0, scale=1.0)


reversal = Claim(
    name="turbo_vbi.reversal",
    summary="A stationary chain reads the same backwards.",
    statement=r"\tilde\pi(\ell_N, \dots, \ell_1) = (\tilde\pi_N, \dots, \tilde\pi_1) \text{ for a stationary chain}",
    source=ours("reversal of chains"),
    verdict=Always(_ROUNDING),
    instances=lambda: _chains(30),
    evaluate=_reversed,
    near_miss=lambda chain: _reversed(chain, stationary=False),
)


def _repeated(chain: _Chain, feed_back: bool = False) -> Measurement:
    """Exchange messages thirty times with evidence that does not change, and compare with the exact posterior.

    Sending the belief back as if it were extrinsic, as two public codes do, counts every piece of evidence again.
    """
    ell, first = (
        chain.evidence,
        chain_messages(
            chain.evidence, activation=chain.activation, deactivation=chain.deactivation, initial=chain.initial
        ),
    )
    ext, evidence = first.extrinsic, ell
    for _ in range(30):
        belief = expit(ext + ell)
        evidence = logit(np.clip(belief, 1e-15, 1 - 1e-15)) + ell if feed_back else ell
        ext = chain_messages(
            evidence, activation=chain.activation, deactivation=chain.deactivation, initial=chain.initial
        ).extrinsic
    return Measurement(float(np.abs(expit(ext + evidence) - _enumerated(chain)[0]).max()), 0.0, scale=1.0)


repeated_exchange = Claim(
    name="turbo_vbi.repeated_exchange",
    summary="Extrinsic messages can be exchanged again and again without harm.",
    statement=r"\text{extrinsic messages leave the posterior where it is, however often they are exchanged}",
    source=ours("what may be fed back"),
    verdict=Always(_ROUNDING),
    instances=_chains,
    evaluate=_repeated,
    near_miss=lambda chain: _repeated(chain, feed_back=True),
)
