"""Claims about masks that change: exact counts whatever the scores, and weights that do not move by a bit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import core
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import BoolArray, Float64Array

_SCORES = np.array([-np.inf, -1.0, 0.0, 0.0, 1.0, np.inf])


@dataclass(frozen=True, eq=False)
class Round:
    """A mask, scores for dropping and growing, and how many are to move."""

    mask: BoolArray
    drop: Float64Array
    grow: Float64Array
    n_drop: int
    n_grow: int | None
    frozen: BoolArray
    forbid: BoolArray
    allow_regrow: bool

    def rewire(self) -> BoolArray:
        """Return the new mask."""
        scores = tensor(self.mask), tensor(self.drop), tensor(self.grow)
        frozen, forbid = tensor(self.frozen), tensor(self.forbid)
        options = {"frozen": frozen, "forbid": forbid, "allow_regrow": self.allow_regrow}
        return array(core.rewire(*scores, self.n_drop, self.n_grow, **options).mask)


@st.composite
def _rounds(draw: st.DrawFn) -> Round:
    size = draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(seeds))
    tied = draw(st.booleans())
    drop, grow = (rng.choice(_SCORES, size) if tied else rng.standard_normal(size) for _ in range(2))
    shares = draw(st.tuples(*[st.sampled_from([0.0, 0.3, 0.7, 1.0])] * 3))
    mask, frozen, forbid = (rng.random(size) < share for share in shares)
    n_grow = draw(st.one_of(st.none(), st.integers(0, 12)))
    return Round(mask, drop, grow, draw(st.integers(0, 12)), n_grow, frozen, forbid, draw(st.booleans()))


def _places(case: Round, kept: set[int], leaving: Sequence[int]) -> list[int]:
    taken = kept if case.allow_regrow else kept | set(leaving)
    return [i for i in range(case.mask.size) if i not in taken and not case.forbid[i]]


def _by_hand(case: Round) -> BoolArray:
    """Return the new mask by the words of the rule: sorted lists, the lower index first among equals."""
    active = set(np.flatnonzero(case.mask).tolist())
    leaving = sorted((i for i in active if not case.frozen[i]), key=lambda i: (case.drop[i], i))[: case.n_drop]
    if case.n_grow is None:
        # As many as there are places for, once they have left.
        while len(_places(case, active - set(leaving), leaving)) < len(leaving):
            leaving = leaving[:-1]
    kept = active - set(leaving)
    places = sorted(_places(case, kept, leaving), key=lambda i: (-case.grow[i], i))
    after = kept | set(places[: len(leaving) if case.n_grow is None else case.n_grow])
    return np.isin(np.arange(case.mask.size), sorted(after))


def _counts(case: Round) -> Measurement:
    """Count the entries in which the new mask differs from the rule, and what a round without `n_grow` adds or loses.

    Candidates are listed first and then sorted stably, so that no score, however large, and no tie lets an entry in
    that may not be chosen, and the count is that of the list.
    """
    after = case.rewire()
    lost = abs(int(after.sum()) - int(case.mask.sum())) if case.n_grow is None else 0
    return Measurement(float((after != _by_hand(case)).sum() + lost), 0.0, scale=1.0)


def _by_a_threshold(case: Round) -> Measurement:
    """Drop everything up to the score of the last one to drop."""
    movable = case.mask & ~case.frozen
    count = min(case.n_drop, int(movable.sum()))
    cut = np.sort(case.drop[movable])[count - 1] if count else -np.inf
    dropped = movable & (case.drop <= cut) if count else np.zeros_like(movable)
    return Measurement(float(abs(int(dropped.sum()) - count)), 0.0, scale=1.0)


rewire_counts = Claim(
    name="dynamic_sparsity.rewire_counts",
    summary="A round of dropping and growing moves exactly the counts it is told, with ties, infinities and barred"
    " entries.",
    statement=r"|M'| = |M| - k_{\text{drop}} + k_{\text{grow}}, \quad"
    r" \text{the smallest leave, the largest come, ties to the lowest index}",
    source=Source.ours("one rule of rewiring for all methods of dynamic sparsity"),
    verdict=Always(rtol=0.0),
    instances=_rounds,
    evaluate=_counts,
    near_miss=_by_a_threshold,
)


@dataclass(frozen=True, eq=False)
class Training:
    """A parameter, the gradients of some steps, an optimiser and the steps after which a part is frozen."""

    start: Float64Array
    gradients: Float64Array
    frozen: BoolArray
    optimizer: str
    options: dict[str, Any]
    free_steps: int

    def moved(self, *, by_gradients: bool = False) -> int:
        """Train, and return how many frozen entries have other bits at the end than when they were frozen."""
        import torch

        parameter = torch.nn.Parameter(tensor(self.start))
        optimizer = getattr(torch.optim, self.optimizer)([parameter], **self.options)
        frozen, before = tensor(self.frozen), None
        for step, gradient in enumerate(self.gradients):
            parameter.grad = tensor(gradient)
            if step == self.free_steps:
                before = parameter.detach().clone()
                if not by_gradients:
                    core.UpdateGate(optimizer, {parameter: frozen})
            if by_gradients and before is not None:
                parameter.grad.masked_fill_(frozen, 0.0)
            optimizer.step()
        assert before is not None
        bits = [array(values).view(np.int64)[self.frozen] for values in (parameter, before)]
        return int((bits[0] != bits[1]).sum())


_OPTIMIZERS = (
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "foreach": True}),
    ("Adam", {"lr": 0.01, "weight_decay": 1e-2, "amsgrad": True}),
    ("AdamW", {"lr": 0.01, "weight_decay": 1e-2}),
    ("AdamW", {"lr": 0.01, "fused": True}),
    ("RMSprop", {"lr": 0.01, "momentum": 0.5, "centered": True}),
    ("Adagrad", {"lr": 0.1, "weight_decay": 1e-2}),
    ("NAdam", {"lr": 0.01}),
)


@st.composite
def _trainings(draw: st.DrawFn) -> Training:
    rng = np.random.default_rng(draw(seeds))
    size, free, steps = draw(st.integers(1, 6)), draw(st.integers(0, 4)), draw(st.integers(1, 8))
    start = rng.standard_normal(size) * rng.choice([1.0, 1e-8, -0.0], size)
    gradients = rng.standard_normal((free + steps, size)) * 10.0 ** rng.integers(-4, 5, size)
    optimizer, options = draw(st.sampled_from(_OPTIMIZERS))
    return Training(start, gradients, rng.random(size) < 0.6, optimizer, options, free)


def _gate(training: Training) -> Measurement:
    """Count frozen entries that an optimiser has moved by a bit.

    What is gated is the update, not the gradient: the entries are copied before a step and written back after it. So
    momentum, weight decay and moments of earlier steps have nothing to act on.
    """
    return Measurement(float(training.moved()), 0.0, scale=1.0)


def _zero_gradients(training: Training) -> Measurement:
    """Set the gradients of the frozen entries to zero instead."""
    return Measurement(float(training.moved(by_gradients=True)), 0.0, scale=1.0)


update_gate = Claim(
    name="dynamic_sparsity.update_gate",
    summary="Gated entries keep their bits under every optimiser, whatever momentum and weight decay want.",
    statement=r"w_{t+1}[\text{frozen}] = w_t[\text{frozen}] \text{ bit by bit, for all } t",
    source=Source.ours("freezing by gating the update"),
    verdict=Always(rtol=0.0),
    instances=_trainings,
    evaluate=_gate,
    near_miss=_zero_gradients,
)
