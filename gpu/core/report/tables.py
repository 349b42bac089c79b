"""A report as a table of pandas, and as a page of Markdown."""

from collections.abc import Iterable, Sequence
from typing import Any

from sparsetheory.gpu.core.report.results import LayerSparsity, SparsityReport
from sparsetheory.gpu.core.report.storage import Storage

__all__ = ["frame", "markdown"]

_FORMATS = ("dense", "csr", "bitmap", "nm")


def frame(report: SparsityReport) -> Any:
    """Return a DataFrame with one row for each masked weight, indexed by name."""
    import pandas as pd

    rows = [_row(layer) for layer in report.layers]
    return pd.DataFrame(rows, columns=None if rows else ["name"]).set_index("name")


def markdown(report: SparsityReport) -> str:
    """Return a page with the totals and one row for each masked weight."""
    parts = [_totals(report)]
    if report.layers:
        rows = [_cells(layer) for layer in report.layers]
        parts.append(_table(list(rows[0]), [list(row.values()) for row in rows]))
    if report.training:
        rows_of_training = [[run.kind, f"{run.per_step:.6g}", f"{run.total:.6g}"] for run in report.training]
        parts.append(_table(["training", "FLOPs per step and sample", "FLOPs in all"], rows_of_training))
    return "\n\n".join(parts) + "\n"


def _row(layer: LayerSparsity) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": layer.name,
        "shape": layer.shape,
        "n_weights": layer.n_weights,
        "n_nonzero": layer.n_nonzero,
        "density": layer.density,
        "n_effective": layer.n_effective,
        "n_dead_rows": layer.n_dead_rows,
        "n_dead_columns": layer.n_dead_columns,
        "uniform_density": layer.uniform_density,
        "er_density": layer.er_density,
        "erk_density": layer.erk_density,
        "patterns": _patterns(layer),
    }
    row |= {f"bytes_{name}": getattr(layer.storage, name) for name in _FORMATS}
    row |= {f"break_even_{name}": getattr(layer.break_even, name) for name in _FORMATS[1:]}
    names = ("flops", "sparse_flops", "dense_seconds", "sparse_seconds")
    return row | {name: getattr(layer, name) for name in names}


def _cells(layer: LayerSparsity) -> dict[str, str]:
    cells = {
        "weight": f"`{layer.name}`",
        "shape": " x ".join(map(str, layer.shape)),
        "non-zeros": f"{layer.n_nonzero} of {layer.n_weights}",
        "density": f"{layer.density:.4g}",
        "uniform / ER / ERK": " / ".join(
            f"{value:.4g}" for value in (layer.uniform_density, layer.er_density, layer.erk_density)
        ),
        "effective": str(layer.n_effective),
        "dead rows / columns": f"{layer.n_dead_rows} / {layer.n_dead_columns}",
        "N:M": _strictest(layer) or "none",
    }
    if layer.flops is not None and layer.sparse_flops is not None:
        cells["FLOPs, sparse of dense"] = f"{layer.sparse_flops} of {layer.flops}"
        cells["measured ms, CSR / dense"] = (
            f"{_milliseconds(layer.sparse_seconds)} / {_milliseconds(layer.dense_seconds)}"
        )
    return cells


def _totals(report: SparsityReport) -> str:
    lines = [
        f"- density of the masked weights {report.density:.4g}, of all parameters {report.overall_density:.4g} "
        f"({report.n_nonzero} of {report.n_parameters})",
        f"- bytes of the masked weights: {_formats(report.storage)}",
    ]
    if report.flops is not None:
        flops, samples = report.flops, report.flops.n_samples
        lines.append(
            f"- FLOPs per sample: {flops.flops / samples:.6g} dense, {flops.sparse_flops / samples:.6g} sparse; "
            "one multiply-add is 2 FLOPs"
        )
    if report.taxonomy is not None:
        run = report.taxonomy
        explored = "unknown" if run.explored is None else f"{run.explored:.4g}"
        lines.append(
            f"- training: {run.kind}, start {run.start}, changes of the mask: {run.n_changes}, "
            f"share of weights ever kept: {explored}"
        )
    return "\n".join(lines)


def _formats(storage: Storage) -> str:
    names = {"dense": "dense", "csr": "CSR", "bitmap": "bitmap", "nm": "N:M"}
    return ", ".join(f"{words} {getattr(storage, name):.0f}" for name, words in names.items())


def _patterns(layer: LayerSparsity) -> str:
    return ", ".join(f"{n}:{m}" for n, m in layer.patterns)


def _strictest(layer: LayerSparsity) -> str:
    """Return the patterns that do not follow from one with smaller groups."""
    strict: list[tuple[int, int]] = []
    for n, m in layer.patterns:
        if all(n * before_m < before_n * m for before_n, before_m in strict):
            strict.append((n, m))
    return ", ".join(f"{n}:{m}" for n, m in strict)


def _milliseconds(seconds: float | None) -> str:
    return "none" if seconds is None else f"{1e3 * seconds:.3g}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
