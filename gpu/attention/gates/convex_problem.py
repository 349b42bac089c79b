"""Fitting a gate without a map of queries is multinomial logistic regression: its value, gradient and duality gap.

Row r of the block masses has scores ``s_r = A_r W`` that are linear in the map of keys W, and a target ``t_r`` on the
simplex. With ``h(p) = sum_j p_j log p_j`` the divergence of the row is

    KL(t_r | softmax(s_r)) = log sum_j exp(s_rj) - <t_r, s_r> + h(t_r),

convex in W. The objective is the mean over N rows plus a penalty, ``alpha / 2 |W|^2`` or ``alpha |W|_1``.

Duality. The conjugate of the divergence, a function of the scores, is ``h(u + t_r) - h(t_r)`` where ``u + t_r`` lies
on the simplex, and infinite elsewhere. So for any factor c from 0 to 1 the vectors ``u_r = c (p_r - t_r)``, with p_r
the softmax of the scores, may enter the dual problem, as far as the conjugate of the penalty is finite. With g the
gradient of the mean divergence, ``g = sum_r A_r' (p_r - t_r) / N``, this gives:

- ridge: with c = 1 the gap between primal and dual value is ``|g + alpha W|^2 / (2 alpha)``. It is also what strong
  convexity says of any function with this gradient.
- lasso: the dual vectors must satisfy ``|c g|_inf <= alpha``, so ``c = min(1, alpha / |g|_inf)``, for each head by
  itself, and the dual value is ``sum_r (h(t_r) - h(t_r + c (p_r - t_r))) / N``.
"""

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from sparsetheory.gpu.attention.gates.attn_gate import AttnGate
from sparsetheory.gpu.attention.gates.examples import GateExample
from sparsetheory.gpu.attention.gates.losses import kl_rows
from sparsetheory.gpu.attention.gates.pooling import PooledBlocks

__all__ = ["GatePenalty", "GateProblem", "GateState"]

GatePenalty = Literal["ridge", "lasso"]


@dataclass(frozen=True, eq=False)
class GateState:
    """The problem at one map of keys.

    Parameters
    ----------
    loss : float
        Mean divergence of the rows, in nats.
    objective : float
        The loss and the penalty.
    gradient : Tensor
        Gradient of the loss alone.
    gap : float
        No map of keys has an objective below ``objective - gap``.
    """

    loss: float
    objective: float
    gradient: Tensor
    gap: float


class GateProblem:
    """The objective of a gate on recorded examples, in double precision.

    Parameters
    ----------
    gate : AttnGate
        Without a map of queries. It is copied.
    examples : sequence of GateExample
    penalty : {"ridge", "lasso"}
    alpha : float
        Strength of the penalty.
    skip_rows : float
        Share of the block rows, the first ones, that are left out.
    """

    def __init__(
        self, gate: AttnGate, examples: Sequence[GateExample], penalty: GatePenalty, alpha: float, skip_rows: float
    ) -> None:
        self.gate = deepcopy(gate).double().requires_grad_(False)
        self.penalty, self.alpha = penalty, alpha
        self._pooled = [_doubled(example.pooled) for example in examples]
        self._targets = []
        for example in examples:
            target = example.target.double().clone()
            target[..., : math.floor(skip_rows * target.shape[-2]), :] = 0.0
            # Rounding of single precision is taken off: the dual needs rows on the simplex.
            self._targets.append(target / target.sum(-1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny))
        self.n_rows = sum(int((target.sum(-1) > 0).sum()) for target in self._targets)
        if not self.n_rows:
            raise ValueError("examples must hold a row with a target; got none")

    def penalised(self, weight: Tensor) -> float:
        """Return the penalty of a map of keys."""
        if self.penalty == "ridge":
            return self.alpha / 2 * float(weight.square().sum())
        return self.alpha * float(weight.abs().sum())

    def loss(self, weight: Tensor) -> Tensor:
        """Return the mean divergence of the rows at a map of keys, with its graph."""
        divergences = [kl_rows(logits, target).sum() for logits, target in self._rows(weight)]
        return torch.stack(divergences).sum() / self.n_rows

    def state(self, weight: Tensor) -> GateState:
        """Return value, gradient and duality gap at a map of keys."""
        free = weight.detach().clone().requires_grad_()
        with torch.enable_grad():
            loss = self.loss(free)
            (gradient,) = torch.autograd.grad(loss, free)
        value, weight = float(loss.detach()), weight.detach()
        objective = value + self.penalised(weight)
        return GateState(value, objective, gradient, self._gap(weight, gradient, objective))

    def _gap(self, weight: Tensor, gradient: Tensor, objective: float) -> float:
        if self.penalty == "ridge":
            return float((gradient + self.alpha * weight).square().sum()) / (2 * self.alpha)
        # Heads share no weight and no row, so each has its own factor.
        share = (self.alpha / gradient.abs().amax((1, 2))).clamp(max=1.0)[:, None, None]
        dual = 0.0
        for logits, target in self._rows(weight):
            blind = (logits == -torch.inf).all(-1, keepdim=True)
            p = torch.softmax(logits.masked_fill(blind, 0.0), dim=-1)
            mixed = torch.where(target.sum(-1, keepdim=True) > 0, target + share * (p - target), 0.0)
            dual += float((torch.xlogy(target, target) - torch.xlogy(mixed, mixed)).sum())
        return max(objective - dual / self.n_rows, 0.0)

    def _rows(self, weight: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return scores and targets of all examples at a map of keys."""
        pairs = zip(self._pooled, self._targets, strict=True)
        return [(self.gate.score(pooled, k_map=weight), target) for pooled, target in pairs]


def _doubled(pooled: PooledBlocks) -> PooledBlocks:
    rotary = None if pooled.rotary is None else (pooled.rotary[0].double(), pooled.rotary[1].double())
    return replace(pooled, q=pooled.q.double(), k=pooled.k.double(), rotary=rotary)
