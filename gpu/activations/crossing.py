"""The share of active inputs at which a dense product becomes faster than one that skips rows, on this machine.

The default is a cautious 60 %. For one token and matrices of 1024 to 11008 rows, one core with AVX-512 crossed at 80 to
100 % active inputs. A dense product reads the matrix once for all tokens of a batch and a product that skips reads rows
for each, so the crossing falls with the batch: it was 55 % for 4 tokens and 20 % for 16, about as the inverse root of
their number. To find zeros and to prepare the call takes about 15 microseconds, as long as the dense product of a
matrix of 512 x 512 that the second-level cache holds: below twice this size the default is not to skip.
"""

import time
from collections.abc import Callable
from functools import cache

import torch

from sparsetheory.constraints import COUNT
from sparsetheory.gpu.activations.skipping import skipping_product

__all__ = ["measure_crossing"]

_LOW = 0.1


def measure_crossing(n_in: int, n_out: int, *, dtype: torch.dtype = torch.float32, repeats: int = 15) -> float:
    """Measure up to which share of active inputs skipping is faster, for one token.

    Both products are timed on random numbers, the dense one with as many threads as torch uses now. Skipping takes a
    fixed time and one for each active input; two measurements, at 10 and 100 % active, give both.

    Parameters
    ----------
    n_in, n_out : int
        Shape of the matrix.
    dtype : torch.dtype
        float32 or float64.
    repeats : int
        Calls of each product; the fastest counts.

    Returns
    -------
    float
        From 0 to 1, as the argument ``crossing`` takes it. Kept for the next call in this process.

    Examples
    --------
    >>> 0.0 <= measure_crossing(64, 64, repeats=3) <= 1.0
    True
    """
    COUNT.require(n_in=n_in, n_out=n_out, repeats=repeats)
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"dtype must be torch.float32 or torch.float64; got {dtype}")
    return _measured(n_in, n_out, dtype, repeats, torch.get_num_threads())


@cache
def _measured(n_in: int, n_out: int, dtype: torch.dtype, repeats: int, _: int) -> float:
    source = torch.Generator().manual_seed(0)
    table, x = torch.randn(n_in, n_out, dtype=dtype, generator=source), torch.ones(n_in, dtype=dtype)
    few = x.masked_fill(torch.randperm(n_in, generator=source) >= round(_LOW * n_in), 0)
    share = float((few != 0).double().mean())
    calls: list[Callable[[], object]] = [
        lambda: x @ table,
        lambda: skipping_product(x, table, crossing=1.0),
        lambda: skipping_product(few, table, crossing=1.0),
    ]
    # They take turns, so that a busy spell meets all alike; the first round compiles.
    rounds = [[_seconds(call) for call in calls] for _ in range(repeats + 1)]
    dense, full, low = map(min, zip(*rounds[1:], strict=True))
    if full <= dense:
        return 1.0
    slope = max((full - low) / (1 - share), 1e-12)
    return min(max(1 - (full - dense) / slope, 0.0), 1.0)


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
