"""What each term of the loss of distillation does to random stable teachers."""

from dataclasses import dataclass

import numpy as np

from sparsetheory.proofs_checks.claim import Claim, Measurement, Reversed, Source, Sweep
from sparsetheory.proofs_checks.sparse_representation.state_space.imitation import Imitation
from sparsetheory.proofs_checks.sparse_representation.state_space.systems import FORMS
from sparsetheory.proofs_checks.verdicts import WithProbability

_BY_STATES, _BY_OUTPUTS = (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
# What training by states leaves of the error of states, at most, by form.
_LEFT = {"shifted": 0.45, "paper": 0.65}
_SOURCE = Source.measured("random stable teachers of 16 states, students of rank 4, means of 3 teachers")


def _forms(rng: np.random.Generator, rank: float) -> dict[str, Imitation]:
    seed = int(rng.integers(2**31))
    return {form: Imitation(seed, form, rank=int(rank)) for form in FORMS}


def _aligned(forms: dict[str, Imitation], *, swapped: bool) -> Measurement:
    """Compare errors of states after training by states with those before; and both losses with each other."""
    ratios, chains = {}, []
    for form, imitation in forms.items():
        by_states, by_outputs = imitation.train((_BY_STATES, _BY_OUTPUTS))
        if swapped:
            by_states, by_outputs = by_outputs, by_states
        ratios[form] = by_states.states / imitation.start().states
        chains.append({f"states by states, {form}": by_states.states, f"states by outputs, {form}": by_outputs.states})
        chains.append(
            {f"outputs by outputs, {form}": by_outputs.outputs, f"outputs by states, {form}": by_states.outputs}
        )
    found = Measurement(ratios["shifted"], _LEFT["shifted"], 1.0)
    found = found.and_chain({"ratio of the paper's form": ratios["paper"], "0.65": _LEFT["paper"]})
    for chain in chains:
        found = found.and_chain(chain)
    return found


imitated_states = Claim(
    name="sparse_representation.imitated_states",
    summary="The loss of states aligns states, that of outputs outputs, in both forms.",
    statement=r"e_h(L_h) < 0.45\, e_h(\text{start}) \text{ shifted},\ < 0.65 \text{ paper}; \quad"
    r" e_h(L_h) < e_h(L_y),\ e_y(L_y) < e_y(L_h)",
    source=_SOURCE,
    verdict=WithProbability(0.75, margin=0.25),
    evaluate=lambda forms: _aligned(forms, swapped=False),
    near_miss=lambda forms: _aligned(forms, swapped=True),
    sweep=Sweep(
        axis="rank",
        values=(4.0,),
        draw=_forms,
        trials=20,
        quick_trials=7,
        measured_label="error of states, shifted form",
        bound_label="0.45",
        y_label="error of states relative to the start",
    ),
)


@dataclass(frozen=True)
class _Starts:
    """Errors of both forms before training."""

    forms: dict[str, Imitation]

    def measurement(self) -> Measurement:
        shifted, paper = (self.forms[form].start() for form in FORMS)
        found = Measurement(shifted.states, paper.states, paper.states)
        return found.and_chain({"outputs, shifted": shifted.outputs, "outputs, paper": paper.outputs})


better_start = Claim(
    name="sparse_representation.better_start",
    summary="Students in the shifted form start nearer to their teachers, in states and in outputs.",
    statement=r"e_h^{\text{shifted}} < e_h^{\text{paper}}, \quad e_y^{\text{shifted}} < e_y^{\text{paper}}",
    source=_SOURCE,
    verdict=WithProbability(0.75, margin=0.25),
    evaluate=lambda forms: _Starts(forms).measurement(),
    near_miss=Reversed(),
    sweep=Sweep(
        axis="rank",
        values=(2.0, 4.0, 6.0),
        draw=_forms,
        trials=20,
        quick_trials=7,
        quick_values=(4.0,),
        measured_label="shifted form",
        bound_label="paper's form",
        y_label="error of states relative to the states",
    ),
)
