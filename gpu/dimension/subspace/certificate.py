"""A bound of the expected loss, for the model whose numbers are rounded, that is checked from the data."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from sparsetheory.constraints import Instance
from sparsetheory.gpu.core.modes import in_mode
from sparsetheory.gpu.dimension.subspace.bounds import occam_bound
from sparsetheory.gpu.dimension.subspace.model import SubspaceModel

__all__ = ["OccamCertificate", "certify_subspace"]

SampleLoss = Callable[[Tensor, Tensor], Tensor]
_MODEL = Instance(SubspaceModel, "a SubspaceModel")
# Rows of the sample that run through the model at once.
_ROWS = 4096


@dataclass(frozen=True)
class OccamCertificate:
    """A bound of the expected loss of a rounded model: ``model.quantized(bits, radius)``.

    Parameters
    ----------
    bound : float
        The expected loss is at most this, except with probability `delta` over the sample.
    train_loss : float
        Mean loss of the rounded model on the sample.
    n_components : int
        Numbers that were fitted: coordinates, layer scales, and what was trained directly.
    bits : int
        Of each number.
    radius : float
        Numbers beyond it were clipped.
    n_samples : int
    delta : float
    n_choices : int
        Settings among which the bits, the radius and the rest were chosen after the data were seen.
    """

    bound: float
    train_loss: float
    n_components: int
    bits: int
    radius: float
    n_samples: int
    delta: float
    n_choices: int

    def check(
        self, model: SubspaceModel, inputs: Tensor, targets: Tensor, *, loss: SampleLoss | None = None
    ) -> "OccamCertificate":
        """Recompute everything from the model and the raw data.

        Parameters
        ----------
        model : SubspaceModel
            As trained, not rounded.
        inputs, targets : Tensor
        loss : callable, optional
            As for :func:`certify_subspace`.

        Returns
        -------
        OccamCertificate
            The certificate itself.

        Raises
        ------
        ValueError
            If a number is another one than is stated here, or as for :func:`certify_subspace`.
        """
        found = certify_subspace(
            model,
            inputs,
            targets,
            bits=self.bits,
            radius=self.radius,
            delta=self.delta,
            loss=loss,
            n_choices=self.n_choices,
        )
        for name in ("n_components", "n_samples"):
            if getattr(self, name) != getattr(found, name):
                raise ValueError(f"{name} must be {getattr(found, name)}; the certificate has {getattr(self, name)}")
        # Sums of losses may be taken in another order on another machine; 0-1 losses are whole numbers.
        for name in ("train_loss", "bound"):
            if not math.isclose(getattr(self, name), getattr(found, name), rel_tol=0.0, abs_tol=1e-6):
                raise ValueError(f"{name} must be {getattr(found, name)}; the certificate has {getattr(self, name)}")
        return self


def certify_subspace(
    model: SubspaceModel,
    inputs: Tensor,
    targets: Tensor,
    *,
    bits: int,
    radius: float,
    delta: float = 0.05,
    loss: SampleLoss | None = None,
    n_choices: int = 1,
) -> OccamCertificate:
    """Bound the expected loss of a model after its trained numbers are rounded to few bits.

    All numbers that were fitted to the sample are rounded and counted: the coordinates, layer scales, and what was
    trained directly. The bound says nothing of a model that has other things fitted to the sample: P and the starting
    weights must be independent of it, and buffers must not have changed.

    Parameters
    ----------
    model : SubspaceModel
        Trained on the sample; it stays as it is.
    inputs : Tensor of shape (n_samples, ...)
        The whole sample it was trained on.
    targets : Tensor of shape (n_samples, ...)
    bits : int
        Of each number, fixed before the data were seen.
    radius : float
        Largest size of a number, fixed before the data were seen; larger ones are clipped.
    delta : float
        Accepted probability of failure, in (0, 1).
    loss : callable, optional
        From outputs and targets to one loss in [0, 1] for each sample; by default 1 where the largest output is not
        that of the class, and 0 elsewhere.
    n_choices : int
        As for :func:`occam_bound`.

    Returns
    -------
    OccamCertificate

    Raises
    ------
    ValueError
        If buffers have changed in training, such as the running statistics of batch normalisation, or outputs depend on
        the batch; if a loss is outside [0, 1]; or if an argument is out of range.

    See Also
    --------
    occam_bound : The formula and its source.

    Examples
    --------
    >>> import torch
    >>> from functools import partial
    >>> from sparsetheory.gpu.core import train
    >>> from sparsetheory.gpu.core.models import MLP
    >>> from sparsetheory.gpu.dimension import DenseProjection
    >>> x = torch.randn(2000, 4, generator=torch.Generator().manual_seed(0))
    >>> y = (x[:, 0] > 0).long()
    >>> model = SubspaceModel(MLP([4, 2]), partial(DenseProjection, 3))
    >>> _ = train(model, x, y, optimizer=torch.optim.Adam(model.parameters(), lr=0.1), n_steps=100)
    >>> certificate = certify_subspace(model, x, y, bits=6, radius=8.0)
    >>> certificate.n_components, certificate.bound < 0.3
    (3, True)
    >>> certificate.check(model, x, y) is certificate
    True
    """
    _MODEL.check("model", model)
    _require_nothing_else_fitted(model)
    if len(inputs) != len(targets) or not len(inputs):
        raise ValueError(f"inputs and targets must have equally many rows; got {len(inputs)} and {len(targets)}")
    train_loss = _mean_loss(model.quantized(bits, radius), inputs, targets, loss or _zero_one)
    bound = occam_bound(train_loss, model.n_trained, bits, len(inputs), delta, n_choices=n_choices)
    return OccamCertificate(
        bound, train_loss, model.n_trained, bits, float(radius), len(inputs), float(delta), n_choices
    )


def _require_nothing_else_fitted(model: SubspaceModel) -> None:
    if changed := model.changed_buffers():
        raise ValueError(f"model must have no buffers that were fitted to the sample; got {changed[0]}, which changed")
    for name, module in model.module.named_modules():
        if isinstance(module, _BatchNorm) and module.running_mean is None:
            raise ValueError(f"model must treat each sample by itself; got {name}, which normalises over the batch")


def _mean_loss(model: SubspaceModel, inputs: Tensor, targets: Tensor, loss: SampleLoss) -> float:
    sums = []
    with in_mode(model, training=False), torch.no_grad():
        for x, y in zip(inputs.split(_ROWS), targets.split(_ROWS), strict=True):
            losses = loss(model(x), y)
            if losses.shape != (len(x),) or not bool(((losses >= 0) & (losses <= 1)).all()):
                got = f"shape {tuple(losses.shape)}, up to {losses.max():.3g}"
                raise ValueError(f"loss must return one number in [0, 1] for each sample; got {got}")
            sums.append(losses.double().sum().item())
    return math.fsum(sums) / len(inputs)


def _zero_one(output: Tensor, targets: Tensor) -> Tensor:
    return (output.argmax(-1) != targets).double()
