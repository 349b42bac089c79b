"""Priors of supports on a grid: Markov chains along rows and along columns, pooled."""

from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from scipy.special import expit

from sparsetheory.bayesian.markov.chain import initial_odds, transition_table
from sparsetheory.bayesian.markov.grid import bethe_log_z, grid_lines, total
from sparsetheory.bayesian.markov.grid_mean_field import sweep_rows
from sparsetheory.bayesian.markov.support_priors import SupportBelief
from sparsetheory.typing import Float64Array

__all__ = ["GridPrior", "RowsPrior"]


@dataclass(frozen=True)
class _PooledChains:
    """The geometric mean of the law of independent rows and that of independent columns, all of one Markov chain.

    A product of the two would count the prior of every node twice, and make interiors sparser than any line.

    Parameters
    ----------
    activation, deactivation : float
        Probabilities of switching on and off along every line.
    shape : tuple of int
        Rows and columns, at least two of each: a single line is a chain.
    """

    activation: float
    deactivation: float
    shape: tuple[int, int]

    @property
    def density(self) -> float:
        """Fraction of a single line that is on."""
        return self.activation / (self.activation + self.deactivation)

    @property
    def _table(self) -> Float64Array:
        return np.sqrt(transition_table(self.activation, self.deactivation))

    @property
    def _starts(self) -> Float64Array:
        """Log-odds of the factors at the first nodes of rows and columns."""
        odds = 0.5 * initial_odds(self.activation, self.deactivation, None)
        starts = np.zeros(self.shape)
        starts[:, 0] += odds
        starts[0] += odds
        return starts

    @property
    def _log_norm(self) -> float:
        """Logarithm of the normalisers of all starts.

        What is left out is the normaliser of the geometric mean, which is at most one by the inequality of Cauchy and
        Schwarz, so that a bound stays a bound.
        """
        return float(0.5 * sum(self.shape) * np.logaddexp(0.0, initial_odds(self.activation, self.deactivation, None)))

    def learned(self, belief: SupportBelief) -> NoReturn:
        """Refuse: the normaliser of a grid depends on its probabilities, and is not known."""
        raise ValueError("learn_prior must be False for a grid, whose law has no closed form; got True")


@dataclass(frozen=True)
class GridPrior(_PooledChains):
    """Inference by loopy sum-product, as in :func:`sparsetheory.bayesian.grid_belief_propagation`."""

    damping: float = 0.5
    max_iter: int = 100
    tol: float = 1e-4

    bounded = False

    def update(self, log_odds: Float64Array, previous: SupportBelief | None) -> SupportBelief:
        """Run sum-product to rest."""
        starts = self._starts
        unary = log_odds.reshape(self.shape) + starts
        rows, cols, _, settled = grid_lines(unary, self._table, self._table, self.damping, self.max_iter, self.tol)
        ext = (starts + total(rows) + total(cols)).ravel()
        post = expit(ext + log_odds)
        log_z = bethe_log_z(unary, rows, cols, self._table, self._table) - self._log_norm
        return SupportBelief(post, ext, log_odds, log_z - float(post @ log_odds), settled)


@dataclass(frozen=True)
class RowsPrior(_PooledChains):
    """Inference by exact rows that see each other in the mean, as in :func:`sparsetheory.bayesian.grid_mean_field`."""

    max_iter: int = 20
    tol: float = 1e-8

    bounded = True

    def update(self, log_odds: Float64Array, previous: SupportBelief | None) -> SupportBelief:
        """Sweep over the rows from where they were: every sweep raises the bound."""
        starts = self._starts
        unary = log_odds.reshape(self.shape) + starts
        post = np.full(self.shape, self.density) if previous is None else previous.probability.reshape(self.shape)
        post, ext, bounds, _ = sweep_rows(unary, self._table, self._table, post, self.max_iter, self.tol)
        ext = (starts + ext).ravel()
        log_prior = float(bounds[-1]) - self._log_norm - float(post.ravel() @ log_odds)
        return SupportBelief(post.ravel(), ext, log_odds, log_prior)
