"""Unsupervised selection of features as an estimator."""

import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from sparsetheory.constraints import (
    COUNT,
    FLAG,
    FRACTION,
    NONNEGATIVE,
    POSITIVE,
    SEED,
    Choice,
    Constraint,
    Real,
    check_parameters,
    generator,
)
from sparsetheory.gpu.dynamic.feature_selection.column_subset import column_subset_error, greedy_column_subset
from sparsetheory.gpu.dynamic.feature_selection.search import Training
from sparsetheory.gpu.dynamic.feature_selection.training import Steps
from sparsetheory.typing import AnyArray, BoolArray, FloatArray, IndexArray

__all__ = ["DenseAutoencoderWarning", "QuickSelection", "UnequalScalesWarning"]

# Standard deviations of columns that differ by more than this are of different units.
_SPREAD = 10.0
_OF_ONE_CRITERION = (
    *("encoder_", "decoder_", "biases_", "n_nonzero_", "losses_"),
    *("strength_", "strength_path_", "connections_path_", "subset_", "error_bound_"),
)


class UnequalScalesWarning(UserWarning):
    """Features have different scales, and which are selected depends on these."""


class DenseAutoencoderWarning(UserWarning):
    """So many connections were asked for that all exist."""


class QuickSelection(SelectorMixin, BaseEstimator):
    r"""Select the features on which a sparsely connected denoising autoencoder puts the largest weights.

    The autoencoder has one hidden layer of sigmoid units and linear outputs. It learns by descent with momentum to
    return the samples, which it sees with noise that is drawn once. Each weight matrix has few connections. After every
    epoch but the last, the connections nearest zero of each sign are dropped, and as many others begin at random free
    places. The strength of a feature is the sum of the sizes of its weights into the hidden layer.

    Parameters
    ----------
    n_features_to_select : int
        How many features are kept, at most as many as there are; of equally strong ones the first.
    n_hidden : int
        Hidden units.
    epsilon : float
        For each matrix ``epsilon * (n_features + n_hidden)`` connections are drawn with replacement, so a few less
        exist; as many draws as places, or more, make it dense.
    drop_fraction : float
        Share of the connections of each sign that is replaced after an epoch, in (0, 1).
    max_iter : int
        Number of epochs.
    noise_std : float
        Standard deviation of the noise, in the unit of X.
    criterion : {"strength", "css"}
        "strength" is the method above. "css" is its deterministic sibling, without a network: the greedy choice of
        columns that explain all others best, see :func:`greedy_column_subset`; the parameters of training do nothing.
    when : {"final", "pruned"}
        Whether strengths are those of the final weights, or those after connections were dropped for the last time. The
        latter is what the published code selects by; training after that has no effect on it.
    rule : {"exact", "official"}
        "exact" drops exactly ``floor(drop_fraction n)`` of the n connections of a sign. "official" is the rule of the
        published code, which drops one or two more.
    batch_size : int
        Samples for each step; the last batch of an epoch takes what is left.
    learning_rate : float
        Length of a gradient step.
    momentum : float
        Share of the last step that the next one repeats, in [0, 1).
    weight_decay : float
        Share of each weight and bias that every step takes away; not multiplied by the learning rate.
    dropout : float
        Share of the hidden units that are silent, drawn for each sample and step, in [0, 1).
    verbose : bool
        Show a progress bar.
    random_state : None, int, Generator or RandomState
        Source of connections, weights, noise, order of the samples and silent units.

    Attributes
    ----------
    support_ : ndarray of bool of shape (n_features,)
        Which features are selected.
    relative_error_ : float
        Share of the energy of X that the selected columns do not explain, see :func:`column_subset_error`.
    strength_ : ndarray of shape (n_features,)
        Strengths by which features were selected. This and what follows, up to the losses, exist for "strength".
    strength_path_ : ndarray of shape (max_iter + 1, n_features)
        Strengths at the start and after each epoch, before connections are dropped.
    connections_path_ : ndarray of int64 of shape (max_iter + 1, n_features)
        Numbers of connections of the features at the same times.
    encoder_, decoder_ : csr_array of shape (n_hidden, n_features) and (n_features, n_hidden)
        Final weights, one row per output.
    biases_ : tuple of ndarray of shape (n_hidden,) and (n_features,)
    n_nonzero_ : tuple of int
        Connections of both matrices; the same after every epoch.
    losses_ : ndarray of float64 of shape (max_iter,)
        Mean squared error of the batches of each epoch.
    subset_ : ColumnSubset
        Columns in the order of their choice with their errors and bounds; for "css".
    error_bound_ : float
        What the relative error of no `n_features_to_select` columns can fall below; for "css".
    n_iter_ : int
        Epochs; for "css" columns.
    n_features_in_ : int
    feature_names_in_ : ndarray of str of shape (n_features,)
        Names of the columns, if X has names that are strings.

    Warns
    -----
    UnequalScalesWarning
        If standard deviations of the columns differ by more than a factor of 10; constant columns do not count.
    DenseAutoencoderWarning
        If `epsilon` asks for all connections.

    See Also
    --------
    neuron_strength : Strengths of the neurons of any layer.

    Notes
    -----
    An epoch takes ``4 n nnz`` operations for the first matrix and ``6 n nnz`` for the second one, with n samples.
    Besides X and as much noise, memory is a few numbers for each connection, and as many for each neuron as a batch has
    samples. No array has a number for each pair of a feature and a hidden unit.

    A feature that no other one predicts, such as noise, tends to get less strength, whereas a greedy choice of columns
    takes it, since nothing else explains it. In our trials strengths found digits among columns of noise as the paper
    says. Where samples were fewer than features, expressions of genes, they did hardly better than random columns, and
    the greedy choice did.

    References
    ----------
    Atashgahi, Sokar, van der Lee, Mocanu, Mocanu, Veldhuis and Pechenizkiy, Quick and robust feature selection: the
    strength of energy-efficient sparse training for autoencoders, Machine Learning 111, 2022, arXiv:2012.00560.

    Examples
    --------
    Digits have 64 pixels, beside which stand 136 columns of noise. Of 50 columns drawn at random, 16 are pixels:

    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sparsetheory.gpu.dynamic import QuickSelection
    >>> pixels = load_digits().data
    >>> noise = np.random.default_rng(0).standard_normal((len(pixels), 136))
    >>> X = StandardScaler().fit_transform(np.hstack([pixels, noise]))
    >>> selector = QuickSelection(50, n_hidden=100, epsilon=5, max_iter=20, random_state=2).fit(X)
    >>> bool(selector.get_support()[:64].sum() > 25)
    True
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = MappingProxyType(
        {
            "n_features_to_select": COUNT,
            "n_hidden": COUNT,
            "epsilon": POSITIVE,
            "drop_fraction": FRACTION,
            "max_iter": COUNT,
            "noise_std": NONNEGATIVE,
            "criterion": Choice("strength", "css"),
            "when": Choice("final", "pruned"),
            "rule": Choice("exact", "official"),
            "batch_size": COUNT,
            "learning_rate": POSITIVE,
            "momentum": Real(0.0, 1.0, closed="left"),
            "weight_decay": Real(0.0, 1.0, closed="left"),
            "dropout": Real(0.0, 1.0, closed="left"),
            "verbose": FLAG,
            "random_state": SEED,
        }
    )

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

    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Choose features.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples, whose columns should be standardised. Single precision is kept. For "css" also a sparse matrix.
        y : object
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter or X is not what it must be: X finite, with at least `n_features_to_select` columns, and
            dense for "strength", where noise makes every entry nonzero; two epochs for ``when="pruned"``.
        FloatingPointError
            If training diverges.
        """
        check_parameters(self)
        accepted = "csr" if self.criterion == "css" else False
        data: Any = validate_data(self, X, accept_sparse=accepted, dtype=[np.float64, np.float32], order="C")
        n_features = data.shape[1]
        self._check_sizes(n_features)
        _warn_of_scales(data)
        # What an earlier fit by the other criterion left does not belong to this one.
        for name in _OF_ONE_CRITERION:
            if hasattr(self, name):
                delattr(self, name)
        selected = self._choose_columns(data) if self.criterion == "css" else self._train(data)
        self.support_: BoolArray = np.isin(np.arange(n_features), selected)
        self.relative_error_ = column_subset_error(data, selected)
        return self

    def _choose_columns(self, X: Any) -> IndexArray:
        self.subset_ = greedy_column_subset(X, self.n_features_to_select)
        self.error_bound_ = float(self.subset_.bounds[-1])
        self.n_iter_ = self.n_features_to_select
        return self.subset_.indices

    def _check_sizes(self, n_features: int) -> None:
        if self.n_features_to_select > n_features:
            raise ValueError(
                f"n_features_to_select must be at most the number of features, {n_features}; "
                f"got {self.n_features_to_select}"
            )
        if self.criterion == "css":
            return
        if self.when == "pruned" and self.max_iter < 2:
            raise ValueError(
                'max_iter must be at least 2 with when="pruned", since the last epoch drops nothing; got 1'
            )
        n_draws, n_places = int(self.epsilon * (self.n_hidden + n_features)), self.n_hidden * n_features
        if n_draws < 1:
            raise ValueError(
                f"epsilon must be at least 1 / (n_hidden + n_features), for one connection; got {self.epsilon!r}"
            )
        if n_draws >= n_places:
            warnings.warn(
                f"epsilon={self.epsilon:g} draws {n_draws} connections where only {n_places} are possible, so all "
                "exist; a smaller one makes the autoencoder sparse",
                DenseAutoencoderWarning,
                stacklevel=3,
            )

    def _train(self, X: FloatArray) -> IndexArray:
        steps = Steps(self.batch_size, self.learning_rate, self.momentum, self.weight_decay, self.dropout)
        training = Training(
            self.n_hidden, self.epsilon, self.drop_fraction, self.max_iter, self.noise_std, self.rule, steps,
            self.verbose,
        )  # fmt: skip
        trained = training.run(X, generator(self.random_state))
        pruned = trained.pruned_strengths if self.when == "pruned" else None
        self.strength_ = trained.strengths[-1] if pruned is None else pruned
        self.strength_path_, self.connections_path_ = trained.strengths, trained.connections
        self.encoder_, self.decoder_ = trained.encoder.matrix(), trained.decoder.matrix()
        self.biases_ = trained.encoder.bias, trained.decoder.bias
        self.n_nonzero_ = trained.encoder.n_nonzero, trained.decoder.n_nonzero
        self.losses_, self.n_iter_ = trained.losses, self.max_iter
        self._speaking = 1 - self.dropout
        # Of equal strengths the first: the sort is stable.
        return np.argsort(-self.strength_, kind="stable")[: self.n_features_to_select]

    def reconstruct(self, X: ArrayLike) -> AnyArray:
        """Return what the trained autoencoder makes of samples, without noise.

        In training a share of the hidden units is silent, so that outputs are smaller. Here all units speak, and
        outputs are multiplied by ``1 - dropout``, their biases too, as published.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features)

        Raises
        ------
        AttributeError
            If features were chosen without an autoencoder.
        """
        check_is_fitted(self)
        if not hasattr(self, "encoder_"):
            raise AttributeError('only criterion="strength" trains an autoencoder')
        data: Any = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        hidden = (1 + np.tanh((data @ self.encoder_.T + self.biases_[0]) / 2)) / 2
        return np.asarray((hidden @ self.decoder_.T + self.biases_[1]) * data.dtype.type(self._speaking))

    def _get_support_mask(self) -> BoolArray:
        check_is_fitted(self)
        return self.support_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.criterion == "css"
        return tags


def _warn_of_scales(X: Any) -> None:
    from sklearn.utils.sparsefuncs import mean_variance_axis, min_max_axis

    if hasattr(X, "tocsr"):
        deviations, (lowest, highest) = np.sqrt(mean_variance_axis(X, axis=0)[1]), min_max_axis(X, axis=0)
    else:
        deviations, lowest, highest = X.std(axis=0), X.min(axis=0), X.max(axis=0)
    # Rounding gives a constant column a standard deviation above zero.
    varying = deviations[(highest > lowest) & (deviations > 0)]
    if varying.size and varying.max() > _SPREAD * varying.min():
        warnings.warn(
            f"standard deviations of the columns of X are between {varying.min():.3g} and {varying.max():.3g}, and "
            "what is selected depends on these; StandardScaler makes them equal",
            UnequalScalesWarning,
            stacklevel=3,
        )
