"""Which classes of a source network stand for the classes of another task."""

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, Choice, Instance

__all__ = ["check_labels", "check_targets", "frequency_label_map", "map_logits"]

LABEL_MAPS = Choice("greedy", "assignment")


def frequency_label_map(
    pred: Tensor, y: Tensor, n_source: int, n_target: int, method: str = "greedy", *, n_labels: int = 1
) -> Tensor:
    """Choose for each target class the source classes that a network gives to its samples most often.

    Counts how often each source class is predicted for each target class, and matches classes for a large sum of these
    counts. No source class stands for two target classes.

    Parameters
    ----------
    pred : Tensor of int64 of shape (n,)
        Predicted source classes.
    y : Tensor of int64 of shape (n,)
        Target classes of the same samples; each of the `n_target` must occur.
    n_source, n_target : int
        Numbers of classes.
    method : {"greedy", "assignment"}
        "greedy" takes the largest count, removes its source class, and its target class after its last label, and goes
        on [1]_. Of equal counts it takes that of the lowest source class, then of the lowest target class. Its sum is
        at least half of the largest one. "assignment" finds the largest sum.
    n_labels : int
        Source classes for each target class.

    Returns
    -------
    Tensor of int64 of shape (n_target,), or (n_target, n_labels) for more than one label
        Source classes, on the device of `pred`; several labels of one target class ascend.

    Raises
    ------
    ValueError
        If there are fewer source classes than labels to give, classes are out of range, or a target class has no
        sample: nothing is known of it, and its label would be arbitrary.

    Notes
    -----
    Greedy: O(n_target n_labels n_source n_target) for counting down; assignment: O((n_target n_labels)^2 n_source) by
    ``scipy.optimize.linear_sum_assignment``.

    References
    ----------
    .. [1] A. Chen, Y. Yao, P.-Y. Chen, Y. Zhang, S. Liu. Understanding and improving visual prompting: a label-mapping
       perspective. CVPR 2023, arXiv:2211.11635.

    Examples
    --------
    Two samples of target class 0 are taken for source class 2, one of them for 1; both of class 1 for source class 2:

    >>> import torch
    >>> pred, y = torch.tensor([2, 2, 1, 2, 2]), torch.tensor([0, 0, 0, 1, 1])
    >>> frequency_label_map(pred, y, 3, 2)
    tensor([2, 0])
    >>> frequency_label_map(pred, y, 3, 2, "assignment")
    tensor([1, 2])
    """
    COUNT.require(n_source=n_source, n_target=n_target, n_labels=n_labels)
    LABEL_MAPS.require(method=method)
    if n_source < n_target * n_labels:
        raise ValueError(
            f"n_source must be at least n_target * n_labels, {n_target * n_labels}: a source class stands for one "
            f"target class; got {n_source}"
        )
    check_labels("pred", pred, n_source)
    check_targets(y, n_target)
    if pred.shape != y.shape:
        raise ValueError(f"pred and y must have equally many entries; got {len(pred)} and {len(y)}")
    counts = torch.bincount(pred.cpu() * n_target + y.cpu(), minlength=n_source * n_target).reshape(n_source, n_target)
    found = (_greedy if method == "greedy" else _assignment)(counts, n_labels).to(pred.device)
    return found.squeeze(1) if n_labels == 1 else found


def map_logits(logits: Tensor, label_map: Tensor) -> Tensor:
    """Return the logits of target classes, from those of the source classes that stand for them.

    Parameters
    ----------
    logits : Tensor of shape (n, n_source)
    label_map : Tensor of int64 of shape (n_target,) or (n_target, n_labels)
        As :func:`frequency_label_map` returns it.

    Returns
    -------
    Tensor of shape (n, n_target)
        Of one label its logit. Of several labels the logarithm of the sum of their exponentials: their probabilities
        are added.

    Raises
    ------
    ValueError
        If `logits` has not two axes, or `label_map` not one or two, or names a class that there is not.

    Examples
    --------
    >>> import torch
    >>> map_logits(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([2, 0]))
    tensor([[3., 1.]])
    """
    if logits.ndim != 2:
        raise ValueError(f"logits must have shape (n, n_source); got {tuple(logits.shape)}")
    Instance(Tensor, "a tensor").check("label_map", label_map)
    if label_map.ndim not in (1, 2) or not label_map.numel():
        raise ValueError(f"label_map must have shape (n_target,) or (n_target, n_labels); got {tuple(label_map.shape)}")
    check_labels("label_map", label_map, logits.shape[1])
    picked = logits[:, label_map.to(logits.device)]
    return picked if label_map.ndim == 1 else picked.logsumexp(dim=2)


def check_targets(y: Tensor, n_target: int) -> None:
    """Raise ValueError unless the labels are those of `n_target` classes, each of which occurs."""
    check_labels("y", y, n_target)
    if y.ndim != 1:
        raise ValueError(f"y must have shape (n,); got {tuple(y.shape)}")
    missing = sorted(set(range(n_target)) - set(y.unique().tolist()))
    if missing:
        raise ValueError(f"y must have a sample of each of {n_target} classes; there is none of {missing}")


def check_labels(name: str, labels: Tensor, n_classes: int) -> None:
    """Raise unless labels are a tensor of classes from 0."""
    Instance(Tensor, "a tensor").check(name, labels)
    if labels.dtype != torch.int64:
        raise ValueError(f"{name} must hold int64; got {labels.dtype}")
    if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < n_classes:
        raise ValueError(
            f"{name} must hold classes from 0 to {n_classes - 1}; got {int(labels.min())} to {int(labels.max())}"
        )


def _greedy(counts: Tensor, n_labels: int) -> Tensor:
    n_target = counts.shape[1]
    left = counts.clone()
    found: list[list[int]] = [[] for _ in range(n_target)]
    for _ in range(n_target * n_labels):
        # The first largest entry, row by row; argmax of torch promises no order of ties.
        source, target = divmod(int((left.flatten() == left.max()).nonzero()[0]), n_target)
        found[target].append(source)
        left[source] = -1
        if len(found[target]) == n_labels:
            left[:, target] = -1
    return torch.tensor([sorted(sources) for sources in found])


def _assignment(counts: Tensor, n_labels: int) -> Tensor:
    from scipy.optimize import linear_sum_assignment

    # One column for each label to give.
    sources, places = linear_sum_assignment(counts.numpy().repeat(n_labels, axis=1), maximize=True)
    found = torch.empty(counts.shape[1] * n_labels, dtype=torch.int64)
    found[torch.from_numpy(places)] = torch.from_numpy(sources)
    return found.reshape(-1, n_labels).sort(dim=1).values
