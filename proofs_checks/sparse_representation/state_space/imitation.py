"""Students of several random teachers that train side by side, each by losses of its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sparsetheory.gpu import representation
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.sparse_representation.state_space.systems import random_matrix

__all__ = ["Errors", "Imitation", "Weights"]

_STATES, _CHANNELS, _STEP, _LENGTH, _SEQUENCES = 16, 4, 0.1, 48, 16
_RATE = 0.01

Weights = Sequence[float | Callable[[int], float]]


@dataclass(frozen=True)
class Errors:
    """Errors on sequences that nobody trained on, relative to states and outputs of the teacher; means over teachers.

    Parameters
    ----------
    states, outputs : float
    """

    states: float
    outputs: float


@dataclass(frozen=True)
class Imitation:
    """Random teachers of 16 states with white noise as inputs, and students of a rank.

    Inputs are scaled so that the first step changes states by about 1.

    Parameters
    ----------
    seed : int
    form : str
        Of the students.
    kind : str
        Of the matrices.
    n_teachers : int
    rank : int
    """

    seed: int
    form: str
    kind: str = "random stable"
    n_teachers: int = 3
    rank: int = 4

    def start(self) -> Errors:
        """Return the errors of the students before training."""
        return self.train(((0.0, 0.0, 1.0),), 0)[0]

    def train(self, losses: Sequence[Weights], n_steps: int = 80, compare: str = "factors") -> list[Errors]:
        """Train a student of each teacher by each loss, all at once by Adam, and return the errors by loss.

        Parameters
        ----------
        losses : sequence of three float or schedules
            Weights of factors, states and outputs.
        n_steps : int
        compare : str
            How factors are compared.
        """
        import torch

        with one_thread():
            teachers, students, x = self.drawn()
            wanted = [_gathered(teachers, students, part, len(losses)) for part in x]
            # Terms that no loss weighs are not computed.
            used = [index for index in range(3) if any(weights[index] for weights in losses)]
            terms = [tuple(float(index == other) for other in range(3)) for index in used]
            copies = [_student_losses()(student, terms, compare) for student in students * len(losses)]
            parameters, buffers = torch.func.stack_module_state(copies)
            adam = torch.optim.Adam(parameters.values(), lr=_RATE)

            def run(own: Any, fixed: Any, *data: Any) -> Any:
                return torch.func.functional_call(copies[0], (own, fixed), data)

            for step in range(n_steps):
                adam.zero_grad()
                values = [[_at(weights[index], step) for index in used] for weights in losses]
                rows = torch.tensor(values).repeat_interleave(self.n_teachers, 0)
                found, *_ = torch.func.vmap(run)(parameters, buffers, *wanted[0])
                (rows * found).sum().backward()
                adam.step()
            with torch.no_grad():
                _, outputs, states = torch.func.vmap(run)(parameters, buffers, *wanted[1])
            by_state, by_output = (
                ((own - other).flatten(1).norm(dim=1) / other.flatten(1).norm(dim=1)).view(len(losses), -1).mean(1)
                for own, other in ((states, wanted[1][2]), (outputs, wanted[1][1]))
            )
        return [Errors(*pair) for pair in zip(by_state.tolist(), by_output.tolist(), strict=True)]

    def drawn(self) -> tuple[list[Any], list[Any], Any]:
        """Return teachers, students, and sequences to train on and to judge by, in single precision."""
        import torch

        teachers, students = [], []
        source = torch.Generator().manual_seed(self.seed)
        for _ in range(self.n_teachers):
            A = random_matrix(self.kind, _STATES, source).float()
            B = torch.randn(_STATES, _CHANNELS, generator=source) / _STEP
            C = torch.randn(_CHANNELS, _STATES, generator=source)
            teachers.append(representation.DenseSSM(A, B, C, _STEP))
            students.append(
                representation.LowRankSSM.from_dense(A, B, C, self.rank, self.form, step=_STEP, on_unstable="keep")
            )
        return teachers, students, torch.randn(2, self.n_teachers, _SEQUENCES, _LENGTH, _CHANNELS, generator=source)


def _at(weight: Any, step: int) -> float:
    return float(weight(step) if callable(weight) else weight)


def _gathered(teachers: list[Any], students: list[Any], x: Any, n_losses: int) -> list[Any]:
    """Return sequences, outputs, states and factors of all teachers, once for each loss."""
    import torch

    rows = []
    for teacher, student, own in zip(teachers, students, x, strict=True):
        with torch.no_grad():
            run = teacher.run(own)
        rows.append((own, run.outputs, run.states, *representation.teacher_factors(teacher, student)))
    return [torch.stack(part).repeat(n_losses, *[1] * part[0].ndim) for part in zip(*rows, strict=True)]


@lru_cache(maxsize=1)
def _student_losses() -> Any:
    """Return the class of modules that return terms of the loss, outputs and states."""
    import torch
    from torch import Tensor, nn

    class StudentLosses(nn.Module):
        def __init__(self, student: Any, terms: list[Any], compare: str) -> None:
            super().__init__()
            self.student, self.terms, self.compare = student, terms, compare

        def forward(self, x: Tensor, outputs: Tensor, states: Tensor, U: Tensor, V: Tensor) -> Any:
            student: Any = self.student
            run, teacher = student.run(x), representation.SSMRun(outputs, states, (U, V))
            found = [
                representation.structure_aware_loss(run, teacher, term, compare=self.compare) for term in self.terms
            ]
            return torch.stack(found), run.outputs, run.states

    return StudentLosses
