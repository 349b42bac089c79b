"""Softmax attention over the kept blocks of a mask: one function, several ways to compute."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from sparsetheory.constraints import Choice
from sparsetheory.gpu.attention.backends.dense import dense_attention
from sparsetheory.gpu.attention.backends.flex import flex_attention_of
from sparsetheory.gpu.attention.backends.gather import gather_attention
from sparsetheory.gpu.attention.backends.online import online_attention, online_attention_and_lse
from sparsetheory.gpu.attention.backends.problem import Problem, all_finite, attention_problem
from sparsetheory.gpu.attention.backends.triton import triton_attention
from sparsetheory.gpu.attention.block_mask import BlockMask

__all__ = ["AttentionAndMass", "masked_attention", "masked_attention_and_mass"]

Backend = Literal["dense", "gather", "online", "flex", "triton"]

_BACKENDS: dict[str, Callable[[Problem], Tensor]] = {
    "dense": dense_attention,
    "gather": gather_attention,
    "online": online_attention,
    "flex": flex_attention_of,
    "triton": triton_attention,
}
_CHOICE = Choice(*_BACKENDS)


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
    """Return softmax attention in which every query sees the keys of its kept blocks only.

    All backends compute the same; they differ in what they spend. With n queries, m keys, a head dimension d and a
    density of kept blocks, the work that a mask leaves is ``4 density n m d`` operations a head.

    Parameters
    ----------
    q : Tensor of shape (..., heads, queries, head_dim)
        Queries.
    k, v : Tensor of shape (..., key heads, keys, head_dim)
        Keys and values. Where there are fewer heads of keys, neighbouring heads of queries share one.
    mask : BlockMask
        Which blocks are kept. Its leading axes broadcast to (..., heads).
    backend : {"dense", "gather", "online", "flex", "triton"}
        How it is computed.

        - "dense": torch's attention with a mask of all pairs. The reference. A mask saves no work.
        - "gather": copies kept blocks side by side and calls torch's attention on them. The fast way on a processor.
        - "online": a loop over kept blocks with an online softmax, in float32 at least.
        - "flex": ``torch.nn.attention.flex_attention``. Compiled on CUDA, where it skips blocks; on a processor
          it computes all scores, and torch has no gradient of it there.
        - "triton": a kernel of our own for CUDA, without gradients. Needs the package ``triton``.
    scale : float, optional
        What products of queries and keys are multiplied by; ``head_dim ** -0.5`` by default.
    key_mask : Tensor of bool of shape (..., keys), optional
        True where a key exists. Its leading axes broadcast to those before the heads.

    Returns
    -------
    Tensor of shape (..., heads, queries, head_dim)
        Of the dtype of `q`, in the original order of the queries. Differentiable in q, k and v.

    Raises
    ------
    TypeError
        If an argument is no tensor of the right kind.
    ValueError
        If shapes do not fit each other, q, k or v are not finite, products of them overflow, or a query sees no key.
    RuntimeError
        If a backend cannot run here, or has no gradient where one is wanted.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.attention import BlockMask
    >>> q, k, v = torch.randn(3, 2, 8, 256, 32, generator=torch.Generator().manual_seed(0))
    >>> window = torch.ones(4, 4, dtype=torch.bool).tril().triu(-1)
    >>> mask = BlockMask(window, n_queries=256, n_keys=256, causal=True)
    >>> out = masked_attention(q, k, v, mask, backend="gather")
    >>> out.shape, bool(torch.allclose(out, masked_attention(q, k, v, mask), atol=1e-5))
    (torch.Size([2, 8, 256, 32]), True)
    """
    _CHOICE.check("backend", backend)
    return _checked(_BACKENDS[backend](attention_problem(q, k, v, mask, scale, key_mask)))


@dataclass(frozen=True, eq=False)
class AttentionAndMass:
    """Attention over some of the keys, and the mass of these keys.

    Parameters
    ----------
    out : Tensor of shape (..., heads, queries, head_dim)
        The attention.
    log_mass : Tensor of shape (..., heads, queries)
        Logarithm of the sum of exponentials of the scores of all keys that a query saw, in float32 at least.
    """

    out: Tensor
    log_mass: Tensor


def masked_attention_and_mass(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: BlockMask,
    *,
    scale: float | None = None,
    key_mask: Tensor | None = None,
) -> AttentionAndMass:
    """Return masked attention together with the mass of the kept keys, by the backend "online".

    With it, attentions over disjoint sets of keys can be joined, and a dropped mass can be bounded.

    Parameters
    ----------
    q, k, v, mask, scale, key_mask
        As :func:`masked_attention` takes them.

    Returns
    -------
    AttentionAndMass
        The attention and the logarithm of the mass.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.attention import BlockMask
    >>> q, k, v = torch.randn(3, 1, 6, 4, generator=torch.Generator().manual_seed(0))
    >>> mask = BlockMask(torch.ones(2, 2, dtype=torch.bool), n_queries=6, n_keys=6, block=(3, 3))
    >>> both = masked_attention_and_mass(q, k, v, mask)
    >>> bool(torch.allclose(both.log_mass, (q @ k.mT / 2).logsumexp(-1)))
    True
    """
    out, log_mass = online_attention_and_lse(attention_problem(q, k, v, mask, scale, key_mask))
    return AttentionAndMass(_checked(out), log_mass)


def _checked(out: Tensor) -> Tensor:
    """Refuse an answer that is not finite: the inputs are, so a score was too large for its dtype."""
    if not all_finite(out):
        raise ValueError("q and k must have products that their dtype can hold; got scores that overflow")
    return out
