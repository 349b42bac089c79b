"""What is certain about one approximate attention, recomputed from queries, keys and values."""

from torch import Tensor

from sparsetheory.certificates import Certificate
from sparsetheory.gpu.attention.block_mask import BlockMask

__all__ = ["AttentionCertificate", "attention_error_certificate"]


class AttentionCertificate(Certificate):
    """bound, measured, status; dropped (..., n), error (..., n)."""


def attention_error_certificate(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: BlockMask | Tensor,
    *,
    visible: Tensor | None = None,
    masses: str = "exact",
    scale: float | None = None,
) -> AttentionCertificate:
    """Return bounds of dropped mass and output error of every query."""
    raise NotImplementedError
