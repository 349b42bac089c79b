"""The reference: all scores, and a mask of all pairs."""

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from sparsetheory.gpu.attention.backends.problem import Problem

__all__ = ["dense_attention"]


def dense_attention(problem: Problem) -> Tensor:
    """Return the attention by torch's own function; the mask saves no work."""
    mask = problem.element_mask()
    return scaled_dot_product_attention(problem.q, problem.k, problem.v, attn_mask=mask, scale=problem.scale)
