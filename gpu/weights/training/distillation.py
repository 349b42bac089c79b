"""A dense teacher in the loss of a model that is made sparse."""

from torch import Tensor
from torch.nn import functional

from sparsetheory.constraints import Real

__all__ = ["distill_loss"]

_PART = Real(0.0, 1.0)
# What torch and transformers write where there is no label.
_NO_LABEL = -100


def distill_loss(student: Tensor, teacher: Tensor, target: Tensor, eta: float) -> Tensor:
    """Return ``eta KL(teacher || student) + (1 - eta) CE(student, target)``, the mean over positions that have a label.

    Parameters
    ----------
    student : Tensor of shape (..., n_classes)
        Logits of the model that is trained; half precision is computed with in float32.
    teacher : Tensor of shape (..., n_classes)
        Logits of the dense model. No gradient flows to them.
    target : Tensor of int64 of shape (...)
        Labels; positions with -100 do not count.
    eta : float
        Part of the teacher, from 0 to 1.

    Returns
    -------
    Tensor of shape ()
        In nats.

    Raises
    ------
    ValueError
        If `eta` is outside [0, 1] or the shapes do not agree.

    Notes
    -----
    Source: W. Huang, Y. Hu, J. Zhu, J. Chen, "CAST: Continuous and Differentiable Semi-Structured Sparsity-Aware
    Training for Large Language Models", 2025, which takes the dense start as teacher, no temperature, and 1/3 for eta.

    Examples
    --------
    >>> import torch
    >>> logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    >>> distill_loss(logits, logits, torch.tensor([0, 1]), 0.5)  # half the cross-entropy
    tensor(0.1100)
    """
    _PART.check("eta", eta)
    if student.shape != teacher.shape or student.shape[:-1] != target.shape:
        got = ", ".join(str(tuple(each.shape)) for each in (student, teacher, target))
        raise ValueError(f"student, teacher and target must have the shapes (..., k), (..., k) and (...); got {got}")
    labelled = target != _NO_LABEL
    ours, theirs = _log_probabilities(student[labelled]), _log_probabilities(teacher.detach()[labelled])
    divergence = functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)
    return eta * divergence + (1 - eta) * functional.nll_loss(ours, target[labelled])


def _log_probabilities(logits: Tensor) -> Tensor:
    return functional.log_softmax(logits.float() if logits.element_size() < 4 else logits, dim=-1)
