"""Growth rules for isolated tasks, by density and by how it is spread over layers: accuracies, kinds and costs."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import core
from sparsetheory.proofs_checks.dynamic_sparsity.isolation.split_pictures import (
    DIGITS,
    GROWTHS,
    N_TASKS,
    Arm,
    Sequence,
    learn,
    pairs,
)

_DENSITIES, _INITS, _SEEDS = (0.02, 0.05, 0.2), ("erk", "uniform"), tuple(range(8))
_LAST, _OWN, _WHOLE = "masks of the last layer", "own outputs", "all outputs"
# Growths that are shown with masks over all outputs, too.
_TWICE = ("static", "gradient", "masked moment", "dense moment")
_COLUMNS = (
    "density",
    "init",
    "growth",
    _LAST,
    "kind",
    "measured density of a task",
    "explored share",
    "training operations / dense",
    "weights used",
    "accuracy when learned",
    "final accuracy",
    "standard deviation",
    "BWT after pairs 2 to 5",
)


def _costs(run: Sequence, growth: str, batch: Any) -> tuple[str, float, float, float]:
    """Return kind, density, explored share and share of dense training operations of the last task of a run."""
    last = run.tasks.tasks[-1]
    with run.tasks.masked(last) as model:
        masks = run.tasks.masks(last)
        report = core.sparsity_report(model, masks, run.tasks.trajectory(last))
        flops = core.count_flops(model, batch, masks)
    taxonomy = report.taxonomy
    assert taxonomy is not None
    assert taxonomy.explored is not None
    details = {"period": max(1, taxonomy.n_steps // max(1, taxonomy.n_changes))} if growth == "rigl" else {}
    spent = core.training_flops(growth, flops.flops, flops.sparse_flops, taxonomy.n_steps, **details)
    dense = core.training_flops("dense", flops.flops, flops.sparse_flops, taxonomy.n_steps)
    return taxonomy.kind, report.density, taxonomy.explored, spent.total / dense.total


def _row(density: float, init: str, grow: str, own: bool, seeds: tuple[int, ...]) -> tuple[Any, ...]:
    runs = [learn(Arm(density, init, grow, seed, own_outputs=own)) for seed in seeds]
    picture = pairs(DIGITS, seeds[0])[-1][2][:1]
    found = [_costs(run, GROWTHS[grow][1], picture) for run in runs]
    accuracies = np.array([run.accuracies for run in runs])
    final = accuracies[:, -1].mean(1)
    bwt = np.mean([run.metrics.bwt[1:] for run in runs], 0)
    return (
        density,
        init,
        grow,
        _OWN if own else _WHOLE,
        "/".join(sorted({kind for kind, *_ in found})),
        *(round(float(np.mean([one[index] for one in found])), 4) for index in (1, 2, 3)),
        round(float(np.mean([run.tasks.used.density for run in runs])), 4),
        round(float(np.diagonal(accuracies, 0, 1, 2).mean()), 4),
        round(float(final.mean()), 4),
        round(float(final.std(ddof=1)), 4) if len(seeds) > 1 else float("nan"),
        ", ".join(f"{value:g}" for value in bwt),
    )


def _at(row: tuple[Any, ...], *columns: str) -> tuple[Any, ...]:
    return tuple(row[_COLUMNS.index(column)] for column in columns)


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        inits, densities = (sorted({_at(row, column)[0] for row in rows}) for column in ("init", "density"))
        axes = np.atleast_1d(figure.subplots(1, len(inits), sharey=True))
        for ax, init in zip(axes, inits, strict=True):
            for index, growth in enumerate(GROWTHS):
                for outputs, line in ((_OWN, "o-"), (_WHOLE, "s:")):
                    curve = [row for row in rows if _at(row, "init", "growth", _LAST) == (init, growth, outputs)]
                    if curve:
                        points = [_at(row, "density", "final accuracy", "standard deviation") for row in curve]
                        x, y, spread = zip(*points, strict=True)
                        label = growth if outputs == _OWN else None
                        ax.errorbar(x, y, np.nan_to_num(spread), fmt=line, color=f"C{index}", label=label, capsize=2)
            if any(_at(row, _LAST)[0] == _WHOLE for row in rows):
                ax.plot([], [], "s:", color="0.4", label="the same, masks over all outputs")
            ax.set_xscale("log")
            ax.set_xticks(densities, [f"{density:g}" for density in densities])
            ax.minorticks_off()
            ax.set_xlabel("density of a task's mask")
            ax.set_title("Erdős-Rényi densities" if init == "erk" else "equal densities")
        axes[0].set_ylabel(f"mean accuracy on {N_TASKS} pairs after the last")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)

    return draw


def _leads(rows: list[tuple[Any, ...]], outputs: str) -> str:
    """Say by how much dense growth leads, at the densities at which masks matter, in one convention."""
    final = {_at(row, "density", "init", "growth", _LAST): _at(row, "final accuracy")[0] for row in rows}
    said = []
    for better, worse in (("gradient", "static"), ("dense moment", "masked moment")):
        found = [
            f"{final[d, init, better, outputs] - final[d, init, worse, outputs]:.2f} at {d:g} {init}"
            for d, init, grow, own in final
            if (grow, own) == (better, outputs) and d < max(_DENSITIES)
        ]
        said.append(f"{better} less {worse} {', '.join(found)}")
    return f"Masks over {outputs}: {'; '.join(said)}."


def _run(profile: str) -> StudyResult:
    quick = profile == "quick"
    densities, inits, seeds = ((0.02,), ("uniform",), (0,)) if quick else (_DENSITIES, _INITS, _SEEDS)
    rows = [_row(d, init, grow, True, seeds) for d in densities for init in inits for grow in GROWTHS]
    if not quick:
        rows += [_row(d, init, grow, False, seeds) for d in densities[:2] for init in inits for grow in _TWICE]
    kept = all(
        learned == final for learned, final in (_at(row, "accuracy when learned", "final accuracy") for row in rows)
    )
    notes = [
        f"Means of networks 64-64-64-10 without biases on digits in pairs, each isolated ({len(seeds)}). Kind, "
        "density, explored share and operations are those of the last pair. "
        f"{'No' if kept else 'A'} pair is answered otherwise at the end than when it was learned.",
        _leads(rows, _OWN),
    ]
    if not quick:
        notes += [
            _leads(rows, _WHOLE),
            "Published code has masks over all outputs. A pair then spends weights on outputs that it does not train, "
            "and later pairs find them frozen. Masks that stay as drawn lose most by that, so growth leads by more.",
        ]
    return StudyResult(_COLUMNS, rows, " ".join(notes), _plot(rows))


isolation_growth = Study(
    name="dynamic_sparsity.isolation_growth",
    title="How masks of isolated tasks should grow",
    description="Pairs of digits are learned one after the other under masks that later pairs cannot change: accuracy, "
    "backward transfer after each pair, kind of training, and its operations, by density and rule of growth.",
    run=_run,
)
