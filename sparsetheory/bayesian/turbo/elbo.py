"""The state of Turbo-VBI and its evidence lower bound."""

from dataclasses import dataclass

import numpy as np

from sparsetheory.bayesian.markov.support_priors import SupportBelief
from sparsetheory.bayesian.turbo.gaussian import GaussianFactor
from sparsetheory.bayesian.turbo.model import NoiseFactor, PrecisionFactor, TurboModel
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["InitialFactors", "TurboState", "turbo_elbo"]


@dataclass(frozen=True, eq=False)
class InitialFactors:
    """Factors that coordinate ascent starts from: all but that of the coefficients, which a sweep updates first.

    Parameters
    ----------
    expected_precisions : ndarray of shape (N,)
        Expected precisions of the coefficients whose columns are not zero.
    noise : NoiseFactor
        Factor of the noise precision.
    support : SupportBelief
        Factor of the support of all coefficients.
    """

    expected_precisions: Float64Array
    noise: NoiseFactor
    support: SupportBelief


@dataclass(frozen=True, eq=False)
class TurboState:
    r"""All factors after a sweep.

    Parameters
    ----------
    model : TurboModel
        The priors.
    x : GaussianFactor
        Factor of the coefficients whose columns are not zero.
    second_moment : ndarray of shape (N,)
        Their second moments, summed over snapshots.
    precisions : PrecisionFactor
        Factor of their precisions.
    support : SupportBelief
        Factor of the support of all coefficients.
    noise : NoiseFactor
        Factor of the noise precision.
    live : ndarray of int
        Which coefficients have columns that are not zero.
    """

    model: TurboModel
    x: GaussianFactor
    second_moment: Float64Array
    precisions: PrecisionFactor
    support: SupportBelief
    noise: NoiseFactor
    live: IndexArray

    @property
    def expected_precisions(self) -> Float64Array:
        """Expected precisions."""
        return self.precisions.expected(self.support.probability[self.live])


def turbo_elbo(state: TurboState) -> float:
    r"""Return the evidence lower bound of all factors.

    .. math::
        \beta L M (\langle \ln\kappa \rangle - \ln\tfrac{\pi}{\beta})
        - \beta \langle \kappa \rangle (\|Y - F\mu\|^2 + L\, \mathrm{tr}\, F \Sigma F^H)
        + \beta L (\ln |\Sigma| + N)
        + E[\ln p(x, \rho | s)] + H(\rho) + E[\ln p(s)] + H(s) + E[\ln p(\kappa)] + H(\kappa)

    with the constants of the Gaussians of x cancelled. Every exact update of a factor can only increase it, for known
    or learned noise, and it never exceeds the log density of the data.

    Parameters
    ----------
    state : TurboState
        As in ``TurboVBI.state_``.

    Returns
    -------
    float
        With the prior "grid_belief_propagation" the part of the support is the Bethe approximation, and the value no
        bound. With both grid priors the normaliser of the prior, which is at most one, is left out.

    Raises
    ------
    TypeError
        If it is no state.

    Notes
    -----
    O(N). Derived here for both factorisations ("meanfield" is the case in which the factor of a
    precision is the same in both states).

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import SparsePrior, TurboVBI, turbo_elbo
    >>> F = np.eye(4)
    >>> model = TurboVBI(prior=SparsePrior(on_rate=1.0), noise_variance=0.01).fit(F, [1.0, 1.0, 0.0, 0.0])
    >>> bool(turbo_elbo(model.state_) == model.history_["elbo"][-1])
    True
    """
    if not isinstance(state, TurboState):
        raise TypeError(f"state must be a TurboState, as in TurboVBI.state_; got {type(state).__name__}")
    model, x, noise = state.model, state.x, state.noise
    post = state.support.probability[state.live]
    misfit = x.residual + model.n_snapshots * x.spread
    likelihood = (
        model.n_snapshots * model.n_rows * (noise.log_mean - np.log(np.pi / model.exponent)) - noise.mean * misfit
    )
    entropy = model.n_snapshots * (x.log_det + x.precisions.size)
    return float(
        model.exponent * (likelihood + entropy)
        + state.precisions.log_joint(model, state.second_moment, post)
        + state.support.log_prior
        + noise.log_prior
    )
