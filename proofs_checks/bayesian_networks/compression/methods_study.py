"""Ways to make a network sparse, side by side: accuracy, where the weights lie, bytes and time on sparse rows."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.proofs_checks.bayesian_networks.compression.arms import ARMS, Setting, compress

_COLUMNS = (
    "pictures",
    "method",
    "density",
    "accuracy as pruned",
    "accuracy fine-tuned",
    "against the first",
    "rows, columns, blocks in use",
    "runs along inputs, outputs",
    "hidden units left",
    "bytes on sparse rows",
    "microseconds for 128 pictures",
)
# Epochs, those of the warm-up among them, and seeds.
_FULL = {"digits": (60, 10, range(5)), "MNIST": (30, 5, range(2))}
_QUICK = {"digits": (40, 10, range(1))}
_FIRST = next(iter(ARMS))
_LEFT_OUT = {
    "Turbo-VBI, chains along outputs",
    "Turbo-VBI, published coupling",
    "Turbo-VBI, groups of four outputs",
    "normal prior, then evidence",
}


def _mean(values: Sequence[float], digits: int) -> float:
    return round(float(np.mean(values)), digits)


def _row(name: str, settings: Sequence[Setting]) -> tuple[Any, ...]:
    found, first = ([compress(one, setting) for setting in settings] for one in (name, _FIRST))
    differences = [one.accuracy - other.accuracy for one, other in zip(found, first, strict=True)]
    parts = [one.structure for one in found]
    shares = [np.mean([getattr(part, f"{kind}_density") for part in parts]) for kind in ("row", "column", "block")]
    runs = [np.mean([getattr(part, f"{kind}_run") for part in parts]) for kind in ("row", "column")]
    return (
        settings[0].pictures,
        name,
        _mean([one.density for one in found], 4),
        _mean([one.before for one in found], 3),
        _mean([one.accuracy for one in found], 3),
        f"{np.mean(differences):+.3f}",
        ", ".join(f"{share:.2f}" for share in shares),
        ", ".join(f"{run:.1f}" for run in runs),
        _mean([one.n_units for one in found], 1),
        round(np.mean([one.n_bytes for one in found])),
        round(np.mean([one.microseconds(setting.data.x[:128]) for one, setting in zip(found, settings, strict=True)])),
    )


def _dense_row(settings: Sequence[Setting]) -> tuple[Any, ...]:
    """Return what the dense network needs, which all sparse ones are measured against."""
    found, first = [setting.dense() for setting in settings], [compress(_FIRST, setting) for setting in settings]
    accuracies = [one.accuracy for one in found]
    differences = [one - other.accuracy for one, other in zip(accuracies, first, strict=True)]
    accuracy, units, size = _mean(accuracies, 3), sum(settings[0].widths[1:-1]), first[0].dense_bytes
    times = [one.microseconds(setting.data.x[:128]) for one, setting in zip(found, settings, strict=True)]
    against = f"{np.mean(differences):+.3f}"
    return (settings[0].pictures, "dense", 1.0, accuracy, accuracy, against, "", "", units, size, round(np.mean(times)))


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        from matplotlib.ticker import NullFormatter

        pictures = list(dict.fromkeys(row[0] for row in rows))
        axes = np.atleast_1d(figure.subplots(1, len(pictures)))
        for ax, title in zip(axes, pictures, strict=True):
            for index, row in enumerate(row for row in rows if row[0] == title):
                marker = "os^Dv"[index // 3 % 5]
                ax.plot(row[9], 1 - row[4], marker, color=f"C{index % 10}", label=row[1])
            ax.set(xscale="log", yscale="log", xlim=(1e3, 3e5))
            ax.xaxis.set_minor_formatter(NullFormatter())
            ax.set_xlabel("bytes on sparse rows")
            ax.set_title(title, fontsize=9)
        axes[0].set_ylabel("share of errors, fine-tuned")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=7)

    return draw


def _run(profile: str) -> StudyResult:
    quick, rows = profile == "quick", []
    names = [name for name in ARMS if not quick or name not in _LEFT_OUT]
    for pictures, (epochs, warmup, seeds) in (_QUICK if quick else _FULL).items():
        settings = [Setting(pictures, seed, epochs, warmup) for seed in seeds]
        rows += [_row(name, settings) for name in names] + [_dense_row(settings)]
    notes = (
        "Means of networks with hidden layers of 100 and 52 (digits) or 52 (MNIST), fine-tuned for 5 epochs on their "
        "masks. The first method sets the size of those that are told how many weights to keep: of each layer for "
        "swaps, of all layers together for the others. Shares and runs are those of the first layer. Units without "
        "inputs or readers are taken out before layers are packed, each in the smaller form, of rows or of blocks of "
        "four. Times are of this machine, on one thread."
    )
    return StudyResult(_COLUMNS, rows, notes, _plot(rows))


compressed_networks = Study(
    name="bayesian_networks.compressed_networks",
    title="Ways to make a network sparse",
    description="Networks on digits are made sparse by Turbo-VBI with four priors and its published coupling, by swaps "
    "during training, by removal after training, and by pruning of dense networks.",
    run=_run,
)
