"""Softmax attention over the kept blocks of a mask: one function, several ways to compute."""

from collections.abc import Callable
from typing import Literal

from torch import Tensor

from sparsetheory.constraints import Choice
from sparsetheory.gpu.attention.backends.dense import dense_attention
from sparsetheory.gpu.attention.backends.problem import Problem, attention_problem
from sparsetheory.gpu.attention.block_mask import BlockMask

__all__ = ["masked_attention"]

Backend = Literal["dense", "gather", "online", "flex", "triton"]

_BACKENDS: dict[str, Callable[[Problem], Tensor]] = {"dense": dense_attention}


def masked_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: BlockMask,
    *,
    backend: Backend = "dense",
    scale: float | None = None,
    key_mask: Tensor | None = None,
) -> Tensor:
    """Return softmax attention in which every query sees the kept blocks of keys only.

    Parameters
    ----------
    q : Tensor of shape (..., heads, queries, head_dim)
        Queries.
    k, v : Tensor of shape (..., key heads, keys, head_dim)
        Keys and values. Consecutive heads of queries share a head of keys where there are fewer of those.
    mask : BlockMask
        Which blocks are kept. Its leading axes broadcast to (..., heads).
    backend : {"dense", "gather", "online", "flex", "triton"}
        How it is computed.
    scale : float, optional
        What products of queries and keys are multiplied by; ``head_dim ** -0.5`` by default.
    key_mask : Tensor of bool of shape (..., keys), optional
        True where a key exists; its leading axes broadcast to those before the heads.

    Returns
    -------
    Tensor of shape (..., heads, queries, head_dim)
        Of the dtype of `q`, in the original order of the queries.
    """
    Choice(*_BACKENDS).check("backend", backend)
    return _BACKENDS[backend](attention_problem(q, k, v, mask, scale, key_mask))
