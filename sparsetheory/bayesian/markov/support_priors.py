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
    post : ndarray of shape (N,)
        Probabilities of being on.
    ext : ndarray of shape (N,)
        Extrinsic log-odds: what the prior and the evidence of all other coefficients say. This, never the posterior,
        is the prior of the next sweep.
    ell : ndarray of shape (N,)
        Evidence that was used; ``ext + ell`` are the posterior log-odds.
    log_prior : float
        :math:`E_q[\ln p(s)] + H(q)`, up to a constant of the prior.
    settled : bool
        False if messages on a grid still moved.
    """

    post: Float64Array
    ext: Float64Array
    ell: Float64Array
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
        """Share of coefficients that are on, as far as it is known in closed form."""
        ...

    def update(self, ell: Float64Array, previous: SupportBelief | None) -> SupportBelief:
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

    def update(self, ell: Float64Array, previous: SupportBelief | None) -> SupportBelief:
        """Combine prior and evidence, coefficient by coefficient."""
        odds = logit(self.density)
        post = expit(odds + ell)
        log_z = np.logaddexp(np.log1p(-self.density), np.log(self.density) + ell)
        return SupportBelief(post, np.full(ell.shape, odds), ell, float((log_z - post * ell).sum()))

    def learned(self, belief: SupportBelief) -> "IndependentPrior":
        """Set the probability to the mean posterior probability."""
        return IndependentPrior(_inside(float(belief.post.mean()), self.density))


@dataclass(frozen=True)
class ChainPrior:
    """Independent rows, each a binary Markov chain with the same law; one row for a plain chain.

    Parameters
    ----------
    p01, p10 : float
        Probabilities of switching on and off.
    shape : tuple of int
        Rows and nodes per row.
    p_init : float, optional
        Probability that a row starts on; stationary by default.
    """

    p01: float
    p10: float
    shape: tuple[int, int]
    p_init: float | None = None

    bounded = True

    @property
    def density(self) -> float:
        """Share of the stationary chain that is on."""
        return self.p01 / (self.p01 + self.p10)

    def update(self, ell: Float64Array, previous: SupportBelief | None) -> SupportBelief:
        """Run forward-backward on every row."""
        unary = ell.reshape(self.shape)
        start = initial_odds(self.p01, self.p10, self.p_init)
        lines = line_pass(unary, start, transition_table(self.p01, self.p10))
        ext = (lines.forward + lines.backward).ravel()
        post = expit(ext + ell)
        log_z = float(lines.log_z.sum()) - self.shape[0] * float(np.logaddexp(0.0, start))
        return SupportBelief(post, ext, ell, log_z - float(post @ ell))

    def learned(self, belief: SupportBelief) -> "ChainPrior":
        """Maximise the expected log probability of the chain (Baum-Welch), its first node untied from the others."""
        unary = belief.ell.reshape(self.shape)
        table = transition_table(self.p01, self.p10)
        lines = line_pass(unary, initial_odds(self.p01, self.p10, self.p_init), table)
        p_init = self.density if self.p_init is None else self.p_init
        changed = replace(self, p_init=_inside(float(belief.post.reshape(self.shape)[:, 0].mean()), p_init))
        if self.shape[1] == 1:
            return changed
        counts = pair_marginals(unary, lines, table).sum(axis=(0, 1))
        totals = counts.sum(axis=1, keepdims=True)
        # A state that is never visited says nothing about how it is left.
        switches = np.divide(counts, totals, out=table.copy(), where=totals > 0)
        p01, p10 = _inside(float(switches[0, 1]), self.p01), _inside(float(switches[1, 0]), self.p10)
        return replace(changed, p01=p01, p10=p10)


def _inside(value: float, current: float) -> float:
    """Keep a probability off 0 and 1; the current one stays allowed, so that the best allowed one is no worse."""
    low, high = min(_MARGIN, current), max(1.0 - _MARGIN, current)
    return float(min(max(value, low), high))
