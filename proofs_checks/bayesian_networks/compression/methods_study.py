"""Ways to make a network sparse, side by side: accuracy, where the weights lie, bytes and time on sparse rows."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.proofs_checks.bayesian_networks.compression.arms import ARMS, chosen, compress, dense
from sparsetheory.proofs_checks.bayesian_networks.compression.setting import Setting, median_microseconds

_COLUMNS = (
    "pictures",
    "method",
    "chosen",
    "density",
    "accuracy as pruned",
    "accuracy fine-tuned",
    "its deviation",
    "against the first",
    "rows, columns, blocks in use",
    "runs along inputs, outputs",
    "hidden units left",
    "bytes on sparse rows",
    "microseconds for 128 pictures",
)
_ACCURACY, _BYTES = _COLUMNS.index("accuracy fine-tuned"), _COLUMNS.index("bytes on sparse rows")
# Epochs, those of the warm-up among them, and seeds.
_FULL = {"digits": (60, 10, range(10, 15)), "MNIST": (30, 5, range(10, 12))}
_QUICK = {"digits": (20, 4, range(10, 11))}
_FIRST = next(iter(ARMS))
_CHOICE = (
    "The temperature of swaps (0.01, 0.1 or 1) and the deviation of the normal prior (0.1, 0.3 or 1) are chosen for "
    "each seed without its test pictures: by the accuracy on the last 200 of its training pictures (MNIST: 500) after "
    "training on the others. All other settings are the same for all seeds."
)
_QUICK_CHOICE = "One seed, few epochs, a temperature of 0.1 and a prior of deviation 0.3: nothing is chosen."
_QUICK_ARMS = (
    _FIRST,
    "swaps during training (SSVI)",
    "normal prior, then |mean| / deviation",
    "dense, then magnitude",
)


def _mean(values: Sequence[float], digits: int) -> float:
    return round(float(np.mean(values)), digits)


def _deviation(values: Sequence[float]) -> float | str:
    return round(float(np.std(values, ddof=1)), 3) if len(values) > 1 else ""


def _difference(values: Sequence[float], others: Sequence[float]) -> str:
    """Return the mean difference of networks with equal seeds, and its standard deviation."""
    differences = np.subtract(values, others)
    found = f"{differences.mean():+.3f}"
    return f"{found} ({differences.std(ddof=1):.3f})" if len(differences) > 1 else found


def _time(models: Sequence[Any], settings: Sequence[Setting]) -> int:
    pairs = zip(models, settings, strict=True)
    return round(np.mean([median_microseconds(model, setting.data.x[:128]) for model, setting in pairs]))


def _row(name: str, settings: Sequence[Setting], chooses: bool) -> tuple[Any, ...]:
    values = [chosen(name, setting) if chooses else ARMS[name].values[0] for setting in settings]
    found = [compress(name, setting, value) for setting, value in zip(settings, values, strict=True)]
    first = [compress(_FIRST, setting) for setting in settings]
    parts = [one.structure for one in found]
    shares = [np.mean([getattr(part, f"{kind}_density") for part in parts]) for kind in ("row", "column", "block")]
    runs = [np.mean([getattr(part, f"{kind}_run") for part in parts]) for kind in ("row", "column")]
    accuracies = [one.accuracy for one in found]
    return (
        settings[0].pictures,
        name,
        ", ".join(f"{value:g}" for value in values) if chooses and len(ARMS[name].values) > 1 else "",
        _mean([one.density for one in found], 4),
        _mean([one.before for one in found], 3),
        _mean(accuracies, 3),
        _deviation(accuracies),
        _difference(accuracies, [one.accuracy for one in first]),
        ", ".join(f"{share:.2f}" for share in shares),
        ", ".join(f"{run:.1f}" for run in runs),
        _mean([one.n_units for one in found], 1),
        round(np.mean([one.n_bytes for one in found])),
        _time([one.deployed for one in found], settings),
    )


def _dense_row(settings: Sequence[Setting]) -> tuple[Any, ...]:
    """Return what the dense network needs, which all sparse ones are measured against."""
    models, first = [dense(setting) for setting in settings], [compress(_FIRST, setting) for setting in settings]
    accuracies = [setting.accuracy(model) for model, setting in zip(models, settings, strict=True)]
    return (
        settings[0].pictures,
        "dense",
        "",
        1.0,
        _mean(accuracies, 3),
        _mean(accuracies, 3),
        _deviation(accuracies),
        _difference(accuracies, [one.accuracy for one in first]),
        "",
        "",
        sum(settings[0].widths[1:-1]),
        first[0].dense_bytes,
        _time(models, settings),
    )


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        from matplotlib.ticker import NullFormatter

        pictures = list(dict.fromkeys(row[0] for row in rows))
        axes = np.atleast_1d(figure.subplots(1, len(pictures)))
        for ax, title in zip(axes, pictures, strict=True):
            for index, row in enumerate(row for row in rows if row[0] == title):
                marker = "os^Dv"[index // 3 % 5]
                ax.plot(row[_BYTES], 1 - row[_ACCURACY], marker, color=f"C{index % 10}", label=row[1], fillstyle="none")
            ax.set(xscale="log", yscale="log", xlim=(1e3, 3e5))
            ax.xaxis.set_minor_formatter(NullFormatter())
            ax.set_xlabel("bytes on sparse rows")
            ax.set_title(title, fontsize=9)
        axes[0].set_ylabel("share of errors, fine-tuned")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=7)

    return draw


def _run(profile: str) -> StudyResult:
    quick, rows = profile == "quick", []
    names = _QUICK_ARMS if quick else tuple(ARMS)
    for pictures, (epochs, warmup, seeds) in (_QUICK if quick else _FULL).items():
        settings = [Setting(pictures, seed, epochs, warmup) for seed in seeds]
        rows += [_row(name, settings, not quick) for name in names] + [_dense_row(settings)]
    notes = (
        "Means of networks with hidden layers of 100 and 52 (digits) or 52 (MNIST), fine-tuned for 5 epochs on their "
        "masks; standard deviations over seeds, those of paired differences in brackets. The first method sets the "
        "size of those that are told how many weights to keep: of each layer for swaps, of all layers together for the "
        "others. " + (_QUICK_CHOICE if quick else _CHOICE) + " Shares and runs are those of the first layer. Units "
        "without inputs or readers are taken out before layers are packed, each in the smaller form, of rows or of "
        "blocks of four. Times are of this machine, on one thread."
    )
    return StudyResult(_COLUMNS, rows, notes, _plot(rows))


compressed_networks = Study(
    name="bayesian_networks.compressed_networks",
    title="Ways to make a network sparse",
    description="Networks on digits are made sparse by Turbo-VBI with four priors and its published coupling, by swaps "
    "during training, by removal after training, and by pruning of dense networks.",
    run=_run,
)
