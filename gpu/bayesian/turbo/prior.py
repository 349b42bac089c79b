"""The three-layer prior of one weight, with the factors of its precisions and of its support."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike

from sparsetheory.bayesian.markov.support_priors import ChainPrior, IndependentPrior, SupportBelief, SupportPrior
from sparsetheory.bayesian.markov.support_priors_grid import GridPrior, RowsPrior
from sparsetheory.bayesian.turbo.model import GammaFactor, PrecisionFactor, TurboModel
from sparsetheory.constraints import COUNT, FRACTION, MISSING, POSITIVE, Choice, Several
from sparsetheory.typing import BoolArray, Float64Array

__all__ = ["FACTORISATION", "GRID_STRUCTURES", "SupportFactors", "WeightPrior"]

GRID_STRUCTURES = ("iid", "chain_rows", "grid_belief_propagation", "grid_mean_field")
FACTORISATION = Choice("collapsed", "meanfield")
# Log-odds of states that are known to be off.
_OFF = -200.0


@dataclass(frozen=True, eq=False)
class SupportFactors:
    r"""Factors of precisions and states, as far as the weights feel them.

    Parameters
    ----------
    belief : SupportBelief
        Factor of the states.
    expected_precisions : ndarray of float64 of shape (R C,)
        Expected precisions.
    constant : float
        What is left of the divergence of the weights from the prior without
        :math:`\tfrac12 \sum \langle\rho\rangle (\mu^2 + \sigma^2) - \sum \ln \sigma`.
    off_rate : float
        Rate of precisions that are off, for which the factors were made.
    precisions : PrecisionFactor, optional
        Factor of the precisions; None where they are known.
    """

    belief: SupportBelief
    expected_precisions: Float64Array
    constant: float
    off_rate: float
    precisions: PrecisionFactor | None = None


class WeightPrior:
    r"""Turbo-VBI prior of a weight whose states lie on a grid, and what it says about the weight.

    A state :math:`s_i` is on or off; its precision :math:`\rho_i` has the law Gamma(`on_shape`, `on_rate`) or
    Gamma(`off_shape`, `off_rate`), shape and rate; the weights under it are :math:`N(0, 1 / \rho_i)`. The states have a
    Markov law on the grid. Before the first update all precisions are `initial_precision`, known.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the grid of states.
    structure : {"chain_rows", "iid", "grid_belief_propagation", "grid_mean_field"}
        One Markov chain along each row; independent states; the geometric mean of chains along rows and along columns,
        by loopy sum-product or by rows that see each other in the mean. A grid of one row or one column is a chain.
    activation, deactivation : float
        Probabilities of switching on and off along a line; with "iid" only the density ``activation / (activation +
        deactivation)`` counts.
    on_shape, on_rate, off_shape : float
        Of the Gamma laws; ``on_rate / on_shape`` is the expected square of a weight that is on.
    factorisation : {"collapsed", "meanfield"}
        Whether the factor of a precision depends on its state. "meanfield" is published; its Markov prior cannot switch
        a weight on that is off.
    group_size : int
        Weights that share one state and one precision.
    initial_precision : float, optional
        By default ``on_shape / on_rate``.

    Raises
    ------
    ValueError
        If a value is out of its range.

    Notes
    -----
    For given second moments e of the weights, the best factors of the collapsed form are exact and closed: with L
    weights per state the precision is Gamma(``on_shape + L / 2``, ``on_rate + e / 2``) if its state is on, likewise if
    it is off, and the states have their prior times the evidence of each node. With "meanfield" an update is one sweep,
    precisions first. All is done
    in float64 on the CPU; O(R C), with a further factor of up to 100 iterations on grids. The prior is that of Liu,
    Liu, Lian, Lau and Zhao, "Robust recovery of structured sparse signals with uncertain sensing matrix: a Turbo-VBI
    approach", IEEE Trans. Wireless Communications 19(5), 2020; its use for weights that of Xia, Tsang and Lau,
    "Structured Bayesian compression for deep neural networks based on the Turbo-VBI approach", arXiv:2302.10483. The
    collapsed form and the groups are ours.

    Examples
    --------
    A weight between large neighbours is on, although its own evidence is against it:

    >>> import numpy as np
    >>> prior = WeightPrior((1, 3), activation=0.05, deactivation=0.05)
    >>> precisions = prior.update(np.array([[1.0, 0.01, 1.0]]), off_rate=1e-3)
    >>> bool(prior.log_odds[0, 1] < 0), bool(prior.probability[0, 1] > 0.9)
    (True, True)
    >>> precisions = prior.update(np.array([[0.001, 0.01, 0.001]]), off_rate=1e-3)
    >>> bool(prior.probability[0, 1] < 0.1)
    True
    """

    factors: SupportFactors

    def __init__(
        self,
        shape: Sequence[int],
        structure: str = "chain_rows",
        *,
        activation: float = 0.05,
        deactivation: float = 0.2,
        on_shape: float = 1.0,
        on_rate: float = 1.0,
        off_shape: float = 1.0,
        factorisation: str = "collapsed",
        group_size: int = 1,
        initial_precision: float | None = None,
    ) -> None:
        Choice(*GRID_STRUCTURES).check("structure", structure)
        FRACTION.require(activation=activation, deactivation=deactivation)
        POSITIVE.require(on_shape=on_shape, on_rate=on_rate, off_shape=off_shape)
        (MISSING | POSITIVE).check("initial_precision", initial_precision)
        lengths = tuple(Several(COUNT, "numbers of rows and columns").check("shape", shape))
        if len(lengths) != 2:
            raise ValueError(f"shape must be two numbers, of rows and columns; got {shape!r}")
        self.shape = int(lengths[0]), int(lengths[1])
        self.structure = structure
        self.factorisation = FACTORISATION.check("factorisation", factorisation)
        self.group_size = COUNT.check("group_size", group_size)
        self.on_shape, self.on_rate, self.off_shape = float(on_shape), float(on_rate), float(off_shape)
        self.support = _law(structure, self.shape, float(activation), float(deactivation))
        self.factors = self._known(self.on_shape / self.on_rate if initial_precision is None else initial_precision)

    @property
    def density(self) -> float:
        """Prior probability of being on, along a single line."""
        return self.support.density

    @property
    def largest_off_rate(self) -> float:
        """Rate of precisions that are off at which both states expect the same square of a weight."""
        return self.on_rate * self.off_shape / self.on_shape

    @property
    def probability(self) -> Float64Array:
        """Posterior probabilities of being on, shape (R, C)."""
        return self.factors.belief.probability.reshape(self.shape)

    @property
    def extrinsic(self) -> Float64Array:
        """Log-odds that prior and all other nodes give to each node, shape (R, C)."""
        return self.factors.belief.extrinsic.reshape(self.shape)

    @property
    def log_odds(self) -> Float64Array:
        """Log-odds of the evidence of each node, shape (R, C)."""
        return self.factors.belief.log_odds.reshape(self.shape)

    @property
    def expected_precisions(self) -> Float64Array:
        """Expected precisions, shape (R, C)."""
        return self.factors.expected_precisions.reshape(self.shape)

    def update(self, second_moments: ArrayLike, off_rate: float, off: BoolArray | None = None) -> Float64Array:
        """Set the factors to the best ones for the present weights, and return the expected precisions.

        Parameters
        ----------
        second_moments : array-like of shape (R, C)
            Expected squares of the weights, ``mu**2 + sigma**2``, summed over the weights of each state.
        off_rate : float
            Rate of precisions that are off, at most `largest_off_rate`.
        off : ndarray of bool of shape (R, C), optional
            States that are known to be off.

        Returns
        -------
        ndarray of float64 of shape (R, C)

        Raises
        ------
        ValueError
            If a second moment is negative or not finite, or something has another shape or range.
        """
        self.factors = self.fitted(second_moments, off_rate, off)
        return self.expected_precisions

    def fitted(self, second_moments: ArrayLike, off_rate: float, off: BoolArray | None = None) -> SupportFactors:
        """Return what :meth:`update` would set."""
        second = self._second(second_moments)
        model = self.model(off_rate)
        if self.factorisation == "collapsed":
            precisions, evidence = model.coupled(second), model.collapsed_evidence(second)
        else:
            precisions = model.averaged(second, self.factors.belief.probability)
            evidence = model.evidence(precisions)
        if off is not None:
            evidence = np.where(self._flags(off), _OFF, evidence)
        belief = self.support.update(evidence, self.factors.belief)
        post = belief.probability
        constant = (
            -0.5 * self.group_size * second.size
            - precisions.log_joint(model, np.zeros_like(second), post)
            - belief.log_prior
        )
        return SupportFactors(belief, precisions.expected(post), constant, float(off_rate), precisions)

    def kl(self, second_moments: ArrayLike, log_stds: ArrayLike) -> float:
        r"""Return the divergence of normal weights, precisions and states from the prior, in nats.

        Parameters
        ----------
        second_moments : array-like of shape (R, C)
            As in :meth:`update`.
        log_stds : array-like of shape (R, C)
            Logarithms of the standard deviations, summed over the weights of each state.

        Returns
        -------
        float
            With the present factors. Right after an update it is the least that the collapsed form allows. With
            "grid_belief_propagation" it is the Bethe approximation.
        """
        second = self._second(second_moments)
        if np.shape(log_stds) != self.shape:
            raise ValueError(f"log_stds must have shape {self.shape}; got {np.shape(log_stds)}")
        linear = 0.5 * float(self.factors.expected_precisions @ second)
        return linear - float(np.sum(log_stds)) + self.factors.constant

    def laws(self, off_rate: float) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return shape and rate of precisions that are on, and of those that are off."""
        return (self.on_shape, self.on_rate), (self.off_shape, off_rate)

    def model(self, off_rate: float) -> TurboModel:
        """Return the laws of the precisions for a rate of those that are off, as the linear solver has them."""
        rate = POSITIVE.check("off_rate", off_rate)
        if rate > self.largest_off_rate * (1 + 1e-12):
            raise ValueError(
                f"off_rate must be at most {self.largest_off_rate:g}, so that the off state has the larger precision; "
                f"got {off_rate!r}"
            )
        one = np.ones(1)
        factorisation: Literal["collapsed", "meanfield"]
        factorisation = "collapsed" if self.factorisation == "collapsed" else "meanfield"
        return TurboModel(
            on_shape=self.on_shape * one,
            on_rate=self.on_rate * one,
            off_shape=self.off_shape * one,
            off_rate=rate * one,
            noise_shape=1.0,
            noise_rate=1.0,
            exponent=0.5,
            update_exponent=0.5,
            factorisation=factorisation,
            n_rows=1.0,
            n_snapshots=self.group_size,
            noise_precision=1.0,
            largest_precision=np.inf,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes, as tensors of float64 and numbers."""
        found = self.factors
        return {
            "probability": torch.tensor(found.belief.probability),
            "extrinsic": torch.tensor(found.belief.extrinsic),
            "log_odds": torch.tensor(found.belief.log_odds),
            "log_prior": found.belief.log_prior,
            "settled": bool(found.belief.settled),
            "expected_precisions": torch.tensor(found.expected_precisions),
            "constant": found.constant,
            "off_rate": found.off_rate,
            "precisions": None if found.precisions is None else _numbers(found.precisions),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state.

        Raises
        ------
        ValueError
            If it is that of a grid of another size.
        """
        self.factors = self.factors_of(state)

    def factors_of(self, state: Mapping[str, Any]) -> SupportFactors:
        """Return the factors that :meth:`load_state_dict` would set."""
        arrays = {
            name: state[name].cpu().numpy().astype(np.float64)
            for name in ("probability", "extrinsic", "log_odds", "expected_precisions")
        }
        if any(array.shape != self.factors.belief.probability.shape for array in arrays.values()):
            got = arrays["probability"].size
            raise ValueError(f"state must be that of a grid of shape {self.shape}; got one of {got} nodes")
        belief = SupportBelief(
            arrays["probability"],
            arrays["extrinsic"],
            arrays["log_odds"],
            float(state["log_prior"]),
            bool(state["settled"]),
        )
        return SupportFactors(
            belief,
            arrays["expected_precisions"],
            float(state["constant"]),
            float(state["off_rate"]),
            None if state["precisions"] is None else _factor(state["precisions"]),
        )

    def _known(self, precision: float) -> SupportFactors:
        """Return factors in which all precisions are known, and the states have their prior."""
        n = self.shape[0] * self.shape[1]
        belief = self.support.update(np.zeros(n), None)
        constant = -0.5 * n * self.group_size * (1.0 + np.log(precision))
        return SupportFactors(belief, np.full(n, float(precision)), float(constant), self.largest_off_rate)

    def _second(self, second_moments: ArrayLike) -> Float64Array:
        second = np.asarray(second_moments, dtype=np.float64)
        if second.shape != self.shape or not np.all(np.isfinite(second)) or not np.all(second >= 0):
            got = f"shape {second.shape}" if second.shape != self.shape else "other values"
            raise ValueError(f"second_moments must be non-negative and finite of shape {self.shape}; got {got}")
        return second.reshape(-1)

    def _flags(self, off: BoolArray) -> BoolArray:
        flags = np.asarray(off)
        if flags.shape != self.shape or flags.dtype != np.bool_:
            raise ValueError(f"off must be booleans of shape {self.shape}; got {flags.dtype} of shape {flags.shape}")
        return flags.reshape(-1)


def _numbers(factor: PrecisionFactor) -> list[torch.Tensor]:
    """Return shapes and rates, once where they do not depend on the state."""
    laws = (factor.on,) if factor.on is factor.off else (factor.on, factor.off)
    return [torch.tensor(part) for law in laws for part in (law.shape, law.rate)]


def _factor(numbers: Sequence[torch.Tensor]) -> PrecisionFactor:
    """Return the factor that :func:`_numbers` wrote."""
    parts = [part.cpu().numpy().astype(np.float64) for part in numbers]
    on = GammaFactor(parts[0], parts[1])
    return PrecisionFactor(on, GammaFactor(parts[2], parts[3]) if len(parts) > 2 else on)


def _law(structure: str, shape: tuple[int, int], activation: float, deactivation: float) -> SupportPrior:
    """Return the law of the states."""
    if structure == "iid":
        return IndependentPrior(activation / (activation + deactivation))
    if structure == "chain_rows":
        return ChainPrior(activation, deactivation, shape)
    if 1 in shape:
        return ChainPrior(activation, deactivation, (1, max(shape)))
    return (GridPrior if structure == "grid_belief_propagation" else RowsPrior)(activation, deactivation, shape)
