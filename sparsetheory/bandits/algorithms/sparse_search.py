"""What searches over supports share: noise, budgets of supports, and what the answers prove."""

from collections.abc import Generator, Iterator, Mapping
from typing import ClassVar

import numpy as np

from sparsetheory.bandits.algorithms.base import BanditAlgorithm, Outcome
from sparsetheory.bandits.algorithms.log import MeanRewards
from sparsetheory.bandits.algorithms.observations import Observations, repetitions, width_of_means
from sparsetheory.bandits.algorithms.session import Batch
from sparsetheory.bandits.certificates.sparse_gap import sparse_gap
from sparsetheory.bandits.design.optimal import g_optimal_design
from sparsetheory.bandits.errors import InconsistentOracleError
from sparsetheory.bandits.supports.consistency import allowed_on, consistent_supports
from sparsetheory.bandits.supports.designs import SupportDesign, SupportModel, fit_design, support_design
from sparsetheory.bandits.supports.enumeration import all_supports, checked_size
from sparsetheory.bandits.supports.misspecification import estimate_eps
from sparsetheory.certificates import Certificate
from sparsetheory.constraints import COUNT, FLAG, FRACTION, MISSING, NONNEGATIVE, POSITIVE, Constraint
from sparsetheory.progress import tracked
from sparsetheory.typing import AnyArray, BoolArray, Float64Array, IndexArray

__all__ = ["SparseSearch"]


class SparseSearch(BanditAlgorithm):
    """Base of searches over all supports of `n_nonzero` features.

    With noise every action is queried so often that all means are within `width_` of the truth, except with probability
    `delta`. The search then runs on means, with `eps` + `width_` in place of `eps`, and loses 2 `width_` at the end.

    Attributes
    ----------
    width_ : float
        How far a mean may be from the mean reward.
    """

    _sparse_constraints: ClassVar[Mapping[str, Constraint]] = {
        "n_nonzero": COUNT,
        "eps": NONNEGATIVE,
        "noise_std": NONNEGATIVE,
        "delta": FRACTION,
        "width": MISSING | POSITIVE,
        "reward_range": MISSING | POSITIVE,
        "max_supports": COUNT,
        "verbose": FLAG,
    }

    n_nonzero: int
    eps: float
    noise_std: float
    delta: float
    width: float | None
    reward_range: float | None
    max_supports: int
    verbose: bool

    def _supports(self) -> IndexArray:
        d = self._features.shape[1]
        return all_supports(d, checked_size(self.n_nonzero, d), self.max_supports)

    def _columns(self) -> AnyArray:
        """Return the features, each of them contiguous."""
        return np.ascontiguousarray(self._features.T)

    def _width(self) -> float:
        """Return how far means may be from the truth."""
        return width_of_means(self.noise_std, self.eps, self.width)

    def _observations(self) -> Observations:
        n, width = len(self._features), self._width()
        return Observations(n, repetitions(self.noise_std, self.delta, n, width))

    def _screened(self, observations: Observations) -> Generator[Batch, Float64Array, IndexArray]:
        """Query a design for all features, and return the supports that the answers allow."""
        self._supports()  # refuses too many before anything is asked
        yield from observations.answers(g_optimal_design(self._features).support)
        rows, observed = self._features[observations.queried], observations.observed
        eps = self.eps + self._width()
        alive = consistent_supports(rows, observed, self.n_nonzero, eps, self.max_supports)
        if not len(alive):
            raise self._refuted(observations)
        return alive

    def _designs(
        self, observations: Observations, columns: AnyArray, screen: bool, target_mult: float
    ) -> Generator[Batch, Float64Array, list[SupportDesign]]:
        """Query designs on all supports, or on those that survive a screening, and return them."""
        supports = self._supports()
        if screen:
            supports = yield from self._screened(observations)
        designs: list[SupportDesign] = []
        known = observations.queried
        for support in tracked(supports, "designs", self.verbose):
            designs.append(support_design(columns, support, target_mult, known))
            known = np.concatenate((known, np.setdiff1d(designs[-1].actions, known)))
        yield from observations.answers(known)
        return designs

    def _agreeing(
        self, observations: Observations, columns: AnyArray, designs: list[SupportDesign], activity: str
    ) -> Iterator[SupportModel]:
        """Yield the models of supports that agree with all answers so far, those of the designs included."""
        queried, observed = observations.queried, observations.observed
        for design in tracked(designs, activity, self.verbose):
            answers = observations.means_of(design.actions)
            model = fit_design(columns, design, answers, self.eps + self._width())
            if model.agrees(queried, observed):
                yield model

    def _explained(self, observations: Observations) -> IndexArray:
        """Return the supports that all answers allow; raise an error if there is none."""
        rows, observed, eps = self._features[observations.queried], observations.observed, self.eps + self._width()
        alive = consistent_supports(rows, observed, self.n_nonzero, eps, self.max_supports)
        if not any(allowed_on(rows, observed, support, eps) for support in alive):
            raise self._refuted(observations)
        return alive

    def _refuted(self, observations: Observations) -> InconsistentOracleError:
        """Return the error for answers that no support explains."""
        rows = np.asarray(self._features[observations.queried], dtype=np.float64)
        found = estimate_eps(rows, observations.observed, self.n_nonzero, max_supports=self.max_supports)
        lower = found.eps_lower - self._width()
        return InconsistentOracleError(
            f"rewards must be within eps = {self.eps:g} of a linear function of {self.n_nonzero} features; got rewards "
            f"that prove a misspecification of at least {lower:.6g}",
            lower,
        )

    def _settled(self, means: MeanRewards) -> BoolArray:
        return means.counts >= repetitions(self.noise_std, self.delta, len(self._features), self._width())

    def _certificate(self, action: int, means: MeanRewards, outcome: Outcome | None) -> Certificate:
        complete = self._settled(means)
        queried, observed = means.actions[complete], means.rewards[complete]
        return sparse_gap(
            self._features, queried, observed, action, eps=float(self.eps), width=self._width(),
            n_nonzero=self.n_nonzero, max_supports=self.max_supports, verbose=self.verbose,
        )  # fmt: skip
