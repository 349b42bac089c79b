"""What tells a collapsed encoder from a useful one: the variance of its embeddings, and their rank."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.gpu.solvers.arguments import finite_tensor

__all__ = ["CollapseError", "EmbeddingStatistics", "embedding_statistics"]


class CollapseError(RuntimeError):
    """Embeddings of all samples are nearly equal, so that predicting them is no task any more."""


@dataclass(frozen=True, eq=False)
class EmbeddingStatistics:
    """Variance and rank of embeddings over samples.

    Attributes
    ----------
    variance : Tensor of shape (n_features,)
        Variance of every feature, with the number of samples as divisor.
    effective_rank : float
        Exponential of the entropy of the singular values of the centred embeddings, from 1 to `n_features`; 0 where all
        embeddings are equal.
    """

    variance: Tensor
    effective_rank: float


def embedding_statistics(embeddings: Tensor) -> EmbeddingStatistics:
    """Measure whether embeddings use their features.

    Parameters
    ----------
    embeddings : Tensor of shape (n_samples, n_features)
        At least two samples.

    Returns
    -------
    EmbeddingStatistics

    Raises
    ------
    TypeError, ValueError
        If it is no matrix of finite numbers with two rows or more.

    Notes
    -----
    O(n_samples n_features min(n_samples, n_features)). Roy and Vetterli, "The effective rank: A measure of effective
    dimensionality", EUSIPCO 2007; as a sign of collapse, Garrido et al., "RankMe", ICML 2023.

    Examples
    --------
    >>> import torch
    >>> found = embedding_statistics(torch.tensor([[1.0, 0, 5], [-1, 0, 5], [0, 1, 5], [0, -1, 5]]))
    >>> found.variance
    tensor([0.5000, 0.5000, 0.0000])
    >>> round(found.effective_rank, 4)
    2.0
    """
    rows = finite_tensor("embeddings", embeddings)
    if rows.ndim != 2 or len(rows) < 2:
        raise ValueError(f"embeddings must be a matrix with at least two rows; got shape {tuple(rows.shape)}")
    centred = rows.double() - rows.double().mean(0)
    values = torch.linalg.svdvals(centred)
    total = values.sum()
    share = values / total if bool(total > 0) else values
    rank = float(torch.special.entr(share).sum().exp()) if bool(total > 0) else 0.0
    return EmbeddingStatistics(centred.square().mean(0).to(embeddings.dtype), rank)
