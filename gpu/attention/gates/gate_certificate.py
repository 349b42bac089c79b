"""Evidence that a gate is at the optimum of its convex problem."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from sparsetheory.certificates import Certificate, Status
from sparsetheory.gpu.attention.gates.convex_problem import GatePenalty, GateProblem, GateState
from sparsetheory.gpu.attention.gates.examples import GateExample
from sparsetheory.gpu.attention.gates.rotary import Rotary
from sparsetheory.typing import Float64Array

__all__ = ["GateCertificate", "certify_gate"]

# Sums in double precision over the rows, in nats.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class GateCertificate(Certificate):
    """No map of keys has an objective that is lower than that of this one by more than `bound`.

    Parameters
    ----------
    statement, bound, measured, status, reason
        As in :class:`~sparsetheory.certificates.Certificate`; `measured` is the duality gap, in nats.
    k_map : Tensor of shape (heads, pooled features, gate_dim)
        The map of keys, in double precision.
    objective : float
        Mean divergence of the rows plus the penalty.
    alpha : float
        Strength of the penalty.
    penalty : {"ridge", "lasso"}
    skip_rows : float
        Share of the first block rows that were left out.
    """

    k_map: Tensor = field(kw_only=True)
    objective: float = field(kw_only=True)
    alpha: float = field(kw_only=True)
    penalty: GatePenalty = field(kw_only=True)
    skip_rows: float = field(kw_only=True)

    TERMS: ClassVar[tuple[str, ...]] = ("objective", "alpha", "penalty", "skip_rows")

    def promise(self) -> str:
        """Return the guarantee in words."""
        return f"no gate without a map of queries has an objective lower by more than {self.bound:.3g}"

    def check(self, examples: Sequence[GateExample], **options: Any) -> "GateCertificate":
        """Recompute objective and gap on arrays, one text and head after the other, with gradients by hand.

        Parameters
        ----------
        examples : sequence of GateExample
            What the gate was fitted on.
        **options
            None are known.

        Returns
        -------
        GateCertificate
            With a fresh `measured`, `status` and `reason`.
        """
        if options:
            raise TypeError(f"options must be empty; got {', '.join(options)}")
        weights = self.k_map.cpu().numpy()
        loss, dual_terms, gradient = _by_hand(weights, examples, self.skip_rows)
        if self.penalty == "ridge":
            objective = loss + self.alpha / 2 * float(np.square(weights).sum())
            gap = float(np.square(gradient + self.alpha * weights).sum()) / (2 * self.alpha)
        else:
            objective = loss + self.alpha * float(np.abs(weights).sum())
            shares = np.minimum(1.0, self.alpha / np.maximum(np.abs(gradient).max((1, 2)), np.finfo(float).tiny))
            dual = [_entropy(t) - _entropy(t + shares[head] * (p - t)) for head, t, p in dual_terms]
            gap = objective - float(np.mean(dual))
        reason = ""
        if abs(objective - self.objective) > _ROUNDING * max(1.0, abs(objective)):
            reason = f"the objective is {objective:.9g}"
        status = Status.of(not reason and gap <= self.bound + _ROUNDING)
        return replace(self, measured=max(gap, 0.0), status=status, reason=reason).unless_misstated()


def certify_gate(
    problem: GateProblem, weight: Tensor, state: GateState, tol: float, skip_rows: float
) -> GateCertificate:
    """Return the certificate of a map of keys."""
    return GateCertificate(
        statement="",
        bound=tol,
        measured=state.gap,
        status=Status.of(state.gap <= tol),
        reason="" if state.gap <= tol else "the iterations ended before the gap was reached",
        k_map=weight,
        objective=state.objective,
        alpha=problem.alpha,
        penalty=problem.penalty,
        skip_rows=skip_rows,
    ).stated()


Terms = list[tuple[int, Float64Array, Float64Array]]


def _by_hand(
    weights: Float64Array, examples: Sequence[GateExample], skip_rows: float
) -> tuple[float, Terms, Float64Array]:
    """Return the mean divergence; head, target and softmax of every row; the gradient of the mean."""
    losses, terms, gradient = [], [], np.zeros_like(weights)
    for example in examples:
        pooled = example.pooled
        q, k = (part.double().cpu().numpy() for part in (pooled.q, pooled.k))
        target = example.target.double().cpu().numpy()
        visible = np.broadcast_to(pooled.visible.cpu().numpy(), target.shape)
        group = q.shape[1] // k.shape[1]
        for text, head in np.ndindex(*target.shape[:2]):
            turns = _turns(pooled.rotary, text, weights.shape[-1], max(target.shape[2:]))
            keys = k[text, head // group]
            for row in range(int(np.floor(skip_rows * target.shape[2])), target.shape[2]):
                t, seen = target[text, head, row], visible[text, head, row]
                if t.sum() == 0:
                    continue
                t = t / t.sum()
                # The turns of query and keys, all on the side of the query: one vector for each block of keys.
                query = np.stack([turn.T @ (turns[row] @ q[text, head, row]) for turn in turns[: len(keys)]])
                scores = np.einsum("jd,jf,fd->j", query, keys, weights[head]) / np.sqrt(weights.shape[-1])
                p = np.exp(scores - scores[seen].max()) * seen
                log_sum = np.log(p.sum()) + scores[seen].max()
                p /= p.sum()
                losses.append(log_sum - float(t[seen] @ scores[seen]) + _entropy(t))
                terms.append((head, t, p))
                gradient[head] += np.einsum("j,jf,jd->fd", p - t, keys, query) / np.sqrt(weights.shape[-1])
    return float(np.mean(losses)), terms, gradient / len(losses)


def _turns(rotary: Rotary | None, text: int, width: int, n_blocks: int) -> Float64Array:
    """Return the matrices that turn a vector by the position of each block; the identity without positions."""
    turns = np.tile(np.eye(width), (n_blocks, 1, 1))
    if rotary is None:
        return turns
    cosine, sine = (part[text if len(part) > 1 else 0].double().cpu().numpy() for part in rotary)
    n_turned = cosine.shape[-1]
    for i in range(n_turned):
        other = (i + n_turned // 2) % n_turned
        turns[:, i, i] = cosine[:, i]
        turns[:, i, other] = -sine[:, i] if i < n_turned // 2 else sine[:, i]
    return turns


def _entropy(p: Float64Array) -> float:
    """Return ``sum p log p``; not positive."""
    positive = p[p > 0]
    return float(positive @ np.log(positive))
