"""How good methods of layer-wise pruning are: errors of single layers, of a whole encoder, and of a decoder.

``--only layers``: relative output errors of layers of the MiniLM encoder on calibration and on held-out texts.
``--only encoder``: all 36 matrices of the encoder at 2:4, layer after layer; cosine of sentence embeddings to dense.
``--only decoder``: perplexity of the dequantised SmolLM2 with some blocks pruned; needs the packages of
``data-requirements-nightly.txt``. Texts are docstrings of the standard library, for the decoder Wikipedia articles.
"""

import argparse
import copy
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from _timing import print_table
from threadpoolctl import threadpool_limits

from sparsetheory.gpu.core import NM, Pattern, PerRow, collect_grams, find_layers
from sparsetheory.gpu.core.datasets import load_docstrings, load_wikipedia_articles
from sparsetheory.gpu.core.layers import block_layers, weight_rows, write_rows
from sparsetheory.gpu.core.metrics import perplexity
from sparsetheory.gpu.core.models import TextModel, load_minilm, load_smollm2, sentence_embeddings
from sparsetheory.gpu.weights import layerwise_prune, prune_model_layerwise, relative_error

CONTEXT = 512  # tokens of an article that the decoder sees
QUERY, INTERMEDIATE = "encoder.layer.{}.attention.self.query", "encoder.layer.{}.intermediate.dense"
DECODER_LAYERS = tuple(f"model.layers.{block}.*" for block in (5, 15, 25))
COLUMNS: dict[str, tuple[str, Pattern]] = {
    "L0 query 2:4": (QUERY.format(0), NM(2, 4)),
    "L3 query 2:4": (QUERY.format(3), NM(2, 4)),
    "L3 interm. 2:4": (INTERMEDIATE.format(3), NM(2, 4)),
    "L3 query 1:4": (QUERY.format(3), NM(1, 4)),
    "L3 query 50%": (QUERY.format(3), PerRow(density=0.5)),
    "L3 query 30%": (QUERY.format(3), PerRow(density=0.3)),
}
METHODS: dict[str, dict[str, Any]] = {
    "magnitude": {"method": "magnitude"},
    "wanda": {"method": "wanda"},
    "sparseswaps": {"method": "sparseswaps"},
    "sparseswaps, refit": {"method": "sparseswaps", "refit": True},
    "sparsegpt": {"method": "sparsegpt"},
    "admm": {"method": "admm"},
    "obs": {"method": "obs"},
    "alps": {"method": "alps"},
    "swap from wanda": {"method": "swap", "start": "wanda"},
    "swap from alps": {"method": "swap", "start": "alps"},
    "continuation + swap": {"method": "swap"},
}


def layers(quick: bool) -> list[dict[str, Any]]:
    """Return one row per method: errors on calibration | held-out texts for each column, and time per row."""
    encoder, texts = load_minilm(), load_docstrings(24 if quick else 200, 12 if quick else 100)
    names = sorted({name for name, _ in COLUMNS.values()})
    fitted, fresh = (collect_grams(encoder.model, encoder.batches(part), names) for part in _parts(texts))
    modules, n_rows = find_layers(encoder.model, names), 8 if quick else 384
    rows = []
    for title, options in METHODS.items():
        cells: dict[str, Any] = {"method": title}
        began, done = time.perf_counter(), 0
        for column, (name, pattern) in COLUMNS.items():
            W = weight_rows(modules[name])[:n_rows].double()
            found = layerwise_prune(W, fitted[name], pattern, n_jobs=1, **options)
            held_out = relative_error(W, found.weight, fresh[name])
            cells[column] = f"{found.relative_error:.4f} | {held_out:.4f}"
            cells[f"{column} ratio"] = (found.relative_error, held_out)
            done += len(W)
        cells["ms/row"] = round(1000 * (time.perf_counter() - began) / done, 2)
        rows.append(cells)
    return _judged(rows)


def _parts(texts: Any) -> tuple[Sequence[str], Sequence[str]]:
    return texts.calibration, texts.held_out


def _judged(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add the mean ratios to ALPS and SparseGPT, over all columns."""
    errors = {row["method"]: [row.pop(f"{column} ratio") for column in COLUMNS] for row in rows}
    for row in rows:
        mine = errors[row["method"]]
        for peer in ("alps", "sparsegpt"):
            theirs = errors[peer]
            ratios = [sum(a[i] / b[i] for a, b in zip(mine, theirs, strict=True)) / len(COLUMNS) for i in range(2)]
            row[f"/ {peer}"] = f"{ratios[0]:.3f} | {ratios[1]:.3f}"
    return rows


def encoder(quick: bool) -> list[dict[str, Any]]:
    """Return one row per method: cosine of sentence embeddings to those of the dense model, and time."""
    loaded = load_minilm()
    texts = load_docstrings(16 if quick else 200, 16 if quick else 400)
    batches, judged = loaded.batches(texts.calibration), loaded.batches(texts.held_out)
    before = sentence_embeddings(loaded.model, judged)
    names = block_layers(loaded.model)
    if quick:
        names = names[:3]
    rows = []
    for method in ("magnitude", "wanda", "sparseswaps", "sparsegpt", "alps", "swap"):
        model = copy.deepcopy(loaded.model)
        began = time.perf_counter()
        found = prune_model_layerwise(model, batches, NM(2, 4), method, layers=names, n_jobs=-1)
        seconds = time.perf_counter() - began
        cosine = torch.nn.functional.cosine_similarity(before, sentence_embeddings(model, judged)).mean()
        errors = [result.relative_error for result in found.values()]
        rows.append(
            {
                "method": method,
                "mean cosine": round(float(cosine), 4),
                "mean layer error": round(sum(errors) / len(errors), 5),
                "seconds": round(seconds, 1),
            }
        )
    return rows


def decoder(quick: bool, layers: Sequence[str] = DECODER_LAYERS) -> list[dict[str, Any]]:
    """Return one row per method and pattern: errors of the pruned layers, and perplexity of SmolLM2 with all of them.

    All methods see the Gram matrices of the dense model, collected once. Held-out errors are on the judged texts.
    """
    loaded = load_smollm2()
    calibration, judged = _windows_of_articles(loaded, 1 if quick else 8, 1 if quick else 3)
    names = list(find_layers(loaded.model, layers))[: 1 if quick else None]
    fitted, fresh = (collect_grams(loaded.model, batches, names) for batches in (calibration, judged))
    modules = find_layers(loaded.model, names)
    dense = {name: weight_rows(module).clone() for name, module in modules.items()}
    text = torch.cat([batch["input_ids"][0] for batch in judged])

    def judge(pattern: str, method: str, found: Sequence[tuple[float, float, float]], seconds: float) -> dict[str, Any]:
        means = [sum(each) / len(found) for each in zip(*found, strict=True)] or [0.0] * 3
        return {
            "matrices": len(names),
            "pattern": pattern,
            "method": method,
            "perplexity": round(perplexity(loaded.model, text, window=CONTEXT).value, 3),
            "mean layer error": round(means[0], 5),
            "held out": round(means[1], 5),
            "mean damping": round(means[2], 4),
            "seconds": round(seconds, 1),
        }

    rows = [judge("dense", "", (), 0.0)]
    for pattern in (PerRow(density=0.5), NM(2, 4)):
        for method in ("magnitude", "wanda", "sparsegpt", "alps", "swap"):
            began, found = time.perf_counter(), []
            for name, module in modules.items():
                result = layerwise_prune(dense[name], fitted[name], pattern, method, n_jobs=-1)
                write_rows(module, result.weight)
                held_out = relative_error(dense[name], result.weight, fresh[name])
                found.append((result.relative_error, held_out, result.delta))
            rows.append(judge(str(pattern), method, found, time.perf_counter() - began))
            print(json.dumps(rows[-1]), flush=True)
    return rows


def _windows_of_articles(loaded: TextModel, n_calibration: int, n_judged: int) -> tuple[list[Any], list[Any]]:
    """Return the beginnings of long articles, cut to one length, in two parts."""
    batches = loaded.batches(load_wikipedia_articles().texts[:40], batch_size=1, max_length=CONTEXT)
    full = [batch for batch in batches if batch["input_ids"].shape[1] == CONTEXT]
    return full[:n_calibration], full[n_calibration : n_calibration + n_judged]


PARTS: dict[str, Callable[..., list[dict[str, Any]]]] = {"layers": layers, "encoder": encoder, "decoder": decoder}


def main() -> None:
    """Run the parts that the command line asks for; the decoder only on demand."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--only", choices=list(PARTS), help="one part")
    parser.add_argument("--decoder-layers", nargs="+", default=DECODER_LAYERS, metavar="GLOB", help="what is pruned")
    parser.add_argument("--json", type=Path, help="also write one JSON line per row")
    options = parser.parse_args()
    found = []
    for name in [options.only] if options.only else ["layers", "encoder"]:
        with threadpool_limits(1):
            rows = decoder(options.quick, options.decoder_layers) if name == "decoder" else PARTS[name](options.quick)
        print_table(name, rows)
        found += [{"part": name} | row for row in rows]
    if options.json:
        options.json.write_text("".join(json.dumps(row) + "\n" for row in found))


if __name__ == "__main__":
    main()
