"""A bound of the expected loss, for the model whose numbers are rounded, that is checked from the data."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sparsetheory.certificates import Certificate, Status
from sparsetheory.constraints import POSITIVE, Instance
from sparsetheory.gpu.core.modes import in_mode
from sparsetheory.gpu.dimension.subspace.bounds import occam_bound
from sparsetheory.gpu.dimension.subspace.model import SubspaceModel

__all__ = ["OccamCertificate", "certify_subspace"]

SampleLoss = Callable[[Tensor, Tensor], Tensor]
_MODEL = Instance(SubspaceModel, "a SubspaceModel")
# Rows of the sample that run through the model at once.
_ROWS = 4096
# Of mean losses, which are sums in some order.
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class OccamCertificate(Certificate):
    """A bound of the expected loss of a rounded model: ``model.quantized(bits, radius)``.

    Parameters
    ----------
    statement, bound, measured, status, reason
        As in :class:`~sparsetheory.certificates.Certificate`. The expected loss is at most `bound`, except with
        probability `delta` over the sample; `measured` is the bound that a check finds.
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

    train_loss: float = field(kw_only=True)
    n_components: int = field(kw_only=True)
    bits: int = field(kw_only=True)
    radius: float = field(kw_only=True)
    n_samples: int = field(kw_only=True)
    delta: float = field(kw_only=True)
    n_choices: int = field(kw_only=True)

    TERMS: ClassVar[tuple[str, ...]] = (
        "train_loss",
        "n_components",
        "bits",
        "radius",
        "n_samples",
        "delta",
        "n_choices",
    )

    def promise(self) -> str:
        """Return the guarantee in words."""
        return (
            f"the expected loss of the rounded model is at most {self.bound:.9g}, except with probability "
            f"{self.delta:.9g} over the sample"
        )

    def check(
        self, model: SubspaceModel, inputs: Tensor, targets: Tensor, *, loss: SampleLoss | None = None
    ) -> "OccamCertificate":
        """Round the model anew, look at each of its numbers, and count failures instead of using the formula.

        Parameters
        ----------
        model : SubspaceModel
            As trained, not rounded.
        inputs, targets : Tensor
            The sample.
        loss : callable, optional
            As for :func:`certify_subspace`.

        Returns
        -------
        OccamCertificate
            With a fresh `measured`, `status` and `reason`. Not applicable where something besides the numbers of the
            model was fitted to the sample, such as statistics of batch normalisation.

        Raises
        ------
        ValueError
            If the arguments are no model and sample, or a loss is not in [0, 1].
        """
        _check_sample(model, inputs, targets)
        if wrong := self._unreadable():
            return replace(self, measured=None, status=Status.INVALID, reason=wrong)
        if fitted := _fitted_otherwise(model):
            return replace(self, measured=None, status=Status.NOT_APPLICABLE, reason=fitted)
        rounded = model.quantized(self.bits, self.radius)
        # A plain module, in which nothing of the subspace is left.
        train_loss = _mean_loss(rounded.merge(), inputs, targets, loss or _zero_one)
        measured = occam_bound(
            train_loss, model.n_trained, self.bits, len(inputs), self.delta, n_choices=self.n_choices
        )
        fault = (
            _misrounded(model, rounded, self.bits, self.radius)
            or self._differences({"n_components": model.n_trained, "n_samples": len(inputs), "train_loss": train_loss})
            or self._too_many_failures()
        )
        checked = replace(self, measured=measured, status=Status.of(not fault), reason=fault)
        return checked.unless_misstated()

    def _unreadable(self) -> str:
        """Return which term no model can have, or nothing."""
        try:
            POSITIVE.require(radius=self.radius)
            occam_bound(
                self.train_loss, self.n_components, self.bits, self.n_samples, self.delta, n_choices=self.n_choices
            )
        except ValueError as error:
            return str(error)
        return ""

    def _differences(self, found: dict[str, float]) -> str:
        # Sums of losses may be taken in another order on another machine; 0-1 losses are whole numbers.
        for name, value in found.items():
            if not abs(getattr(self, name) - value) <= _TOLERANCE:
                return f"{name} is {value:.9g}; the certificate has {getattr(self, name):.9g}"
        return ""

    def _too_many_failures(self) -> str:
        """Return whether models of this size may fail more often than their share of delta; or nothing.

        Each of them has a loss so far above that on its sample with probability ``exp(-2 m slack**2)``, by Hoeffding.
        """
        slack = self.bound - self.train_loss + _TOLERANCE
        log_models = self.n_components * self.bits * math.log(2)
        log_share = math.log(self.delta) - math.log(self.n_components * (self.n_components + 1) * self.n_choices)
        if slack >= 0 and log_models - 2 * self.n_samples * slack**2 <= log_share:
            return ""
        return f"the bound is too small for {self.n_components} numbers of {self.bits} bits and this sample"


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
    >>> certificate.check(model, x, y).valid
    True
    """
    _check_sample(model, inputs, targets)
    if fitted := _fitted_otherwise(model):
        raise ValueError(f"model must have nothing else that is fitted to the sample; {fitted}")
    train_loss = _mean_loss(model.quantized(bits, radius), inputs, targets, loss or _zero_one)
    return OccamCertificate(
        "",
        occam_bound(train_loss, model.n_trained, bits, len(inputs), delta, n_choices=n_choices),
        None,
        Status.VALID,
        train_loss=train_loss,
        n_components=model.n_trained,
        bits=bits,
        radius=float(radius),
        n_samples=len(inputs),
        delta=float(delta),
        n_choices=n_choices,
    ).stated()


def _check_sample(model: SubspaceModel, inputs: Tensor, targets: Tensor) -> None:
    _MODEL.check("model", model)
    for name, values in (("inputs", inputs), ("targets", targets)):
        if not isinstance(values, Tensor) or not values.ndim:
            got = "a single number" if isinstance(values, Tensor) else f"a {type(values).__name__}"
            raise ValueError(f"{name} must be a tensor with one row for each sample; got {got}")
    if len(inputs) != len(targets) or not len(inputs):
        raise ValueError(f"inputs and targets must have equally many rows; got {len(inputs)} and {len(targets)}")


def _fitted_otherwise(model: SubspaceModel) -> str:
    """Return what may be fitted to the sample besides the numbers of the model, or nothing."""
    if changed := model.changed_buffers():
        return f"{changed[0]} is a buffer that changed"
    for name, module in model.module.named_modules():
        if isinstance(module, _BatchNorm) and module.running_mean is None:
            return f"{name} normalises over the batch"
    return ""


def _misrounded(model: SubspaceModel, rounded: SubspaceModel, bits: int, radius: float) -> str:
    """Return whether a number is no centre of a cell, or not that of its own cell; or nothing."""
    width = 2 * radius / 2**bits
    for given, found in zip(model.fitted_parameters(), rounded.fitted_parameters(), strict=True):
        values, rounding = found.detach().double(), radius * torch.finfo(found.dtype).eps
        cells = (values + radius) / width - 0.5
        off = (cells - cells.round().clamp(0, 2**bits - 1)).abs() * width
        moved = (values - given.detach().double().clamp(-radius, radius)).abs()
        if bool((off > rounding).any()) or bool((moved > width / 2 + rounding).any()):
            return "a number of the rounded model is not the centre of its cell"
    return ""


def _mean_loss(model: nn.Module, inputs: Tensor, targets: Tensor, loss: SampleLoss) -> float:
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
