"""The tensors of two states of one model, side by side: before and after fine-tuning."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparsetheory.constraints import MISSING, Instance

__all__ = ["State", "TensorPair", "matrix_pairs", "tensor_pairs"]

State = nn.Module | Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class TensorPair:
    """One tensor before and after.

    Parameters
    ----------
    name : str
    before, after : Tensor
        Of one shape, as they are stored.
    """

    name: str
    before: Tensor
    after: Tensor

    def values(self, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
        """Return both, rounded to a dtype and then held where their difference keeps its digits.

        Parameters
        ----------
        dtype : torch.dtype, optional
            What both are rounded to; by default they are taken as stored.

        Returns
        -------
        tuple of Tensor
            Of float64 where one of them is, else of float32; on the device of `before`. In half precision itself a
            difference, and a tolerance for it, would be rounded again.
        """
        pair = [tensor.detach().to(self.before.device) for tensor in (self.before, self.after)]
        if dtype is not None:
            pair = [tensor.to(dtype) for tensor in pair]
        wide = torch.float64 if any(tensor.dtype == torch.float64 for tensor in pair) else torch.float32
        return pair[0].to(wide), pair[1].to(wide)


def tensor_pairs(a: State, b: State, dtype: torch.dtype | None = None) -> list[TensorPair]:
    """Match the floating-point tensors of two states by name.

    What the state shares between several names, such as tied embeddings, occurs once, under its first name. Integer
    and boolean buffers are left out.

    Parameters
    ----------
    a, b : torch.nn.Module or mapping of str to Tensor
        Models, or what their ``state_dict()`` returns.
    dtype : torch.dtype, optional
        To what both will be rounded. Without it their dtypes must agree.

    Returns
    -------
    list of TensorPair
        In the order of `a`.

    Raises
    ------
    ValueError
        If names, shapes, kinds or dtypes differ, or nothing is left to compare.
    """
    (MISSING | Instance(torch.dtype, "a dtype of torch")).check("dtype", dtype)
    if dtype is not None and not dtype.is_floating_point:
        raise ValueError(f"dtype must be of floating-point numbers; got {dtype}")
    first, second = _tensors("a", a), _tensors("b", b)
    _require_same_names(first, second)
    pairs = [TensorPair(name, tensor, second[name]) for name, tensor in first.items() if name in second]
    _require_same_shapes(pairs)
    pairs = [pair for pair in pairs if pair.before.is_floating_point() or pair.after.is_floating_point()]
    for pair in pairs:
        kinds = pair.before.dtype, pair.after.dtype
        if not all(kind.is_floating_point for kind in kinds) or (dtype is None and kinds[0] != kinds[1]):
            raise ValueError(f"a and b must have the same dtypes, or dtype be given; {pair.name} has {_both(kinds)}")
    if not pairs:
        raise ValueError("a and b must hold floating-point tensors; got none")
    return list(_untied(pairs))


def matrix_pairs(a: State, b: State, dtype: torch.dtype | None = None) -> list[TensorPair]:
    """Match the tensors of at least two axes, as matrices with one row per output.

    Raises
    ------
    ValueError
        As :func:`tensor_pairs` does, or if no tensor is a matrix.
    """
    pairs = [
        TensorPair(pair.name, pair.before.flatten(1), pair.after.flatten(1))
        for pair in tensor_pairs(a, b, dtype)
        if pair.before.ndim > 1 and pair.before.numel()
    ]
    if not pairs:
        raise ValueError("a and b must hold tensors of at least two axes; got none")
    return pairs


def _tensors(argument: str, state: State) -> dict[str, Tensor]:
    found = state.state_dict() if isinstance(state, nn.Module) else state
    if not isinstance(found, Mapping):
        raise TypeError(f"{argument} must be a module or a mapping of names to tensors; got {type(state).__name__}")
    for name, tensor in found.items():
        # Modules may keep other objects as extra state.
        if isinstance(tensor, Tensor) and tensor.is_complex():
            raise ValueError(f"{argument} must hold real numbers; {name} is {tensor.dtype}")
    return {name: tensor for name, tensor in found.items() if isinstance(tensor, Tensor)}


def _require_same_names(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> None:
    only_a, only_b = _only(first, second), _only(second, first)
    if only_a or only_b:
        raise ValueError(
            f"a and b must have the same names; only in a: {only_a or 'none'}, only in b: {only_b or 'none'}"
        )


def _only(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> list[str]:
    """Return names that only the first has, but for further names of a tensor that both have."""
    shared = [first[name] for name in first if name in second]
    return [name for name in first if name not in second and not any(_tied(first[name], other) for other in shared)]


def _require_same_shapes(pairs: list[TensorPair]) -> None:
    differ = [
        f"{pair.name} {_both((tuple(pair.before.shape), tuple(pair.after.shape)))}"
        for pair in pairs
        if pair.before.shape != pair.after.shape
    ]
    if differ:
        raise ValueError(f"a and b must have the same shapes; got {', '.join(differ)}")


def _both(values: tuple[object, object]) -> str:
    return f"{values[0]} in a and {values[1]} in b"


def _untied(pairs: list[TensorPair]) -> Iterator[TensorPair]:
    """Yield each tensor once: a second name counts only where its numbers are others in one of the states."""
    by_shape: dict[torch.Size, list[TensorPair]] = {}
    for pair in pairs:
        seen = by_shape.setdefault(pair.before.shape, [])
        if not any(_same_tensor(pair, other) for other in seen):
            seen.append(pair)
            yield pair


def _same_tensor(pair: TensorPair, other: TensorPair) -> bool:
    # A copy of a state often unties what a model ties; then the numbers tell.
    before, after = _tied(pair.before, other.before), _tied(pair.after, other.after)
    if not (before or after):
        return False
    return (before or torch.equal(pair.before, other.before)) and (after or torch.equal(pair.after, other.after))


def _tied(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors are the same memory."""
    return (
        one.numel() > 0
        and one.data_ptr() == other.data_ptr()
        and one.shape == other.shape
        and one.stride() == other.stride()
        and one.dtype == other.dtype
        and one.device == other.device
    )
