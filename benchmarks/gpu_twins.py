"""The batched twins beside the plain torch way that they replace: one process, on CUDA where there is one.

Run ``python benchmarks/gpu_twins.py``; ``--quick`` cuts the sizes, ``--only PART`` runs one part, ``--json FILE`` also
writes one JSON line per row. Both sides compute the same thing, which each part checks. Peers that take one
problem at a time are given fewer of them; costs are then per problem.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from _timing import Row, best_of_each, run_parts
from torch import Tensor
from torch.nn.utils import prune

from sparsetheory.gpu.core import NM, MaskSet, Pattern, PerRow
from sparsetheory.gpu.core.selection import keep_in_groups
from sparsetheory.gpu.solvers import encode, hard_thresholding, omp_gram, prox, swap_search, truncated_svd_summary
from sparsetheory.gpu.solvers.coding_problem import CodingProblem
from sparsetheory.gpu.weights import one_shot_masks
from sparsetheory.penalties import L1, MCP

Call = Callable[[], Any]
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
# At least as fast as the plain way.
_TARGET = 1.0


def _draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return normal numbers, drawn on the CPU."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype).to(DEVICE)


def _row(quick: bool, task: str, against: str, ours: Call, peer: Call, problems: tuple[int, int] = (1, 1)) -> Row:
    """Time both on the device; `problems` says how many each of them solves."""
    times = best_of_each(partial(_waited, ours), partial(_waited, peer), repeats=1 if quick else 2)
    mine, other = (1e3 * seconds / count for seconds, count in zip(times, problems, strict=True))
    return Row(task, against, mine, other, None if quick else _TARGET, "ms")


def _waited(function: Call) -> None:
    function()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def _sorted_mask(score: Tensor, n: int, m: int) -> Tensor:
    groups = score.reshape(-1, m)
    order = groups.argsort(dim=1, descending=True, stable=True)[:, :n]
    return torch.zeros_like(groups, dtype=torch.bool).scatter_(1, order, True).reshape(score.shape)


def bench_masks(quick: bool) -> list[Row]:
    """Keep n of every m, against a stable sort and a scatter."""
    rows = []
    for dtype in (torch.float32, torch.bfloat16):
        score = _draw(256 if quick else 1536, 384, dtype=torch.float32).abs().to(dtype)
        for n, m in ((2, 4), (4, 8), (2, 16), (8, 16)):
            assert torch.equal(keep_in_groups(score, n, m), _sorted_mask(score, n, m))
            task = f"{n}:{m} mask, {tuple(score.shape)} {dtype}"
            ours, peer = (partial(f, score, n, m) for f in (keep_in_groups, _sorted_mask))
            rows.append(_row(quick, task, "stable sort and scatter", ours, peer))
    return rows


def _plain_l1(x: Tensor) -> Tensor:
    return x.sign() * (x.abs() - 0.3).clamp(min=0.0)


def _plain_mcp(x: Tensor) -> Tensor:
    v = x.abs()
    inner = x.sign() * (v - 0.3).clamp(min=0.0) / (1 - 1 / 3.0)
    return torch.where(v <= 0.9, inner, x)


def bench_prox(quick: bool) -> list[Row]:
    """Apply proximal operators, against the formulas written out."""
    x = _draw(10_000 if quick else 1_000_000)
    peers = {L1(0.3): _plain_l1, MCP(0.3, gamma=3.0): _plain_mcp}
    rows = []
    for penalty, peer in peers.items():
        torch.testing.assert_close(prox(x, penalty), peer(x))
        task = f"prox of {penalty!r}, {x.numel()} entries"
        rows.append(_row(quick, task, "formula written out", partial(prox, x, penalty), partial(peer, x)))
    return rows


def _pursuit(D: Tensor, X: Tensor, n_nonzero: int) -> Tensor:
    return omp_gram(D @ D.T, X @ D.T, n_nonzero=n_nonzero)


def _pursuit_one_by_one(D: Tensor, X: Tensor, n_nonzero: int) -> Tensor:
    codes = X.new_zeros(X.shape[0], D.shape[0])
    for x, code in zip(X, codes, strict=True):
        chosen: list[int] = []
        residual = x
        for _ in range(n_nonzero):
            chosen.append(int((D @ residual).abs().argmax()))
            coef = torch.linalg.lstsq(D[chosen].T, x).solution
            residual = x - coef @ D[chosen]
        code[chosen] = coef
    return codes


def bench_pursuit(quick: bool) -> list[Row]:
    """Pursue many targets, against a loop over them."""
    rows = []
    for n_atoms, n_features, n_nonzero in ((64, 32, 4),) if quick else ((256, 64, 8), (1024, 256, 16)):
        D = torch.nn.functional.normalize(_draw(n_atoms, n_features))
        X = _draw(100 if quick else 1000, n_features, seed=1)
        few = X[:5]
        ours, peer = partial(_pursuit, D, X, n_nonzero), partial(_pursuit_one_by_one, D, few, n_nonzero)
        torch.testing.assert_close(ours()[:5], peer())
        task = f"OMP, {n_nonzero} of {n_atoms} atoms, one of {X.shape[0]} signals"
        rows.append(_row(quick, task, "loop over signals, lstsq", ours, peer, (X.shape[0], 5)))
    return rows


def _plain_fista(X: Tensor, D: Tensor, alpha: float, tol: float, max_iter: int = 20_000) -> Tensor:
    """Step with all signals until the last one has a small duality gap: no restarts, products written as they come."""
    step = 1.0 / float(torch.linalg.matrix_norm(D, 2) ** 2)
    problem = CodingProblem.of(X, D, L1(alpha), tol, None)
    codes = point = X.new_zeros(X.shape[0], D.shape[0])
    momentum = 1.0
    for iteration in range(max_iter):
        gradient = point @ (D @ D.T) - X @ D.T
        moved = torch.nn.functional.softshrink(point - step * gradient, step * alpha)
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        point, codes, momentum = moved + (momentum - 1) / following * (moved - codes), moved, following
        if iteration % 10 == 9 and bool(problem.is_solved(codes).all()):
            break
    return codes


def bench_codes(quick: bool) -> list[Row]:
    """Code with l1 to a relative gap of 1e-6, sparse and dense codes, against textbook FISTA."""
    rows = []
    for n_atoms, n_features in ((48, 32),) if quick else ((128, 64), (256, 128)):
        D = torch.nn.functional.normalize(_draw(n_atoms, n_features))
        planted = torch.where(_draw(200, n_atoms, seed=2) > 1.6, _draw(200, n_atoms, seed=3), 0.0)
        X = (planted @ D + 0.1 * _draw(200, n_features, seed=4))[: 50 if quick else 200]
        for alpha in (0.3, 0.05):
            peer = partial(_plain_fista, X, D, alpha, 1e-6)
            codes = encode(X, D, "l1", alpha=alpha, tol=1e-9, max_iter=10_000).codes
            active = float((codes != 0).sum(1).double().mean())
            for solver in ("auto", "fss", "fista"):
                ours = partial(encode, X, D, "l1", alpha=alpha, solver=solver, max_iter=20_000)
                task = f"l1 codes by {solver}, {X.shape[0]} signals, {active:.0f} of {n_atoms} atoms"
                rows.append(_row(quick, task, "FISTA without restart", ours, peer))
    return rows


def _thresholding_one_by_one(G: Tensor, B: Tensor, n_nonzero: int, start: Tensor) -> Tensor:
    """Do what `hard_thresholding` does, row by row, by the solver for general matrices."""
    diagonal = G.diagonal()
    scale = diagonal.rsqrt()
    length = 16.0 / torch.linalg.eigvalsh(G * scale * scale[:, None])[-1] / diagonal
    out = []
    for b, s in zip(B, start, strict=True):
        coef, value, moved = torch.zeros_like(b), None, s
        while True:
            support = torch.topk(diagonal * moved.square(), n_nonzero).indices
            new = torch.zeros_like(coef)
            new[support] = torch.linalg.solve(G[support][:, support], b[support])
            reached = float((new @ G - 2 * b) @ new)
            if value is not None and value - reached <= 1e-8 * abs(value):
                break
            coef, value = new, reached
            moved = coef + length * (b - coef @ G)
        out.append(coef)
    return torch.stack(out)


def _gram(n: int, seed: int = 0) -> Tensor:
    """Return the Gram matrix of correlated inputs, lightly damped."""
    X = _draw(4 * n, n, seed=seed) @ (torch.eye(n, device=DEVICE) + 0.3 * _draw(n, n, seed=seed + 1))
    gram = X.T @ X / X.shape[0]
    return gram + 1e-2 * torch.diag(gram.diagonal())


def bench_thresholding(quick: bool) -> list[Row]:
    """Threshold with refits, against a loop over rows."""
    n, n_rows, few = (48, 32, 4) if quick else (256, 128, 8)
    G, W = _gram(n), _draw(n_rows, n, seed=5)
    pattern = PerRow(n // 8)
    start = torch.where(pattern.mask(G.diagonal() * W.square()), W, 0.0)
    ours = partial(hard_thresholding, G, W @ G, pattern, init=start)
    peer = partial(_thresholding_one_by_one, G, W[:few] @ G, n // 8, start[:few])
    torch.testing.assert_close(ours().coef[:few], peer())
    task = f"hard thresholding with refits, {n // 8} of {n}, one of {n_rows} rows"
    return [_row(quick, task, "loop over rows, solve", ours, peer, (n_rows, few))]


def _swaps_one_by_one(W: Tensor, G: Tensor, mask: Tensor, pattern: Pattern) -> Tensor:
    rows = zip(W, mask, strict=True)
    return torch.cat([swap_search(w[None], G, kept[None], pattern).weight for w, kept in rows])


def bench_swaps(quick: bool) -> list[Row]:
    """Swap to local optimality, against one row at a time."""
    n, n_rows, few = (32, 16, 4) if quick else (192, 32, 4)
    G, W = _gram(n, seed=6), _draw(n_rows, n, seed=8)
    rows = []
    for pattern in (NM(2, 4), PerRow(density=0.5)):
        mask = pattern.mask(W.abs())
        ours = partial(swap_search, W, G, mask, pattern)
        peer = partial(_swaps_one_by_one, W[:few], G, mask[:few], pattern)
        torch.testing.assert_close(ours().weight[:few], peer())
        task = f"swap search, {pattern} of {n}, one of {n_rows} rows"
        rows.append(_row(quick, task, "loop over rows", ours, peer, (n_rows, few)))
    return rows


def bench_svd(quick: bool) -> list[Row]:
    """Bound the best rank-r error of a batch, against full decompositions."""
    rows = []
    for shape, rank in (((2, 40, 60), 4),) if quick else (((4, 384, 384), 32), ((1, 384, 1536), 32)):
        X = _draw(*shape) * 0.97 ** torch.arange(shape[2], dtype=torch.float64, device=DEVICE)
        peer = partial(torch.linalg.svd, X, full_matrices=False)
        tail = peer().S[:, rank:].square().sum(1)
        for method in ("auto", "range_finder"):
            ours = partial(truncated_svd_summary, X, rank, method=method, random_state=0)
            found = ours()
            assert bool(((found.lower <= tail) & (tail <= found.upper)).all())
            task = f"rank-{rank} summary, {method}, {shape}"
            rows.append(_row(quick, task, "torch.linalg.svd", ours, peer))
    return rows


def _pruned_by_torch(params: Mapping[str, Tensor], sparsity: float) -> dict[str, Tensor]:
    """Return masks of torch.nn.utils.prune for the same weights; no copy of them is made for it."""
    modules = {name: torch.nn.Module() for name in params}
    for name, module in modules.items():
        module.weight = torch.nn.Parameter(params[name])
    places = [(module, "weight") for module in modules.values()]
    prune.global_unstructured(places, pruning_method=prune.L1Unstructured, amount=sparsity)
    return {name: module.weight_mask.bool() for name, module in modules.items()}


def bench_one_shot(quick: bool) -> list[Row]:
    """Remove the smallest weights of all layers together, against torch.nn.utils.prune; weights as in an encoder."""
    blocks, width = (1, 64) if quick else (6, 384)
    shapes = [*[(width, width)] * 4, (4 * width, width), (width, 4 * width)]
    params = {
        f"{block}.{index}": _draw(*shape, seed=10 * block + index, dtype=torch.float32)
        for block in range(blocks)
        for index, shape in enumerate(shapes)
    }
    total = sum(weight.numel() for weight in params.values())
    rows = []
    for sparsity in (0.1, 0.5, 0.9):
        masks = one_shot_masks(params, sparsity)
        # Normal numbers in single precision tie now and then, where torch leaves open which of them stays.
        theirs = MaskSet(_pruned_by_torch(params, sparsity))
        assert masks.n_nonzero == theirs.n_nonzero
        assert masks.distance(theirs) <= 4
        ours, peer = partial(one_shot_masks, params, sparsity), partial(_pruned_by_torch, params, sparsity)
        rows.append(_row(quick, f"one-shot masks, {sparsity:.0%} of {total}", "torch.nn.utils.prune", ours, peer))
    return rows


PARTS: dict[str, Callable[[bool], list[Row]]] = {
    "masks": bench_masks,
    "prox": bench_prox,
    "pursuit": bench_pursuit,
    "codes": bench_codes,
    "thresholding": bench_thresholding,
    "swaps": bench_swaps,
    "svd": bench_svd,
    "one_shot": bench_one_shot,
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    name = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "CPU, one thread"
    run_parts(f"Batched twins beside plain torch, on {name}", __doc__, PARTS)
