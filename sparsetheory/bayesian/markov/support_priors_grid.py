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
    p01, p10 : float
        Probabilities of switching on and off along every line.
    shape : tuple of int
        Rows and columns, at least two of each: a single line is a chain.
    """

    p01: float
    p10: float
    shape: tuple[int, int]

    @property
    def density(self) -> float:
        """Share of a single line that is on."""
        return self.p01 / (self.p01 + self.p10)

    @property
    def _table(self) -> Float64Array:
        return np.sqrt(transition_table(self.p01, self.p10))

    @property
    def _starts(self) -> Float64Array:
        """Log-odds of the factors at the first nodes of rows and columns."""
        odds = 0.5 * initial_odds(self.p01, self.p10, None)
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
        return float(0.5 * sum(self.shape) * np.logaddexp(0.0, initial_odds(self.p01, self.p10, None)))

    def learned(self, belief: SupportBelief) -> NoReturn:
        """Refuse: the normaliser of a grid depends on its probabilities, and is not known."""
        raise ValueError("learn_chain needs prior='iid', 'chain' or 'chain2d_rows'; a grid has no closed form")


@dataclass(frozen=True)
class GridPrior(_PooledChains):
    """Inference by loopy sum-product, as in :func:`sparsetheory.bayesian.grid_bp`."""

    damping: float = 0.5
    max_iter: int = 100
    tol: float = 1e-4

    bounded = False

    def update(self, ell: Float64Array, previous: SupportBelief | None) -> SupportBelief:
        """Run sum-product to rest."""
        starts = self._starts
        unary = ell.reshape(self.shape) + starts
        rows, cols, _, settled = grid_lines(unary, self._table, self._table, self.damping, self.max_iter, self.tol)
        ext = (starts + total(rows) + total(cols)).ravel()
        post = expit(ext + ell)
        log_z = bethe_log_z(unary, rows, cols, self._table, self._table) - self._log_norm
        return SupportBelief(post, ext, ell, log_z - float(post @ ell), settled)


@dataclass(frozen=True)
class RowsPrior(_PooledChains):
    """Inference by exact rows that see each other in the mean, as in :func:`sparsetheory.bayesian.grid_rows_mf`."""

    max_iter: int = 20
    tol: float = 1e-8

    bounded = True

    def update(self, ell: Float64Array, previous: SupportBelief | None) -> SupportBelief:
        """Sweep over the rows from where they were: every sweep raises the bound."""
        starts = self._starts
        unary = ell.reshape(self.shape) + starts
        post = np.full(self.shape, self.density) if previous is None else previous.post.reshape(self.shape)
        post, ext, bounds, _ = sweep_rows(unary, self._table, self._table, post, self.max_iter, self.tol)
        ext = (starts + ext).ravel()
        log_prior = float(bounds[-1]) - self._log_norm - float(post.ravel() @ ell)
        return SupportBelief(post.ravel(), ext, ell, log_prior)
