"""One count of floating-point operations, bytes and parameters: of a model as it is, and of one that skips zeros.

One multiply-add is 2 operations. Counted are products of matrices and convolutions, those of attention included; sums
with biases, norms and activation functions are not, and neither are embeddings, which look up.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from sparsetheory.gpu.core.effective_weights import EffectiveWeights, effective_weights, named_masks
from sparsetheory.gpu.core.recording import run_batches

__all__ = ["FlopCount", "LayerFlops", "count_flops"]


@dataclass(frozen=True)
class LayerFlops:
    """Operations with one weight.

    Parameters
    ----------
    name : str
        Of the weight.
    shape : tuple of int
        Of the weight.
    n_nonzero : int
        Weights that are kept, or not zero.
    flops, sparse_flops : int
        Operations of all products with the weight in one batch: dense, and without those with zeros of the weight.
    """

    name: str
    shape: tuple[int, ...]
    n_nonzero: int
    flops: int
    sparse_flops: int


@dataclass(frozen=True)
class FlopCount:
    """Operations, bytes and parameters of one forward pass.

    Parameters
    ----------
    layers : tuple of LayerFlops
        The weights that enter products, in the order of the model.
    other : int
        Operations of products without a weight, those of attention. They are dense.
    n_samples : int
        Length of the batch.
    n_parameters, n_nonzero : int
        All parameters, shared ones once, and how many of them are not zero.
    n_bytes, sparse_bytes : int
        Bytes of the parameters, and of those that are not zero, without their indices.

    Attributes
    ----------
    flops, sparse_flops : int
        Operations of the batch, dense and sparse.
    """

    layers: tuple[LayerFlops, ...]
    other: int
    n_samples: int
    n_parameters: int
    n_nonzero: int
    n_bytes: int
    sparse_bytes: int

    @property
    def flops(self) -> int:
        """Operations of the batch if no zero is skipped."""
        return self.other + sum(layer.flops for layer in self.layers)

    @property
    def sparse_flops(self) -> int:
        """Operations of the batch if all products with zeros of weights are skipped."""
        return self.other + sum(layer.sparse_flops for layer in self.layers)


def count_flops(model: nn.Module, batch: Any, masks: Mapping[str, Tensor] | None = None) -> FlopCount:
    """Count the operations of one forward pass, its parameters and their bytes.

    The dense count is that of :class:`torch.utils.flop_counter.FlopCounterMode`. The sparse one multiplies the share of
    each weight by its density. Attention and recurrent layers run in their plain forms meanwhile, so that counts are
    equal on all devices.

    Parameters
    ----------
    model : torch.nn.Module
        Run in evaluation mode and without gradients; its mode is restored.
    batch
        A tensor, a tuple of positional arguments, or a mapping of keyword arguments. Its first tensor has the samples
        along the first axis.
    masks : mapping of str to Tensor of bool, optional
        True where a weight is kept, by name of the parameter or of its layer; other weights count as dense. By default
        a weight counts as far as it is not zero.

    Returns
    -------
    FlopCount

    Raises
    ------
    ValueError
        If a mask names no weight, or has another shape.

    Notes
    -----
    A weight that is used twice has the operations of both uses, and its parameters once. Models and batches on the meta
    device, which have no values, count without memory: all weights as not zero. Operations for which torch
    has no count are not counted.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> mask = torch.tensor([[True, False, False], [False, True, False]])
    >>> count = count_flops(model, torch.ones(1, 4), {"2.weight": mask})
    >>> count.flops, count.sparse_flops, count.n_parameters
    (36, 28, 23)
    """
    weights = effective_weights(model)
    kept = None if masks is None else named_masks(weights, masks)
    used = _products(model, batch, weights)
    nonzero = {name: _count_nonzero(name, value, kept) for name, value in weights.tensors.items()}
    layers = []
    for name, value in weights.tensors.items():
        if name in used:
            sparse = used[name] * nonzero[name] // max(value.numel(), 1)
            layers.append(LayerFlops(name, tuple(value.shape), nonzero[name], used[name], sparse))
    return FlopCount(
        layers=tuple(layers),
        other=used.get("", 0),
        n_samples=_length(batch),
        n_parameters=sum(value.numel() for value in weights.tensors.values()),
        n_nonzero=sum(nonzero.values()),
        n_bytes=sum(value.numel() * value.element_size() for value in weights.tensors.values()),
        sparse_bytes=sum(nonzero[name] * value.element_size() for name, value in weights.tensors.items()),
    )


def _count_nonzero(name: str, value: Tensor, masks: Mapping[str, Tensor] | None) -> int:
    if masks is None:
        # A model on the meta device has shapes only.
        return value.numel() if value.is_meta else int(torch.count_nonzero(value))
    return int(masks[name].sum()) if name in masks else value.numel()


def _products(model: nn.Module, batch: Any, weights: EffectiveWeights) -> dict[str, int]:
    """Return the operations of all products with each weight; those without a weight under the empty name."""
    used: dict[str, int] = {}
    with _running(model, weights) as current:
        owner = _owners(model, weights, current)

        def counted(formula: Callable[..., int]) -> Callable[..., int]:
            def count(*args: Any, out_val: Any = None, **kwargs: Any) -> int:
                flops = formula(*args, out_val=out_val, **kwargs)
                name = next(filter(None, (owner(one) for one in args if isinstance(one, Tensor))), "")
                used[name] = used.get(name, 0) + flops
                return flops

            count._get_raw = True  # type: ignore[attr-defined]  # the counter hands over tensors, not their shapes
            return count

        counter = FlopCounterMode(display=False, custom_mapping={op: counted(f) for op, f in flop_registry.items()})
        with _plain_kernels(), counter:
            next(run_batches(model, [batch]))
    return used


def _owners(model: nn.Module, weights: EffectiveWeights, running: list[str]) -> Callable[[Tensor], str]:
    """Return the function that says which weight an operand is, or is a view of; the empty name where it is none."""
    places: dict[int, list[tuple[int, int, str]]] = {}
    for name, value in model.named_parameters():
        if name in weights.aliases and value.ndim > 1:
            start = int(value.storage_offset())
            spans = places.setdefault(value.untyped_storage()._cdata, [])
            spans.append((start, start + value.numel(), weights.aliases[name]))

    def owner(operand: Tensor) -> str:
        offset = int(operand.storage_offset())
        for start, end, name in places.get(operand.untyped_storage()._cdata, ()):
            if start <= offset < end:
                return name
        # What is computed anew at every call has its own memory; inside its layer the shape of the weight tells it.
        if running and operand.ndim > 1:
            shape = weights.tensors[running[-1]].shape
            if operand.shape == shape or operand.shape == shape[::-1]:
                return running[-1]
        return ""

    return owner


@contextmanager
def _running(model: nn.Module, weights: EffectiveWeights) -> Iterator[list[str]]:
    """Yield the list of the weights whose layers are running, the innermost last.

    These are the weights that are computed anew, and those of linear and convolutional layers: a layer with random
    weights multiplies by tensors that it makes of its parameters.
    """
    stored = {name for name, _ in model.named_parameters()}
    running: list[str] = []
    handles = []
    for name, value in weights.tensors.items():
        prefix, _, short = name.rpartition(".")
        module = model.get_submodule(prefix)
        its_own = short == "weight" and isinstance(module, nn.Linear | nn.Conv2d)
        if value.ndim < 2 or (name in stored and not its_own):
            continue
        handles.append(module.register_forward_pre_hook(lambda _module, _args, name=name: running.append(name)))
        handles.append(module.register_forward_hook(lambda *_: (running.pop(), None)[1], always_call=True))
    try:
        yield running
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _plain_kernels() -> Iterator[None]:
    """Let attention and recurrent layers consist of products that are counted one by one, on every device."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            # Switching oneDNN off and on tells of a setting for another device.
            warnings.filterwarnings("ignore", message="TF32 acceleration")
            with (
                sdpa_kernel(SDPBackend.MATH),
                torch.backends.mkldnn.flags(enabled=False),
                torch.backends.cudnn.flags(enabled=False),
            ):
                yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _length(batch: Any) -> int:
    values = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, tuple | list) else [batch]
    first = next((one for one in values if isinstance(one, Tensor) and one.ndim > 0), None)
    return 1 if first is None else first.shape[0]
