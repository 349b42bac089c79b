"""Sparse subspace variational inference of a linear model."""

from typing import Any, Self

from sklearn.base import BaseEstimator, RegressorMixin

__all__ = ["SparseSubspaceVI"]


class SparseSubspaceVI(RegressorMixin, BaseEstimator):
    """Bayesian regression on a subspace of a fixed number of columns."""

    def __init__(
        self,
        n_nonzero: int = 10,
        *,
        prior_std: float | str = "auto",
        noise_variance: float | str = "auto",
        method: str = "best_swap",
        criterion: str = "savage_dickey",
        rule: str = "gain",
        drop_fraction: float = 0.3,
        init: str = "greedy",
        n_init: int = 1,
        max_iter: int = 500,
        tol: float = 1e-9,
        fit_intercept: bool = False,
        random_state: Any = None,
    ) -> None:
        self.n_nonzero = n_nonzero
        self.prior_std = prior_std
        self.noise_variance = noise_variance
        self.method = method
        self.criterion = criterion
        self.rule = rule
        self.drop_fraction = drop_fraction
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Find a subspace and the posterior on it."""
        raise NotImplementedError("this method must be written first")
