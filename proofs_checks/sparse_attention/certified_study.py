"""What certified stops cost and how sharp their bounds are, in a sentence encoder."""

from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.proofs_checks.sparse_attention.certified_stops import ORDER, TextStops, stops_of_text
from sparsetheory.typing import Float64Array

_ALLOWED = {"quick": (0.1,), "full": (0.3, 0.1, 0.03, 0.01, 0.003)}
_TEXTS = {"quick": 2, "full": 12}
_TITLES = {
    "exact": "exact masses, after all scores",
    "variance": "variance of this query's scores",
    "deviation": "largest variance of any query",
    "chord": "chord of the exponential",
    "plain": "largest score",
}
_COLUMNS = ("allowed dropped mass", "masses", "density", "standard error", "blocks of 32", "bound / true mass, median")
_NOTES = (
    "Kept over visible pairs when every query stops by itself, over 3 heads of layers 0, 2 and 4. All kinds visit "
    "blocks in one order, of falling bounds by variance. Exact masses need every score and save products with values "
    "only. A tile of queries waits for its slowest row, so that an attention in tiles keeps more than this."
)


def _rows(profile: str) -> tuple[list[tuple[Any, ...]], dict[float, list[TextStops]]]:
    stops = {eps: [stops_of_text(text, eps) for text in range(_TEXTS[profile])] for eps in _ALLOWED[profile]}
    rows = []
    for eps, found in stops.items():
        for kind in ORDER:
            density = [one.density[kind] for one in found]
            error = np.std(density, ddof=1) / np.sqrt(len(density))
            visited = np.mean([one.n_visited[kind].mean() for one in found])
            ratio = np.concatenate([_ratios(one, kind) for one in found])
            numbers = (np.mean(density), error, visited, np.median(ratio) if ratio.size else np.nan)
            rows.append((eps, _TITLES[kind], *(round(float(x), 3) for x in numbers)))
    return rows, stops


def _ratios(stops: TextStops, kind: str) -> Float64Array:
    """Return bounds over true masses, of the queries that stop before the last block."""
    early = stops.true[kind] > 0
    return stops.bound[kind][early] / stops.true[kind][early]


def _some(parts: list[Float64Array]) -> Float64Array:
    """Return every so many entries, about 1500."""
    whole = np.concatenate(parts)
    return whole[:: max(1, whole.size // 1500)]


def _plot(rows: list[tuple[Any, ...]], stops: dict[float, list[TextStops]]) -> Any:
    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        for kind in ORDER:
            own = [row for row in rows if row[1] == _TITLES[kind]]
            axis, density, error = (np.array([row[i] for row in own]) for i in (0, 2, 3))
            left.errorbar(axis, density, error, marker="o", markersize=3, label=_TITLES[kind])
        left.set_xscale("log")
        left.set_xlabel("allowed dropped mass")
        left.set_ylabel("kept over visible pairs")
        left.set_ylim(0, 1.02)
        left.legend(fontsize=7, title="masses of what is left by", title_fontsize=7)
        ends = [1e-4, 0.1]
        for kind in ("plain", "variance", "exact"):
            true, bound = (_some([getattr(one, part)[kind] for one in stops[0.1]]) for part in ("true", "bound"))
            right.scatter(true, bound, s=3, alpha=0.4, label=_TITLES[kind], color=f"C{ORDER.index(kind)}")
        right.plot(ends, ends, color="black", linewidth=0.8, label="equality")
        right.set_xscale("log")
        right.set_yscale("log")
        right.set_xlim(ends[0], 0.15)
        right.set_ylim(ends[0], 0.15)
        right.set_xlabel("true dropped mass of a query")
        right.set_ylabel("bound by which it stopped")
        right.legend(fontsize=7, markerscale=3, loc="lower right")
        figure.suptitle("Certified stops in MiniLM, 256 tokens, 32 k-means blocks of keys")

    return draw


def _run(profile: str) -> StudyResult:
    rows, stops = _rows(profile)
    return StudyResult(_COLUMNS, rows, _NOTES, _plot(rows, stops))


certified_density = Study(
    name="sparse_attention.certified_density",
    title="What certified stops of attention keep",
    description="Every query of the MiniLM encoder visits blocks of keys until bounds of the masses of the others "
    "certify that it drops no more than allowed; the bounds know more or less of each block.",
    run=_run,
)
