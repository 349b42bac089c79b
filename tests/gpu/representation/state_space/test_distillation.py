"""The loss of distillation: its terms by hand, what they do not see, and what they refuse."""

from dataclasses import replace

import pytest
import torch

from sparsetheory.gpu.core import Linear
from sparsetheory.gpu.representation import (
    DenseSSM,
    LowRankSSM,
    SSMRun,
    balanced_factors,
    structure_aware_loss,
    teacher_factors,
)


def _drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _runs(rank=2, n=5):
    return [
        SSMRun(_drawn(3, 7, 2, seed=seed), _drawn(3, 7, n, seed=seed + 10), _drawn(2, n, rank, seed=seed + 20).unbind())
        for seed in (1, 2)
    ]


def _signed(U, V):
    """Turn each column of U so that its largest entry is positive, by a loop."""
    U, V = U.clone(), V.clone()
    for column in range(U.shape[1]):
        if U[U[:, column].abs().argmax(), column] < 0:
            U[:, column], V[:, column] = -U[:, column], -V[:, column]
    return U, V


def test_terms_are_those_by_hand():
    student, teacher = _runs()
    pairs = zip(_signed(*student.factors), _signed(*teacher.factors), strict=True)
    factors = sum(float((one - other).square().sum()) for one, other in pairs)
    states = float((student.states - teacher.states).square().mean())
    outputs = float((student.outputs - teacher.outputs).square().mean())
    for weights in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.5, 0.1, 1.5)):
        wanted = weights[0] * factors + weights[1] * states + weights[2] * outputs
        assert float(structure_aware_loss(student, teacher, weights)) == pytest.approx(wanted, rel=1e-12)
    assert float(structure_aware_loss(student, teacher)) == pytest.approx(wanted, rel=1e-12)
    U, V = student.factors
    product = float((U @ V.mT - teacher.factors[0] @ teacher.factors[1].mT).square().sum())
    found = structure_aware_loss(student, teacher, (1.0, 0.0, 0.0), compare="product")
    assert float(found) == pytest.approx(product, rel=1e-12)


def test_signs_of_factors_do_not_count():
    student, teacher = _runs()
    U, V = student.factors
    signs = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    turned = replace(student, factors=(U * signs, V * signs))
    for compare in ("factors", "product"):
        one, other = (structure_aware_loss(run, teacher, compare=compare) for run in (student, turned))
        assert float(one) == pytest.approx(float(other), rel=1e-12)
    raw = [float((run.factors[0] - teacher.factors[0]).square().sum()) for run in (student, turned)]
    assert abs(raw[0] - raw[1]) > 0.1


def test_rotations_of_factors_count_unless_products_are_compared():
    student, teacher = _runs()
    Q = torch.linalg.qr(_drawn(2, 2, seed=5)).Q
    turned = replace(student, factors=tuple(factor @ Q for factor in student.factors))
    losses = {
        compare: [float(structure_aware_loss(run, teacher, compare=compare)) for run in (student, turned)]
        for compare in ("factors", "product")
    }
    assert losses["product"][0] == pytest.approx(losses["product"][1], rel=1e-12)
    assert abs(losses["factors"][0] - losses["factors"][1]) > 0.1


def test_the_teacher_gets_no_gradients():
    student, teacher = _runs()
    leaves = [part.clone().requires_grad_() for part in (teacher.outputs, teacher.states, *teacher.factors)]
    own = student.outputs.clone().requires_grad_()
    loss = structure_aware_loss(replace(student, outputs=own), SSMRun(leaves[0], leaves[1], tuple(leaves[2:])))
    loss.backward()
    assert own.grad is not None
    assert all(leaf.grad is None for leaf in leaves)


def test_weights_follow_schedules():
    student, teacher = _runs()
    for step, weight in ((0, 0.5), (5, 0.25), (10, 0.0), (99, 0.0)):
        found = structure_aware_loss(student, teacher, (Linear(0.5, 10), 0.1, 1.5), step=step)
        assert float(found) == pytest.approx(float(structure_aware_loss(student, teacher, (weight, 0.1, 1.5))))


def test_states_of_another_number_need_a_projection():
    student, teacher = _runs()
    wide = replace(teacher, states=_drawn(3, 7, 9))
    with pytest.raises(ValueError, match="projection must be given where numbers of states differ; got 5 and 9"):
        structure_aware_loss(student, wide)
    projection = torch.nn.Linear(9, 5, bias=False).double()
    wanted = float((student.states - wide.states @ projection.weight.detach().mT).square().mean())
    loss = structure_aware_loss(student, wide, (0.0, 1.0, 0.0), projection=projection)
    assert loss.item() == pytest.approx(wanted)
    loss.backward()
    assert projection.weight.grad.abs().max() > 0
    # A term of weight 0 asks for nothing.
    assert structure_aware_loss(student, replace(wide, factors=None), (0.0, 0.0, 1.0)).isfinite()


def test_empty_sequences_cost_nothing():
    A, B, C = -torch.eye(4), torch.ones(4, 1), torch.ones(1, 4)
    teacher, student = DenseSSM(A, B, C, 0.1), LowRankSSM.from_dense(A, B, C, 2, step=0.1)
    x = torch.zeros(3, 0, 1)
    run = teacher.run(x, factors=teacher_factors(teacher, student))
    loss = structure_aware_loss(student.run(x), run, (0.0, 1.0, 1.0))
    loss.backward()
    assert float(loss.detach()) == 0.0


def test_bad_arguments_are_named():
    student, teacher = _runs()
    with pytest.raises(ValueError, match="teacher must have factors where"):
        structure_aware_loss(student, replace(teacher, factors=None))
    with pytest.raises(ValueError, match=r"weights\[1\] must be a finite non-negative number"):
        structure_aware_loss(student, teacher, (0.5, -0.1, 1.5))
    with pytest.raises(ValueError, match="weights must be three"):
        structure_aware_loss(student, teacher, (0.5, 0.1))
    with pytest.raises(ValueError, match="outputs must have one shape"):
        structure_aware_loss(student, replace(teacher, outputs=teacher.outputs[:1]))
    with pytest.raises(ValueError, match="compare must be one of"):
        structure_aware_loss(student, teacher, compare="columns")
    with pytest.raises(ValueError, match="teacher must have 3 states"):
        teacher_factors(DenseSSM(-torch.eye(4), torch.ones(4, 1), torch.ones(1, 4), 0.1), LowRankSSM(3, 1))


@pytest.mark.parametrize("shape", [(6, 6), (4, 7), (7, 4)])
@pytest.mark.parametrize("rank", [1, 3, 4])
def test_balanced_factors_are_best_and_balanced(shape, rank):
    matrix = _drawn(*shape)
    U, V = balanced_factors(matrix, rank)
    values = torch.linalg.svdvals(matrix)
    assert float((U @ V.mT - matrix).square().sum()) == pytest.approx(float(values[rank:].square().sum()), abs=1e-12)
    for factor in (U, V):
        assert torch.allclose(factor.mT @ factor, torch.diag(values[:rank]), rtol=0, atol=1e-12)
    assert bool((U.gather(0, U.abs().argmax(0, keepdim=True)) > 0).all())


def test_factors_of_zero_are_zero():
    U, V = balanced_factors(torch.zeros(3, 3), 2)
    assert not U.any()
    assert not V.any()


def test_students_start_at_the_factors_of_their_teachers():
    A, B, C = _drawn(6, 6) - 4 * torch.eye(6), _drawn(6, 1), _drawn(1, 6)
    for form in ("shifted", "paper"):
        teacher, student = DenseSSM(A, B, C, 0.1), LowRankSSM.from_dense(A, B, C, 3, form, step=0.1)
        x = _drawn(2, 9, 1)
        run = teacher.run(x, factors=teacher_factors(teacher, student))
        assert structure_aware_loss(student.run(x), run, (1.0, 0.0, 0.0)).item() < 1e-20
        with torch.no_grad():
            student.U += 0.1
        structure_aware_loss(student.run(x), run, (1.0, 0.0, 0.0)).backward()
        assert torch.allclose(student.U.grad, torch.full_like(student.U, 0.2))
