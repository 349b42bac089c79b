"""Evidence for a private fit: its privacy, the sums of messages, and the coefficients that follow from them."""

from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg
from sklearn.utils.validation import check_X_y

from sparsetheory.certificates import Certificate, Status
from sparsetheory.privacy.collection.state import MomentState
from sparsetheory.privacy.device.client import LDPClient
from sparsetheory.privacy.device.messages import unpack
from sparsetheory.privacy.device.schema import LDPSchema
from sparsetheory.privacy.estimators.guarantee import SeededCoin, realised_eps
from sparsetheory.privacy.estimators.noise_limits import moments_agree
from sparsetheory.privacy.randomizers.expansion import user_numbers
from sparsetheory.privacy.solvers.problem import MomentProblem, moment_problem
from sparsetheory.privacy.solvers.solution import SolverSettings, penalty_strength
from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["NLDPCertificate"]

# Users whose messages a check encodes again on the path of the device, about 0.1 ms each.
_RECODED = 20_000
# Steps and eigenvalues of d features round by less; single precision of the coefficients by its own unit.
_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class NLDPCertificate(Certificate):
    """Privacy and coefficients of :class:`NLDPSparseRegression`.

    Parameters
    ----------
    statement, bound, measured, status, reason
        As in :class:`Certificate`; `bound` is eps, and `measured` the eps that the integers in the code realise.
    delta : float
        Privacy parameter.
    coef : ndarray of shape (n_features,)
        Coefficients.
    intercept : float
    state : MomentState
        The sum of all messages.
    settings : SolverSettings
    public_second : ndarray or None
        Public second moments in units of `scale_x`.
    coin_seed : int or None
        Seed of the coin in a simulation.
    """

    delta: float = field(kw_only=True)
    coef: AnyArray = field(kw_only=True)
    intercept: float = field(kw_only=True)
    state: MomentState = field(kw_only=True)
    settings: SolverSettings = field(kw_only=True)
    public_second: Float64Array | None = field(kw_only=True)
    coin_seed: int | None = field(kw_only=True)

    TERMS: ClassVar[tuple[str, ...]] = ("bound", "delta")

    def promise(self) -> str:
        """Return the guarantee in words."""
        return (
            f"each of {self.state.count} users sent one message, (bound, delta)-private, and the coefficients are "
            f"those of {self.settings.solver} for the sum of the messages"
        )

    def check(self, *fitted_on: Any, **options: Any) -> "NLDPCertificate":
        """Recompute privacy, sums and coefficients.

        In a simulation of at most 20 000 users all messages are encoded again, one client at a time, and their sum must
        be the same to the last bit. Otherwise the released moments must lie as near to those of the clipped records as
        the known law of the noise allows, except with a probability of one in a million. Given records, the verdict
        depends on them and is not private: in a real collection it is for whoever holds them.

        Parameters
        ----------
        *fitted_on
            What `fit` took, X, y and perhaps user_ids; or the state that `fit_state` took.
        **options
            Not used.

        Returns
        -------
        NLDPCertificate
        """
        schema = self.state.schema
        realised = realised_eps(schema)
        if len(fitted_on) == 1 and isinstance(fitted_on[0], MomentState):
            same = fitted_on[0] == self.state
        else:
            same = self._sums_agree(*fitted_on)
        stated = self.bound == schema.eps and self.delta == schema.delta and realised <= schema.eps
        reasons = {
            "the privacy stated is not that of the messages": stated,
            "the sums are not those of these records": same,
            "the coefficients are not those of the moments": self.solves(),
        }
        failed = [reason for reason, holds in reasons.items() if not holds]
        found = replace(self, measured=realised, status=Status.of(not failed), reason="; ".join(failed))
        return found.unless_misstated()

    def _sums_agree(self, X: Any, y: Any, user_ids: ArrayLike | None = None) -> bool:
        schema = self.state.schema
        X, y = check_X_y(X, y, accept_sparse="csr", dtype=[np.float64, np.float32], y_numeric=True)
        if X.shape[1] != schema.n_features:
            raise ValueError(f"X must have {schema.n_features} features; got {X.shape[1]}")
        users = user_numbers(user_ids, X.shape[0])
        if X.shape[0] != self.state.count:
            return False
        if self.coin_seed is None or X.shape[0] > _RECODED:
            return moments_agree(schema, self.state.moments(), X, y)
        return _recoded(schema, X, y, users, self.coin_seed) == self.state

    def solves(self) -> bool:
        """Whether the coefficients follow from the state, by other code than the solver's."""
        schema = self.state.schema
        problem = moment_problem(schema, self.state.moments(), self.public_second)
        unit = schema.clip_y / np.broadcast_to(np.asarray(schema.scale_x), schema.n_features)
        with np.errstate(all="ignore"):
            coef = self.coef.astype(np.float64) / unit
            intercept = self.intercept / schema.clip_y
        if not (np.isfinite(coef).all() and np.isfinite(intercept)):
            return False
        precision = max(_ROUNDING, 10 * float(np.finfo(self.coef.dtype).eps))
        return _solves(problem, self.settings, coef, intercept, precision)


def _recoded(schema: LDPSchema, X: Any, y: AnyArray, users: AnyArray, coin_seed: int) -> MomentState:
    """Return the state of the messages that one client after the other sends."""
    client, coin = LDPClient.from_schema(schema), SeededCoin(coin_seed)
    rows = X.tocsr() if hasattr(X, "tocsr") else X
    messages = []
    for i in range(len(users)):
        row = rows[[i]].toarray()[0] if hasattr(rows, "tocsr") else rows[i]
        messages.append(client.encode(row.astype(np.float64), float(y[i]), int(users[i]), coin=coin))
    numbers, contents = unpack(schema, b"".join(messages))
    state = MomentState(schema)
    state.update(contents, numbers)
    return state


def _solves(
    problem: MomentProblem, settings: SolverSettings, coef: Float64Array, intercept: float, precision: float
) -> bool:
    d = len(coef)
    if settings.solver == "ols_soft":
        wanted = _closed_form(problem, settings)
        scale = np.abs(wanted).max(initial=0.0) + settings.norm_bound
        right = np.abs(coef - wanted[:d]).max() <= precision * scale
    elif settings.solver == "moment_iht":
        wanted = _thresholded(problem, settings)
        right = np.abs(coef - wanted).max() <= precision * settings.norm_bound
    else:
        right = _is_lasso(problem, settings, coef, precision)
    constant = 0.0
    if problem.constant:
        constant = (problem.cross[d] - problem.second[d, :d] @ coef) / problem.constant
    spread = abs(constant) + np.abs(coef).sum() * np.sqrt(np.abs(np.diag(problem.second))).max()
    return bool(right) and abs(intercept - constant) <= precision * (spread + settings.norm_bound)


def _thresholded(problem: MomentProblem, settings: SolverSettings) -> Float64Array:
    """Return the iterate of hard thresholding, by full sorting; the constant is projected out."""
    d = len(problem.cross) - bool(problem.constant)
    A, b = problem.second[:d, :d], problem.cross[:d]
    if problem.constant:
        corner = problem.second[d:, :d] / problem.second[d, d]
        A = A - problem.second[:d, d:] @ corner
        b = b - problem.cross[d] * corner[0]
    top = float(linalg.eigh(A, eigvals_only=True, subset_by_index=[d - 1, d - 1]).item())
    largest: float = settings.largest_eigenvalue or max(top - problem.noise_norm, float(np.diag(A).mean()))
    iterate = np.zeros(d)
    for count in [settings.n_kept] * settings.n_steps:
        iterate = _largest(iterate + (b - A @ iterate) / (1.2 * largest), count)
        iterate *= min(1.0, settings.norm_bound / max(float(np.sqrt(iterate @ iterate)), 1e-300))
    return _largest(iterate, settings.n_nonzero)


def _largest(values: Float64Array, count: int) -> Float64Array:
    order = np.argsort(-np.abs(values), kind="stable")
    return np.where(np.isin(np.arange(values.size), order[:count]), values, 0.0)


def _closed_form(problem: MomentProblem, settings: SolverSettings) -> Float64Array:
    """Return thresholded least squares from singular vectors, which are eigenvectors up to signs."""
    A = problem.second
    left, singular, right = linalg.svd(A)
    eigenvalues = singular * np.sign(np.einsum("ij,ji->i", right, left))
    floor = max(settings.eigenvalue_floor, np.finfo(float).eps) * float(singular.mean())
    raised = np.maximum(eigenvalues, max(floor, np.finfo(float).tiny))
    inverse = (right.T / raised) @ right
    solution = inverse @ problem.cross
    if settings.alpha is not None:
        alpha: Any = settings.alpha
    else:
        bound = settings.norm_bound
        if problem.constant:
            mean = np.sqrt(np.sum((A[-1, :-1] / problem.constant) ** 2))
            bound = np.sqrt(bound**2 + ((1 + mean * bound) / problem.constant) ** 2)
        spread = problem.noise.residual_std(bound) ** 2 * np.sum(inverse**2, axis=1) + np.diag(inverse)
        quantile = -NormalDist().inv_cdf((1 - settings.confidence) / (2 * len(A)))
        alpha = quantile * np.sqrt(spread / problem.n_samples)
    return np.where(np.abs(solution) > alpha, solution - np.sign(solution) * alpha, 0.0)


def _is_lasso(problem: MomentProblem, settings: SolverSettings, coef: Float64Array, precision: float) -> bool:
    """Whether a point of the subdifferential of the Lasso on the positive part is near zero."""
    A, b = problem.without_constant()
    left, singular, right = linalg.svd(A)
    positive = np.einsum("ij,ji->i", right, left) > 0
    basis = right[positive & (singular > 1e-8 * singular[0])]
    curvature = singular[positive & (singular > 1e-8 * singular[0])]
    alpha = penalty_strength(problem, settings)
    gradient = basis.T @ (curvature * (basis @ coef) - basis @ b)
    slack = np.where(coef != 0, np.abs(gradient + alpha * np.sign(coef)), np.maximum(np.abs(gradient) - alpha, 0.0))
    # A gap of tol times half the energy leaves a gradient of at most the root of twice gap times curvature.
    energy = float(np.sum((basis @ b) ** 2 / curvature)) if basis.size else 0.0
    allowed = np.sqrt(settings.tol * energy * curvature.max(initial=0.0)) + precision * np.abs(b).max()
    return bool(slack.max() <= allowed)
