"""How fast sparse and dense products are on this machine."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import median
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch.nn import functional

from sparsetheory.constraints import COUNT, Choice, Real, generator
from sparsetheory.gpu.kernels.packing import BLOCK, pack_rows
from sparsetheory.gpu.kernels.products import multiply_memory, operands

__all__ = ["Rates", "class_rates", "measure_rates"]

# Bounds of the shapes that stand for a class: rows and columns, positions.
_LARGEST_SIDE, _LARGEST_IMAGE = 1024, 4096
_DENSITY = Real(0.0, 1.0, closed="right")


@dataclass(frozen=True)
class Rates:
    """Operations per second, of one thread; those with zeros do not count.

    Parameters
    ----------
    rate_single, rate_blocks : float
        With sparse weights: row by row, and in blocks of four rows.
    rate_dense : float
        With dense weights.
    """

    rate_single: float
    rate_blocks: float
    rate_dense: float

    def break_even(self, block: int) -> float:
        """Return the density from which on the dense product is faster, at most 1.

        Parameters
        ----------
        block : 1 or 4
            Rows that share their columns.
        """
        Choice(1, BLOCK).check("block", block)
        return min((self.rate_blocks if block == BLOCK else self.rate_single) / self.rate_dense, 1.0)


def measure_rates(
    n_rows: int,
    n_columns: int,
    n_positions: int,
    *,
    density: float = 0.3,
    dtype: torch.dtype = torch.float32,
    repeats: int = 15,
    random_state: Any = 0,
) -> Rates:
    """Measure useful rates of sparse and dense products of one shape, on one thread.

    The three products take turns, so that a busy spell meets all alike; of each the median time counts. Kernels are
    compiled before. The rate of a sparse product rises with the density, because each row has a fixed cost: to find a
    break-even, measure near it.

    Parameters
    ----------
    n_rows, n_columns : int
        Outputs and inputs of the layer.
    n_positions : int
        Height times width of the image.
    density : float in (0, 1]
        Share of random weights that are kept; in blocks of four rows as many.
    dtype : torch.float32 or torch.float64
        Type of weights and inputs.
    repeats : int
        Times that each product is timed.
    random_state : int, Generator or None
        Draws weights, and where they are.

    Returns
    -------
    Rates

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> rates = measure_rates(32, 32, 64, repeats=1)
    >>> 0 < rates.break_even(block=4) <= 1
    True
    """
    COUNT.require(n_rows=n_rows, n_columns=n_columns, n_positions=n_positions, repeats=repeats)
    _DENSITY.check("density", density)
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"dtype must be torch.float32 or torch.float64; got {dtype}")
    return _rates((n_rows, n_columns, n_positions), density, dtype, repeats, generator(random_state))


def _rates(
    shape: tuple[int, int, int],
    density: float,
    dtype: torch.dtype,
    repeats: int,
    rng: np.random.Generator,
    samples: bool = False,
) -> Rates:
    """Measure rates for rows, columns and positions; dense ones read positions one by one if they are samples."""
    n_rows, n_columns, n_positions = shape
    W = torch.from_numpy(rng.standard_normal((n_rows, n_columns))).to(dtype)
    X = torch.from_numpy(rng.standard_normal((n_columns, n_positions))).to(dtype)
    bias, out = torch.zeros(n_rows, dtype=dtype), torch.empty(n_rows, n_positions, dtype=dtype)
    products: list[Callable[[], object]] = []
    counts = []
    for block in (1, BLOCK):
        blocks = rng.random((-(-n_rows // block), n_columns))
        # The smallest ones: an exact count, and at least one.
        kept = blocks <= np.quantile(blocks, density, method="lower")
        mask = torch.from_numpy(np.repeat(kept, block, axis=0)[:n_rows])
        products.append(_sparse_product(W, mask, block, X, bias, out))
        counts.append(int(mask.sum()))
    if samples:
        x = X.T.contiguous()
        products.append(lambda: functional.linear(x, W, bias))
    else:
        products.append(lambda: torch.addmm(bias[:, None], W, X, out=out))
    with threadpool_limits(1):
        times = _interleaved(products, repeats)
    single, blocks_of_four, dense = (
        2 * count * n_positions / seconds for count, seconds in zip([*counts, W.numel()], times, strict=True)
    )
    return Rates(single, blocks_of_four, dense)


def class_rates(n_rows: int, n_columns: int, n_positions: int, dtype: torch.dtype, *, samples: bool = False) -> Rates:
    """Return rates for about this shape, measured once per process: sizes are rounded up to powers of two.

    If positions are `samples`, the dense product is that of a linear layer, which reads one after the other.
    """
    sides = max(_rounded(n_rows, _LARGEST_SIDE), 8), max(_rounded(n_columns, _LARGEST_SIDE), 8)
    return _measured((*sides, _rounded(n_positions, _LARGEST_IMAGE)), dtype, samples)


@cache
def _measured(shape: tuple[int, int, int], dtype: torch.dtype, samples: bool) -> Rates:
    return _rates(shape, 0.3, dtype, 5, generator(0), samples)


def _rounded(n: int, largest: int) -> int:
    return min(1 << max(n - 1, 0).bit_length(), largest)


def _sparse_product(
    W: torch.Tensor, mask: torch.Tensor, block: int, X: torch.Tensor, bias: torch.Tensor, out: torch.Tensor
) -> Callable[[], object]:
    rows = pack_rows(W, mask, block)
    arrays = rows.indptr.numpy(), rows.indices.numpy(), rows.values.numpy(), rows.n_blocks
    given = operands(*arrays, bias.numpy(), (-np.inf, np.inf), len(X))
    # Arguments of the function that is returned keep the tensors alive.
    return lambda: multiply_memory(given, X.data_ptr(), 1, X.shape[1], out.data_ptr())


def _interleaved(functions: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Return the median seconds of each function."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for function in functions:
            function()
        rounds = [[_seconds(function) for function in functions] for _ in range(repeats)]
    finally:
        torch.set_num_threads(before)
    return [median(times) for times in zip(*rounds, strict=True)]


def _seconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return max(time.perf_counter() - started, 1e-9)
