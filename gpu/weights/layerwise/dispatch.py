"""The methods of layer-wise pruning under one signature."""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor

from sparsetheory.gpu.core.budgets.allocation import allocate
from sparsetheory.gpu.core.patterns import NM, Pattern, PerRow, PerTensor
from sparsetheory.gpu.solvers.swaps import swap_search as batched_search
from sparsetheory.gpu.weights.layerwise.admm_update import admm_refit
from sparsetheory.gpu.weights.layerwise.alps_admm import alps
from sparsetheory.gpu.weights.layerwise.baselines import magnitude, wanda
from sparsetheory.gpu.weights.layerwise.continuation import continuation_mask
from sparsetheory.gpu.weights.layerwise.damping import DampedGram
from sparsetheory.gpu.weights.layerwise.mask_swaps import sparse_swaps
from sparsetheory.gpu.weights.layerwise.pruned import Pruned
from sparsetheory.gpu.weights.layerwise.search.elimination import backward_elimination
from sparsetheory.gpu.weights.layerwise.search.forward import forward_selection
from sparsetheory.gpu.weights.layerwise.search.swap import swap_search
from sparsetheory.gpu.weights.layerwise.sparse_gpt import sparsegpt

__all__ = ["METHODS", "STARTS", "LayerMethod", "Settings"]


@dataclass(frozen=True)
class Settings:
    """What methods that search take beside the problem."""

    start: str
    max_swaps: int | None
    n_jobs: int | None


Prune = Callable[[Tensor, DampedGram, Pattern, Settings], "Found"]


@dataclass(frozen=True, eq=False)
class Found:
    """Weight and mask of a method, and the swaps done in each row where it does any."""

    weight: Tensor
    mask: Tensor
    n_swaps: Tensor | None = None


@dataclass(frozen=True)
class LayerMethod:
    """A method, whether it ends with the least-squares solution on its mask, and whether no swap improves it."""

    prune: Prune
    refits: bool = False
    swaps: bool = False


def _of(pruned: Pruned) -> Found:
    return Found(pruned.weight, pruned.mask)


def _counts_of_rows(W: Tensor, problem: DampedGram, pattern: Pattern, settings: Settings) -> Pattern:
    """Turn a budget for the whole tensor into one for each row, by the costs of greedy elimination in every row."""
    if not isinstance(pattern, PerTensor):
        return pattern
    removed = backward_elimination(W.cpu(), problem.damped.cpu(), PerRow(n_nonzero=0), n_jobs=settings.n_jobs)
    return PerRow(n_nonzero=allocate(removed.increments, pattern.count(W.shape)))


def _magnitude(W: Tensor, problem: DampedGram, pattern: Pattern, settings: Settings) -> Found:
    return _of(magnitude(W, pattern))


def _wanda(W: Tensor, problem: DampedGram, pattern: Pattern, settings: Settings) -> Found:
    return _of(wanda(W, problem.gram, pattern))


def _sparsegpt(W: Tensor, problem: DampedGram, pattern: Pattern, settings: Settings) -> Found:
    return _of(sparsegpt(W, problem.gram, pattern))


def _admm(W: Tensor, problem: DampedGram, pattern: Pattern, settings: Settings) -> Found:
    return _of(admm_refit(W, problem.gram, pattern))


def _alps(W: Tensor, problem: DampedGram, pattern: Pattern, settings: Settings) -> Found:
    return _of(alps(W, problem.gram, pattern))


def _sparse_swaps(W: Tensor, problem: DampedGram, pattern: Pattern, settings: Settings) -> Found:
    start = wanda(W, problem.gram, pattern).mask
    return _of(sparse_swaps(W, problem.gram, start, pattern, max_swaps=settings.max_swaps))


def _obs(W: Tensor, problem: DampedGram, pattern: Pattern, settings: Settings) -> Found:
    rows = _counts_of_rows(W, problem, pattern, settings)
    found = backward_elimination(W.cpu(), problem.damped.cpu(), rows, n_jobs=settings.n_jobs)
    return Found(found.weight.to(W.device), found.mask.to(W.device))


def _forward(W: Tensor, problem: DampedGram, pattern: Pattern, settings: Settings) -> Found:
    rows = _counts_of_rows(W, problem, pattern, settings)
    found = forward_selection(W.cpu(), problem.damped.cpu(), rows, n_jobs=settings.n_jobs)
    return Found(found.weight.to(W.device), found.mask.to(W.device))


def _swap(W: Tensor, problem: DampedGram, pattern: Pattern, settings: Settings) -> Found:
    rows = _counts_of_rows(W, problem, pattern, settings)
    start = STARTS[settings.start](W, problem, rows, settings)
    if W.device.type != "cpu" and isinstance(rows, NM | PerRow):
        twin = batched_search(W, problem.damped, start, rows, max_swaps=settings.max_swaps)
        return Found(twin.weight, twin.mask, twin.n_swaps)
    found = swap_search(
        W.cpu(), problem.damped.cpu(), start.cpu(), rows, max_swaps=settings.max_swaps, n_jobs=settings.n_jobs
    )
    return Found(found.weight.to(W.device), found.mask.to(W.device), found.n_swaps)


def _continuation(W: Tensor, problem: DampedGram, pattern: Pattern, settings: Settings) -> Tensor:
    return continuation_mask(W, problem.damped, pattern)


METHODS = MappingProxyType(
    {
        "magnitude": LayerMethod(_magnitude),
        "wanda": LayerMethod(_wanda),
        "sparsegpt": LayerMethod(_sparsegpt),
        "admm": LayerMethod(_admm),
        "alps": LayerMethod(_alps),
        "sparseswaps": LayerMethod(_sparse_swaps),
        "obs": LayerMethod(_obs, refits=True),
        "forward": LayerMethod(_forward, refits=True),
        "swap": LayerMethod(_swap, refits=True, swaps=True),
    }
)


def _mask_of(method: LayerMethod) -> Callable[[Tensor, DampedGram, Pattern, Settings], Tensor]:
    return lambda W, problem, pattern, settings: method.prune(W, problem, pattern, settings).mask


STARTS = MappingProxyType(
    {"continuation": _continuation} | {name: _mask_of(method) for name, method in METHODS.items() if name != "swap"}
)
