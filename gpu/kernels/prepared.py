"""What a sparse layer makes of its buffers once, and whether they are still the same: a call costs microseconds."""

from collections.abc import Mapping

import torch
from torch import Tensor

from sparsetheory.gpu.kernels.products import Operands, operands

__all__ = ["BUFFERS", "Prepared"]

BUFFERS = ("indptr", "indices", "values", "bias")


class Prepared:
    """Checked arrays on the memory of the buffers of a layer.

    Values and biases may change in place, as the arrays change with them. Positions that change in place are checked
    anew, since a kernel that reads where there is nothing ends the process; those of tensors that do not count their
    changes, which inference mode makes, are copied.

    Parameters
    ----------
    buffers : mapping of str to Tensor
        On the CPU.
    n_blocks : int
    bounds : tuple of float
    n_columns : int
    """

    __slots__ = ("_addresses", "_counts_changes", "_tensors", "_versions", "dtype", "given")

    dtype: torch.dtype
    given: Operands

    def __init__(
        self, buffers: Mapping[str, Tensor | None], n_blocks: int, bounds: tuple[float, float], n_columns: int
    ) -> None:
        indptr, indices, values, bias = self._tensors = _tensors(buffers)
        self._counts_changes = not (indptr.is_inference() or indices.is_inference())
        positions = (indptr, indices) if self._counts_changes else (indptr.clone(), indices.clone())
        starts, columns, weights, biases = (each.detach().contiguous().numpy() for each in (*positions, values, bias))
        self.given = operands(starts, columns, weights, n_blocks, biases, bounds, n_columns)
        self.dtype = values.dtype
        self._addresses = tuple(each.data_ptr() for each in self._tensors)
        self._versions = (indptr._version, indices._version) if self._counts_changes else ()

    def is_current(self, buffers: Mapping[str, Tensor | None]) -> bool:
        """Return whether it is still good for the buffers of the layer."""
        indptr, indices, values, bias = self._tensors
        return (
            buffers["indptr"] is indptr
            and buffers["indices"] is indices
            and buffers["values"] is values
            and buffers["bias"] is bias
            # An assignment to ``.data`` moves a tensor.
            and self._addresses == (indptr.data_ptr(), indices.data_ptr(), values.data_ptr(), bias.data_ptr())
            and (not self._counts_changes or self._versions == (indptr._version, indices._version))
        )


def _tensors(buffers: Mapping[str, Tensor | None]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    indptr, indices, values, bias = (buffers[name] for name in BUFFERS)
    assert indptr is not None
    assert indices is not None
    assert values is not None
    assert bias is not None
    return indptr, indices, values, bias
