"""Which pattern every head of a layer uses: what it costs, and how it is run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from sparsetheory.constraints import NONNEGATIVE, Choice
from sparsetheory.gpu.attention.block_mask import BlockMask
from sparsetheory.gpu.attention.masked import Backend, masked_attention
from sparsetheory.gpu.core.budgets.choices import choose_options
from sparsetheory.typing import Float64Array, Int64Array

__all__ = ["ModePlan", "mode_rule"]


def mode_rule(mse: ArrayLike, sparsities: ArrayLike, alpha: float = 0.5, max_loss: float = 1.0) -> Int64Array:
    """Choose a mode for each head: the one of least ``mse + alpha * (1 - sparsity)``, or full attention.

    Full attention, mode 0, is kept where that sum is above `max_loss` for all others [1]_.

    Parameters
    ----------
    mse : array-like of shape (..., modes)
        Error of each mode; that of mode 0 is not looked at.
    sparsities : array-like of shape (modes,)
        Share of the pairs that a mode does not compute; that of mode 0 is not looked at.
    alpha : float
        Price of all pairs, at least 0; the published value is 0.5.
    max_loss : float
        Largest sum, at least 0, possibly infinite; the published value is 1.

    Returns
    -------
    ndarray of int64 of shape (...)
        Of equal sums the lowest mode wins.

    Raises
    ------
    ValueError
        If shapes do not fit, there is no mode besides the full one, or a number is not allowed.

    References
    ----------
    .. [1] P. Chen et al., "Sparse-vDiT: unleashing the power of sparse attention to accelerate video diffusion
       transformers", 2025, arXiv:2506.03065.

    Examples
    --------
    >>> mode_rule([[0.0, 1.0, 0.2], [0.0, 0.1, 0.2], [0.0, 9.0, 2.0]], [0.0, 1.0, 0.9]).tolist()
    [2, 1, 0]
    """
    errors, shares = np.asarray(mse, dtype=np.float64), np.asarray(sparsities, dtype=np.float64)
    if shares.ndim != 1 or shares.size < 2 or errors.shape[-1:] != shares.shape:
        raise ValueError(
            f"mse must have one column for each of at least 2 sparsities, of shape {shares.shape}; got {errors.shape}"
        )
    if not np.isfinite(errors[..., 1:]).all():
        raise ValueError(f"mse must hold finite numbers; got {errors!r:.200}")
    NONNEGATIVE.check("alpha", alpha)
    (NONNEGATIVE | Choice(math.inf)).check("max_loss", max_loss)
    sums = errors[..., 1:] + alpha * (1.0 - shares[1:])
    best = np.argmin(sums, axis=-1)
    least = np.take_along_axis(sums, best[..., None], axis=-1)[..., 0]
    return np.where(least > max_loss, 0, best + 1)


@dataclass(frozen=True, eq=False)
class ModePlan:
    """A mode for each head of a layer.

    Parameters
    ----------
    names : tuple of str
        Of the modes: "full", "skip", and those of the masks.
    choice : tuple of int
        Number of the mode of each head.
    mse : ndarray of float64 of shape (heads, modes)
        Mean squared error of the output of each head in each mode, in the units that the search used.
    masks : mapping of str to BlockMask
        Pairs that the other modes compute.
    shape : tuple of int
        Queries, keys and the dimension of a head.
    """

    names: tuple[str, ...]
    choice: tuple[int, ...]
    mse: Float64Array
    masks: Mapping[str, BlockMask]
    shape: tuple[int, int, int]

    @property
    def modes(self) -> tuple[str, ...]:
        """Name of the mode of each head."""
        return tuple(self.names[mode] for mode in self.choice)

    @cached_property
    def pairs(self) -> tuple[int, ...]:
        """Pairs of a query and a key that each mode computes."""
        n, m, _ = self.shape
        return (n * m, 0, *(round(self.masks[name].density() * n * m) for name in self.names[2:]))

    @property
    def sparsities(self) -> tuple[float, ...]:
        """Share of the pairs that each mode does not compute."""
        full, *_ = self.pairs
        return tuple(1.0 - pairs / full for pairs in self.pairs)

    def flops(self) -> int:
        """Return the operations of both products of all heads: ``4 d`` for each pair of a query and a key."""
        return sum(4 * self.shape[2] * self.pairs[mode] for mode in self.choice)

    def fused_groups(self) -> dict[str, tuple[int, ...]]:
        """Return the heads of each mode that is in use; heads of one mode are computed together."""
        groups: dict[str, tuple[int, ...]] = {}
        for mode in sorted(set(self.choice)):
            groups[self.names[mode]] = tuple(head for head, of in enumerate(self.choice) if of == mode)
        return groups

    def within(
        self,
        budget: float,
        *,
        costs: Mapping[str, float] | None = None,
        method: Literal["lagrange", "dp"] = "lagrange",
        n_cells: int = 10_000,
    ) -> "ModePlan":
        """Return the plan whose heads together cost no more than a budget, and whose errors sum to little.

        Parameters
        ----------
        budget : float
            Largest cost of the layer.
        costs : mapping of str to float, optional
            Cost of a head in each mode, such as its measured time; by default the operations that :meth:`flops` counts.
        method : {"lagrange", "dp"}
            As in :func:`~sparsetheory.gpu.core.choose_options`: a price on cost, or a table that also finds what lies
            between the corners of the hull.
        n_cells : int
            Steps into which a table cuts the budget.

        Returns
        -------
        ModePlan

        Raises
        ------
        ValueError
            If no plan is so cheap, or a mode has no cost.
        """
        if costs is None:
            row = [float(4 * self.shape[2] * pairs) for pairs in self.pairs]
        elif missing := [name for name in self.names if name not in costs]:
            raise ValueError(f"costs must name every mode; got none for {missing}")
        else:
            row = [costs[name] for name in self.names]
        found = choose_options(self.mse, [row] * len(self.mse), budget, method, n_cells=n_cells)
        return replace(self, choice=found.options)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, *, backend: Backend = "dense") -> Tensor:
        """Return the attention of all heads, each in its mode, group by group.

        Parameters
        ----------
        q : Tensor of shape (..., heads, queries, head_dim)
            Queries.
        k, v : Tensor of shape (..., key heads, keys, head_dim)
            Keys and values; consecutive heads of queries share a head of keys where there are fewer of those.
        backend : {"dense", "gather", "online", "flex", "triton"}
            How masked attention is computed.

        Returns
        -------
        Tensor of the shape of `q`
            Zero for heads that are skipped.

        Raises
        ------
        ValueError
            If shapes are not those of the plan.
        """
        if (*q.shape[-3:-1], k.shape[-2], q.shape[-1]) != (len(self.choice), *self.shape):
            raise ValueError(
                f"q and k must have {len(self.choice)} heads, {self.shape[0]} queries, {self.shape[1]} keys and "
                f"dimension {self.shape[2]}; got shapes {tuple(q.shape)} and {tuple(k.shape)}"
            )
        output = torch.zeros_like(q)
        for name, heads in self.fused_groups().items():
            if name != "skip":
                output[..., list(heads), :, :] = mode_output(*_heads(q, k, v, heads), self.masks.get(name), backend)
        return output


def mode_output(q: Tensor, k: Tensor, v: Tensor, mask: BlockMask | None, backend: Backend = "dense") -> Tensor:
    """Return attention under a mask, or full attention; there is a head of keys for each of queries."""
    if mask is None:
        return scaled_dot_product_attention(q, k, v)
    here = mask if mask.blocks.device == q.device else mask.to(q.device)
    return masked_attention(q, k, v, here, backend=backend)


def _heads(q: Tensor, k: Tensor, v: Tensor, heads: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the queries of some heads, and for each of them its keys and values."""
    group = q.shape[-3] // k.shape[-3]
    shared = [head // group for head in heads]
    return q[..., list(heads), :, :], k[..., shared, :, :], v[..., shared, :, :]
