"""The claim that a learned gate is between selection without training and the oracle, on a real encoder."""

from functools import cache

import numpy as np

from sparsetheory.gpu import attention
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread
from sparsetheory.proofs_checks.sparse_attention.gates.texts import BLOCK, N_HELD_OUT, held_out_call, learned_gate
from sparsetheory.proofs_checks.verdicts import WithProbability
from sparsetheory.typing import Float64Array

_RULES = ("random", "mean-pooled", "gate", "oracle", "sink and nearest")
_BUDGETS = (2, 4, 8)


@cache
def kept_masses() -> dict[tuple[str, int], Float64Array]:
    """Return the kept mass of every held-out text, mean over heads and rows, by rule and number of blocks a row."""
    import torch

    call = held_out_call()
    q, k, scale = call.q, call.k, call.scale
    n = q.shape[2]
    with one_thread(), torch.no_grad():
        oracle = attention.oracle_scores(q, k, BLOCK, False, scale=scale)
        scores = {
            "random": attention.random_scores(oracle, 0),
            "mean-pooled": attention.mean_pooled_scores(q, k, BLOCK, False, scale=scale),
            "gate": learned_gate()(q, k),
            "oracle": oracle,
            "sink and nearest": attention.sink_window_scores(n, n, BLOCK, False),
        }
        mass = attention.block_mass(q, k, BLOCK, False, scale=scale)
        found = {}
        for rule in _RULES:
            for budget in _BUDGETS:
                mask = attention.select_blocks(scores[rule], n_blocks=budget, keep_diagonal=False, dense_last=0)
                found[rule, budget] = 1.0 - array(attention.dropped_block_mass(mass, mask).double().mean((1, 2)))
    return found


def _draw(rng: np.random.Generator, budget: float) -> tuple[int, int]:
    return int(budget), int(rng.integers(N_HELD_OUT))


def _ranking(instance: tuple[int, int]) -> Measurement:
    """Compare the kept mass of a text that the gate has not seen, by all rules, with as many blocks in every row.

    Sinks with the nearest blocks need no scores at all. They are shown beside the others, and promised nothing.
    """
    budget, text = instance
    kept = {rule: float(kept_masses()[rule, budget][text]) for rule in _RULES}
    return Measurement(
        kept["random"],
        kept["mean-pooled"],
        scale=1.0,
        extras={rule: kept[rule] for rule in ("gate", "oracle", "sink and nearest")},
        also=(("bound", "gate"), ("gate", "oracle")),
    )


def _no_need_to_learn(instance: tuple[int, int]) -> Measurement:
    """Hold mean queries and keys for as good as the gate."""
    budget, text = instance
    kept = kept_masses()
    return Measurement(float(kept["gate", budget][text]), float(kept["mean-pooled", budget][text]), scale=1.0)


gate_ranking = Claim(
    name="sparse_attention.gate_ranking",
    summary="On a sentence encoder, a gate keeps more attention than mean-pooled scores, and less than the oracle.",
    statement=r"\mathrm{mass}(\mathrm{random}) \le \mathrm{mass}(\bar q^\top \bar k) \le \mathrm{mass}(\mathrm{gate}) "
    r"\le \mathrm{mass}(\mathrm{oracle})",
    source=Source.measured("MiniLM, layer 2, texts of 256 tokens in blocks of 16, a gate of 200 steps"),
    verdict=WithProbability(0.9, margin=0.25),
    evaluate=_ranking,
    near_miss=_no_need_to_learn,
    sweep=Sweep(
        axis="blocks of 16 that a row keeps",
        values=tuple(map(float, _BUDGETS)),
        draw=_draw,
        trials=40,
        quick_trials=11,
        log="x",
        measured_label="random",
        bound_label="mean-pooled scores",
        y_label="kept mass",
    ),
)
