"""Swap search and greedy elimination of layer-wise pruning: one process, one thread, after compilation, time per row.

Run ``python benchmarks/layerwise_pruning.py``; ``--quick`` cuts the sizes, ``--only PART`` runs one part, ``--json
FILE`` also writes one JSON line per row. Gram matrices are synthetic: spectra that decay over seven orders of
magnitude, columns of different size, 1 % of the diagonal as damping. Searches start from the mask of Wanda,
``|w_j| sqrt(H_jj)``, and all times hold the start.
"""

import resource
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from _timing import Row, best_of, best_result, run_parts

from sparsetheory.gpu.core import NM, Pattern, PerRow
from sparsetheory.gpu.weights import backward_elimination, swap_search

# Inputs, pattern, and the milliseconds that a row may take.
_SEARCHES = (
    (384, NM(2, 4), 3.0),
    (384, PerRow(density=0.5), 5.0),
    (1536, NM(2, 4), 200.0),
    (1536, PerRow(density=0.5), 200.0),
)
_QUICK_SEARCHES = ((96, NM(2, 4), 3.0), (96, PerRow(density=0.5), 5.0))


def _layer(rows: int, inputs: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights, and a Gram matrix with damping."""
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.standard_normal((inputs, inputs)))[0]
    H = (Q * np.logspace(0, -7, inputs)) @ Q.T
    size = rng.uniform(0.2, 2.2, inputs)
    H *= size * size[:, None]
    H = (H + H.T) / 2 + np.diag(0.01 * H.diagonal())
    return torch.from_numpy(rng.standard_normal((rows, inputs))), torch.from_numpy(H)


def _start(W: torch.Tensor, H: torch.Tensor, pattern: Pattern) -> torch.Tensor:
    return pattern.mask(W.abs() * H.diagonal().sqrt())


def _tableau(H: Any, b: Any, energy: float, mask: Any) -> Any:
    """Return the bordered matrix, swept with the kept columns as pivots, by one inverse."""
    S, N = np.flatnonzero(mask), np.flatnonzero(~mask)
    A = np.empty((len(H) + 1, len(H) + 1))
    A[:-1, :-1], A[:-1, -1], A[-1, :-1], A[-1, -1] = H, b, b, energy
    N = np.append(N, len(H))
    inverse = np.linalg.inv(H[np.ix_(S, S)])
    cross = A[np.ix_(N, S)] @ inverse
    A[np.ix_(N, N)] -= cross @ A[np.ix_(S, N)]
    A[np.ix_(S, S)], A[np.ix_(N, S)], A[np.ix_(S, N)] = -inverse, cross, cross.T
    return A


def _best_swap(A: Any, H: Any, mask: Any, m: int) -> tuple[float, int, int]:
    """Return the swap of the largest gain, from the prices of all."""
    S, N = np.flatnonzero(mask), np.flatnonzero(~mask)
    d, s = A.diagonal()[S], A[S, -1]
    c = A[np.ix_(S, N)]
    left = A.diagonal()[N] - c**2 / d[:, None]
    gains = (A[N, -1] - c * (s / d)[:, None]) ** 2 / left + (s**2 / d)[:, None]
    gains[(S[:, None] // m != N // m) | (left <= 1e-12 * H.diagonal()[N])] = -np.inf
    j, i = np.unravel_index(np.argmax(gains), gains.shape)
    return float(gains[j, i]), int(S[j]), int(N[i])


def _sweep(A: Any, k: int) -> Any:
    d, column = A[k, k], A[:, k].copy()
    A -= np.outer(column, column / d)
    A[k] = A[:, k] = np.sign(d) * column / d
    A[k, k] = -1 / d


def numpy_search(w: Any, H: Any, mask: Any, m: int, *, sweeps: bool) -> Any:
    """Swap with NumPy: update the whole tableau by outer products, or form it anew after every swap."""
    mask, b = mask.copy(), H @ w
    energy = float(w @ b)
    A = _tableau(H, b, energy, mask)
    while True:
        gain, j, i = _best_swap(A, H, mask, m)
        if gain <= 1e-12 * energy:
            return mask
        mask[j], mask[i] = False, True
        if sweeps:
            _sweep(A, j)
            _sweep(A, i)
        else:
            A = _tableau(H, b, energy, mask)


def bench_swaps(quick: bool) -> list[Row]:
    """Compare swap search with milliseconds, and with NumPy."""
    rows = []
    for inputs, pattern, limit in _QUICK_SEARCHES if quick else _SEARCHES:
        number = 4 if inputs > 1000 else 32
        W, H = _layer(number, inputs)
        first, m = _start(W, H, pattern), pattern.m if isinstance(pattern, NM) else inputs
        swap_search(W[:1], H, first[:1], pattern)
        ours, found = best_result(partial(swap_search, W, H, first, pattern), 3)
        start = best_of(partial(swap_search, W, H, first, pattern, max_swaps=0), 3)
        task = f"swap search, {inputs} inputs, {pattern}, {float(found.n_swaps.double().mean()):.3g} swaps"
        rows.append(Row(task, f"{limit:g} ms", 1e3 * ours / number, limit, 1.0, unit="ms"))
        rows.append(Row(f"{task}, start alone", "all of it", 1e3 * start / number, 1e3 * ours / number, unit="ms"))
        for peer, sweeps in (("NumPy, outer products", True), ("NumPy, a fit for each swap", False)):
            search = partial(numpy_search, W[0].numpy(), H.numpy(), first[0].numpy(), m, sweeps=sweeps)
            theirs, mask = best_result(search, 1)
            if not np.array_equal(mask, found.mask[0].numpy()):
                raise RuntimeError("our search and NumPy disagree")
            alone = best_of(partial(swap_search, W[:1], H, first[:1], pattern), 3)
            rows.append(Row(f"{task}, first row", peer, 1e3 * alone, 1e3 * theirs, 1.0, unit="ms"))
    return rows


def numpy_elimination(w: Any, H: Any, n: int, m: int) -> Any:
    """Remove the cheapest weight whose group has more than n, updating the whole inverse each time."""
    P, s, mask = np.linalg.inv(H), w.copy(), np.ones(len(w), dtype=bool)
    for _ in range(len(w) // m * (m - n)):
        open_groups = np.repeat(mask.reshape(-1, m).sum(1) > n, m)
        j = int(np.argmin(np.where(mask & open_groups, s**2 / P.diagonal(), np.inf)))
        column = P[:, j] / P[j, j]
        s -= column * s[j]
        P -= np.outer(column, P[j])
        P[j, j], mask[j] = 1.0, False
    return mask


def bench_elimination(quick: bool) -> list[Row]:
    """Compare greedy elimination with rank-one updates of the inverse in NumPy."""
    rows = []
    for inputs in (96,) if quick else (384, 1536):
        number = 2 if inputs > 1000 else 32
        W, H = _layer(number, inputs)
        for pattern in (NM(2, 4), PerRow(inputs // 2)):
            m = pattern.m if isinstance(pattern, NM) else inputs
            backward_elimination(W[:1], H, pattern)
            ours, found = best_result(partial(backward_elimination, W, H, pattern), 3)
            theirs, mask = best_result(partial(numpy_elimination, W[0].numpy(), H.numpy(), m // 2, m), 1)
            if not np.array_equal(mask, found.mask[0].numpy()):
                raise RuntimeError("our elimination and NumPy disagree")
            task = f"greedy elimination, {inputs} inputs, {pattern}"
            rows.append(Row(task, "NumPy, outer products", 1e3 * ours / number, 1e3 * theirs, 1.0, unit="ms"))
    return rows


def bench_long_rows(quick: bool) -> list[Row]:
    """Compare rows searched as a whole with blocks of columns, by time and by error, and the memory with 4 GB."""
    inputs, size = (256, 64) if quick else (4096, 1024)
    rng = np.random.default_rng(0)
    # A spectrum for which no orthogonal matrix of this size need be formed.
    X = rng.standard_normal((2 * inputs, inputs // 16)) @ rng.standard_normal((inputs // 16, inputs))
    X += 0.3 * np.sqrt(inputs / 16) * rng.standard_normal(X.shape)
    H = torch.from_numpy(X.T @ X / len(X))
    H.diagonal().mul_(1.01)
    W = torch.from_numpy(rng.standard_normal((2, inputs)))
    first = _start(W, H, NM(2, 4))
    swap_search(W[:1], H, first[:1], NM(2, 4), max_swaps=1)
    ours, whole = best_result(partial(swap_search, W, H, first, NM(2, 4), block_size=inputs), 1)
    theirs, blocks = best_result(partial(swap_search, W, H, first, NM(2, 4), block_size=size), 1)
    task, errors = f"swap search, {inputs} inputs, 2:4", (float(x.objective.sum()) for x in (whole, blocks))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return [
        Row(task, f"blocks of {size}", ours / 2, theirs / 2),
        Row(f"{task}, error", f"blocks of {size}", *errors, 1.0, unit="squared"),
        Row(f"{task}, peak memory", "4 GB", peak, 4.0, 1.0, unit="GB"),
    ]


_PARTS: dict[str, Callable[[bool], list[Row]]] = {
    "swaps": bench_swaps,
    "elimination": bench_elimination,
    "long": bench_long_rows,
}


if __name__ == "__main__":
    run_parts("Layer-wise pruning", __doc__, _PARTS)
