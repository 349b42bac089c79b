"""Error against density for each order of visits, on the attention of a sentence encoder."""

from typing import Any

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.proofs_checks.sparse_attention.visits.ranked_visits import ORDERS, at_density, at_gain

_TOLERANCES = {"quick": (0.02, 0.1), "full": (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)}
_DENSITIES = {"quick": (0.25,), "full": (0.0625, 0.125, 0.25, 0.375, 0.5, 0.75)}
_TITLES = {
    "natural": "order of the sequence",
    "block": "ranked blocks",
    "token": "ranked tokens",
    "oracle": "true mass (oracle)",
}
_COLUMNS = ("order", "stopped by", "density", "relative error", "squared error", "blocks / this")
_NOTES = (
    "Layers 0, 2 and 4 of MiniLM, 72 pairs of a text of 256 tokens and a head, all keys visible, tiles of 16 queries, "
    "blocks of 16 keys. Either a tile stops at a gain, or every tile visits as many keys. The last column divides the "
    "squared error of ranked blocks by that of the order. The paper reports 3.82 between its tokens and a block "
    "method for a large model at 128 000 tokens; here the factor is about 2, and the oracle shows that a ranking of "
    "tokens could not reach it."
)


def _rows(profile: str) -> list[tuple[Any, ...]]:
    rows = []
    for kind, values, run in (("gain", _TOLERANCES, at_gain), ("density", _DENSITIES, at_density)):
        for value in values[profile]:
            blocks = run("block", value).squared.mean()
            for by in ORDERS:
                found = run(by, value)
                squared = float(found.squared.mean())
                numbers = (round(found.density, 3), round(float(found.relative.mean()), 4), float(f"{squared:.3g}"))
                rows.append((_TITLES[by], f"{kind} {value:g}", *numbers, round(float(blocks) / squared, 2)))
    return rows


def _plot(rows: list[tuple[Any, ...]]) -> Any:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        for color, title in enumerate(_TITLES.values()):
            for kind, style in (("gain", "o-"), ("density", "x--")):
                points = sorted((row[2], row[3]) for row in rows if row[0] == title and row[1].startswith(kind))
                label = title if kind == "gain" else None
                ax.plot(*zip(*points, strict=True), style, color=f"C{color}", label=label)
        ax.set_yscale("log")
        ax.set_xlabel("visited blocks over all blocks (circles: stopped by gain, crosses: equal for all tiles)")
        ax.set_ylabel("relative error of outputs, mean over heads")
        ax.set_title("Orders of visits in the attention of MiniLM")
        ax.legend(fontsize=8)

    return draw


def _run(profile: str) -> StudyResult:
    rows = _rows(profile)
    return StudyResult(_COLUMNS, rows, _NOTES, _plot(rows))


visit_orders = Study(
    name="sparse_attention.visit_orders",
    title="In which order to visit keys",
    description="Tiles of queries of a sentence encoder visit keys in the order of the sequence, in ranked blocks, in "
    "ranked tokens, and by the true masses, and stop by their gain or at a fixed number of blocks.",
    run=_run,
)
