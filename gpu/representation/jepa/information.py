"""How much more the parts of a Gaussian vector tell together than apart: its multi-information."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sparsetheory.gpu.representation.jepa.partition import as_partition
from sparsetheory.gpu.solvers.arguments import finite_tensor

__all__ = ["gaussian_multi_information"]


def gaussian_multi_information(S: Tensor, blocks: Sequence[Sequence[int]] | None = None) -> Tensor:
    r"""Return the multi-information of the blocks of a Gaussian vector, in nats.

    ``sum over b of H(z_b), minus H(z)``, the relative entropy between the joint distribution and the product of those
    of the blocks. Of a Gaussian it is :math:`\tfrac12 (\sum_b \log\det S_{bb} - \log\det S)`.

    Parameters
    ----------
    S : Tensor of shape (n_features, n_features)
        Covariance matrix, symmetric and positive definite.
    blocks : sequence of sequences of int, optional
        A partition of the features; by default each feature by itself.

    Returns
    -------
    Tensor of shape ()
        At least 0, in the dtype of S; computed in double precision. It is zero if and only if all entries of S between
        blocks are zero. Results that rounding has made negative are 0.

    Raises
    ------
    TypeError
        If S is no tensor of floating-point numbers.
    ValueError
        If S is not square, symmetric and positive definite, or blocks do not partition the features.

    Notes
    -----
    Joining blocks removes what they tell of each other: of two nested partitions the coarser one has the smaller
    multi-information. Partitions that are not nested may stand in either order. Maps within the blocks never increase
    it (data processing). Features are scaled to unit variance first, which changes nothing, so that features in
    different units lose no digits. O(n_features^3). Studený and Vejnarová (1998).

    Examples
    --------
    >>> import torch
    >>> S = torch.tensor([[1.0, 0.6, 0.0], [0.6, 1.0, 0.0], [0.0, 0.0, 2.0]])
    >>> gaussian_multi_information(S)
    tensor(0.2231)
    >>> gaussian_multi_information(S, [[0, 1], [2]])
    tensor(0.)
    """
    checked = finite_tensor("S", S)
    if checked.ndim != 2 or checked.shape[0] != checked.shape[1] or not checked.shape[0]:
        raise ValueError(f"S must be a square matrix; got shape {tuple(S.shape)}")
    covariance = checked.double()
    scale = covariance.diagonal().clamp(min=0).sqrt()
    if not bool((scale > 0).all()):
        raise ValueError("S must be positive definite; got a variance that is not positive")
    correlation = covariance / scale / scale.unsqueeze(1)
    # Products of float32 matrices are symmetric up to their rounding.
    if not bool(((correlation - correlation.T).abs() <= 1e3 * torch.finfo(S.dtype).eps).all()):
        raise ValueError("S must be symmetric; got a matrix that is not")
    parts = as_partition("blocks", blocks, len(S)) if blocks is not None else [[i] for i in range(len(S))]
    return (0.0 - _log_det(_whitened(correlation, parts)) / 2).clamp(min=0).to(S.dtype)


def _whitened(S: Tensor, parts: list[list[int]]) -> Tensor:
    """Return the covariance of blocks each of which has been made white: what is left stands between blocks."""
    order = [member for part in parts for member in part]
    S = S[order][:, order]
    root, places, start = torch.zeros_like(S), [], 0
    for part in parts:
        places.append(slice(start, start + len(part)))
        root[places[-1], places[-1]] = _factor(S[places[-1], places[-1]])
        start += len(part)
    half = torch.linalg.solve_triangular(root, S, upper=False)
    white = torch.linalg.solve_triangular(root, half.T, upper=False)
    for place in places:
        # Exactly, so that nothing is left where blocks are independent.
        white[place, place] = torch.eye(place.stop - place.start).to(white)
    return white


def _log_det(S: Tensor) -> Tensor:
    return 2 * _factor(S).diagonal().log().sum()


def _factor(S: Tensor) -> Tensor:
    factor, info = torch.linalg.cholesky_ex(S)
    if int(info):
        raise ValueError("S must be positive definite; got a matrix that is not, or is singular up to rounding")
    return factor
