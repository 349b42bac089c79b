"""What each term of the loss of distillation does, alone and together, beside balanced truncation."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import core
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array
from sparsetheory.proofs_checks.sparse_representation.state_space.imitation import Imitation, Weights
from sparsetheory.proofs_checks.sparse_representation.state_space.systems import FORMS, KINDS
from sparsetheory.typing import Float64Array

_SEED, _TEACHERS, _STEPS = 0, 10, 80
_LOSSES: dict[str, tuple[Weights, str]] = {
    "states": ((0.0, 1.0, 0.0), "factors"),
    "outputs": ((0.0, 0.0, 1.0), "factors"),
    "all, as published": ((0.5, 0.1, 1.5), "factors"),
    "all, products compared": ((0.5, 0.1, 1.5), "product"),
    "all, anchor annealed": ((core.Linear(0.5, _STEPS // 2), 0.1, 1.5), "factors"),
    "without anchor": ((0.0, 0.1, 1.5), "factors"),
    "all, a strong anchor": ((50.0, 0.1, 1.5), "factors"),
}
_COLUMNS = ("matrix", "form", "loss", "error of states", "error of outputs")
_NOTES = (
    "Synthetic teachers of 16 states with white noise as inputs, students of rank 4, means of 10 teachers on sequences "
    "that nobody trained on. Balanced truncation is the classical reduction of a model to 4 states and a direct term, "
    "which are as many as the outputs of the form of the paper depend on; it takes no training. How much the anchor "
    "holds depends on its weight beside the squares of the outputs, which its weight does not know."
)


def balanced_truncation_error(imitation: Imitation) -> float:
    """Return the error of outputs of balanced truncation, relative to the outputs; the mean over teachers."""
    teachers, _, x = imitation.drawn()
    errors = []
    for teacher, sequences in zip(teachers, array(x[1]).astype(float), strict=True):
        A, B = (array(part).astype(float) for part in teacher.discretised())
        C = array(teacher.C).astype(float)
        # An input counts in its own sample: outputs are C A of the state before, and a direct term.
        reduced = _reduced(A, B, C @ A, imitation.rank)
        exact = _outputs((A, B, C @ A), C @ B, sequences)
        errors.append(np.linalg.norm(_outputs(reduced, C @ B, sequences) - exact) / np.linalg.norm(exact))
    return float(np.mean(errors))


def _reduced(
    A: Float64Array, B: Float64Array, C: Float64Array, rank: int
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Keep the states with the largest Hankel singular values, by square roots of both Gramians."""
    from scipy.linalg import solve_discrete_lyapunov

    reach, seen = (_root(solve_discrete_lyapunov(*pair)) for pair in ((A, B @ B.T), (A.T, C.T @ C)))
    left, values, right = np.linalg.svd(seen.T @ reach)
    scale = 1 / np.sqrt(values[:rank])
    down, up = (scale * left[:, :rank]).T @ seen.T, reach @ (right[:rank].T * scale)
    return down @ A @ up, down @ B, C @ up


def _root(gramian: Float64Array) -> Float64Array:
    values, vectors = np.linalg.eigh(gramian)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def _outputs(system: tuple[Float64Array, ...], direct: Float64Array, x: Float64Array) -> Float64Array:
    A, B, C = system
    state, outputs = np.zeros((len(x), len(A))), []
    for t in range(x.shape[1]):
        outputs.append(state @ C.T + x[:, t] @ direct.T)
        state = state @ A.T + x[:, t] @ B.T
    return np.stack(outputs, 1)


def _run(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_COLUMNS)
    rows: list[tuple[Any, ...]] = []
    for kind in KINDS[:2]:
        for form in FORMS:
            imitation = Imitation(_SEED, form, kind, _TEACHERS)
            found = {"none: the start": imitation.start()}
            for compare in ("factors", "product"):
                losses = {name: weights for name, (weights, by) in _LOSSES.items() if by == compare}
                found |= dict(zip(losses, imitation.train(list(losses.values()), _STEPS, compare), strict=True))
            names = ("none: the start", *_LOSSES)
            rows += [(kind, form, name, round(found[name].states, 3), round(found[name].outputs, 3)) for name in names]
        rows.append((kind, "4 states", "none: balanced truncation", "", round(balanced_truncation_error(imitation), 3)))
    return StudyResult(_COLUMNS, rows, _NOTES, _plot(rows))


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        axes = figure.subplots(1, 2, sharey=True)
        for ax, column, title in zip(axes, (3, 4), ("states", "outputs"), strict=True):
            for place, form in enumerate(FORMS):
                own = [row for row in rows if row[0] == KINDS[1] and row[1] == form]
                places = [index + 0.4 * place - 0.2 for index in range(len(own))]
                ax.barh(places, [row[column] for row in own], 0.4, label=form)
            ax.set_xlabel(f"error of {title}")
        names = [row[2] for row in own]
        axes[0].set_yticks(range(len(names)), names, fontsize=8)
        axes[0].invert_yaxis()
        best = next(row[4] for row in rows if row[0] == KINDS[1] and row[1] not in FORMS)
        axes[1].axvline(best, color="grey", ls=":", label="balanced truncation")
        figure.suptitle("Students of random stable teachers, by the loss that they train by", fontsize=10)
        figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncol=3, fontsize=8)

    return draw


distillation_terms = Study(
    name="sparse_representation.distillation_terms",
    title="What the terms of the loss of distillation do",
    description="Students of low rank that learn by states, by outputs, or by all terms, with the anchor to the "
    "factors as published, annealed or without; and balanced truncation.",
    run=_run,
)
