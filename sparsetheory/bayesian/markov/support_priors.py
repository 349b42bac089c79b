"""Priors of the support: given evidence about each coefficient, the exact posterior and what may be sent back."""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from scipy.special import expit, logit

from sparsetheory.bayesian.markov.chain import initial_odds, line_pass, pair_marginals, transition_table
from sparsetheory.typing import Float64Array

__all__ = ["ChainPrior", "IndependentPrior", "SupportBelief", "SupportPrior"]

# Learned probabilities stay this far from 0 and 1, unless the user's were closer.
_MARGIN = 1e-4


@dataclass(frozen=True, eq=False)
class SupportBelief:
    r"""The factor of the support.

    Parameters
    ----------
    probability : ndarray of shape (N,)
        Probabilities of being on.
    extrinsic : ndarray of shape (N,)
        Extrinsic log-odds: what the prior and the evidence of all other coefficients say. This, never the posterior,
        is the prior of the next sweep.
    log_odds : ndarray of shape (N,)
        Evidence that was used; ``extrinsic + log_odds`` are the posterior log-odds.
    log_prior : float
        :math:`E_q[\ln p(s)] + H(q)`, up to a constant of the prior.
    settled : bool
        False if messages on a grid still moved.
    """

    probability: Float64Array
    extrinsic: Float64Array
    log_odds: Float64Array
    log_prior: float
    settled: bool = True


class SupportPrior(Protocol):
    """A distribution of binary vectors."""

    @property
    def bounded(self) -> bool:
        """Whether `log_prior` is exact for the factor that :meth:`update` returns, so that the ELBO is a bound."""
        ...

    @property
    def density(self) -> float:
        """Fraction of coefficients that are on, as far as it is known in closed form."""
        ...

    def update(self, log_odds: Float64Array, previous: SupportBelief | None) -> SupportBelief:
        """Return the factor that is best for the evidence; `previous` is where an iterative prior may start."""
        ...

    def learned(self, belief: SupportBelief) -> "SupportPrior":
        """Return the prior of its family that suits a belief best."""
        ...


@dataclass(frozen=True)
class IndependentPrior:
    """Coefficients that are on with one probability, independently."""

    density: float

    bounded = True

    def update(self, log_odds: Float64Array, previous: SupportBelief | None) -> SupportBelief:
        """Combine prior and evidence, coefficient by coefficient."""
        odds = logit(self.density)
        post = expit(odds + log_odds)
        log_z = np.logaddexp(np.log1p(-self.density), np.log(self.density) + log_odds)
        return SupportBelief(post, np.full(log_odds.shape, odds), log_odds, float((log_z - post * log_odds).sum()))

    def learned(self, belief: SupportBelief) -> "IndependentPrior":
        """Set the probability to the mean posterior probability."""
        return IndependentPrior(_inside(float(belief.probability.mean()), self.density))


@dataclass(frozen=True)
class ChainPrior:
    """Independent rows, each a binary Markov chain with the same law; one row for a plain chain.

    Parameters
    ----------
    activation, deactivation : float
        Probabilities of switching on and off.
    shape : tuple of int
        Rows and nodes per row.
    initial : float, optional
        Probability that a row starts on; stationary by default.
    """

    activation: float
    deactivation: float
    shape: tuple[int, int]
    initial: float | None = None

    bounded = True

    @property
    def density(self) -> float:
        """Fraction of the stationary chain that is on."""
        return self.activation / (self.activation + self.deactivation)

    def update(self, log_odds: Float64Array, previous: SupportBelief | None) -> SupportBelief:
        """Run forward-backward on every row."""
        unary = log_odds.reshape(self.shape)
        start = initial_odds(self.activation, self.deactivation, self.initial)
        lines = line_pass(unary, start, transition_table(self.activation, self.deactivation))
        ext = (lines.forward + lines.backward).ravel()
        post = expit(ext + log_odds)
        log_z = float(lines.log_z.sum()) - self.shape[0] * float(np.logaddexp(0.0, start))
        return SupportBelief(post, ext, log_odds, log_z - float(post @ log_odds))

    def learned(self, belief: SupportBelief) -> "ChainPrior":
        """Maximise the expected log probability of the chain (Baum-Welch), its first node untied from the others."""
        unary = belief.log_odds.reshape(self.shape)
        table = transition_table(self.activation, self.deactivation)
        lines = line_pass(unary, initial_odds(self.activation, self.deactivation, self.initial), table)
        initial = self.density if self.initial is None else self.initial
        changed = replace(self, initial=_inside(float(belief.probability.reshape(self.shape)[:, 0].mean()), initial))
        if self.shape[1] == 1:
            return changed
        counts = pair_marginals(unary, lines, table).sum(axis=(0, 1))
        totals = counts.sum(axis=1, keepdims=True)
        # A state that is never visited says nothing about how it is left.
        switches = np.divide(counts, totals, out=table.copy(), where=totals > 0)
        activation, deactivation = (
            _inside(float(switches[0, 1]), self.activation),
            _inside(float(switches[1, 0]), self.deactivation),
        )
        return replace(changed, activation=activation, deactivation=deactivation)


def _inside(value: float, current: float) -> float:
    """Keep a probability off 0 and 1; the current one stays allowed, so that the best allowed one is no worse."""
    low, high = min(_MARGIN, current), max(1.0 - _MARGIN, current)
    return float(min(max(value, low), high))
