"""Reliability diagrams: accuracy against confidence, bin by bin."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sparsetheory.constraints import Choice
from sparsetheory.gpu.analysis.reprogramming.calibration import log_probabilities
from sparsetheory.gpu.core.metrics import confidence_bins

__all__ = ["ReliabilityCurve", "reliability_curve"]

_BINS = {"width": "equal_width", "mass": "equal_mass"}


@dataclass(frozen=True, eq=False)
class ReliabilityCurve:
    """Accuracy against confidence in bins of confidence.

    Parameters
    ----------
    counts : Tensor of int64 of shape (n_bins,)
        Samples of each bin.
    confidence, accuracy : Tensor of float64 of shape (n_bins,)
        Means over the samples of each bin, on the CPU; NaN in an empty one.
    """

    counts: Tensor
    confidence: Tensor
    accuracy: Tensor

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean distance of the curve from the diagonal, weighted by samples."""
        full = self.counts > 0
        distances = (self.confidence - self.accuracy).abs()[full]
        return float((self.counts[full] * distances).sum() / self.counts.sum())

    def plot(self, ax: Any = None, **style: Any) -> Any:
        """Draw the curve, dots of areas that grow with the samples, and the diagonal of calibrated confidence.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            By default new ones.
        **style
            For the line, as ``label`` and ``color``.

        Returns
        -------
        matplotlib.axes.Axes
        """
        if ax is None:
            from matplotlib import pyplot

            ax = pyplot.subplots()[1]
        full = self.counts > 0
        (line,) = ax.plot(self.confidence[full], self.accuracy[full], **style)
        areas = 4 + 150 * self.counts[full] / self.counts.sum()
        ax.scatter(self.confidence[full], self.accuracy[full], s=areas.numpy(), color=line.get_color())
        ax.plot([0, 1], [0, 1], ":", color="0.5", zorder=0)
        ax.set_xlabel("confidence")
        ax.set_ylabel("accuracy")
        return ax


def reliability_curve(probs: Tensor, y: Tensor, n_bins: int = 15, strategy: str = "width") -> ReliabilityCurve:
    """Return accuracy and mean confidence of predictions in bins of confidence.

    Parameters
    ----------
    probs : Tensor of shape (n, n_classes)
        Probabilities, not logits: each row is non-negative and sums to 1. They may be the mean over random weights.
    y : Tensor of int64 of shape (n,)
    n_bins : int
    strategy : {"width", "mass"}
        Bins of equal width that hold their right ends, or of equally many samples.

    Returns
    -------
    ReliabilityCurve

    Raises
    ------
    ValueError
        If a row is no distribution, or `y` has no class for each row.

    See Also
    --------
    sparsetheory.gpu.analysis.ece : The error alone, with the same bins.

    References
    ----------
    .. [1] M. H. DeGroot, S. E. Fienberg. The comparison and evaluation of forecasters. The Statistician 32, 1983.

    Examples
    --------
    >>> import torch
    >>> probs = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4]], dtype=torch.float64)
    >>> curve = reliability_curve(probs, torch.tensor([0, 1, 0]), n_bins=2)
    >>> curve.counts, round(curve.ece, 12)  # confidence 0.8, accuracy 2/3
    (tensor([0, 3]), 0.133333333333)
    """
    Choice(*_BINS).require(strategy=strategy)
    logs = log_probabilities(probs, y)
    counts, confidence, right = (part.cpu() for part in confidence_bins(logs, y, n_bins=n_bins, bins=_BINS[strategy]))
    return ReliabilityCurve(counts, confidence / counts, right / counts)
