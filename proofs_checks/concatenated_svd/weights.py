"""The line on real data: clustering the weights of a language model."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.lowrank import ConcatSVDClustering
from sparsetheory.lowrank.blocks import Blocks
from sparsetheory.lowrank.clustering.baselines import one_svd, per_block_svd
from sparsetheory.lowrank.clustering.storage import store_factored
from sparsetheory.lowrank.datasets.real_data import minilm_blocks

_QUICK = ((32, 0.5), (64, 0.7), (128, 0.5), (128, 0.7))
_SETTINGS = {"quick": _QUICK, "full": (*_QUICK, (64, 0.5), (64, 0.6), (128, 0.4), (128, 0.6), (192, 0.3), (256, 0.3))}
_COLUMNS = (
    "rank",
    "eps",
    "clusters",
    "fewest possible",
    "largest exact error",
    "certified interval",
    "ratio, clusters",
    "ratio, clusters at minimal rank",
    "ratio, SVD per block",
    "ratio, one SVD",
    "seconds",
)
_NOTES = (
    "Ratios are numbers in the weights over numbers stored, so larger is better. The comparison that matters is with "
    "one SVD per block at its own smallest rank. Trained weights share little: clusters pay where the tolerance is "
    "loose and the rank fits it, and lose or change nothing elsewhere. The interval is that of the cluster with the "
    "largest exact error."
)


def _minimal_ratio(blocks: list[Any], clusters: Sequence[Sequence[int]], eps: float) -> float:
    """Compression of the same clusters, each at the smallest rank that meets the tolerance.

    ``ConcatSVDClustering(..., rank_mode="minimal")`` finds these clusters again and stores them so.
    """
    checked = Blocks(blocks)
    cost = sum(store_factored(checked, members, 1, None, eps).cost for members in clusters)
    return checked.n_rows * checked.n_columns / cost


def _baseline_ratios(blocks: list[Any], eps: float) -> tuple[float, float]:
    return per_block_svd(blocks, eps).compression_ratio, one_svd(blocks, eps).compression_ratio


def _row(blocks: list[Any], rank: int, eps: float, baselines: tuple[float, float]) -> tuple[Any, ...]:
    started = time.perf_counter()
    found = ConcatSVDClustering(rank, eps=eps).fit(blocks)
    seconds = time.perf_counter() - started
    worst = int(np.argmax(found.errors_))
    lo, hi = found.intervals_[worst].relative()
    ratios = (found.compression_ratio_, _minimal_ratio(blocks, found.clusters_, eps), *baselines)
    return (
        rank,
        eps,
        len(found.clusters_),
        found.n_clusters_lower_bound_,
        round(float(found.errors_[worst]), 4),
        f"[{lo:.4f}, {hi:.4f}]",
        *(round(ratio, 3) for ratio in ratios),
        round(seconds, 2),
    )


def _plot(rows: list[tuple[Any, ...]]) -> Any:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        places, width = np.arange(len(rows)), 0.2
        for i, column in enumerate(range(6, 10)):
            label = _COLUMNS[column].removeprefix("ratio, ")
            ax.bar(places + (i - 1.5) * width, [row[column] for row in rows], width, label=label)
        ax.axhline(1, color="0.4", linewidth=0.8)
        ax.set_xticks(places, [f"r={row[0]}\neps={row[1]}" for row in rows])
        ax.set_ylabel("compression ratio")
        ax.set_title("Weights of the MiniLM encoder, 432 blocks of 384 × 64")
        ax.set_ylim(0, 1.25 * max(max(row[6:10]) for row in rows))
        ax.legend(fontsize=8, ncols=2, loc="upper left")

    return draw


def _run(profile: str) -> StudyResult:
    blocks = minilm_blocks(width=64).blocks
    # The baselines know no rank.
    baselines = {eps: _baseline_ratios(blocks, eps) for eps in {eps for _, eps in _SETTINGS[profile]}}
    rows = [_row(blocks, rank, eps, baselines[eps]) for rank, eps in _SETTINGS[profile]]
    return StudyResult(_COLUMNS, rows, _NOTES, _plot(rows))


language_model_weights = Study(
    name="concatenated_svd.language_model_weights",
    title="Clustering the weights of a language model",
    description="Every two-dimensional weight of the 6-layer MiniLM encoder, with 384 rows and cut into blocks of 64 "
    "columns, is clustered under a certified error and compared with plain SVDs.",
    run=_run,
)
