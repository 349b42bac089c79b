"""Attention over kept blocks beside torch's dense attention, on CUDA where there is one, else on one thread.

Run ``python benchmarks/sparse_attention.py``; ``--quick`` cuts the sizes, ``--only PART`` runs one part, and
``--json FILE`` also writes one JSON line per row. One head of 2048 queries and keys of dimension 64, in float32; random
blocks, equally many for each row of blocks. All ways take turns, and the fastest call counts. "ours" is a whole call of
``masked_attention``, with its checks; the mask was used before, so the backend "gather" has its plan. "boolean mask" is
torch's attention with a mask of all pairs: it shows that a mask alone saves no work. The part "early" stops early on
keys in clusters, and counts the ranking as well; it is compared with the same loop that never stops.
"by round" are the tenth and the ninetieth percentile of the ratios of single rounds.
"""

import functools
from collections.abc import Callable

import torch
from _timing import Row, best_of_each, run_parts
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from sparsetheory.gpu.attention import BlockMask, EarlyStop, early_stop_attention, masked_attention, visit_order

_DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# What gathered blocks must reach on a processor, by density.
_TARGETS = {0.25: 2.5}


def _timed(function: Callable[[], object]) -> Callable[[], object]:
    """Wait for the device, where calls return before it is done."""
    if _DEVICE == "cpu":
        return function

    def run() -> None:
        function()
        torch.cuda.synchronize()

    return run


def _head(n: int, heads: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = torch.randn(3, heads, n, 64, generator=torch.Generator().manual_seed(0)).to(_DEVICE)
    return q, k, v


def _mask(n: int, size: int, density: float) -> BlockMask:
    """Return a mask of random blocks, equally many in each row."""
    count = round(density * n / size)
    order = torch.rand(n // size, n // size, generator=torch.Generator().manual_seed(1)).argsort(-1)
    kept = torch.zeros_like(order, dtype=torch.bool).scatter(-1, order[:, :count], True)
    return BlockMask(kept, n, n, (size, size)).to(_DEVICE)


def _ways(n: int, size: int, density: float) -> dict[str, Callable[[], object]]:
    """Return all ways to compute, checked against the reference."""
    parts, mask = [part[None] for part in _head(n)], _mask(n, size, density)
    pairs, exact = mask.element_mask(), masked_attention(*parts, mask)
    backends = ("gather", "online", *(("flex", "triton") if _DEVICE == "cuda" else ()))
    ways: dict[str, Callable[[], object]] = {
        "dense": lambda: scaled_dot_product_attention(*parts),
        "boolean mask": lambda: scaled_dot_product_attention(*parts, attn_mask=pairs),
    }
    for backend in backends:
        ours = functools.partial(masked_attention, *parts, mask, backend=backend)
        if not torch.allclose(ours(), exact, atol=2e-3 if _DEVICE == "cuda" else 1e-5):
            raise RuntimeError(f"the backend {backend} and the reference disagree")
        ways[backend] = ours
    return ways


def bench_blocks(quick: bool) -> list[Row]:
    """Compare every backend with dense attention, at three densities and two sizes of blocks."""
    rows, n = [], 512 if quick else 2048
    torch.set_num_threads(1)
    for size in (64, 128):
        for density in (0.25, 0.5, 1.0):
            ways = _ways(n, size, density)
            with torch.inference_mode():
                timed = [_timed(way) for way in ways.values()]
                rounds = [best_of_each(*timed, repeats=1) for _ in range(3 if quick else 60)]
            times = dict(zip(ways, torch.tensor(rounds, dtype=torch.float64).T, strict=True))
            seconds = {name: float(every.min()) for name, every in times.items()}
            for name in list(ways)[1:]:
                wanted = name == "gather" and not quick and _DEVICE == "cpu"
                low, high = (times["dense"] / times[name]).quantile(torch.tensor([0.1, 0.9]).double()).tolist()
                task = f"{name}, blocks of {size}, density {density:g}, by round {low:.2f} to {high:.2f}"
                target = _TARGETS.get(density) if wanted else None
                rows.append(Row(task, "dense attention", seconds[name], seconds["dense"], target))
    return rows


def bench_early(quick: bool) -> list[Row]:
    """Compare attention that stops early, in our own loop, with dense attention and with the loop that never stops."""
    n = 512 if quick else 2048
    q, k, v = _head(n)
    # Queries and keys near one of 16 centres, which come in runs: what a ranking can use.
    centres = 3 * torch.randn(16, 64, generator=torch.Generator().manual_seed(2)).to(_DEVICE)
    which = torch.arange(n, device=_DEVICE) * 16 // n
    q, k = (0.5 * part + centres[which] for part in (q, k))
    block = (64, 64)

    def stopping(**rules: float) -> EarlyStop:
        order = visit_order(q, k, 256, block=block)
        return early_stop_attention(q, k, v, order, block=block, **rules)

    exact = scaled_dot_product_attention(q, k, v, is_causal=True)
    rules = {"by gain": {"gain_tol": 0.01}, "by certificate": {"max_dropped": 0.05}}
    ways = [functools.partial(stopping, **rule) for rule in rules.values()]
    others = (lambda: scaled_dot_product_attention(q, k, v, is_causal=True), stopping)
    dense, whole, *early = best_of_each(*map(_timed, (*others, *ways)), repeats=3 if quick else 10)
    rows = []
    for name, way, seconds in zip(rules, ways, early, strict=True):
        stop = way()
        error = float((stop.out - exact).norm() / exact.norm())
        task = f"early stop {name}, density {stop.density:.2f}, error {error:.1g}"
        rows.append(Row(task, "dense causal attention", seconds, dense))
        rows.append(Row(task, "the same loop without a stop", seconds, whole))
    return rows


_PARTS: dict[str, Callable[[bool], list[Row]]] = {"blocks": bench_blocks, "early": bench_early}


if __name__ == "__main__":
    run_parts(f"Attention over kept blocks, on {_DEVICE}", __doc__, _PARTS)
