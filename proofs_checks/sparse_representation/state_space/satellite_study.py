"""Rows of a satellite picture: a dense model that predicts the next pixel, and its students of low rank."""

from collections.abc import Callable
from typing import Any

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import core, representation
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.sparse_representation.state_space.systems import FORMS, random_matrix

_SEED, _STATES, _STEP, _TRAIN = 0, 16, 0.1, 200
_RANKS, _TEACHER_STEPS, _STEPS, _ROWS = (2, 4, 8), 800, 200, 32
_COLUMNS = ("model", "rank", "loss", "numbers of the transition", "error of states", "error of outputs", "prediction")
_NOTES = (
    "Sentinel-2, four bands, standardised: 200 rows of 300 pixels to train on, 100 rows below them to judge by. "
    "Prediction is the mean square error of the next pixel in units of the variance, beside two predictions that have "
    "no state. Errors of states and outputs are relative to those of the dense teacher. Students learn by the task and "
    "the loss of distillation, whose anchor to the factors ends after half of the steps, or by the task alone. In the "
    "form of the paper, directions off the rank are forgotten at once, which suits neighbours that are nearly equal."
)


def _rows() -> tuple[Any, Any]:
    """Return the rows to train on and to judge by, of shape (rows, 300, 4)."""
    import torch

    rows = torch.tensor(core.datasets.load_sentinel2().pixels).permute(1, 2, 0).float()
    train, test = rows[:_TRAIN], rows[_TRAIN:]
    mean, std = train.mean((0, 1)), train.std((0, 1))
    return (train - mean) / std, (test - mean) / std


def _trained(model: Any, loss: Callable[[Any, int], Any], train: Any, n_steps: int) -> None:
    import torch

    adam = torch.optim.Adam(model.parameters(), lr=0.01)
    source = torch.Generator().manual_seed(_SEED)
    for step in range(n_steps):
        batch = train[torch.randperm(len(train), generator=source)[:_ROWS]]
        adam.zero_grad()
        loss(batch, step).backward()
        adam.step()


def _prediction(outputs: Any, rows: Any) -> Any:
    return (outputs[:, :-1] - rows[:, 1:]).square().mean()


def _teacher(train: Any) -> Any:
    import torch

    source = torch.Generator().manual_seed(_SEED)
    A = random_matrix("random stable", _STATES, source).float()
    B = torch.randn(_STATES, 4, generator=source) / _STEP
    model = representation.DenseSSM(A, B, torch.zeros(4, _STATES), _STEP)
    _trained(model, lambda batch, step: _prediction(model(batch), batch), train, _TEACHER_STEPS)
    return model.requires_grad_(False)


def _student(teacher: Any, rank: int, form: str) -> Any:
    system = teacher.A, teacher.B, teacher.C
    return representation.LowRankSSM.from_dense(*system, rank, form, step=_STEP, on_unstable="clip")


def _distilled(teacher: Any, student: Any, train: Any, *, alone: bool) -> None:
    factors = representation.teacher_factors(teacher, student)
    weights = (core.Linear(0.5, _STEPS // 2), 0.1, 1.5)

    def loss(batch: Any, step: int) -> Any:
        if alone:
            return _prediction(student(batch), batch)
        run, wanted = student.run(batch), teacher.run(batch, factors=factors)
        found = representation.structure_aware_loss(run, wanted, weights, step=step)
        return found + _prediction(run.outputs, batch)

    _trained(student, loss, train, _STEPS)


def _measured(teacher: Any, student: Any, test: Any) -> tuple[float, float, float]:
    import torch

    with torch.no_grad():
        run, wanted = student.run(test), teacher.run(test)
        states, outputs = (
            float((own - other).norm() / other.norm())
            for own, other in ((run.states, wanted.states), (run.outputs, wanted.outputs))
        )
        return round(states, 3), round(outputs, 3), round(float(_prediction(run.outputs, test)), 4)


def _floors(train: Any, test: Any) -> list[tuple[Any, ...]]:
    import torch

    before, after = train[:, :-1].flatten(0, 1), train[:, 1:].flatten(0, 1)
    weights = torch.linalg.lstsq(before, after).solution
    with torch.no_grad():
        errors = _prediction(test, test), _prediction(test @ weights, test)
    names = "the last pixel", "regression on the last pixel"
    return [(name, "", "", 0, "", "", round(float(error), 4)) for name, error in zip(names, errors, strict=True)]


def _run(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_COLUMNS)
    train, test = _rows()
    with one_thread():
        teacher = _teacher(train)
        rows = _floors(train, test)
        rows.append(("dense", _STATES, "task", _STATES**2, *_measured(teacher, teacher, test)))
        for form in FORMS:
            for rank in _RANKS:
                numbers = 2 * rank * _STATES
                rows.append((form, rank, "none", numbers, *_measured(teacher, _student(teacher, rank, form), test)))
                for name, alone in (("distillation", False), ("task", True)):
                    student = _student(teacher, rank, form)
                    _distilled(teacher, student, train, alone=alone)
                    rows.append((form, rank, name, numbers, *_measured(teacher, student, test)))
    return StudyResult(_COLUMNS, rows, _NOTES, _plot(rows))


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        for form, mark in zip(FORMS, ("o-", "s--"), strict=True):
            for loss in ("none", "distillation", "task"):
                own = [row for row in rows if row[0] == form and row[2] == loss]
                for ax, column in ((left, 5), (right, 6)):
                    ax.plot([row[1] for row in own], [row[column] for row in own], mark, label=f"{form}, {loss}")
        left.set_ylabel("error of outputs, relative to the teacher")
        right.set_ylabel("mean square error of the next pixel")
        for row, style in zip(rows[:3], (":", "-.", "-"), strict=True):
            right.axhline(row[6], color="grey", ls=style, label=row[0])
        for ax in (left, right):
            ax.set_yscale("log")
            ax.set_xlabel("rank")
        figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncol=3, fontsize=7)

    return draw


satellite_rows = Study(
    name="sparse_representation.satellite_rows",
    title="State space models on rows of a satellite picture",
    description="A dense model of 16 states that predicts the next pixel of Sentinel-2 rows, and students of rank 2 to "
    "8 in both forms, before and after distillation.",
    run=_run,
)
