"""How much pruned keys and values can change an attention, and evidence about it.

For one query, let p be the attention to keys k_t and q.k_t / scale its scores.

1. Values. With weights p_t, values v_t + d_t give an output that differs by ``|sum p_t d_t| <= sum p_t |d_t|``, which
   is at most ``max |d_t|``.
2. Keys. Scores change by e_t. With eta half the range of the e_t, the attention changes by at most ``tanh(eta / 2)`` in
   total variation, see :func:`~sparsetheory.gpu.attention.certificates.perturbation.perturbation_bound`, and the
   output by at most that times the diameter of the values, as no more mass moves.
3. Both. First the keys, with the values as they were; then the values, under the new attention.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sparsetheory.gpu.attention.certificates.perturbation import composed_error_bound, perturbation_bound

__all__ = ["CacheBound", "DroppedNorms", "bound_of", "key_pruning_bound", "value_pruning_bound"]


def value_pruning_bound(attention: Tensor, change: Tensor) -> Tensor:
    """Bound the change of the output of attention if values change.

    Parameters
    ----------
    attention : Tensor of shape (..., n_queries, n_keys)
        Not negative.
    change : Tensor of shape (..., n_keys, width)
        By how much each value changes.

    Returns
    -------
    Tensor of shape (..., n_queries)
        The mean norm of the changes under the attention.

    Examples
    --------
    >>> import torch
    >>> value_pruning_bound(torch.tensor([[0.25, 0.75]]), torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([1.2500])
    """
    return (attention @ torch.linalg.vector_norm(change, dim=-1).unsqueeze(-1)).squeeze(-1)


def key_pruning_bound(q: Tensor, change: Tensor, *, scale: float | None = None, a_priori: bool = False) -> Tensor:
    """Bound the total variation between the attentions of a query before and after keys change.

    Parameters
    ----------
    q : Tensor of shape (..., n_queries, width)
    change : Tensor of shape (..., n_keys, width)
        By how much each key changes.
    scale : float, optional
        Factor of the products of queries and keys, ``1 / sqrt(width)`` by default.
    a_priori : bool
        Whether only the norms of the query and of the largest change are used, which is looser by a factor of 2 to 4
        in most cases.

    Returns
    -------
    Tensor of shape (..., n_queries)
        ``tanh(eta / 2)``, where eta is half the range of the changes of the scores.

    Examples
    --------
    >>> import torch
    >>> q, change = torch.tensor([[2.0]]), torch.tensor([[1.0], [0.0]])
    >>> key_pruning_bound(q, change), key_pruning_bound(q, change, a_priori=True)
    (tensor([0.4621]), tensor([0.7616]))
    """
    factor = 1.0 / math.sqrt(q.shape[-1]) if scale is None else scale
    if not a_priori:
        return perturbation_bound(factor * (q @ change.mT))
    largest = torch.linalg.vector_norm(change, dim=-1).amax(-1, keepdim=True)
    return torch.tanh(factor * torch.linalg.vector_norm(q, dim=-1) * largest / 2)


@dataclass(frozen=True, eq=False)
class CacheBound:
    """How far the attention to a pruned cache can be from that to an unpruned one, for each query.

    Parameters
    ----------
    score_change : Tensor of shape (batch, heads, n_queries)
        Bound on half the range of the changes of scores.
    total_variation : Tensor, alike
        Bound on the total variation between the attentions.
    value_change : Tensor, alike
        Bound on what pruned values change, under the attention to pruned keys.
    output_change : Tensor, alike
        Bound on the norm of the change of the output.
    """

    score_change: Tensor
    total_variation: Tensor
    value_change: Tensor
    output_change: Tensor


@dataclass(frozen=True, eq=False)
class DroppedNorms:
    """Norms of what was dropped.

    Parameters
    ----------
    k_norm : Tensor of shape (heads,)
        Largest norm of what a key lost.
    v_norms : Tensor of shape (heads, tokens)
        Norm of what each value lost.
    v_norm : float
        Largest norm of a value before it was pruned.
    """

    k_norm: Tensor
    v_norms: Tensor
    v_norm: float

    @classmethod
    def empty(cls, k: Tensor) -> "DroppedNorms":
        """Return the norms before anything was dropped."""
        heads = k.shape[0] * k.shape[1]
        zeros = torch.zeros(heads, dtype=torch.float64, device=k.device)
        return cls(zeros, torch.zeros(heads, 0, dtype=torch.float32, device=k.device), 0.0)

    def extended(self, k: Tensor, pruned_k: Tensor, v: Tensor, pruned_v: Tensor) -> "DroppedNorms":
        """Return the norms after some more tokens, of shape (batch, heads, n, width)."""
        lost_k = (k.double() - pruned_k.double()).flatten(0, 1).norm(dim=-1)
        lost_v = (v.double() - pruned_v.double()).flatten(0, 1).norm(dim=-1)
        # Kept in single precision and rounded up: a bound must not become smaller.
        stored = lost_v.float()
        stored = torch.where(stored.double() < lost_v, torch.nextafter(stored, stored.new_tensor(math.inf)), stored)
        return DroppedNorms(
            torch.maximum(self.k_norm, lost_k.amax(-1)),
            torch.cat([self.v_norms, stored], dim=1),
            max(self.v_norm, float(v.double().norm(dim=-1).max())),
        )

    @property
    def nbytes(self) -> int:
        """Bytes of the norms."""
        return sum(part.numel() * part.element_size() for part in (self.k_norm, self.v_norms))

    def state_dict(self) -> dict[str, Any]:
        """Return the fields."""
        return {"k_norm": self.k_norm, "v_norms": self.v_norms, "v_norm": self.v_norm}


def bound_of(q: Tensor, attention: Tensor, dropped: DroppedNorms, shape: tuple[int, ...], v_norm: float) -> CacheBound:
    """Put the bounds together for queries of shape (batch * key heads, queries of a group, width)."""
    eta = q.double().norm(dim=-1) * dropped.k_norm[:, None] / math.sqrt(q.shape[-1])
    variation = torch.tanh(eta / 2)
    old = attention[..., : dropped.v_norms.shape[1]].double()
    lost = (old @ dropped.v_norms.double().unsqueeze(-1)).squeeze(-1)
    diameter = 2 * v_norm * torch.ones(len(q), dtype=torch.float64, device=q.device)
    moved = composed_error_bound(variation, torch.zeros_like(variation), diameter, lost)
    found = (eta, variation, lost, moved)
    return CacheBound(*(part.reshape(shape[:-1]) for part in found))
