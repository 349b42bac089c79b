"""Sparse 1 x 1 convolutions of MobileNetV2: one process, one thread, all products take turns, the fastest call counts.

Run ``python benchmarks/sparse_conv.py``; ``--quick`` cuts the sizes, ``--only PART`` runs one part, ``--json FILE``
also writes one JSON line per row. Weights are those of ImageNet, pruned by magnitude in each layer, single or in blocks
of four rows; inputs are what the layer gets from a photograph, one image at a time. Ours is a call of the
layer, which adds the bias and clamps to [0, 6]; so does "torch CSR and clamp", in place, and the others only multiply.
"Kernel" is ours without the module around it, and so without its checks and its output. Without the package of the
weights, or of the photograph, random ones take their place.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
from _timing import Row, best_of_each, run_parts
from scipy import sparse
from torch import Tensor, nn

from sparsetheory.gpu.core import PerTensor, RowBlock, capture
from sparsetheory.gpu.core.datasets import load_photographs
from sparsetheory.gpu.core.models import MobileNetV2, imagenet_inputs, load_mobilenet_v2
from sparsetheory.gpu.kernels import SparseConv1x1, measure_rates
from sparsetheory.gpu.kernels.prepared import Prepared
from sparsetheory.gpu.kernels.products import multiply_memory

_QUICK = 4


class Layer(NamedTuple):
    """A distinct shape of pointwise convolutions, the first layer that has it, and what it gets."""

    weight: Tensor
    images: Tensor
    repeated: int

    @property
    def name(self) -> str:
        """Outputs, inputs, positions."""
        return f"{self.weight.shape[0]} x {self.weight.shape[1]} x {self.images.shape[-2] * self.images.shape[-1]}"


def _network() -> tuple[nn.Module, Tensor]:
    try:
        return load_mobilenet_v2(), imagenet_inputs(load_photographs().images[:1])
    except ImportError as missing:
        print(f"random weights and pixels: {missing}")
        torch.manual_seed(0)
        return MobileNetV2().eval(), torch.randn(1, 3, 224, 224)


@lru_cache(maxsize=1)
def _layers() -> tuple[Layer, ...]:
    model, images = _network()
    convolutions = {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1)
    }
    with torch.no_grad(), capture(model, list(convolutions)) as inputs:
        model(images)
    found: dict[tuple[int, ...], Layer] = {}
    for name, layer in convolutions.items():
        shape = (*layer.weight.shape[:2], inputs[name][0].shape[-1])
        if shape in found:
            found[shape] = found[shape]._replace(repeated=found[shape].repeated + 1)
        else:
            found[shape] = Layer(layer.weight.detach()[:, :, 0, 0].clone(), inputs[name][0].contiguous(), 1)
    return tuple(found.values())


def _products(layer: Layer, density: float) -> dict[str, Callable[[], object]]:
    """All ways to multiply, checked against the dense product."""
    W, images = layer.weight, layer.images
    X = images[0].flatten(1)
    single = W * PerTensor(density=density).mask(W.abs())
    blocks = W * RowBlock(4, density, pad=True).mask(W.abs())
    ours = {
        "single": SparseConv1x1.from_dense(single, block=1, lower=0.0, upper=6.0, break_even=1.0),
        "blocks": SparseConv1x1.from_dense(blocks, block=4, lower=0.0, upper=6.0, break_even=1.0),
    }
    for made, weight in zip(ours.values(), (single, blocks), strict=True):
        expected = (weight.double() @ X.double()).clamp(0, 6)
        scale = weight.double().abs() @ X.double().abs()
        if bool(((made(images)[0].flatten(1) - expected).abs() > 1e-5 * scale + 1e-30).any()):
            raise RuntimeError("the sparse and the dense product disagree")
    in_torch, in_scipy, x = single.to_sparse_csr(), sparse.csr_matrix(single.numpy()), X.numpy()
    kernel, bias, out = W[:, :, None, None], torch.zeros(len(W), 1), torch.empty(len(W), X.shape[1])
    arrays = {name: Prepared(made._buffers, made.n_blocks, (0.0, 6.0), len(X)).given for name, made in ours.items()}

    def bare(name: str) -> None:
        multiply_memory(arrays[name], X.data_ptr(), 1, X.shape[1], out.data_ptr())

    return {
        "single": lambda: ours["single"](images),
        "blocks": lambda: ours["blocks"](images),
        "kernel single": lambda: bare("single"),
        "kernel blocks": lambda: bare("blocks"),
        "torch CSR": lambda: in_torch @ X,
        "torch CSR and clamp": lambda: (in_torch @ X).add_(bias).clamp_(0.0, 6.0),
        "scipy CSR": lambda: in_scipy @ x,
        "dense mm": lambda: W @ X,
        "conv2d": lambda: torch.conv2d(images, kernel),
    }


def bench_layers(quick: bool) -> list[Row]:
    """Compare ours with all others on every distinct shape, and in sum over the network."""
    rows, layers = [], _layers()[-_QUICK:] if quick else _layers()
    torch.set_num_threads(1)
    for density in (0.1, 0.3):
        total: dict[str, float] = {}
        for layer in layers:
            products = _products(layer, density)
            with torch.no_grad():
                seconds = best_of_each(*products.values(), repeats=3 if quick else 25)
            times = {name: 1e6 * s for name, s in zip(products, seconds, strict=True)}
            for name, value in times.items():
                total[name] = total.get(name, 0.0) + layer.repeated * value
            rows += _compared(f"{layer.name}, density {density}", times)
        rows += _compared(f"all {sum(layer.repeated for layer in layers)} layers, density {density}", total, True)
    return rows


def _compared(task: str, times: dict[str, float], every: bool = False) -> list[Row]:
    low = task.endswith("0.1")
    pairs = [("single", "torch CSR and clamp", 1.2 if low else None), ("blocks", "single", 1.0)]
    pairs += [("kernel single", "torch CSR", 1.2 if low else None), ("kernel blocks", "kernel single", 1.0)]
    pairs += [("single", "torch CSR", None), ("single", "dense mm", None)]
    pairs += [("blocks", "dense mm", None)]
    if every:
        pairs += [("single", "scipy CSR", 1.2 if low else None), ("single", "conv2d", None), ("blocks", "conv2d", None)]
    return [Row(f"{task}, {ours}", peer, times[ours], times[peer], target, unit="us") for ours, peer, target in pairs]


def bench_break_even(quick: bool) -> list[Row]:
    """Measure the density at which the dense product is as fast; what is better depends on the machine."""
    rows = []
    for shape in [(64, 64, 64)] if quick else [(576, 96, 196), (160, 960, 49), (144, 24, 3136), (512, 512, 196)]:
        rates = measure_rates(*shape, repeats=3 if quick else 15)
        task = f"break-even density, {' x '.join(map(str, shape))}, single"
        rows.append(Row(task, "in blocks", rates.break_even(1), rates.break_even(4), unit="density"))
        task = f"useful rate, {' x '.join(map(str, shape))}, density 0.3, single"
        rows.append(Row(task, "1 / blocks", 1e9 / rates.rate_single, 1e9 / rates.rate_blocks, unit="ns per operation"))
        rows.append(Row(task, "1 / dense", 1e9 / rates.rate_single, 1e9 / rates.rate_dense, unit="ns per operation"))
    return rows


def bench_cold_start(quick: bool) -> list[Row]:
    """Time the first product in a new process, beyond its imports: compiled, and from the cache."""
    first = (
        "import time; import numpy as np; from sparsetheory.gpu.kernels import spmm_chw; s = time.perf_counter(); "
        "spmm_chw([0, 1], [0], [1.0], np.ones((1, 1), np.float32), [0.0]); print(time.perf_counter() - s)"
    )
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
        command = [sys.executable, "-c", first]
        cold, warm = (
            float(subprocess.run(command, check=True, env=environment, capture_output=True, text=True).stdout)
            for _ in range(2)
        )
    return [Row("first product of a process, kernel from the cache", "compiled", warm, cold)]


_PARTS: dict[str, Callable[[bool], list[Row]]] = {
    "layers": bench_layers,
    "break_even": bench_break_even,
    "cold": bench_cold_start,
}


if __name__ == "__main__":
    run_parts("Sparse 1 x 1 convolutions", __doc__, _PARTS)
