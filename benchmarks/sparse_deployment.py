"""What blocks of rows cost in error and gain in time: MobileNetV2, its pointwise layers pruned, refitted and deployed.

Run ``python benchmarks/sparse_deployment.py``; ``--quick`` takes three photographs, one density and the last stages,
``--json FILE`` also writes one JSON line per row. One process and one thread. Each layer is pruned by magnitude, single
weights or blocks of four rows, with the channels in their order or rearranged. Then it is refitted to what it gets in
the dense network from parts of photographs. Nothing is retrained.

Columns: the mean over layers of the squared output error on the calibration data, relative to the squared outputs; the
share of whole photographs, and their mirror images, that get the same class as from the dense network; the cosine of
logits; the fastest of several passes of one image, all networks taking turns; memory of the pointwise layers; and
whether no other row is better in error and time. Batch normalisation is folded in all networks, the dense one included.
"""

import argparse
import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from _timing import best_of_each, print_table
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from sparsetheory.gpu.core import Gram, RowBlock, collect_grams, find_layers, mean_cosine, weight_rows, write_rows
from sparsetheory.gpu.core.datasets import load_photographs
from sparsetheory.gpu.core.models import imagenet_inputs, load_mobilenet_v2
from sparsetheory.gpu.kernels import deploy, rearrange_channels
from sparsetheory.gpu.weights import layerwise_prune

# Title, rows in a block, whether channels are rearranged.
_WAYS = (("single weights", 1, False), ("blocks of 4", 4, False), ("blocks of 4, rearranged", 4, True))
_DENSITIES, _QUICK_DENSITIES = (0.5, 0.3, 0.1), (0.3,)
_BATCH = 16


@dataclass(frozen=True, eq=False)
class Data:
    """Parts of photographs to calibrate on, and whole ones with their mirror images."""

    calibration: Tensor
    unseen: Tensor


def _data(count: int | None) -> Data:
    pictures = load_photographs().images[:count]
    halves = [part for each in pictures for part in _parts(each)]
    whole = imagenet_inputs(pictures)
    return Data(imagenet_inputs(halves), torch.cat([whole, whole.flip(-1)]))


def _parts(picture: Any) -> list[Any]:
    """Return the upper left and the lower right part of a picture, three quarters of each side."""
    height, width = (3 * side // 4 for side in picture.shape[:2])
    return [picture[:height, :width], picture[-height:, -width:]]


def _pointwise(model: nn.Module, quick: bool) -> dict[str, nn.Module]:
    found = find_layers(model, "features.1[5-8].*" if quick else "features.*")
    return {name: each for name, each in found.items() if getattr(each, "kernel_size", None) == (1, 1)}


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    with torch.inference_mode():
        return torch.cat([model(batch) for batch in images.split(_BATCH)])


def _pruned(
    model: nn.Module, grams: Mapping[str, Gram], names: Sequence[str], pattern: RowBlock
) -> tuple[nn.Module, float]:
    """Return a pruned copy, and the mean error of its layers."""
    model, errors = copy.deepcopy(model), []
    for name in names:
        layer = model.get_submodule(name)
        found = layerwise_prune(weight_rows(layer), grams[name], pattern, "magnitude", refit=True, damping=0.01)
        write_rows(layer, found.weight)
        errors.append(found.relative_error)
    return model, sum(errors) / len(errors)


def _compared(model: nn.Module, data: Data, dense: Tensor) -> dict[str, float]:
    found = _logits(model, data.unseen)
    same = (found.argmax(1) == dense.argmax(1)).double().mean()
    return {"agreement": float(same), "cosine": float(mean_cosine(found, dense))}


def run(quick: bool) -> list[dict[str, Any]]:
    """Return one row for the dense network, and one for each way and density."""
    torch.set_num_threads(1)
    data, model = _data(3 if quick else None), load_mobilenet_v2()
    names = list(_pointwise(model, quick))
    densities = _QUICK_DENSITIES if quick else _DENSITIES
    dense, expected = fuse(model), _logits(model, data.unseen)
    n_bytes = sum(model.get_submodule(name).weight.nbytes for name in names)
    rows = [{"weights": "dense", "density": 1.0, "error": 0.0, **_compared(dense, data, expected)}]
    networks, sizes = [dense], [n_bytes]
    grams: dict[bool, Mapping[str, Gram]] = {}
    for title, size, arranged in _WAYS:
        source = copy.deepcopy(model)
        if arranged:
            rearrange_channels(source, data.unseen[:1], size, density=min(densities), layers=names)
        if arranged not in grams:
            grams[arranged] = collect_grams(source, data.calibration.split(_BATCH), names)
        for density in densities:
            pruned, error = _pruned(source, grams[arranged], names, RowBlock(size, density))
            deployed = deploy(fuse(pruned), names)
            networks.append(deployed.model)
            sizes.append(sum(layer.n_bytes for layer in deployed.layers))
            quality = _compared(deployed.model, data, expected)
            rows.append({"weights": title, "density": density, "error": error, **quality})
    return _with_times(rows, networks, sizes, data.unseen[:1], 3 if quick else 40)


def _with_times(
    rows: list[dict[str, Any]], networks: Sequence[nn.Module], sizes: Sequence[int], image: Tensor, repeats: int
) -> list[dict[str, Any]]:
    with torch.inference_mode():
        seconds = best_of_each(*(partial(network, image) for network in networks), repeats=repeats)
    points = [(row["error"], time) for row, time in zip(rows, seconds, strict=True)]
    for row, size, (error, time) in zip(rows, sizes, points, strict=True):
        beaten = any(e <= error and t <= time and (e, t) != (error, time) for e, t in points)
        row |= {"ms": 1e3 * time, "dense / ours": seconds[0] / time, "MB": size / 2**20}
        row["front"] = "" if beaten else "yes"
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--json", type=Path, help="also write one JSON line per row")
    options = parser.parse_args()
    with threadpool_limits(1):
        table = run(options.quick)
    print_table("Sparse 1 x 1 convolutions in MobileNetV2: error after refit and time", table)
    if options.json:
        options.json.write_text("".join(json.dumps(row) + "\n" for row in table))
