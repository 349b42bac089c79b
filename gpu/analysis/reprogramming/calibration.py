"""Whether probabilities mean what they say: calibration error, likelihood, and a temperature that repairs them."""

import math

from torch import Tensor

from sparsetheory.constraints import POSITIVE, Choice, Instance
from sparsetheory.gpu.analysis.reprogramming.label_maps import check_labels
from sparsetheory.gpu.core.metrics import expected_calibration_error

__all__ = ["ece", "fit_temperature", "log_probabilities", "negative_log_likelihood"]

_BINS = {"width": "equal_width", "mass": "equal_mass"}


def ece(probs: Tensor, y: Tensor, n_bins: int = 15, strategy: str = "width") -> float:
    """Return the expected calibration error of probabilities, over a whole data set.

    Parameters
    ----------
    probs : Tensor of shape (n, n_classes)
        Probabilities, not logits: each row is non-negative and sums to 1.
    y : Tensor of int64 of shape (n,)
    n_bins : int
    strategy : {"width", "mass"}
        Bins of equal width that hold their right ends, or of equally many samples.

    Returns
    -------
    float
        In [0, 1]; at least the distance between mean confidence and accuracy.

    Raises
    ------
    ValueError
        If a row is no distribution, as rows of logits are not, or `y` has no class for each row.

    See Also
    --------
    sparsetheory.gpu.core.expected_calibration_error : The same of logits, where the definition is.

    Notes
    -----
    The error of a data set is not the mean of the errors of its batches: that is larger, the more the smaller batches
    are.

    References
    ----------
    .. [1] C. Guo, G. Pleiss, Y. Sun, K. Weinberger. On calibration of modern neural networks. ICML 2017,
       arXiv:1706.04599.

    Examples
    --------
    >>> import torch
    >>> probs = torch.tensor([[0.9, 0.1], [0.9, 0.1]], dtype=torch.float64)
    >>> round(ece(probs, torch.tensor([0, 1])), 12)  # confidence 0.9, accuracy 0.5
    0.4
    """
    Choice(*_BINS).require(strategy=strategy)
    logs = log_probabilities(probs, y)
    return expected_calibration_error(logs, y, n_bins=n_bins, bins=_BINS[strategy])


def negative_log_likelihood(probs: Tensor, y: Tensor) -> float:
    """Return the mean negative logarithm of the probability of the true class, in nats.

    Parameters
    ----------
    probs : Tensor of shape (n, n_classes)
        Probabilities: each row is non-negative and sums to 1.
    y : Tensor of int64 of shape (n,)

    Returns
    -------
    float
        Infinite where a true class has probability 0.

    Raises
    ------
    ValueError
        If a row is no distribution, or `y` has no class for each row.

    Examples
    --------
    >>> import torch
    >>> round(negative_log_likelihood(torch.tensor([[0.5, 0.5]]), torch.tensor([1])), 4)
    0.6931
    """
    logs = log_probabilities(probs, y)
    return -float(logs.gather(1, y[:, None]).mean())


def fit_temperature(logits: Tensor, y: Tensor, *, tol: float = 1e-8) -> float:
    """Return the temperature by which logits are divided for the largest likelihood.

    To divide all logits by one positive number keeps their order, so it changes confidences and no prediction. Fit it
    on samples that the model was not trained on.

    Parameters
    ----------
    logits : Tensor of shape (n, n_classes)
    y : Tensor of int64 of shape (n,)
    tol : float
        Relative to the temperature: how exact it is.

    Returns
    -------
    float
        In [1e-3, 1e3], where it stops: the likelihood of samples that are all right grows as the temperature falls to
        0, and predictions worse than chance ask for an infinite one.

    Raises
    ------
    ValueError
        If shapes do not fit, or logits are not finite.

    Notes
    -----
    The negative log-likelihood is convex in 1 / temperature. Its derivative is bisected, in double precision: O(n
    n_classes) each time, some 30 times.

    References
    ----------
    .. [1] C. Guo, G. Pleiss, Y. Sun, K. Weinberger. On calibration of modern neural networks. ICML 2017,
       arXiv:1706.04599.

    Examples
    --------
    Three of four samples are right with a difference of logits of 4; the logarithm of 3 would be calibrated.

    >>> import torch
    >>> temperature = fit_temperature(torch.tensor([[4.0, 0.0]] * 4), torch.tensor([0, 0, 0, 1]))
    >>> round(4 / temperature, 4)  # log(3) = 1.0986
    1.0986
    """
    POSITIVE.require(tol=tol)
    _check_rows(logits, y)
    if not bool(logits.isfinite().all()):
        raise ValueError("logits must be finite; got infinite entries or NaN")
    exact = logits.detach().double()
    # Differences to the true class: its own is 0, so that saturated probabilities cancel nothing.
    above = exact - exact.gather(1, y[:, None])

    def slope(inverse: float) -> float:
        """Return the derivative of the loss by the inverse temperature."""
        return float(((above * inverse).softmax(dim=1) * above).sum(dim=1).mean())

    low, high = math.log(1e-3), math.log(1e3)
    while high - low > tol:
        middle = (low + high) / 2
        if slope(math.exp(middle)) <= 0:
            low = middle
        else:
            high = middle
    return math.exp(-(low + high) / 2)


def _check_rows(rows: Tensor, y: Tensor) -> None:
    if rows.ndim != 2 or y.shape != rows.shape[:1] or not len(y):
        raise ValueError(
            f"y must have one label for each of n > 0 rows; got shapes {tuple(rows.shape)} and {tuple(y.shape)}"
        )
    check_labels("y", y, rows.shape[1])


def log_probabilities(probs: Tensor, y: Tensor) -> Tensor:
    """Return logarithms of probabilities in double precision, after a look at the rows and their classes."""
    exact = Instance(Tensor, "a tensor").check("probs", probs).detach().double()
    # Rounding of half precision is let pass, logits are not.
    if exact.ndim != 2 or bool((exact < 0).any()) or not bool(((exact.sum(dim=1) - 1).abs() < 0.02).all()):
        raise ValueError("probs must have rows of shape (n_classes,) that are non-negative and sum to 1; got others")
    logs = (exact / exact.sum(dim=1, keepdim=True)).log()
    _check_rows(logs, y)
    return logs
