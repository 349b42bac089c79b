"""Which parameters of a module are projected, and where each of them lies in one flat vector."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import accumulate

import torch
from torch import Tensor, nn

__all__ = ["Entry", "Layout", "matching"]


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
    def of(cls, module: nn.Module, names: dict[Tensor, list[str]], dtype: torch.dtype) -> "Layout":
        """Describe parameters, by their names, in a flat vector of a dtype."""
        kinds = [None if tensor.dtype == dtype else tensor.dtype for tensor in names]
        return cls(
            tuple(
                Entry(tuple(known), tensor.shape, kind)
                for (tensor, known), kind in zip(names.items(), kinds, strict=True)
            )
        )

    @property
    def sizes(self) -> list[int]:
        """Number of entries of each tensor."""
        return [entry.size for entry in self.entries]

    @property
    def offsets(self) -> list[int]:
        """Where each tensor begins in the flat vector, and where the last one ends."""
        return list(accumulate(self.sizes, initial=0))

    def groups(self, layers: str) -> list[list[int]]:
        """Return the numbers of the tensors that share a layer scale: each by itself, or all of one module."""
        if layers == "tensor":
            return [[index] for index in range(len(self.entries))]
        owners: dict[str, list[int]] = {}
        for index, entry in enumerate(self.entries):
            owners.setdefault(entry.owner, []).append(index)
        return list(owners.values())

    def tensors(self, parts: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return tensors under all of their names, from flat pieces."""
        shaped = [
            (entry, part.view(entry.shape).to(entry.dtype or part.dtype))
            for entry, part in zip(self.entries, parts, strict=True)
        ]
        return {name: tensor for entry, tensor in shaped for name in entry.names}


def matching(names: dict[Tensor, list[str]], patterns: str | Sequence[str], argument: str) -> set[Tensor]:
    """Return the parameters that patterns name: by their names, those of modules that hold them, or shell patterns.

    Raises
    ------
    ValueError
        If a pattern matches nothing.
    """
    wanted = [patterns] if isinstance(patterns, str) else list(patterns)
    found: set[Tensor] = set()
    for pattern in wanted:
        hits = {tensor for tensor, known in names.items() if any(fnmatch(part, pattern) for part in _paths(known))}
        if not hits:
            some = ", ".join(known[0] for known in list(names.values())[:5])
            raise ValueError(f"{argument} must name parameters or modules that hold some, such as {some}; got {pattern!r}")
        found |= hits
    return found


def _paths(names: list[str]) -> list[str]:
    """Return names of parameters, and of all modules around them."""
    return [".".join(parts[:end]) for parts in (name.split(".") for name in names) for end in range(1, len(parts) + 1)]
