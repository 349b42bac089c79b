"""Which parameters of a module are projected, and where each of them lies in one flat vector."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch

import torch
from torch import Tensor, nn

__all__ = ["Chosen", "Entry", "Layout", "chosen_parameters"]


@dataclass(frozen=True)
class Entry:
    """One projected tensor.

    Parameters
    ----------
    names : tuple of str
        All names under which the module has it; tied parameters have several.
    shape : tuple of int
    dtype : torch.dtype or None
        None if it is that of the flat vector.
    """

    names: tuple[str, ...]
    shape: torch.Size
    dtype: torch.dtype | None

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.shape.numel()

    @property
    def owner(self) -> str:
        """Name of the module that has the tensor, by its first name."""
        return self.names[0].rpartition(".")[0]


@dataclass(frozen=True)
class Layout:
    """The projected tensors, in the order in which they lie in the flat vector."""

    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, projected: dict[Tensor, list[str]], dtype: torch.dtype) -> "Layout":
        """Describe parameters, given with their names, in a flat vector of a dtype."""
        kinds = [None if tensor.dtype == dtype else tensor.dtype for tensor in projected]
        pairs = zip(projected.items(), kinds, strict=True)
        return cls(tuple(Entry(tuple(names), tensor.shape, kind) for (tensor, names), kind in pairs))

    def converted(self, fn: Callable[[Tensor], Tensor], before: Tensor, after: Tensor) -> "Layout":
        """Return the layout once a function that converts tensors has brought the flat vector to another type."""

        def kind(entry: Entry) -> torch.dtype | None:
            found = fn(torch.empty(0, dtype=entry.dtype or before.dtype, device=before.device)).dtype
            return None if found == after.dtype else found

        return Layout(tuple(replace(entry, dtype=kind(entry)) for entry in self.entries))

    @property
    def sizes(self) -> list[int]:
        """Number of entries of each tensor."""
        return [entry.size for entry in self.entries]

    def groups(self, layers: str) -> list[list[int]]:
        """Return the numbers of the tensors that share a layer scale: each by itself, or all of one module."""
        if layers == "tensor":
            return [[index] for index in range(len(self.entries))]
        owners: dict[str, list[int]] = {}
        for index, entry in enumerate(self.entries):
            owners.setdefault(entry.owner, []).append(index)
        return list(owners.values())

    def tensors(self, parts: Sequence[Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
        """Return tensors under all of their names, from flat pieces; of a dtype if they have none of their own."""
        pairs = zip(self.entries, parts, strict=True)
        shaped = [(entry.names, part.view(entry.shape).to(entry.dtype or dtype)) for entry, part in pairs]
        return {name: tensor for names, tensor in shaped for name in names}


@dataclass(frozen=True, eq=False)
class Chosen:
    """Parameters of a module with all of their names, in its order.

    Parameters
    ----------
    projected : dict of Tensor to list of str
    excluded : dict of Tensor to list of str
        Those that would be projected if they were not excluded.
    direct : dict of Tensor to list of str
        Those that would be projected if they were not trained directly.
    """

    projected: dict[Tensor, list[str]]
    excluded: dict[Tensor, list[str]]
    direct: dict[Tensor, list[str]]


def chosen_parameters(module: nn.Module, exclude: str | Sequence[str], direct: str | Sequence[str]) -> Chosen:
    """Choose the parameters of floating-point numbers that require gradients, but for some by name.

    Raises
    ------
    ValueError
        If a pattern matches nothing, both match one parameter, nothing is left, or devices differ.
    """
    known: dict[Tensor, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        known.setdefault(parameter, []).append(name)
    out, trained = _matching(known, exclude, "exclude"), _matching(known, direct, "direct")
    if both := [known[tensor][0] for tensor in out & trained]:
        raise ValueError(f"exclude and direct must name different parameters; got {both[0]} twice")
    moving = {tensor: names for tensor, names in known.items() if tensor.requires_grad}
    projected = {tensor: names for tensor, names in moving.items() if tensor not in out | trained}
    if not projected:
        raise ValueError("module must have a parameter that requires gradients and is neither excluded nor direct")
    for tensor, names in projected.items():
        if not tensor.is_floating_point():
            raise ValueError(f"{names[0]} must be of real numbers, or be excluded or direct; got {tensor.dtype}")
    devices = {tensor.device: names[0] for tensor, names in projected.items()}
    if len(devices) > 1:
        got = ", ".join(f"{name} on {device}" for device, name in devices.items())
        raise ValueError(f"module must have its projected parameters on one device; got {got}")
    beside = [{tensor: moving[tensor] for tensor in moving if tensor in some} for some in (out, trained)]
    return Chosen(projected, *beside)


def _matching(known: dict[Tensor, list[str]], patterns: str | Sequence[str], argument: str) -> set[Tensor]:
    """Return the parameters that patterns name: by their names, those of modules that hold them, or shell patterns."""
    found: set[Tensor] = set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        hits = {tensor for tensor, names in known.items() if any(fnmatch(path, pattern) for path in _paths(names))}
        if not hits:
            some = ", ".join(names[0] for names in list(known.values())[:5])
            raise ValueError(f"{argument} must name parameters, or modules with some, as in {some}; got {pattern!r}")
        found |= hits
    return found


def _paths(names: list[str]) -> list[str]:
    """Return names of parameters, and of all modules around them."""
    return [".".join(parts[:end]) for parts in (name.split(".") for name in names) for end in range(1, len(parts) + 1)]
