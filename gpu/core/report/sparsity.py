"""The report of a sparse model: what is kept, where, what kind of training it was, what it costs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sparsetheory.gpu.core.effective_weights import EffectiveWeights, effective_weights, named_masks
from sparsetheory.gpu.core.flops import FlopCount, count_flops
from sparsetheory.gpu.core.layers import is_transposed
from sparsetheory.gpu.core.report.paths import dead_columns, dead_rows, effective_mask, sequential_chains
from sparsetheory.gpu.core.report.results import LayerSparsity, SparsityReport
from sparsetheory.gpu.core.report.storage import break_even, group_patterns, storage, total_storage
from sparsetheory.gpu.core.report.taxonomy import Taxonomy, taxonomy_of
from sparsetheory.gpu.core.report.timing import kernel_seconds
from sparsetheory.gpu.core.report.training import TrainingFlops, training_flops

__all__ = ["sparsity_report"]

# Steps between changes of a mask, where no history tells; as published for RigL.
_PERIOD = 100


def sparsity_report(
    model: nn.Module,
    masks: Mapping[str, Tensor],
    history: Sequence[Any] | None = None,
    batch: Any = None,
    *,
    chains: Iterable[Sequence[str]] | None = None,
) -> SparsityReport:
    """Report what is kept of a model, where, what kind of training it was and what it costs.

    The questions are those of [1]_ and [2]_: which density is meant, how it is spread, whether hardware can use it, and
    what the whole training costs.

    Parameters
    ----------
    model : torch.nn.Module
        With zeros where the masks have them.
    masks : mapping of str to Tensor of bool
        True where a weight is kept, by name of the parameter or of its layer.
    history : sequence of (step, hash, density), optional
        What the masks were during training, see :func:`taxonomy_of`; :attr:`TopologyController.trajectory` is one. It
        adds the kind of training. The step of its last entry is the length of the training whose operations are
        counted, by :func:`training_flops`; ``rigl`` and ``ssvi`` are given the mean number of steps between changes of
        the mask, or 100 where there are none.
    batch : optional
        A tensor, a tuple of positional arguments, or a mapping of keyword arguments; adds operations and measured
        times.
    chains : iterable of sequences of str, optional
        Names of masks that follow each other, for the effective weights, see :func:`effective_mask`. By default those
        in the ``nn.Sequential`` parts of the model; weights elsewhere count as effective.

    Returns
    -------
    SparsityReport
        Equal for models whose neurons are permuted or whose layers have other names, but for names, N:M patterns, which
        depend on the order of the inputs, and measured times.

    Raises
    ------
    ValueError
        If a mask names no weight, has another shape or fewer than two axes, or a weight is not zero off its mask.

    References
    ----------
    .. [1] S. Liu, Z. Wang. Ten lessons we have learned in the new "sparseland": a short handbook for sparse neural
       network researchers. arXiv 2302.02596, 2023.
    .. [2] D. Blalock, J. J. Gonzalez Ortiz, J. Frankle, J. Guttag. What is the state of neural network pruning?
       MLSys 2020.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> model, mask = nn.Sequential(nn.Linear(4, 2)), torch.eye(2, 4, dtype=torch.bool)
    >>> with torch.no_grad():
    ...     _ = model[0].weight.mul_(mask)
    >>> report = sparsity_report(model, {"0.weight": mask})
    >>> report.density, report.overall_density, report.layers[0].patterns
    (0.25, 0.4, ((1, 2), (1, 4)))
    """
    weights = effective_weights(model)
    given, masks = masks, named_masks(weights, masks)
    _check_applied(weights, masks)
    flops = None if batch is None else count_flops(model, batch, masks)
    seconds = {} if batch is None else kernel_seconds(model, batch, masks)
    layers = _layers(model, weights, masks, flops, seconds, _chains(model, weights, given, chains))
    kept = sum(layer.n_weights - layer.n_nonzero for layer in layers)
    n_parameters = sum(value.numel() for value in weights.tensors.values())
    taxonomy = None if history is None else taxonomy_of(history)
    return SparsityReport(
        layers,
        n_parameters,
        n_parameters - kept,
        total_storage(layer.storage for layer in layers),
        flops,
        () if flops is None else _training(flops, taxonomy),
        taxonomy,
    )


def _check_applied(weights: EffectiveWeights, masks: Mapping[str, Tensor]) -> None:
    for name, mask in masks.items():
        if mask.ndim < 2:
            raise ValueError(f"masks must be of weights with at least 2 axes; got shape {tuple(mask.shape)} for {name}")
        off = int(torch.count_nonzero(weights.tensors[name][~mask.to(weights.tensors[name].device)]))
        if off:
            raise ValueError(f"{name} must be zero off its mask; got {off} other entries: is the mask applied?")


def _chains(
    model: nn.Module, weights: EffectiveWeights, masks: Mapping[str, Tensor], chains: Iterable[Sequence[str]] | None
) -> list[list[str]]:
    if chains is None:
        return sequential_chains(model, [weights.resolve(name, "masks") for name in masks])
    return [[weights.resolve(name, "chains") for name in chain] for chain in chains]


def _layers(
    model: nn.Module,
    weights: EffectiveWeights,
    masks: Mapping[str, Tensor],
    flops: FlopCount | None,
    seconds: Mapping[str, tuple[float, float | None]],
    chains: Sequence[Sequence[str]],
) -> tuple[LayerSparsity, ...]:
    lying = {name: _outputs_first(model, name, mask) for name, mask in masks.items()}
    effective = effective_mask(lying, chains)
    uniform, er, erk = _other_densities(masks)
    counted = {} if flops is None else {layer.name: layer for layer in flops.layers}
    found = []
    for name, mask in lying.items():
        value_bytes = weights.tensors[name].element_size()
        count, times = counted.get(name), seconds.get(name, (None, None))
        found.append(
            LayerSparsity(
                name=name,
                shape=tuple(masks[name].shape),
                n_weights=mask.numel(),
                n_nonzero=int(mask.sum()),
                n_effective=int(effective[name].sum()),
                n_dead_rows=int(dead_rows(mask).sum()),
                n_dead_columns=int(dead_columns(mask).sum()),
                uniform_density=uniform[name],
                er_density=er[name],
                erk_density=erk[name],
                patterns=group_patterns(mask),
                storage=storage(mask, value_bytes),
                break_even=break_even(mask.shape[0], mask.numel(), value_bytes),
                flops=None if flops is None else count.flops if count else 0,
                sparse_flops=None if flops is None else count.sparse_flops if count else 0,
                dense_seconds=times[0],
                sparse_seconds=times[1],
            )
        )
    return tuple(found)


def _outputs_first(model: nn.Module, name: str, mask: Tensor) -> Tensor:
    layer = model.get_submodule(name.rpartition(".")[0])
    return mask.T if is_transposed(layer) else mask


def _other_densities(masks: Mapping[str, Tensor]) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """Return the densities of each mask by the uniform, ER and ERK rules, for as many weights in all."""
    from sparsetheory.gpu.core.densities import er_densities, erk_densities, uniform_densities

    shapes = {name: tuple(mask.shape) for name, mask in masks.items()}
    total, nonzero = sum(mask.numel() for mask in masks.values()), sum(int(mask.sum()) for mask in masks.values())
    if nonzero == 0:
        none = dict.fromkeys(shapes, 0.0)
        return none, none, none
    density = nonzero / total
    return uniform_densities(shapes, density), er_densities(shapes, density), erk_densities(shapes, density)


def _training(flops: FlopCount, taxonomy: Taxonomy | None) -> tuple[TrainingFlops, ...]:
    steps = 1 if taxonomy is None else max(1, taxonomy.n_steps)
    period = max(1, round(steps / taxonomy.n_changes)) if taxonomy and taxonomy.n_changes else _PERIOD
    dense, sparse = flops.flops / flops.n_samples, flops.sparse_flops / flops.n_samples
    periods = {"rigl": {"period": period}, "ssvi": {"period": period}}
    kinds = ("dense", "static", "set", "rigl", "ssvi", "dense_gradient", "snip")
    return tuple(training_flops(kind, dense, sparse, steps, **periods.get(kind, {})) for kind in kinds)
