"""What is certain about one approximate attention, recomputed from queries, keys and values."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from sparsetheory.certificates import Certificate, Status
from sparsetheory.constraints import Choice
from sparsetheory.gpu.attention.backends.problem import check_tensors
from sparsetheory.gpu.attention.block_mask import BlockMask
from sparsetheory.gpu.attention.certificates.block_masses import log_mass_bounds, scale_of
from sparsetheory.gpu.attention.certificates.dropped_mass import (
    attention_scores,
    kept_and_dropped,
    log_dropped_ratio,
    truncation_error,
)
from sparsetheory.gpu.attention.certificates.key_blocks import KeyBlocks
from sparsetheory.gpu.attention.certificates.mass_bounds import output_error_bound, total
from sparsetheory.gpu.attention.certificates.rounding import kept_error, lengths, share

__all__ = ["AttentionCertificate", "attention_error_certificate"]

Evidence = Literal["exact", "plain", "chord", "deviation", "variance"]
_EVIDENCE = Choice(*get_args(Evidence))


@dataclass(frozen=True, eq=False)
class AttentionCertificate(Certificate):
    """How much mass an attention drops, and how far its outputs are from those of full attention.

    Parameters
    ----------
    statement, bound, measured, status, reason
        As in :class:`~sparsetheory.certificates.Certificate`. `bound` and `measured` are the largest distance of an
        output to that of full attention, in the unit of the values.
    kept : Tensor of bool of shape (..., n, m)
        The pairs that were kept.
    visible : Tensor of bool of shape (..., n, m)
        What each query may see.
    scale : float
        Factor of the scores.
    dropped : Tensor of float64 of shape (..., n)
        Bounds of the dropped mass of each query.
    error : Tensor of float64 of shape (..., n)
        Bounds of the distances of the outputs.
    dropped_max : float
        The largest entry of `dropped`.
    """

    kept: Tensor = field(kw_only=True)
    visible: Tensor = field(kw_only=True)
    scale: float = field(kw_only=True)
    dropped: Tensor = field(kw_only=True)
    error: Tensor = field(kw_only=True)
    dropped_max: float = field(kw_only=True)

    TERMS: ClassVar[tuple[str, ...]] = ("dropped_max", "scale", "n_kept", "n_visible")

    @property
    def n_kept(self) -> int:
        """Visible pairs that were kept."""
        return int((self.kept & self.visible).sum())

    @property
    def n_visible(self) -> int:
        """Pairs of a query and a key that it may see."""
        return int(self.visible.sum())

    def promise(self) -> str:
        """Return the guarantee in words."""
        return (
            f"no query drops more than {self.dropped_max:.3g} of its mass, "
            f"and no output is farther than {self.bound:.3g} from that of full attention"
        )

    def check(self, q: Any, k: Any, v: Any, **options: Any) -> "AttentionCertificate":
        """Recompute dropped masses and errors from two dense attentions in float64.

        Parameters
        ----------
        q, k, v : Tensor
            What the attention was given.
        **options
            None are known.

        Returns
        -------
        AttentionCertificate
            With a fresh `measured`, `status` and `reason`.
        """
        if options:
            raise TypeError(f"options must be none; got {', '.join(options)}")
        q, k, v = _double(q, k, v)
        scores = q @ k.mT * self.scale
        if scores.shape != self.kept.shape:
            raise ValueError(f"q and k must make scores of shape {tuple(self.kept.shape)}; got {tuple(scores.shape)}")
        full = torch.softmax(scores.masked_fill(~self.visible, -torch.inf), dim=-1)
        part = torch.softmax(scores.masked_fill(~(self.kept & self.visible), -torch.inf), dim=-1)
        mass = full.masked_fill(self.kept, 0.0).sum(-1).clamp_max(1.0)
        error = (full @ v - part @ v).norm(dim=-1)
        fault = self._fault(mass, error)
        checked = replace(self, measured=float(error.max()), status=Status.of(not fault), reason=fault)
        return checked.unless_misstated()

    # What is not a number fulfils no comparison, so each one says what must hold.
    def _fault(self, mass: Tensor, error: Tensor) -> str:
        """Return which promise does not hold, or nothing."""
        if not bool((mass <= self.dropped).all()):
            return f"a query drops {float((mass - self.dropped).max()):.3g} more of its mass than stated"
        if not float(self.dropped.max()) <= self.dropped_max:
            return "the largest dropped mass is smaller than that of a query"
        if not bool((error <= self.error).all()):
            return f"an output errs by {float((error - self.error).max()):.3g} more than stated"
        return "" if float(self.error.max()) <= self.bound else "the bound is smaller than that of a query"


def attention_error_certificate(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: BlockMask | Tensor,
    *,
    masses: Evidence = "exact",
    labels: Tensor | int | None = None,
    visible: Tensor | None = None,
    scale: float | None = None,
) -> AttentionCertificate:
    """Certify an attention that keeps some pairs only, whatever computed it.

    Parameters
    ----------
    q : Tensor of shape (..., heads, n, d)
    k, v : Tensor of shape (..., key heads, m, d)
        Neighbouring heads of queries share a head of keys where there are fewer of these.
    mask : BlockMask, or Tensor of bool broadcast to (..., heads, n, m)
        The pairs that were kept, in the original order.
    masses : {"exact", "plain", "chord", "deviation", "variance"}
        How dropped masses are known. "exact": from all scores; bounds are then the true values, up to rounding of
        float64. Otherwise dropped scores are not computed: blocks of keys are bounded by their statistics, as
        :func:`log_mass_bounds` says, and their values by balls.
    labels : Tensor of int64 of shape (..., m), or int, optional
        The block of each key, where `masses` is not "exact": as in :meth:`KeyBlocks.from_keys`. The blocks of keys of
        a BlockMask by default.
    visible : Tensor of bool, broadcast to (..., heads, n, m), optional
        What each query may see, padding for example; everything by default. A causal BlockMask excludes later keys
        in any case.
    scale : float, optional
        Factor of the scores; ``1 / sqrt(d)`` by default.

    Returns
    -------
    AttentionCertificate
        Of the renormalised truncated softmax in exact arithmetic. Its bounds are not made for the rounding of the
        attention's own output.

    Raises
    ------
    ValueError
        If shapes disagree, an entry is not finite, a query keeps no key, or blocks of keys are unknown.

    Examples
    --------
    >>> import torch
    >>> q, k, v = torch.randn(3, 1, 8, 4, generator=torch.Generator().manual_seed(0))
    >>> kept = torch.ones(8, 8, dtype=torch.bool).tril()
    >>> certificate = attention_error_certificate(q[None], k[None], v[None], kept)
    >>> print(certificate.check(q[None], k[None], v[None]).status)
    valid
    """
    check_tensors(q, k, v)
    _EVIDENCE.check("masses", masses)
    scale = scale_of(q, scale)
    kept, seen = _pairs(mask, visible, q, k)
    q, k, v = _double(q, k, v)
    scores = attention_scores(q, k, scale=scale)
    kept, _ = kept_and_dropped(scores, kept, seen)
    rounding = kept_error(q, _largest_norm(k, seen), scale, k.shape[-2], 1)
    if masses == "exact":
        ratio = log_dropped_ratio(scores, kept, visible=seen)
        error = truncation_error(scores, kept, v, visible=seen).norm(dim=-1)
    else:
        labels = _each_head(_labels_of(mask, labels), k.shape[-3])
        some = seen.any(-2).expand(k.shape[:-1])
        blocks, values = (KeyBlocks.from_keys(part, labels, key_mask=some, covariance=part is k) for part in (k, v))
        log_ratios = log_mass_bounds(q, blocks, masses=masses, scale=scale) - _log_sum(scores, kept)[..., None]
        log_ratios = log_ratios.masked_fill(~_with_a_member(blocks, seen & ~kept), -torch.inf)
        ratio = total(log_ratios)
        error = output_error_bound(log_ratios + rounding[..., None], _farthest(scores, kept, v, values))
    # Both this and its check compute two softmaxes in float64.
    dropped = (share(ratio, -4 * rounding) * (1 + 4 * rounding.clamp_max(1.0))).clamp_max(1.0)
    error = error + 8 * rounding * _largest_norm(v, seen)[..., None]
    certificate = AttentionCertificate(
        statement="",
        bound=float(error.max()),
        measured=None,
        status=Status.VALID,
        kept=kept,
        visible=seen.expand(scores.shape),
        scale=scale,
        dropped=dropped,
        error=error,
        dropped_max=float(dropped.max()),
    )
    return certificate.stated()


def _pairs(mask: BlockMask | Tensor, visible: Tensor | None, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """Return the kept and the visible pairs, of shapes that broadcast to (..., heads, n, m)."""
    n, m = q.shape[-2], k.shape[-2]
    seen = torch.ones(n, m, dtype=torch.bool, device=q.device)
    if isinstance(mask, BlockMask):
        if (mask.n_queries, mask.n_keys) != (n, m):
            raise ValueError(f"mask must be for {n} queries and {m} keys; got {mask.n_queries} and {mask.n_keys}")
        if mask.causal:
            seen = seen.tril(m - n)
        mask = mask.element_mask()
    return mask, seen if visible is None else seen & visible


def _labels_of(mask: BlockMask | Tensor, labels: Tensor | int | None) -> Tensor | int:
    """Return the block of each key."""
    if labels is not None:
        return labels
    if not isinstance(mask, BlockMask):
        raise ValueError("labels must say the block of each key where mask is no BlockMask; got None")
    return torch.argsort(mask.order_k, dim=-1) // mask.block[1]


def _each_head(labels: Tensor | int, heads: int) -> Tensor | int:
    """Return labels with one row for each head of queries, where they have one for each head of keys."""
    if isinstance(labels, int) or labels.dim() < 2 or labels.shape[-2] in (1, heads):
        return labels
    return labels.repeat_interleave(heads // labels.shape[-2], dim=-2)


def _double(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return all three in float64, with one head of keys for each head of queries."""
    check_tensors(q, k, v)
    group = q.shape[-3] // k.shape[-3]
    return q.double(), k.double().repeat_interleave(group, dim=-3), v.double().repeat_interleave(group, dim=-3)


def _largest_norm(vectors: Tensor, seen: Tensor) -> Tensor:
    """Return the largest norm of a key or value that some query may see, of shape (...)."""
    return lengths(vectors).masked_fill(~seen.any(-2), 0.0).amax(-1)


def _with_a_member(blocks: KeyBlocks, pairs: Tensor) -> Tensor:
    """Return for each query which blocks hold a key of one of the pairs, of shape (..., n, blocks)."""
    members = blocks.members.flatten(-2).clamp_min(0)
    index = members[..., None, :].expand(*pairs.shape[:-1], members.shape[-1])
    found = pairs.gather(-1, index).unflatten(-1, blocks.members.shape[-2:])
    return (found & (blocks.members >= 0)[..., None, :, :]).any(-1)


def _farthest(scores: Tensor, kept: Tensor, v: Tensor, values: KeyBlocks) -> Tensor:
    """Return bounds of the distance of each output to the values of each block, of shape (..., n, blocks)."""
    output = torch.softmax(scores.masked_fill(~kept, -torch.inf), dim=-1) @ v
    # Through products of matrices half of the digits would be lost.
    away = torch.cdist(output, values.mean, compute_mode="donot_use_mm_for_euclid_dist")
    return away + values.radius[..., None, :]


def _log_sum(scores: Tensor, chosen: Tensor) -> Tensor:
    return torch.logsumexp(scores.masked_fill(~chosen, -torch.inf), dim=-1)
