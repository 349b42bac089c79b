"""Unsupervised selection of features as an estimator."""

from typing import Any

from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectorMixin

__all__ = ["QuickSelection"]


class QuickSelection(SelectorMixin, BaseEstimator):
    """Select the features whose inputs to a sparsely connected autoencoder grow strongest."""

    def __init__(
        self,
        n_features_to_select: int = 50,
        *,
        n_hidden: int = 1000,
        epsilon: float = 13.0,
        drop_fraction: float = 0.2,
        max_iter: int = 10,
        noise_std: float = 0.2,
        criterion: str = "strength",
        when: str = "final",
        rule: str = "exact",
        batch_size: int = 100,
        learning_rate: float = 0.01,
        momentum: float = 0.9,
        weight_decay: float = 1e-5,
        dropout: float = 0.2,
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.n_features_to_select = n_features_to_select
        self.n_hidden = n_hidden
        self.epsilon = epsilon
        self.drop_fraction = drop_fraction
        self.max_iter = max_iter
        self.noise_std = noise_std
        self.criterion = criterion
        self.when = when
        self.rule = rule
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.verbose = verbose
        self.random_state = random_state
