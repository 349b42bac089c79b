"""Updates as problems of low rank and of sparse regression."""

from collections.abc import Callable
from typing import Any

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import analysis, core
from sparsetheory.proofs_checks.network_analysis.updates.runs import KINDS, fine_tuning

_RANK, _EPS = 16, 0.25
_LAYERS = ("0", "2", "4")
_SPARSEST = (
    "layer",
    "weights",
    "changed, float32",
    "changed, bfloat16",
    "entries for error 1 %",
    "entries for error 10 %",
    "error of the bfloat16 set",
)
_SPARSEST_NOTES = (
    "Errors are squared ones of the change of the outputs on the training digits. Refitted, a small part of the "
    "entries that a run of rewards changes in bfloat16 does the same on these data: the set of a run is no sparsest "
    "one. The last column keeps the changes of that set as they are."
)
_SHARED = ("runs", "layer", "overlap", "chance", "shared", "own", "random", "bounds of the error")
_SHARED_NOTES = (
    f"Two runs each. Shared: share of the squared change, in the worse run, within one subspace of {_RANK} dimensions "
    "for all outputs; own: the same for a subspace of its own; random: for a random subspace. Bounds: certified "
    "relative error of the best subspace for both. {clusters}"
)


def _sparsest_rows() -> list[tuple[Any, ...]]:
    import torch

    from sparsetheory.gpu.weights import relative_error

    runs = fine_tuning(0)
    full = runs.run(KINDS[0])
    seen = analysis.update_mask(runs.start, full, dtype=torch.bfloat16)
    rows = []
    for name, gram in core.collect_grams(runs.start, [runs.data[0]]).items():
        before, after = (model.get_submodule(name).weight.detach() for model in (runs.start, full))
        mask = seen[f"{name}.weight"]
        found = [analysis.sparsest_update(before, after, gram, tol) for tol in (0.01, 0.1)]
        left = relative_error(after - before, (after - before) * mask, gram)
        counts = mask.numel(), found[0].n_changed, int(mask.sum()), found[0].n_nonzero, found[1].n_nonzero
        rows.append((name, *counts, round(left, 4)))
    return rows


def _plot_sparsest(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        for i, (label, column) in enumerate((_SPARSEST[j], j) for j in (2, 3, 4, 5)):
            ax.bar([place + 0.2 * i for place in range(len(rows))], [row[column] for row in rows], 0.2, label=label)
        ax.set_yscale("log")
        ax.set_xticks([place + 0.3 for place in range(len(rows))], [f"layer {row[0]}" for row in rows])
        ax.set_ylabel("entries")
        ax.set_title("What a run changes, and what would do")
        ax.legend(fontsize=8)

    return draw


def _run_sparsest(profile: str) -> StudyResult:
    rows = _sparsest_rows()
    return StudyResult(_SPARSEST, rows, _SPARSEST_NOTES, _plot_sparsest(rows))


sparsest_updates = Study(
    name="network_analysis.sparsest_updates",
    title="The sparsest change with the effect of a run",
    description="For each layer of the network for digits, the fewest entries that change its outputs as fine-tuning "
    "by rewards does, by greedy sparse regression on the Gram matrix of its inputs.",
    run=_run_sparsest,
)


def _shared_rows() -> list[tuple[Any, ...]]:
    import torch

    runs, rows = fine_tuning(0), []
    pairs = {kind: [runs.run(kind, order) for order in (0, 1)] for kind in KINDS}
    pairs["rewards and labels"] = [runs.run(kind) for kind in KINDS[:2]]
    pairs["rewards and shifted labels"] = [runs.run(kind) for kind in KINDS[::2]]
    for title, states in pairs.items():
        masks = [analysis.update_mask(runs.start, state, dtype=torch.bfloat16) for state in states]
        for name, found in analysis.shared_subspace(runs.start, states, _RANK).items():
            if found.basis.shape[0] > _RANK:
                overlap = analysis.overlap(masks[0][name], masks[1][name])
                worse = min(range(2), key=lambda i: found.captured[i] / found.own_captured[i])
                shares = (overlap.o1, overlap.chance1, found.captured[worse], found.own_captured[worse])
                bounds = " - ".join(f"{bound:.3f}" for bound in found.interval.relative())
                random = _RANK / found.basis.shape[0]
                rows.append((title, name, *(round(share, 3) for share in (*shares, random)), bounds))
    return rows


def _clusters() -> str:
    runs = fine_tuning(0)
    states = [runs.run(kind, order) for kind in KINDS for order in (0, 1)]
    found = analysis.cluster_updates(runs.start, states, "2.weight", _RANK, _EPS)
    labels = [found.labels[2 * i : 2 * i + 2].tolist() for i in range(len(KINDS))]
    named = ", ".join(f"{kind} in {pair}" for kind, pair in zip(KINDS, labels, strict=True))
    return f"Clusters of the six runs by the 128 x 128 matrix, at a relative error of {_EPS:g}: {named}."


def _plot_shared(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        places = range(len(rows))
        for i, (label, column) in enumerate((("shared", 4), ("own", 5), ("random", 6))):
            ax.barh([place + 0.27 * (i - 1) for place in places], [row[column] for row in rows], 0.27, label=label)
        ax.set_yticks(list(places), [f"{row[0]}, {row[1]}" for row in rows], fontsize=7)
        ax.invert_yaxis()
        ax.set_xlabel(f"share of the squared change in {_RANK} dimensions")
        ax.set_title("Subspaces that two runs share")
        ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncol=3)

    return draw


def _run_shared(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_SHARED)
    rows = _shared_rows()
    return StudyResult(_SHARED, rows, _SHARED_NOTES.format(clusters=_clusters()), _plot_shared(rows))


shared_updates = Study(
    name="network_analysis.shared_updates",
    title="Subspaces that runs share",
    description="Changes of matrices in pairs of runs of fine-tuning on digits, side by side: overlap of the changed "
    "entries, and share of the changes in a common subspace.",
    run=_run_shared,
)
