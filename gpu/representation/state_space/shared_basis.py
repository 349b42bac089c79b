"""One basis for the transitions of several layers: the left factors of all of them are the same matrix."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.constraints import Integer
from sparsetheory.gpu.solvers.arguments import finite_tensor, together
from sparsetheory.gpu.solvers.truncated_svd import truncated_svd_summary

__all__ = ["SharedFactors", "shared_factors"]


@dataclass(frozen=True, eq=False)
class SharedFactors:
    """Factors ``U V_l'`` of several matrices.

    Parameters
    ----------
    U : Tensor of shape (n, rank)
        Orthonormal columns, the same for all matrices.
    V : Tensor of shape (n_matrices, m, rank)
    objective : float
        Sum of the squared Frobenius errors of all matrices.
    lower, upper : float
        Bounds of the least such sum for a shared basis of the rank, rounding included.
    """

    U: Tensor
    V: Tensor
    objective: float
    lower: float
    upper: float

    def products(self) -> Tensor:
        """Return the approximations, of shape (n_matrices, n, m)."""
        return self.U @ self.V.mT


def shared_factors(matrices: Sequence[Tensor] | Tensor, rank: int) -> SharedFactors:
    """Return the best factors of several matrices whose left factor is shared.

    Parameters
    ----------
    matrices : sequence of Tensor of shape (n, m), or Tensor of shape (n_matrices, n, m)
        Transitions of layers, or what :meth:`LowRankSSM.truncated_matrix` returns; computed in double precision.
    rank : int
        From 1 to n.

    Returns
    -------
    SharedFactors
        Without gradients.

    Raises
    ------
    TypeError, ValueError
        If the matrices are not finite or have different shapes, or the rank is out of range.

    See Also
    --------
    sparsetheory.lowrank.ConcatSVDClustering : Which of many matrices should share a basis.

    Notes
    -----
    A truncated singular value decomposition of the matrices side by side; no shared basis of the rank leaves less. It
    stores ``(n_matrices + 1) n rank`` numbers, where factors of their own are ``2 n_matrices n rank``. Layers share
    the matrix if one parameter is set in all of them: ``second.U = first.U``.

    Examples
    --------
    >>> import torch
    >>> U, V = torch.randn(2, 3, 6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    >>> found = shared_factors(U[0] @ V.mT, 2)
    >>> torch.allclose(found.products(), U[0] @ V.mT), found.V.shape
    (True, torch.Size([3, 6, 2]))
    """
    parts = [finite_tensor(f"matrices[{index}]", matrix) for index, matrix in enumerate(matrices)]
    if not parts or parts[0].ndim != 2 or not parts[0].numel() or any(part.shape != parts[0].shape for part in parts):
        raise ValueError(f"matrices must be of one shape (n, m); got {[tuple(part.shape) for part in parts]}")
    together(**{f"matrices[{index}]": part for index, part in enumerate(parts)})
    Integer(1, len(parts[0])).check("rank", rank)
    stacked = torch.stack(parts).double()
    beside = torch.cat(list(stacked), 1)
    found = truncated_svd_summary(beside, rank)
    V = stacked.mT @ found.basis
    objective = float((stacked - found.basis @ V.mT).square().sum())
    dtype = parts[0].dtype
    return SharedFactors(found.basis.to(dtype), V.to(dtype), objective, float(found.lower), float(found.upper))
