"""The loss with a dense teacher against probabilities written out."""

import math

import pytest
import torch
from torch.nn import functional

from sparsetheory.gpu.weights import distill_loss


def _logits(seed, *shape):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_it_is_cross_entropy_and_divergence_from_the_teacher_to_the_student(device):
    student, teacher = _logits(0, 5, 3).to(device), _logits(1, 5, 3).to(device)
    target = torch.tensor([0, 1, 2, 1, 0], device=device)
    p, q = teacher.softmax(1), student.softmax(1)
    divergence = (p * (p / q).log()).sum(1).mean()
    entropy = -q[torch.arange(5), target].log().mean()
    for eta in (0.0, 1 / 3, 1.0):
        torch.testing.assert_close(
            distill_loss(student, teacher, target, eta), eta * divergence + (1 - eta) * entropy, rtol=1e-12, atol=1e-12
        )
    # Up to a factor, a penalty of strength eta / (1 - eta).
    found = distill_loss(student, teacher, target, 0.25) / 0.75
    torch.testing.assert_close(found, entropy + divergence / 3, rtol=1e-12, atol=1e-12)


def test_gradients_reach_the_student_alone():
    student, teacher = _logits(0, 4, 3).requires_grad_(), _logits(1, 4, 3).requires_grad_()
    distill_loss(student, teacher, torch.zeros(4, dtype=torch.int64), 0.5).backward()
    q, p = student.detach().softmax(1), teacher.detach().softmax(1)
    one_hot = functional.one_hot(torch.zeros(4, dtype=torch.int64), 3)
    torch.testing.assert_close(student.grad, (q - 0.5 * p - 0.5 * one_hot) / 4, rtol=1e-12, atol=1e-12)
    assert teacher.grad is None


def test_positions_without_label_do_not_count():
    student, teacher = _logits(0, 2, 4, 3), _logits(1, 2, 4, 3)
    target = torch.tensor([[0, -100, 1, 2], [-100, -100, 0, 0]])
    kept = target >= 0
    expected = distill_loss(student[kept], teacher[kept], target[kept], 0.4)
    assert float(distill_loss(student, teacher, target, 0.4)) == pytest.approx(float(expected), rel=1e-14)


def test_half_precision_is_computed_in_single_precision():
    student, teacher = _logits(0, 5, 3).to(torch.bfloat16), _logits(1, 5, 3).to(torch.bfloat16)
    target = torch.zeros(5, dtype=torch.int64)
    found = distill_loss(student, teacher, target, 0.5)
    assert found.dtype == torch.float32
    assert torch.equal(found, distill_loss(student.float(), teacher.float(), target, 0.5))


def test_arguments_are_checked():
    logits, target = torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64)
    for eta in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="eta must be"):
            distill_loss(logits, logits, target, eta)
    with pytest.raises(ValueError, match="student, teacher and target must have the shapes"):
        distill_loss(logits, logits, target[:1], 0.5)
