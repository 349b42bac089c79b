"""The loss by which a state space model of low rank imitates a dense one: in its factors, its states and its outputs.

Provenance: the three terms and their weights are those of DLRMamba, of which no code was found. Fixed signs, the term
that compares products, and weights that follow a schedule are ours.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from sparsetheory.constraints import NONNEGATIVE, SIZE, Choice, Instance
from sparsetheory.gpu.representation.state_space.balanced import balanced_factors, fixed_signs
from sparsetheory.gpu.representation.state_space.dense_model import DenseSSM
from sparsetheory.gpu.representation.state_space.low_rank_model import LowRankSSM
from sparsetheory.gpu.representation.state_space.runs import SSMRun

__all__ = ["structure_aware_loss", "teacher_factors"]

Weight = float | Callable[[int], float]


def teacher_factors(teacher: DenseSSM, student: LowRankSSM) -> tuple[Tensor, Tensor]:
    """Return what the factors of a student should be: those of the truncated matrix of its teacher.

    Parameters
    ----------
    teacher : DenseSSM
    student : LowRankSSM
        With as many states; its rank, form and shift count.

    Returns
    -------
    tuple of two Tensor of shape (n_states, rank)
        As :func:`balanced_factors` returns them, without gradients. Compute them once, before training.

    Raises
    ------
    ValueError
        If the models have different numbers of states.
    """
    Instance(DenseSSM).check("teacher", teacher)
    Instance(LowRankSSM).check("student", student)
    if len(teacher.A) != len(student.U):
        raise ValueError(f"teacher must have {len(student.U)} states as the student has; got {len(teacher.A)}")
    with torch.no_grad():
        return balanced_factors(student.truncated_matrix(teacher.A), student.rank)


def structure_aware_loss(
    student: SSMRun,
    teacher: SSMRun,
    weights: tuple[Weight, Weight, Weight] = (0.5, 0.1, 1.5),
    *,
    step: int = 0,
    compare: str = "factors",
    projection: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    r"""Return how far a student is from its teacher: in factors, in states and in outputs.

    .. math:: w_1 (\|U_s - U_t\|_F^2 + \|V_s - V_t\|_F^2) + w_2 \operatorname{MSE}(h^s, P h^t)
        + w_3 \operatorname{MSE}(y^s, y^t)

    Add it to the loss of the task, which has weight 1.

    Parameters
    ----------
    student : SSMRun
        What :meth:`LowRankSSM.run` returns.
    teacher : SSMRun
        What :meth:`DenseSSM.run` returns for the same sequences, with ``factors=teacher_factors(...)`` where the first
        weight is not zero. It gets no gradients.
    weights : tuple of three float or schedules
        Of factors, states and outputs, non-negative; the defaults are the published ones. A schedule, as
        :class:`~sparsetheory.gpu.core.Linear`, is called with `step`. Terms with weight 0 are not computed.
    step : int
        Number of optimiser steps done, for schedules.
    compare : {"factors", "product"}
        "product" takes ``|U_s V_s' - U_t V_t'|_F^2`` as the first term. It does not see the signs, rotations and sizes
        that factors of one product may have. "factors" sees all of them but signs, which are fixed first.
    projection : callable, optional
        From states of the teacher to those of the student, where their numbers differ; a linear layer that is trained
        with the student, for example.

    Returns
    -------
    Tensor of shape ()

    Raises
    ------
    ValueError
        If a weight is negative, or shapes do not fit, or factors are missing.

    Notes
    -----
    The first term holds the student at the truncation that it starts from, so it works against the other two: let its
    weight end at zero. The second aligns states, the third outputs, whose states may be others.

    References
    ----------
    Zhang, Tabaro, Abdelmoniem, An, "DLRMamba: Distilling Low-Rank Mamba for Edge Multispectral Fusion Object
    Detection", arXiv 2603.06920, 2026.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core import Linear
    >>> A, B, C = -torch.diag(torch.arange(1.0, 9.0)), torch.ones(8, 1), torch.ones(1, 8)
    >>> teacher, x = DenseSSM(A, B, C, 0.1), torch.ones(50, 1)
    >>> student = LowRankSSM.from_dense(A, B, C, 3, step=0.1)
    >>> factors, weights = teacher_factors(teacher, student), (Linear(0.5, 100), 0.1, 1.5)
    >>> adam = torch.optim.Adam(student.parameters(), lr=0.01)
    >>> losses = []
    >>> for step in range(100):
    ...     adam.zero_grad()
    ...     loss = structure_aware_loss(student.run(x), teacher.run(x, factors=factors), weights, step=step)
    ...     loss.backward()
    ...     adam.step()
    ...     losses.append(loss.item())
    >>> losses[-1] < 0.5 * losses[0]
    True
    """
    Instance(SSMRun).require(student=student, teacher=teacher)
    Choice("factors", "product").check("compare", compare)
    SIZE.check("step", step)
    if len(weights) != 3:
        raise ValueError(f"weights must be three: of factors, states and outputs; got {len(weights)}")
    values = [
        NONNEGATIVE.check(f"weights[{index}]", weight(step) if callable(weight) else weight)
        for index, weight in enumerate(weights)
    ]
    total = student.outputs.new_zeros(())
    if values[0]:
        total = total + values[0] * _factor_term(student, teacher, compare)
    if values[1]:
        total = total + values[1] * _state_term(student.states, teacher.states.detach(), projection)
    if values[2]:
        total = total + values[2] * _mean_square("outputs", student.outputs, teacher.outputs.detach())
    return total


def _factor_term(student: SSMRun, teacher: SSMRun, compare: str) -> Tensor:
    if student.factors is None or teacher.factors is None:
        missing = "student" if student.factors is None else "teacher"
        raise ValueError(f"{missing} must have factors where weights[0] is not 0; got a run without: teacher_factors")
    pairs = student.factors, tuple(factor.detach() for factor in teacher.factors)
    (U, V), (U_teacher, V_teacher) = pairs
    if U.shape != U_teacher.shape or V.shape != V_teacher.shape:
        raise ValueError(f"factors must have one shape; got {tuple(U.shape)} and {tuple(U_teacher.shape)}")
    if compare == "product":
        return (U @ V.mT - U_teacher @ V_teacher.mT).square().sum()
    one, other = fixed_signs(U, V), fixed_signs(U_teacher, V_teacher)
    return (one[0] - other[0]).square().sum() + (one[1] - other[1]).square().sum()


def _state_term(student: Tensor, teacher: Tensor, projection: Callable[[Tensor], Tensor] | None) -> Tensor:
    if projection is not None:
        teacher = projection(teacher)
    elif student.shape[-1] != teacher.shape[-1]:
        sizes = f"{student.shape[-1]} and {teacher.shape[-1]}"
        raise ValueError(f"projection must be given where numbers of states differ; got {sizes}")
    return _mean_square("states", student, teacher)


def _mean_square(name: str, student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean square of the differences; zero for empty sequences, where a mean is not a number."""
    if student.shape != teacher.shape:
        raise ValueError(f"{name} must have one shape; got {tuple(student.shape)} and {tuple(teacher.shape)}")
    return (student - teacher).square().mean() if student.numel() else student.sum()
