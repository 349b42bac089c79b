"""The masks of a model as one object: named, compared, stored, and applied to the weights of the same names."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sparsetheory.gpu.core.effective_weights import effective_weights, named_masks
from sparsetheory.gpu.core.layers import find_layers, weight_name
from sparsetheory.gpu.core.named_weights import stored, write_masked

__all__ = ["MaskSet", "check_alike"]


def check_alike(name: str, tensors: Mapping[str, Tensor], like: Mapping[str, Tensor], like_name: str = "masks") -> None:
    """Raise unless two mappings hold tensors of the same names and shapes.

    Parameters
    ----------
    name, like_name : str
        What the message calls the two.
    tensors, like : mapping of str to Tensor

    Raises
    ------
    ValueError
        With the names that only one of them has, or the first tensors whose shapes differ.
    """
    missing, unknown = [key for key in like if key not in tensors], [key for key in tensors if key not in like]
    if missing or unknown:
        differences = f"missing are {missing or 'none'}, unknown are {unknown or 'none'}"
        raise ValueError(f"{name} must have the names of {like_name}; {differences}")
    for key, tensor in tensors.items():
        if tensor.shape != like[key].shape:
            shapes = f"{tuple(tensor.shape)}, not {tuple(like[key].shape)}"
            raise ValueError(f"{name} must have the shapes of {like_name}; {key} has {shapes}")


class MaskSet(Mapping[str, Tensor]):
    """Which entries of the tensors of a model are kept: a mapping from names to masks.

    Names are those of tensors, such as ``"layers.0.fc.weight"``. Two sets are equal if they have the same names, shapes
    and entries; the order of names, the devices and the memory formats do not matter.

    Parameters
    ----------
    masks : mapping of str to Tensor of bool
        True where an entry is kept. The tensors are used as they are, not copied.

    Raises
    ------
    TypeError
        If a mask does not hold booleans.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> model = nn.Linear(3, 2)
    >>> masks = MaskSet({"weight": torch.tensor([[True, False, False], [False, True, True]])})
    >>> masks.apply(model)
    >>> masks.density, MaskSet.of(model) == masks
    (0.5, True)
    """

    def __init__(self, masks: Mapping[str, Tensor]) -> None:
        for name, mask in masks.items():
            if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
                got = getattr(mask, "dtype", type(mask).__name__)
                raise TypeError(f"masks must hold tensors of bool; {name} is {got}")
        self._masks = dict(masks)

    @classmethod
    def of(cls, model: nn.Module, names: Sequence[str] | None = None) -> "MaskSet":
        """Return the masks of what is not zero now.

        Parameters
        ----------
        model : torch.nn.Module
        names : sequence of str, optional
            Parameters, or layers for their weights. By default all linear and convolutional layers. What several
            modules share has its first name. Of a parametrised weight the effective value counts.

        Returns
        -------
        MaskSet
            On the devices of the weights.
        """
        weights = effective_weights(model)
        layers = [weight_name(layer) for layer in find_layers(model)] if names is None else names
        chosen = dict.fromkeys(weights.resolve(name, "names") for name in layers)
        return cls({name: weights.tensors[name] != 0 for name in chosen})

    def __getitem__(self, name: str) -> Tensor:
        return self._masks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._masks)

    def __len__(self) -> int:
        return len(self._masks)

    def __repr__(self) -> str:
        return f"MaskSet({len(self)} masks, {self.n_nonzero} of {self.size} entries kept)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MaskSet) or set(self) != set(other):
            return False
        return all(torch.equal(mask.cpu(), other[name].cpu()) for name, mask in self.items())

    __hash__ = None  # type: ignore[assignment]

    @property
    def size(self) -> int:
        """Entries of all tensors."""
        return sum(mask.numel() for mask in self.values())

    @property
    def n_nonzero(self) -> int:
        """Entries kept."""
        return sum(int(mask.sum()) for mask in self.values())

    @property
    def density(self) -> float:
        """Share of all entries that is kept; NaN for no entries."""
        return self.n_nonzero / self.size if self.size else float("nan")

    @property
    def densities(self) -> dict[str, float]:
        """Share of each tensor that is kept."""
        return {name: int(mask.sum()) / mask.numel() if mask.numel() else float("nan") for name, mask in self.items()}

    def distance(self, other: Mapping[str, Tensor], *, normalised: bool = False) -> float:
        """Return how many entries differ; an entry that moves counts twice.

        Parameters
        ----------
        other : MaskSet
            Of the same names and shapes.
        normalised : bool
            Divide by the number of all entries.

        Returns
        -------
        float
        """
        count = sum(int((mask ^ there).sum()) for mask, there in self._pairs(other))
        return count / self.size if normalised else float(count)

    def overlap(self, other: Mapping[str, Tensor]) -> float:
        """Return the share of what is kept here that `other` keeps too; NaN where nothing is kept here.

        For two independent random masks of densities p and q it is q on average.
        """
        kept = self.n_nonzero
        both = sum(int((mask & there).sum()) for mask, there in self._pairs(other))
        return both / kept if kept else float("nan")

    def __and__(self, other: Mapping[str, Tensor]) -> "MaskSet":
        return self._joined(torch.logical_and, other)

    def __or__(self, other: Mapping[str, Tensor]) -> "MaskSet":
        return self._joined(torch.logical_or, other)

    def __invert__(self) -> "MaskSet":
        return MaskSet({name: ~mask for name, mask in self.items()})

    def digest(self) -> str:
        """Return a fingerprint of names, shapes and entries, equal on all machines: 32 hexadecimal digits.

        The order of names, the device and the memory format do not change it.
        """
        found = hashlib.blake2b(digest_size=16)
        for name in sorted(self):
            found.update(f"{name}{tuple(self[name].shape)}".encode())
            found.update(_packed(self[name]).tobytes())
        return found.hexdigest()

    def apply(self, model: nn.Module) -> None:
        """Set the weights of a model to zero off the masks, in place.

        A weight that several modules share is written once. A parametrised weight is written so that the layer computes
        with the masked weight.

        Raises
        ------
        ValueError
            If the model has no tensor of a name, a shape differs, two names mean one shared weight and have different
            masks, or a parametrisation cannot give the masked weight.
        """
        weights = effective_weights(model)
        for name, mask in named_masks(weights, self).items():
            write_masked(model, name, mask.to(weights.tensors[name].device))

    def by_parameter(self, model: nn.Module) -> dict[Tensor, Tensor]:
        """Return the masks under the parameters of a model, as optimiser hooks take them.

        Of a parametrised weight the parameter is its original, which must have the shape of the mask. A weight that
        several modules share occurs once.

        Raises
        ------
        ValueError
            If the model has no tensor of a name, a shape differs, or two names mean one shared weight and have
            different masks.
        """
        found = {}
        for name, mask in named_masks(effective_weights(model), self).items():
            parameter = stored(model, name)
            if parameter.shape != mask.shape:
                raise ValueError(
                    f"{name} must be stored in the shape of its mask, {tuple(mask.shape)}; got {tuple(parameter.shape)}"
                )
            found[parameter] = mask.to(parameter.device)
        return found

    def to(self, device: Any) -> "MaskSet":
        """Return the masks on another device."""
        return MaskSet({name: mask.to(device) for name, mask in self.items()})

    def state_dict(self) -> dict[str, Tensor]:
        """Return the masks in a plain dictionary, for ``torch.save``."""
        return dict(self._masks)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Overwrite the masks, in place, by those of a dictionary with the same names and shapes."""
        check_alike("state", state, self)
        for name, mask in self.items():
            mask.copy_(state[name])

    def save(self, path: str | Path) -> None:
        """Write the masks to a safetensors file, one bit an entry.

        Raises
        ------
        ImportError
            Without the extra ``sparsetheory[hf]``.
        """
        shapes = json.dumps({name: list(mask.shape) for name, mask in self.items()})
        packed = {name: torch.from_numpy(_packed(mask)) for name, mask in self.items()}
        _safetensors().save_file(packed, path, metadata={"shapes": shapes})

    @classmethod
    def load(cls, path: str | Path) -> "MaskSet":
        """Read the masks that :meth:`save` wrote, to the CPU."""
        _safetensors()
        from safetensors import safe_open

        with safe_open(path, framework="pt") as file:
            shapes = json.loads((file.metadata() or {}).get("shapes", "null"))
            if shapes is None:
                raise ValueError(f"path must be a file that MaskSet.save wrote; got {path}")
            return cls({name: _unpacked(file.get_tensor(name), shape) for name, shape in shapes.items()})

    def _pairs(self, other: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
        check_alike("other", other, self)
        return [(mask, other[name].to(mask.device)) for name, mask in self.items()]

    def _joined(self, operation: Any, other: Mapping[str, Tensor]) -> "MaskSet":
        return MaskSet(dict(zip(self, (operation(*pair) for pair in self._pairs(other)), strict=True)))


def _packed(mask: Tensor) -> np.ndarray:
    return np.packbits(mask.detach().cpu().numpy().ravel(order="C"))


def _unpacked(packed: Tensor, shape: Sequence[int]) -> Tensor:
    count = int(np.prod(shape, dtype=np.int64))
    return torch.from_numpy(np.unpackbits(packed.numpy(), count=count).astype(bool)).reshape(tuple(shape))


def _safetensors() -> Any:
    try:
        from safetensors import torch as safetensors_torch
    except ImportError:
        raise ImportError("files of masks need the extra: pip install 'sparsetheory[hf]'") from None
    return safetensors_torch
