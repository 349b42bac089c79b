"""How well a score tells inputs of another kind from those that a network was trained for."""

import torch
from torch import Tensor

from sparsetheory.constraints import Instance

__all__ = ["detection_auroc"]

_TENSOR = Instance(Tensor, "a tensor")


def detection_auroc(inside: Tensor, outside: Tensor) -> float:
    """Return the probability that an input of another kind has a larger score than one of the kind that is known.

    Scores are larger where a network is less sure, such as :attr:`MonteCarloPrediction.entropy` and
    :attr:`~MonteCarloPrediction.mutual_information`, or minus the largest probability.

    Parameters
    ----------
    inside : Tensor of shape (n,)
        Scores of inputs of the kind that the network was trained for.
    outside : Tensor of shape (m,)
        Scores of others.

    Returns
    -------
    float
        Area under the receiver operating characteristic, in [0, 1]; equal scores count one half.

    Raises
    ------
    ValueError
        If one of the two has no entries or another shape, or scores are not finite.

    Examples
    --------
    >>> import torch
    >>> detection_auroc(torch.tensor([0.1, 0.3]), torch.tensor([0.2, 0.3]))
    0.625
    """
    for name, scores in (("inside", inside), ("outside", outside)):
        _TENSOR.check(name, scores)
        if scores.ndim != 1 or not len(scores) or not bool(scores.isfinite().all()):
            raise ValueError(f"{name} must have finite scores of shape (n,), n > 0; got shape {tuple(scores.shape)}")
    from sklearn.metrics import roc_auc_score

    is_outside = torch.cat([torch.zeros(len(inside)), torch.ones(len(outside))])
    scores = torch.cat([inside.detach().double().cpu(), outside.detach().double().cpu()])
    return float(roc_auc_score(is_outside.numpy(), scores.numpy()))
