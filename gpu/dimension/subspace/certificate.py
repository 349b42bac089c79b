"""A bound of the expected loss, for the model whose numbers are rounded, that is checked from the data."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from sparsetheory.gpu.dimension.subspace.model import SubspaceModel

__all__ = ["OccamCertificate", "certify_subspace"]


@dataclass(frozen=True)
class OccamCertificate:
    """A bound of the expected loss of a rounded model."""

    bound: float

    def check(self, model: SubspaceModel, inputs: Tensor, targets: Tensor) -> "OccamCertificate":
        """Recompute everything from the model and the data."""
        raise NotImplementedError


def certify_subspace(
    model: SubspaceModel,
    inputs: Tensor,
    targets: Tensor,
    *,
    bits: int,
    radius: float,
    delta: float = 0.05,
    loss: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> OccamCertificate:
    """Bound the expected loss of a model after its trained numbers are rounded."""
    raise NotImplementedError
