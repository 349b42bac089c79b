"""What each term of the loss of distillation does to random stable teachers."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sparsetheory.proofs_checks.claim import Claim, Measurement, Reversed, Source, Sweep
from sparsetheory.proofs_checks.sparse_representation.state_space.imitation import Errors, Imitation
from sparsetheory.proofs_checks.sparse_representation.state_space.systems import FORMS
from sparsetheory.proofs_checks.verdicts import WithProbability

_BY_STATES, _BY_OUTPUTS = (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
# What training by states leaves of the error of states, at most, by form.
_LEFT = {"shifted": 0.45, "paper": 0.7}
_TEACHERS, _STEPS = 3, 100
_SOURCE = Source.measured("random stable teachers of 16 states, means of 3 teachers")


def _forms(rng: np.random.Generator, rank: float) -> dict[str, Imitation]:
    seed = int(rng.integers(2**31))
    return {form: Imitation(seed, form, n_teachers=_TEACHERS, rank=int(rank)) for form in FORMS}


@dataclass(frozen=True, eq=False)
class _Trained:
    """Teachers, and students of one form that were trained by each loss; a claim and its near miss read them once."""

    imitation: Imitation

    @cached_property
    def errors(self) -> tuple[Errors, Errors, Errors]:
        """Errors at the start, after training by states, and after training by outputs."""
        by_states, by_outputs = self.imitation.train((_BY_STATES, _BY_OUTPUTS), _STEPS)
        return self.imitation.start(), by_states, by_outputs


def _one_form(rng: np.random.Generator, rank: float) -> _Trained:
    form = FORMS[int(rng.integers(2))]
    return _Trained(Imitation(int(rng.integers(2**31)), form, n_teachers=_TEACHERS, rank=int(rank)))


def _aligned(trained: _Trained, *, swapped: bool) -> Measurement:
    """Divide errors of states after training by what may be left of them, and errors of one loss by the other's."""
    start, by_states, by_outputs = trained.errors
    if swapped:
        by_states, by_outputs = by_outputs, by_states
    others = {
        "over those of the other loss": by_states.states / by_outputs.states,
        "errors of outputs, over those of the other loss": by_outputs.outputs / by_states.outputs,
    }
    left = by_states.states / (_LEFT[trained.imitation.form] * start.states)
    return Measurement(left, 1.0, extras=others, also=tuple((name, "bound") for name in others))


imitated_states = Claim(
    name="sparse_representation.imitated_states",
    summary="The loss of states aligns states, that of outputs outputs, in either form.",
    statement=r"e_h(L_h) < 0.45\, e_h(\text{start}) \text{ shifted},\ < 0.7 \text{ paper}; \quad"
    r" e_h(L_h) < e_h(L_y),\ e_y(L_y) < e_y(L_h)",
    source=_SOURCE,
    verdict=WithProbability(0.75, margin=0.25),
    evaluate=lambda trained: _aligned(trained, swapped=False),
    near_miss=lambda trained: _aligned(trained, swapped=True),
    sweep=Sweep(
        axis="rank",
        values=(4.0, 6.0, 8.0),
        draw=_one_form,
        trials=40,
        quick_trials=7,
        quick_values=(4.0,),
        measured_label="errors of states over what may be left",
        bound_label="as large",
        y_label="ratio of errors, after training",
    ),
)


def _starts(forms: dict[str, Imitation]) -> Measurement:
    shifted, paper = (forms[form].start() for form in FORMS)
    found = Measurement(shifted.states, paper.states, paper.states)
    return found.and_chain({"outputs, shifted": shifted.outputs, "outputs, paper": paper.outputs})


better_start = Claim(
    name="sparse_representation.better_start",
    summary="Students in the shifted form start nearer to their teachers, in states and in outputs.",
    statement=r"e_h^{\text{shifted}} < e_h^{\text{paper}}, \quad e_y^{\text{shifted}} < e_y^{\text{paper}}",
    source=_SOURCE,
    verdict=WithProbability(0.75, margin=0.25),
    evaluate=_starts,
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
