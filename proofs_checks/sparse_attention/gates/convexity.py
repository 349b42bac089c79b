"""Claims about the fit of a gate: convex without a map of queries, with a gap that is true for any gate."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import attention
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread, tensor
from sparsetheory.proofs_checks.sparse_attention.gates.texts import learning_texts
from sparsetheory.proofs_checks.verdicts import Always


@dataclass(frozen=True)
class Fit:
    """Random queries and keys with their block maxima, and a scale of the weights of gates."""

    n: int
    block: int
    causal: bool
    turned: bool
    spread: float
    seed: int

    def example(self) -> Any:
        """Return what a gate learns from."""
        rng = np.random.default_rng(self.seed)
        q, k = (tensor(part) for part in rng.standard_normal((2, 1, 2, self.n, 4)))
        rotary = attention.rotary_tables(tensor(np.arange(self.n))[None], 4) if self.turned else None
        rotary = rotary and (rotary[0].double(), rotary[1].double())
        pooled = attention.pool_attention(q, k, self.block, causal=self.causal, rotary=rotary)
        return attention.GateExample(pooled, attention.block_max_attention(3.0 * q, k, self.block, self.causal))

    def gate(self, seed: int, *, force_q_map: bool) -> Any:
        """Return a gate with random weights."""
        gate = attention.AttnGate(
            4, 2, 2, self.block, causal=self.causal, force_q_map=force_q_map, generator=self.seed + seed
        ).double()
        for weight in gate.parameters():
            weight.data *= self.spread
        return gate

    def loss(self, gate: Any, example: Any) -> float:
        """Return the mean divergence of the rows."""
        return float(attention.gate_loss(gate.score(example.pooled), example.target, "kl_row").detach())


def _fits() -> st.SearchStrategy[Fit]:
    return st.builds(
        Fit,
        st.integers(2, 20),
        st.integers(1, 5),
        st.booleans(),
        st.booleans(),
        st.sampled_from([0.1, 1.0, 5.0]),
        seeds,
    )


def _chord(fit: Fit, *, force_q_map: bool) -> Measurement:
    example = fit.example()
    ends = [fit.gate(seed, force_q_map=force_q_map) for seed in (1, 2)]
    middle = fit.gate(0, force_q_map=force_q_map)
    share = (fit.seed % 9 + 1) / 10
    for weight, first, second in zip(*(gate.parameters() for gate in (middle, *ends)), strict=True):
        weight.data = share * first.data + (1 - share) * second.data
    values = [fit.loss(gate, example) for gate in (middle, *ends)]
    return Measurement(values[0], share * values[1] + (1 - share) * values[2], scale=1.0 + max(values))


def _convex(fit: Fit) -> Measurement:
    """Compare the loss between two gates with the chord.

    Scores are linear in the map of keys, with or without rotary positions, and ``log sum exp`` is convex.
    """
    return _chord(fit, force_q_map=False)


def _with_a_map_of_queries(fit: Fit) -> Measurement:
    """Do the same with gates that map queries too: scores are products of two weights then."""
    return _chord(fit, force_q_map=True)


gate_convex = Claim(
    name="sparse_attention.gate_convex",
    summary="Without a map of queries the loss of a gate is convex in its weights; with one it is not.",
    statement=r"L(\theta W + (1 - \theta) W') \le \theta L(W) + (1 - \theta) L(W'), \quad "
    r"L(W) = \frac{1}{R} \sum_r \mathrm{KL}(G_r \| \mathrm{softmax}(A_r W))",
    source=Source.ours("the gate as multinomial logistic regression on products of pooled queries and keys"),
    verdict=Always(1e-12),
    instances=_fits,
    evaluate=_convex,
    near_miss=_with_a_map_of_queries,
)

# Texts and heads of layer 2 of the encoder that take part, and the ridge.
_TEXTS, _HEADS, _ALPHA = 4, 2, 1e-3
_TOL = 1e-6


@cache
def _few_heads() -> list[Any]:
    return [learning_texts(_TEXTS, _HEADS)]


@cache
def _optimum() -> Any:
    gate = attention.AttnGate(32, _HEADS, _HEADS, 16, causal=False)
    with one_thread():
        return attention.fit_gate_convex(gate, _few_heads(), _ALPHA, tol=_TOL)


@cache
def _by_adam(steps: int, start: int) -> Any:
    gate = attention.AttnGate(32, _HEADS, _HEADS, 16, causal=False, generator=start)
    with one_thread():
        attention.train_gate(gate, _few_heads(), steps, 1e-2, start, reduction="kl_row", skip_rows=0.0, alpha=_ALPHA)
        return attention.gate_gap(gate, _few_heads(), _ALPHA)


def _excess(instance: tuple[int, int]) -> Measurement:
    """Compare a gate by Adam with the optimum by quasi-Newton steps, both on the same texts.

    The objective has a ridge, so it is strongly convex, and its distance to the optimum is at most the squared norm of
    its gradient over twice the strength of the ridge. The gap of the quasi-Newton fit itself is added on both sides.
    """
    steps, start = instance
    best, state = _optimum(), _by_adam(steps, start)
    lower = best.objective - best.gap
    return Measurement(state.objective - lower, state.gap + best.gap, scale=1.0).and_chain(
        {"optimum, certified from below": lower, "objective of Adam": state.objective}
    )


gate_optimum = Claim(
    name="sparse_attention.gate_optimum",
    summary="A distilled gate is above the optimum of the convex problem, and by no more than its gap says.",
    statement=r"0 \le F(W) - \min F \le \frac{\|\nabla F(W)\|^2}{2 \alpha}, \quad F = L + \tfrac{\alpha}{2} \|W\|^2",
    source=Source.ours("strong convexity; equal to the duality gap at the softmax of the gate"),
    verdict=Always(1e-9),
    instances=lambda: st.tuples(st.sampled_from([50, 200]), st.integers(0, 1)),
    evaluate=_excess,
    # The gap of a ridge of four times the strength.
    near_miss=0.25,
    sweep=Sweep(
        axis="steps of Adam",
        values=(50.0, 200.0, 1000.0),
        quick_values=(50.0, 200.0),
        draw=lambda rng, steps: (int(steps), int(rng.integers(2))),
        trials=4,
        quick_trials=2,
        log="xy",
        measured_label="objective above the optimum",
        bound_label="squared gradient / 2 alpha",
        y_label="nats a row",
    ),
)
