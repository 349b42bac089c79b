"""Structure-aware fine-tuning in a subspace: a scale for each layer, which counts as a dimension."""

from collections.abc import Sequence
from functools import partial, reduce
from typing import Literal

import torch
from torch import nn

from sparsetheory.constraints import COUNT, FLAG
from sparsetheory.gpu.dimension.projections.fastfood import FastfoodProjection
from sparsetheory.gpu.dimension.subspace.layout import Layout, chosen_parameters
from sparsetheory.gpu.dimension.subspace.model import LAYERS, MODULE, SubspaceModel
from sparsetheory.gpu.dimension.subspace.stacked import StackedFastfood

__all__ = ["SAID"]


class SAID(SubspaceModel):
    r"""Fine-tune a network in a subspace of d dimensions, of which m are scales of its layers.

    Layer i has the parameters :math:`\theta_{0, i} + \lambda_i (P t)_i`, where t has d - m entries that start at 0, and
    the m scales start at 1. P is a Fastfood map. With all scales kept at 1 this is :class:`SubspaceModel` with d - m
    entries. At the first step the gradient of the scales is exactly 0, as t is.

    Parameters
    ----------
    module : torch.nn.Module
        A pre-trained network; it is copied. Of parameters in double precision t is, too; of all others, in single.
    n_components : int
        d: entries of t and scales together.
    layers : {"tensor", "module"}
        Whether each parameter tensor has a scale, as in the published code, or all tensors of one module share it.
    per_tensor : bool
        False for one map with columns of length about 1. True is what the published code does: one map for each tensor,
        all driven by the same t. Columns then have length about :math:`\sqrt m` for m *tensors*, so that learning rates
        of the two are not comparable: the same rate moves the weights :math:`\sqrt m` times further.
    exclude, direct : str or sequence of str
        As for :class:`SubspaceModel`. What is trained directly counts in ``n_trained``, and not in `n_components`.
    generator : torch.Generator, int or None
        Source of P.

    Raises
    ------
    ValueError
        If no entry of t is left beside the scales, or as for :class:`SubspaceModel`.

    References
    ----------
    Aghajanyan, Zettlemoyer, Gupta, "Intrinsic Dimensionality Explains the Effectiveness of Language Model Fine-Tuning",
    ACL 2021, arXiv:2012.13255. Without scales the paper calls the method DID.

    Examples
    --------
    >>> from sparsetheory.gpu.core.models import MLP
    >>> model = SAID(MLP([4, 16, 2]), 20, layers="module")
    >>> {name: len(parameter) for name, parameter in model.named_parameters()}
    {'t': 18, 'layer_scales': 2}
    """

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
        MODULE.check("module", module)
        COUNT.require(n_components=n_components)
        LAYERS.check("layers", layers)
        FLAG.require(per_tensor=per_tensor)
        projected = chosen_parameters(module, exclude, direct).projected
        dtype = reduce(torch.promote_types, (tensor.dtype for tensor in projected), torch.float32)
        layout = Layout.of(projected, dtype)
        n_scales = len(layout.groups(layers))
        n_left = n_components - n_scales
        if n_left < 1:
            raise ValueError(f"n_components must be above the number of layer scales, {n_scales}; got {n_components}")
        kind = partial(StackedFastfood, sizes=layout.sizes) if per_tensor else FastfoodProjection
        projection = partial(kind, n_left, generator=generator, dtype=dtype)
        super().__init__(module, projection, layers, exclude=exclude, direct=direct)
