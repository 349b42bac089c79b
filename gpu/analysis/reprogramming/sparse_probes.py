"""Linear heads that read few features."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, FLAG, FRACTION
from sparsetheory.gpu.analysis.reprogramming.probes import LinearProbe, check_features

__all__ = ["SparseProbes", "sparse_probes"]


@dataclass(frozen=True, eq=False)
class SparseProbes:
    """Probes along decreasing strengths of the l1 penalty.

    Parameters
    ----------
    alphas : Tensor of float64 of shape (n_alphas,)
        Strengths, decreasing; at the first one no feature is read.
    probes : tuple of LinearProbe
        One for each strength.
    """

    alphas: Tensor
    probes: tuple[LinearProbe, ...]

    @property
    def n_features(self) -> tuple[int, ...]:
        """Features that each probe reads."""
        return tuple(probe.n_features for probe in self.probes)


def sparse_probes(
    features: Tensor,
    y: Tensor,
    *,
    n_classes: int | None = None,
    n_alphas: int = 20,
    min_ratio: float = 0.01,
    standardise: bool = True,
) -> SparseProbes:
    """Fit linear heads that read few features: a path of l1-penalised regressions on one-hot targets.

    Each class is regressed on the features by :func:`sparsetheory.regression.lasso_path`, all classes with the same
    strengths. Choose one of the probes by samples that none of them has seen.

    Parameters
    ----------
    features : Tensor of shape (n, n_features)
    y : Tensor of int64 of shape (n,)
        Classes, each of which must occur; at least two.
    n_classes : int, optional
        By default one more than the largest class.
    n_alphas : int
        Number of strengths, in geometric steps.
    min_ratio : float
        The last strength as a share of the first, which is the least one at which all coefficients are 0.
    standardise : bool
        Whether the penalty is that of features of unit standard deviation; the coefficients are those of the features
        as they are.

    Returns
    -------
    SparseProbes
        On the device of the features and in their precision, half precision as float32. Their outputs estimate the
        indicators of classes: the largest one predicts, but a softmax of them is no probability before
        :func:`fit_temperature`.

    Raises
    ------
    ValueError
        If shapes do not fit, features are not finite, a class does not occur, or no feature varies.

    Notes
    -----
    The work is done on the CPU, in double precision.

    Examples
    --------
    Of 50 features the fourth tells the classes:

    >>> import torch
    >>> x = torch.randn(80, 50, generator=torch.Generator().manual_seed(0))
    >>> found = sparse_probes(x, (x[:, 3] > 0).long(), n_alphas=5, min_ratio=0.3)
    >>> found.n_features[:2], found.probes[1].coef[0].nonzero().flatten()
    ((0, 1), tensor([3]))
    """
    import numpy as np

    from sparsetheory.regression import lasso_path

    n_classes = check_features(features, y, n_classes)
    COUNT.require(n_alphas=n_alphas)
    FRACTION.require(min_ratio=min_ratio)
    FLAG.require(standardise=standardise)
    X = np.asfortranarray(features.detach().cpu().double().numpy())
    targets = torch.nn.functional.one_hot(y.cpu(), n_classes).double().numpy()
    deviations = X.std(axis=0)
    varies = deviations > 1e-12 * np.abs(X).max(axis=0)
    if n_classes < 2 or not varies.any():
        raise ValueError(
            f"there must be two classes and a feature that varies; got {n_classes} and {varies.sum()} of these"
        )
    weights = deviations[varies] if standardise else np.ones(int(varies.sum()))
    chosen = X[:, varies]
    largest = float((np.abs((chosen - chosen.mean(axis=0)).T @ targets) / len(X) / weights[:, None]).max())
    # A little above, so that rounding reads no feature at the first strength.
    alphas = largest * (1 + 1e-9) * np.geomspace(1.0, min_ratio, n_alphas)
    coef, intercept = np.zeros((n_alphas, n_classes, X.shape[1])), np.zeros((n_alphas, n_classes))
    for label in range(n_classes):
        path = lasso_path(chosen, targets[:, label], alphas=alphas, weights=weights, fit_intercept=True)
        coef[:, label, varies] = path.coefs.T
        intercept[:, label] = path.intercepts
    like = features.new_empty(0, dtype=torch.promote_types(features.dtype, torch.float32))
    nothing = torch.zeros(0, dtype=torch.float64)
    probes = tuple(
        LinearProbe(torch.from_numpy(c).to(like), torch.from_numpy(b).to(like), nothing)
        for c, b in zip(coef, intercept, strict=True)
    )
    return SparseProbes(torch.from_numpy(alphas), probes)
