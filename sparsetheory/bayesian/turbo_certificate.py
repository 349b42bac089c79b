"""Evidence that a fit of Turbo-VBI is stationary, recomputed from raw data with dense matrices."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solve_triangular

from sparsetheory.bayesian.turbo_evidence import TurboState, turbo_elbo
from sparsetheory.bayesian.turbo_fit import TurboFit
from sparsetheory.bayesian.turbo_support import ChainPrior, IndependentPrior, SupportPrior
from sparsetheory.certificates import Certificate, Status

__all__ = ["TurboCertificate"]

_Array = NDArray[np.float64]
# Relative differences between the dense recomputation and the fit that rounding explains.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class TurboCertificate(Certificate):
    """Stationarity: one more round of updates moves mean and support probabilities by at most `bound`.

    Attributes
    ----------
    state : TurboState
        All factors.
    prior : SupportPrior
        Prior of the support.
    elbo : float
        Bound that the fit reports.
    learn_prior : bool
        Whether a round learns the prior too.
    """

    state: TurboState = field(kw_only=True, repr=False)
    prior: SupportPrior = field(kw_only=True, repr=False)
    elbo: float = field(kw_only=True)
    learn_prior: bool = field(kw_only=True)

    @classmethod
    def of(cls, fit: TurboFit, tol: float, learn_prior: bool) -> "TurboCertificate":
        """Certify the end of a run."""
        statement = (
            "one more round moves the mean, relatively, and the support probabilities by at most the bound"
            if fit.converged
            else "stopped early: one more round moves mean or support probabilities by more than the tolerance"
        )
        elbo = float(fit.elbo[-1])
        return cls(
            statement,
            tol,
            fit.change,
            Status.of(fit.converged),
            state=fit.state,
            prior=fit.prior,
            elbo=elbo,
            learn_prior=learn_prior,
        )

    def check(self, F: Any, y: Any, sample_weight: ArrayLike | None = None) -> "TurboCertificate":
        """Recompute from raw data: the Gaussian factor by a dense inverse, the bound, and one more round.

        Parameters
        ----------
        F, y, sample_weight
            What the estimator was fitted on.

        Returns
        -------
        TurboCertificate
            `measured` is the movement of one more round; `valid` also requires that mean, variances and bound follow
            from the data.

        Notes
        -----
        O(N^3). Chains are redone in probabilities, by products of matrices; the messages on grids are those of the fit.
        """
        state, model = self.state, self.state.model
        weights = None if sample_weight is None else np.sqrt(np.asarray(sample_weight, dtype=np.float64))
        Fd, Y = (_weighted(block, weights) for block in (F, y))
        Fd = Fd[:, state.live]
        same = _dense_gaussian(Fd, Y, state.x.precisions, state.x.kappa)
        faithful = _close(same.mean, state.x.mean) and _close(same.var, state.x.var)
        x = replace(state.x, **vars(same))
        second = np.sum(np.abs(x.mean) ** 2, axis=1) + model.n_snapshots * x.var
        bound = turbo_elbo(replace(state, x=x, second=second))
        faithful &= abs(bound - self.elbo) <= _ROUNDING * max(abs(bound), float(Y.size))
        measured = self._movement(Fd, Y)
        return replace(self, measured=measured, status=Status.of(faithful and measured <= self.bound * (1 + _ROUNDING)))

    def _movement(self, F: NDArray[Any], Y: NDArray[Any]) -> float:
        state, model = self.state, self.state.model
        after = _dense_gaussian(F, Y, state.expected, state.noise.mean)
        second = np.sum(np.abs(after.mean) ** 2, axis=1) + model.n_snapshots * after.var
        if model.coupling == "collapsed":
            evidence = model.collapsed_evidence(second)
        else:
            evidence = model.evidence(model.averaged(second, state.support.post[state.live]))
        ell = np.zeros(state.support.post.size)
        ell[state.live] = evidence
        size, moved = np.linalg.norm(after.mean), np.linalg.norm(after.mean - state.x.mean)
        posterior = self._posterior(ell)
        return float(max(moved / size if size > 0 else moved, np.abs(posterior - state.support.post).max()))

    def _posterior(self, ell: _Array) -> _Array:
        prior = self.prior.learned(self.state.support) if self.learn_prior else self.prior
        if isinstance(prior, IndependentPrior):
            odds = np.exp(np.clip(-ell, -700.0, 700.0)) * (1.0 - prior.density) / prior.density
            return 1.0 / (1.0 + odds)
        if not isinstance(prior, ChainPrior):
            return prior.update(ell, self.state.support).post
        table = np.array([[1.0 - prior.p01, prior.p01], [prior.p10, 1.0 - prior.p10]])
        first = prior.density if prior.p_init is None else prior.p_init
        return np.concatenate([_marginals(row, table, first) for row in ell.reshape(prior.shape)])


@dataclass(frozen=True, eq=False)
class _Dense:
    mean: NDArray[Any]
    var: _Array
    log_det: float
    residual: float
    spread: float


def _weighted(block: Any, roots: _Array | None) -> NDArray[Any]:
    out = np.asarray(block)
    out = out.astype(np.complex128 if np.iscomplexobj(out) else np.float64).reshape(out.shape[0], -1)
    return out if roots is None else roots[:, None] * out


def _dense_gaussian(F: NDArray[Any], Y: NDArray[Any], precisions: _Array, kappa: float) -> _Dense:
    """Return the moments from a QR factorisation of data and priors stacked, which squares no condition number."""
    n = F.shape[1]
    roots = np.sqrt(precisions)
    Q, R = np.linalg.qr(np.concatenate([np.sqrt(kappa) * F / roots, np.eye(n)]))
    inverse = solve_triangular(R, np.eye(n))
    mean = (inverse @ (Q[: F.shape[0]].conj().T @ (np.sqrt(kappa) * Y))) / roots[:, None]
    kept = np.sum(np.abs(inverse) ** 2, axis=1)
    log_det = -float(2.0 * np.log(np.abs(np.diagonal(R))).sum() + np.log(precisions).sum())
    residual = float(np.linalg.norm(Y - F @ mean) ** 2)
    return _Dense(mean, kept / precisions, log_det, residual, float(np.sum(1.0 - kept)) / kappa)


def _marginals(ell: _Array, table: _Array, first: float) -> _Array:
    """Return the marginals of one chain in the probability domain, every message normalised."""
    weights = np.stack([np.exp(np.minimum(-ell, 0.0)), np.exp(np.minimum(ell, 0.0))], axis=1)
    forward, backward = np.empty_like(weights), np.ones_like(weights)
    message = np.array([1.0 - first, first])
    for i, weight in enumerate(weights):
        forward[i] = message * weight / np.sum(message * weight)
        message = forward[i] @ table
    for i in range(ell.size - 2, -1, -1):
        message = table @ (weights[i + 1] * backward[i + 1])
        backward[i] = message / message.sum()
    joint = forward * backward
    return np.asarray(joint[:, 1] / joint.sum(axis=1))


def _close(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return bool(np.linalg.norm(a - b) <= _ROUNDING * np.linalg.norm(a))
