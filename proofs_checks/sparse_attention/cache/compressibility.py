"""How compressible the keys and values of each layer are, and what pruning that layer alone costs."""

from typing import Any

import numpy as np
from scipy import stats

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import attention
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array
from sparsetheory.proofs_checks.sparse_attention.cache.pruned_models import N_LAYERS, captured, rotations

_SPARSITIES = (0.5, 0.7, 0.9)
_COUNTS = (2, 4, 8, 16)
_COLUMNS = ("pruned", "layer", "coordinates", "q", "sparsity", "sigma_k / norm", "output error")
_NOTES = (
    "Keys or values of one layer of the MiniLM encoder at a time. sigma_k / norm is the share of the norm of a token "
    "that pruning loses. It falls with the number k of entries kept like k**(1/2 - 1/q), fitted from 2 to 16 of 32 "
    "entries; a small q means compressible. The output error is that of the attention of the layer, relative. The "
    "share predicts what other coordinates and other sparsities do to the error. It does not tell layers apart: as "
    "they are, keys and values of all layers are about equally compressible, hardly more than Gaussian vectors."
)


def _turned(call: Any, which: str, rotated: bool) -> Any:
    """Return vectors of tokens that are no padding, by token and head."""
    x = getattr(call, which)
    x = x @ rotations(which)[call.layer] if rotated else x
    return x.transpose(1, 2)[call.key_mask].double()


def _share(x: Any, count: int) -> float:
    return float((attention.sigma_k(x, count) / x.norm(dim=-1)).mean())


def _output_error(call: Any, which: str, sparsity: float, rotated: bool) -> float:
    """Return the relative error of the output of attention at tokens that are no padding."""
    options: dict[str, Any] = {f"{which}_sparsity": sparsity}
    if rotated:
        options[f"{which}_rotations"] = rotations(which)
    prune = attention.pruned_attention(**options)
    dense, pruned = (array(out.transpose(1, 2)[call.key_mask]) for out in (call.dense(), prune(call)))
    return float(np.linalg.norm(dense - pruned) / np.linalg.norm(dense))


def _rows(which: str, layer: int, rotated: bool) -> list[tuple[Any, ...]]:
    call = captured()[layer]
    x = _turned(call, which, rotated)
    slope = stats.linregress(np.log(_COUNTS), np.log([_share(x, count) for count in _COUNTS])).slope
    start = ({"k": "keys", "v": "values"}[which], layer, "rotated" if rotated else "as they are")
    rows = []
    for sparsity in _SPARSITIES:
        share = _share(x, x.shape[-1] - int(sparsity * x.shape[-1]))
        error = _output_error(call, which, sparsity, rotated)
        rows.append((*start, round(1 / (0.5 - slope), 3), sparsity, round(share, 4), round(error, 4)))
    return rows


def _rank(rows: list[tuple[Any, ...]]) -> float:
    return float(stats.spearmanr([row[5] for row in rows], [row[6] for row in rows]).statistic)


def _plot(rows: list[tuple[Any, ...]]) -> Any:
    def draw(figure: Any) -> None:
        for ax, which in zip(figure.subplots(1, 2, sharey=True), ("keys", "values"), strict=True):
            own = [row for row in rows if row[0] == which]
            for coordinates, marker in (("as they are", "o"), ("rotated", "^")):
                chosen = [row for row in own if row[2] == coordinates]
                ax.scatter([row[5] for row in chosen], [row[6] for row in chosen], marker=marker, label=coordinates)
            apart = np.mean([_rank([r for r in own if r[2] == "as they are" and r[4] == s]) for s in _SPARSITIES])
            ax.set_title(
                f"{which}: rank correlation {_rank(own):.2f};\n{apart:.2f} among layers as they are", fontsize=9
            )
            ax.set_xlabel(r"share of the norm lost, $\sigma_k(x)_2 / \|x\|_2$")
        figure.axes[0].set_ylabel("relative error of the attention")
        figure.axes[0].legend(fontsize=8)

    return draw


def _run(_profile: str) -> StudyResult:
    cases = [(which, layer, rotated) for which in ("k", "v") for layer in range(N_LAYERS) for rotated in (False, True)]
    rows = [row for case in cases for row in _rows(*case)]
    return StudyResult(_COLUMNS, rows, _NOTES, _plot(rows))


cache_compressibility = Study(
    name="sparse_attention.cache_compressibility",
    title="What compressibility says of pruned keys and values",
    description="For each layer of the MiniLM encoder the best k-term error of its keys and values, as they are and "
    "rotated, is compared with what pruning them costs in the output of that attention.",
    run=_run,
)
