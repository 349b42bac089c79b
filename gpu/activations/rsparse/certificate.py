"""What is certain about the output of an R-Sparse layer, recomputed from the dense weight by another route."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from sparsetheory.certificates import Certificate, Status
from sparsetheory.gpu.activations.selectors import ColumnScaled
from sparsetheory.gpu.activations.sparse_linear import SvdResidual
from sparsetheory.typing import Float64Array

__all__ = ["RSparseCertificate", "certify"]


@dataclass(frozen=True, eq=False)
class RSparseCertificate(Certificate):
    """How far outputs are from those of the dense layer, per unit of input off the mask.

    Parameters
    ----------
    statement, bound, measured, status, reason
        As in :class:`~sparsetheory.certificates.Certificate`. For every input x the outputs differ by at most `bound`
        times the Euclidean norm of what lies off the mask, in exact arithmetic. `measured` is the largest ratio on the
        inputs at hand.
    left : Tensor of shape (out, rank)
    right : Tensor of shape (rank, in)
        Factors of the low-rank path as they are stored.
    scale : Tensor of shape (in,), optional
        By what sizes of inputs are multiplied.
    threshold : float
        What scores above it is selected.
    """

    left: Tensor = field(kw_only=True)
    right: Tensor = field(kw_only=True)
    scale: Tensor | None = field(kw_only=True)
    threshold: float = field(kw_only=True)

    TERMS: ClassVar[tuple[str, ...]] = ("threshold",)

    def promise(self) -> str:
        """Return the guarantee in words."""
        return (
            f"with rank {self.right.shape[0]} every output is within {self.bound:.9g} times the norm of the inputs off "
            "the mask of the dense one"
        )

    def check(self, weight: Tensor, x: Tensor, **options: Any) -> "RSparseCertificate":
        """Recompute the bound from the dense weight, and the ratios from raw inputs.

        The norm of ``weight - left @ right`` comes from a singular value decomposition on the CPU. The layer has its
        bound from singular values of the weight instead. Outputs are compared as such, with the mask by its definition.

        Parameters
        ----------
        weight : Tensor of shape (out, in)
            Of the dense layer.
        x : Tensor of shape (..., in)
        **options
            None are known.

        Returns
        -------
        RSparseCertificate
            With a fresh `measured`, `status` and `reason`.
        """
        if options:
            raise TypeError(f"options must be empty; got {', '.join(options)}")
        dense, left, right = _array(weight), _array(self.left), _array(self.right)
        if dense.shape != (left.shape[0], right.shape[1]):
            reason = f"the factors are those of a weight of shape {(left.shape[0], right.shape[1])}"
            return replace(self, measured=None, status=Status.INVALID, reason=reason)
        # The mask in the precision of the inputs, in which the layer compares.
        sizes = x.detach().abs().cpu()
        selected = ~((sizes if self.scale is None else sizes * self.scale.to(sizes)) <= self.threshold)
        inputs, mask = _array(x).reshape(-1, dense.shape[1]), selected.numpy().reshape(-1, dense.shape[1])
        outputs = (inputs * mask) @ dense.T + ((inputs * ~mask) @ right.T) @ left.T
        measured = _largest_ratio(inputs @ dense.T - outputs, inputs * ~mask, _rounding(dense, inputs))
        norm = float(np.linalg.norm(dense - left @ right, 2))
        reason = "" if norm <= self.bound * (1 + 1e-9) else f"the norm of what the factors leave out is {norm:.9g}"
        if not measured <= self.bound:
            reason = f"an output is off by {measured:.9g} times the norm of the inputs off the mask"
        return replace(self, measured=measured, status=Status.of(not reason), reason=reason).unless_misstated()


def certify(
    weight: Tensor, residual: SvdResidual | None, selector: ColumnScaled, sigma: float, x: Tensor
) -> RSparseCertificate:
    """Return the certificate of a layer, measured on inputs.

    What is lost is ``(W - L R) ((1 - mask) * x)``, computed in double precision.
    """
    dense = weight.detach().double()
    left = dense[:, :0] if residual is None else residual.left.detach()
    right = dense[:0] if residual is None else residual.right.detach()
    off = x.detach().masked_fill(selector(x), 0).double().reshape(-1, dense.shape[1])
    lost = off @ dense.T - off @ right.double().T @ left.double().T
    sizes = off.norm(dim=1)
    ratios = torch.where(sizes > 0, lost.norm(dim=1) / sizes.where(sizes > 0, torch.ones_like(sizes)), 0.0)
    measured = float(ratios.max()) if len(ratios) else 0.0
    return RSparseCertificate(
        statement="",
        bound=sigma,
        measured=measured,
        status=Status.of(measured <= sigma),
        left=left,
        right=right,
        scale=selector.scale,
        threshold=float(selector.threshold),
    ).stated()


def _array(tensor: Tensor) -> Float64Array:
    return tensor.detach().to("cpu", torch.float64).numpy()


def _rounding(dense: Float64Array, inputs: Float64Array) -> Float64Array:
    """Bound, for each token, what the rounding of three products in double precision may do to a difference."""
    unit = 4 * sum(dense.shape) * np.finfo(np.float64).eps
    return unit * np.linalg.norm(dense) * np.linalg.norm(inputs, axis=1)


def _largest_ratio(lost: Float64Array, off: Float64Array, rounding: Float64Array) -> float:
    sizes = np.linalg.norm(off, axis=1)
    errors = np.maximum(np.linalg.norm(lost, axis=1) - rounding, 0.0)
    # Without inputs off the mask there is nothing to lose, and no ratio.
    return float(np.max(np.divide(errors, sizes, out=np.where(errors > 0, np.inf, 0.0), where=sizes > 0), initial=0.0))
