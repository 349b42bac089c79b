"""Structure-aware fine-tuning in a subspace: a scale for each layer, which counts as a dimension."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from sparsetheory.gpu.dimension.subspace.model import SubspaceModel

__all__ = ["SAID"]


class SAID(SubspaceModel):
    """Fine-tune in a subspace with one scale for each layer."""

    def __init__(
        self,
        module: nn.Module,
        n_components: int,
        layers: Literal["tensor", "module"] = "tensor",
        per_tensor: bool = False,
        *,
        exclude: str | Sequence[str] = (),
        direct: str | Sequence[str] = (),
        generator: torch.Generator | int | None = 0,
    ) -> None:
        raise NotImplementedError
