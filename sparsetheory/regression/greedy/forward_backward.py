"""Forward selection of features, with backward deletion."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.constraints import COUNT, FLAG, MISSING, POSITIVE, Constraint, check_parameters
from sparsetheory.regression.certificates.support import SupportCertificate
from sparsetheory.regression.certificates.support_rules import Size, SupportRule, Worthwhile
from sparsetheory.regression.greedy.stepwise import (
    ForwardPath,
    backward,
    choose_length,
    feature_cost,
    forward_path,
    refit,
    support_coefficients,
)
from sparsetheory.regression.least_squares import LeastSquaresData
from sparsetheory.regression.linear_model import SparseLinearModel, check_sparsity
from sparsetheory.typing import IndexArray

__all__ = ["ForwardBackward"]


class ForwardBackward(SparseLinearModel):
    r"""Forward stepwise regression with look-ahead, then backward deletion.

    Parameters
    ----------
    max_steps : int
        Largest number of forward steps.
    noise_std : float or None
        Standard deviation :math:`\sigma` of the noise. A feature must then gain :math:`2\sigma^2\log d` to enter and to
        stay. None estimates it.
    n_nonzero : int or None
        Number of features of the final model, in place of the rule of `noise_std`. Forward selection goes on to
        `max_steps`, and deletion comes back from there.
    prune : bool
        Whether to delete. If not, the model is a prefix of the path.
    fit_intercept : bool
        Whether to fit a constant.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Coefficients, in the precision of X.
    intercept_ : float
    support_ : ndarray of int
        Selected features.
    path_ : ForwardPath
        All forward steps, also those not used; gains are of data whose row weights have mean one.
    noise_std_ : float
        Standard deviation of the noise: `noise_std`, or its estimate after the forward selection, or with `n_nonzero`
        of the final model.
    n_iter_ : int
        Forward steps.
    certificate_ : SupportCertificate
        ``certificate_.check(X, y)`` verifies from the data that the coefficients are least squares on their support,
        and with `prune` that no feature could be left out for less than its cost (or with `n_nonzero` the number of
        features). That no addition or exchange fits better is not promised.

    See Also
    --------
    OMP : Compares features by their correlations only.
    RandomSupportRegressor : Forward-backward selection from anchors, for ill-conditioned designs.

    Notes
    -----
    One pass over the design per step. With unknown noise, the length of the path minimises a criterion over all steps,
    at most a fifth of the number of samples, so that a step that pays only together with the next one is found
    (:func:`~sparsetheory.regression.greedy.stepwise.choose_length`). Zhang (2011), IEEE Trans. Inf. Theory 57(7), on
    adaptive forward-backward selection.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.regression import ForwardBackward
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 300))
    >>> y = X[:, 3] - 2 * X[:, 7] + 0.1 * rng.standard_normal(200)
    >>> model = ForwardBackward().fit(X, y)
    >>> model.support_.tolist(), bool(0.08 < model.noise_std_ < 0.12)
    ([3, 7], True)
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "max_steps": COUNT,
        "noise_std": MISSING | POSITIVE,
        "n_nonzero": MISSING | COUNT,
        "prune": FLAG,
        "fit_intercept": FLAG,
    }

    def __init__(
        self,
        max_steps: int = 30,
        *,
        noise_std: float | None = None,
        n_nonzero: int | None = None,
        prune: bool = True,
        fit_intercept: bool = True,
    ) -> None:
        self.max_steps = max_steps
        self.noise_std = noise_std
        self.n_nonzero = n_nonzero
        self.prune = prune
        self.fit_intercept = fit_intercept

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Design.
        y : array-like of shape (n_samples,)
            Response.
        sample_weight : array-like of shape (n_samples,), optional
            Row weights; a row of weight 2 counts as two rows, so the number of observations is their sum.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter is out of its range.
        """
        check_parameters(self)
        data = self._check(X, y, sample_weight)
        given = None if self.noise_std is None else self.noise_std / np.sqrt(data.mean_weight)
        n_left = data.n_observations - (0 if data.columns.basis is None else data.columns.basis.shape[1])
        if self.n_nonzero is None:
            support, noise_std = self._paid(data, n_left, given)
            cost = feature_cost(noise_std, data.n_features)
            rules: tuple[SupportRule, ...] = (Worthwhile(cost),) if self.prune else ()
        else:
            support, noise_std = self._sized(data, n_left, given)
            rules = (Size(int(self.n_nonzero)),)
        self.noise_std_ = float(noise_std * np.sqrt(data.mean_weight))
        self.n_iter_ = self.path_.indices.size
        self._set_coefficients(data, support_coefficients(data.columns, data.y, support))
        self.certificate_ = SupportCertificate.of(data, self, rules=rules)
        return self

    def _paid(self, data: LeastSquaresData, n_left: float, noise_std: float | None) -> tuple[IndexArray, float]:
        """Select what gains more than noise would."""
        d = data.n_features
        if noise_std is None:
            path = self._forward(data, min(self.max_steps, int(n_left // 5)))
            length, noise_std = choose_length(path, n_left, d)
        else:
            path = self._forward(data, self.max_steps, feature_cost(noise_std, d))
            length = path.indices.size
        support = path.indices[:length]
        if self.prune:
            support = support[backward(data.columns.take(support), data.y, feature_cost(noise_std, d))]
        return support, noise_std

    def _sized(self, data: LeastSquaresData, n_left: float, noise_std: float | None) -> tuple[IndexArray, float]:
        """Select a given number of features."""
        size = check_sparsity("n_nonzero", self.n_nonzero, data.n_samples, data.n_features)
        path = self._forward(data, max(self.max_steps, size) if self.prune else size)
        block = data.columns.take(path.indices)
        kept = backward(block, data.y, np.inf, min_size=size) if self.prune else np.arange(path.indices.size)
        if noise_std is None:
            residual = data.y - block[:, kept] @ refit(block[:, kept], data.y)
            noise_std = float(np.sqrt(residual @ residual / max(n_left - kept.size, 1.0)))
        return path.indices[kept], noise_std

    def _forward(self, data: LeastSquaresData, steps: int, cost: float | None = None) -> ForwardPath:
        squares = data.columns.live_squares()
        self.path_ = forward_path(data.columns, data.y, squares, max_steps=steps, stop_gain=cost)
        return self.path_
