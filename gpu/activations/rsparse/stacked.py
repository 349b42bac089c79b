"""One basis for several layers that get the same input, such as query, key and value of an attention."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from sparsetheory.certificates import Certificate, Status
from sparsetheory.constraints import Integer
from sparsetheory.gpu.activations.rsparse.layer import check_linear
from sparsetheory.gpu.activations.sparse_linear import SvdResidual
from sparsetheory.gpu.core.layers import weight_rows
from sparsetheory.gpu.solvers.truncated_svd import truncated_svd_summary
from sparsetheory.lowrank import ClusteringCertificate, block_svd_error
from sparsetheory.lowrank.interval import relative_slack
from sparsetheory.typing import Float64Array

__all__ = ["BasisGroups", "SharedBasis", "SharedBasisCertificate", "basis_groups", "shared_basis"]


@dataclass(frozen=True, eq=False)
class SharedBasisCertificate(Certificate):
    """The error of weights that stand on each other, by one basis for all.

    Parameters
    ----------
    statement, bound, measured, status, reason
        As in :class:`~sparsetheory.certificates.Certificate`: Frobenius errors relative to the stack. `bound` is that
        of the best matrix of the rank from above, with the rounding of the factors; `measured` that of the factors.
    left : tuple of Tensor of shape (out, rank)
    right : Tensor of shape (rank, in)
        The factors as they are stored.
    lower_bound : float
        What no basis of the rank goes below.
    """

    left: tuple[Tensor, ...] = field(kw_only=True)
    right: Tensor = field(kw_only=True)
    lower_bound: float = field(kw_only=True)

    TERMS: ClassVar[tuple[str, ...]] = ("lower_bound",)

    def promise(self) -> str:
        """Return the guarantee in words."""
        return (
            f"{len(self.left)} weights over one basis of rank {self.right.shape[0]} have together a relative error of "
            f"at most {self.bound:.9g}"
        )

    def check(self, layers: Sequence[nn.Module], **options: Any) -> "SharedBasisCertificate":
        """Recompute both errors from the dense layers; the best one by the singular values of blocks side by side.

        Parameters
        ----------
        layers : sequence of torch.nn.Module
            As :func:`shared_basis` took them.
        **options
            None are known.

        Returns
        -------
        SharedBasisCertificate
            With a fresh `measured`, `status` and `reason`.
        """
        if options:
            raise TypeError(f"options must be empty; got {', '.join(options)}")
        weights, right = [_array(weight_rows(layer)) for layer in layers], _array(self.right)
        shapes = [(len(left), right.shape[1]) for left in self.left]
        if [weight.shape for weight in weights] != shapes:
            reason = f"the factors are those of weights of shapes {shapes}"
            return replace(self, measured=None, status=Status.INVALID, reason=reason)
        off = [weight - _array(left) @ right for weight, left in zip(weights, self.left, strict=True)]
        energy = sum(float(np.vdot(weight, weight)) for weight in weights)
        measured = float(np.sqrt(sum(np.vdot(part, part) for part in off) / energy)) if energy else 0.0
        low, high = block_svd_error([weight.T for weight in weights], len(right)).interval.relative()
        reason = ""
        if not (high >= self.lower_bound and low <= self.bound):
            reason = f"the least error lies between {low:.9g} and {high:.9g}"
        if not measured <= self.bound:
            reason = f"the error is {measured:.9g}"
        return replace(self, measured=measured, status=Status.of(not reason), reason=reason).unless_misstated()


@dataclass(frozen=True, eq=False)
class SharedBasis:
    """Weights as products with one common right factor.

    Parameters
    ----------
    left : tuple of Tensor of shape (out, rank)
        One for each layer, ``W @ right.T``.
    right : Tensor of shape (rank, in)
        Orthonormal rows. One projection ``right @ x`` serves all layers.
    certificate : SharedBasisCertificate
    """

    left: tuple[Tensor, ...]
    right: Tensor
    certificate: SharedBasisCertificate

    def residuals(self) -> tuple[SvdResidual, ...]:
        """Return one low-rank path for each layer, as :class:`SparseLinear` takes it, with copies of the factors."""
        return tuple(SvdResidual.from_factors(left, self.right) for left in self.left)


@dataclass(frozen=True, eq=False)
class BasisGroups:
    """Which layers share a basis.

    Parameters
    ----------
    groups : tuple of tuple of int
        Numbers of the layers that belong together.
    bases : tuple of SharedBasis
        One for each group, of the rank asked for. That of a layer alone may be off by more than `eps`.
    certificate : ClusteringCertificate
        Groups of several layers are within `eps`; ``check`` takes the list of the transposed weights as arrays.
    """

    groups: tuple[tuple[int, ...], ...]
    bases: tuple[SharedBasis, ...]
    certificate: ClusteringCertificate


def shared_basis(layers: Sequence[nn.Module], rank: int) -> SharedBasis:
    r"""Find the best common basis of layers that get the same input.

    The weights stand on each other as one matrix, and its leading right singular vectors V are the basis. No basis of
    the rank has a smaller error :math:`\sum_l \lVert W_l - W_l V V^T \rVert_F^2`.

    Parameters
    ----------
    layers : sequence of torch.nn.Linear
        With the same number of inputs.
    rank : int
        From 1 to the smaller side of the stacked weights.

    Returns
    -------
    SharedBasis
        In the dtype of the weights.

    Raises
    ------
    ValueError
        If a layer is not linear, there is none, they differ in their inputs, or the rank is out of range.

    Notes
    -----
    ``W_l - W_l V V.T`` is a projection from the right, not from the left. So what the low-rank path of one layer adds
    may be worse than nothing for some input; only for all outputs together it never is, as the stack is projected from
    the left, too.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> query, key = nn.Linear(16, 8), nn.Linear(16, 4)
    >>> shared = shared_basis([query, key], 6)
    >>> [tuple(left.shape) for left in shared.left], shared.certificate.check([query, key]).valid
    ([(8, 6), (4, 6)], True)
    """
    weights = _same_inputs(layers)
    stack = torch.cat(weights)
    Integer(1, min(stack.shape)).check("rank", rank)
    exact = stack.double()
    found = truncated_svd_summary(exact.T, rank)
    return _assembled(weights, found.basis, [float(end) for end in found.relative()])


def basis_groups(layers: Sequence[nn.Module], rank: int, *, eps: float) -> BasisGroups:
    """Find out which layers may share a basis: clusters whose stacked error is within a tolerance, with a proof.

    Parameters
    ----------
    layers : sequence of torch.nn.Linear
        With the same number of inputs.
    rank : int
        Of every basis, at most the smallest side of a weight.
    eps : float
        Relative Frobenius error that a group of several layers may have.

    Returns
    -------
    BasisGroups

    Raises
    ------
    ValueError
        As :func:`shared_basis` does.

    See Also
    --------
    sparsetheory.lowrank.ConcatSVDClustering : The clustering; its blocks are the transposed weights.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> generator = torch.Generator().manual_seed(0)
    >>> layers = [nn.Linear(24, 8) for _ in range(4)]
    >>> for number, layer in enumerate(layers):  # rows of the first two and of the last two span the same plane
    ...     plane = torch.eye(24)[2 * (number // 2) : 2 * (number // 2) + 2]
    ...     layer.weight.data = torch.randn(8, 2, generator=generator) @ plane
    >>> found = basis_groups(layers, 2, eps=0.01)
    >>> sorted(found.groups), found.certificate.valid
    ([(0, 1), (2, 3)], True)
    """
    from sparsetheory.lowrank import ConcatSVDClustering

    weights = _same_inputs(layers)
    Integer(1, min(min(weight.shape) for weight in weights)).check("rank", rank)
    fit = ConcatSVDClustering(rank, eps=eps, algorithm="agglomerative").fit([_array(weight).T for weight in weights])
    groups = tuple(tuple(sorted(members)) for members in fit.clusters_)
    bases = tuple(shared_basis([layers[k] for k in members], rank) for members in groups)
    return BasisGroups(groups, bases, fit.certificate_)


def _same_inputs(layers: Sequence[nn.Module]) -> list[Tensor]:
    weights = [weight_rows(check_linear(f"layers[{k}]", layer)) for k, layer in enumerate(layers)]
    widths = [weight.shape[1] for weight in weights]
    if len(set(widths)) != 1:
        raise ValueError(f"layers must have the same number of inputs; got {widths}")
    return weights


def _assembled(weights: Sequence[Tensor], basis: Tensor, ends: Sequence[float]) -> SharedBasis:
    """Round the factors, and say what is certain of them."""
    dtype = weights[0].dtype
    exact, right = [weight.double() @ basis for weight in weights], basis.T.to(dtype).contiguous()
    left = tuple(part.to(dtype) for part in exact)
    energy = sum(float(weight.double().square().sum()) for weight in weights)
    missed = sum(
        float((weight.double() - part.double() @ right.double()).square().sum())
        for weight, part in zip(weights, left, strict=True)
    )
    # |L R - L' R'| <= |L| |R - R'| + |L - L'| |R'|; the spectral norm of R' is at most 1 + |R - R'|.
    turned = float((basis.T - right.double()).norm())
    bent = sum(float((part - rounded.double()).square().sum()) for part, rounded in zip(exact, left, strict=True))
    moved = turned + (bent / energy) ** 0.5 * (1 + turned) if energy else 0.0
    # Products and sums in double precision round, too.
    moved += relative_slack(len(weights[0].T), sum(map(len, weights)))
    measured = (missed / energy) ** 0.5 if energy else 0.0
    certificate = SharedBasisCertificate(
        statement="",
        bound=ends[1] + moved,
        measured=measured,
        status=Status.of(measured <= ends[1] + moved),
        left=left,
        right=right,
        lower_bound=ends[0],
    )
    return SharedBasis(left, right, certificate.stated())


def _array(tensor: Tensor) -> Float64Array:
    return tensor.detach().to("cpu", torch.float64).numpy()
