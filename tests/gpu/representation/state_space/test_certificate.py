"""The certificate of the distance of states, and one basis for several layers."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from sparsetheory.gpu.representation import DenseSSM, LowRankSSM, certify_states, shared_factors
from sparsetheory.lowrank import block_svd_error


def _drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _models(form="shifted", rank=3, n=6, dtype=torch.float64, **options):
    A = _drawn(n, n) / n**0.5 - 2 * torch.eye(n, dtype=torch.float64)
    system = [part.to(dtype) for part in (A, _drawn(n, 2, seed=1), _drawn(2, n, seed=2))]
    return DenseSSM(*system, 0.1), LowRankSSM.from_dense(*system, rank, form, step=0.1, **options)


@pytest.mark.parametrize("form", ["shifted", "paper"])
@pytest.mark.parametrize("start", [False, True])
def test_certificates_hold_and_are_near_what_loops_find(form, start):
    teacher, student = _models(form)
    x, initial = _drawn(4, 20, 2), (_drawn(4, 6) if start else None)
    certificate = certify_states(teacher, student, x, initial)
    checked = certificate.check(x, initial)
    assert checked.valid
    assert checked.measured == pytest.approx(certificate.measured, rel=1e-9)
    states = [model.run(x, initial).states for model in (teacher, student)]
    assert checked.measured == pytest.approx(float((states[0] - states[1]).detach().norm(dim=-1).max()), rel=1e-9)
    assert 0.01 * certificate.bound < checked.measured <= certificate.bound


def test_inputs_that_changed_are_covered():
    """A student that was trained has its own inputs: a bound by transitions alone would miss them."""
    teacher, student = _models(rank=6)
    with torch.no_grad():
        student.B += 0.5
    x = _drawn(4, 20, 2)
    certificate = certify_states(teacher, student, x)
    assert certificate.distance < 1e-12
    assert certificate.check(x).valid
    assert certificate.check(x).measured > 0.1


def test_the_bound_is_that_of_the_recursion():
    teacher, student = _models()
    x = _drawn(1, 4, 2)
    with torch.no_grad():
        student.B += 0.1
        (T, B), S = teacher.discretised(), student.transition().dense()
        h = torch.cat([torch.zeros(1, 6, dtype=torch.float64), teacher.run(x).states[0]]).norm(dim=1)
        norm = partial(torch.linalg.matrix_norm, ord=2)
        driven = [norm(T - S) * h[k] + norm(B - student.B) * x[0, k].norm() for k in range(4)]
        bounds = [sum(norm(torch.linalg.matrix_power(S, t - 1 - k)) * driven[k] for k in range(t)) for t in range(1, 5)]
    assert certify_states(teacher, student, x).bound == pytest.approx(float(max(bounds)), rel=1e-9)


def test_equal_models_are_certified():
    teacher, student = _models(rank=6)
    x = _drawn(1, 50, 2)
    certificate = certify_states(teacher, student, x)
    assert certificate.bound < 1e-9
    assert certificate.lower_bound == 0.0
    assert certificate.check(x).valid


def test_single_precision_is_certified_as_it_is():
    teacher, student = _models(dtype=torch.float32)
    x = _drawn(4, 20, 2).float()
    assert certify_states(teacher, student, x).check(x).valid


def test_the_lower_bound_is_the_tail_of_the_singular_values():
    teacher, student = _models("paper")
    certificate = certify_states(teacher, student, _drawn(1, 5, 2))
    dense = teacher.discretised()[0].detach().numpy()
    assert certificate.lower_bound == pytest.approx(block_svd_error([dense], 3).absolute, rel=1e-6)
    # The start is the nearest transition itself; one that was trained is further away.
    assert certificate.objective == pytest.approx(certificate.lower_bound, rel=1e-6)
    with torch.no_grad():
        student.U *= 1.5
    assert certify_states(teacher, student, _drawn(1, 5, 2)).objective > 1.01 * certificate.lower_bound


def test_what_was_changed_is_noticed():
    teacher, student = _models()
    x = _drawn(4, 20, 2)
    certificate = certify_states(teacher, student, x)
    assert not certificate.check(1000 * x).valid
    assert "a state is" in certificate.check(1000 * x).reason
    for name in ("distance", "objective"):
        assert not replace(certificate, **{name: 0.5 * getattr(certificate, name)}).check(x).valid
    assert not replace(certificate, lower_bound=2 * certificate.lower_bound).check(x).valid
    small = replace(certificate, bound=0.5 * certificate.measured)
    assert not small.check(x).valid
    assert not replace(certificate, inputs=certificate.inputs + 1).check(x).valid
    with pytest.raises(TypeError, match="options must be empty"):
        certificate.check(x, tol=1)


def test_sequences_that_cannot_be_read_are_refused_in_the_check_too():
    """A comparison with what is not a number is false, so such sequences would pass as certified."""
    teacher, student = _models()
    x, initial = _drawn(4, 5, 2), _drawn(4, 6)
    certificate = certify_states(teacher, student, x, initial)
    for call in (certificate.check, lambda *data: certify_states(teacher, student, *data)):
        for bad in (float("nan"), float("inf")):
            one = x.clone()
            one[0, 1, 0] = bad
            with pytest.raises(ValueError, match="x must be finite"):
                call(one)
            with pytest.raises(ValueError, match="initial must be finite"):
                call(x, initial * bad)
        with pytest.raises(ValueError, match=r"x must have shape \(\.\.\., T, 2\)"):
            call(x[..., :1])
        with pytest.raises(ValueError, match="x must hold at least one sample"):
            call(x[:, :0])
        with pytest.raises(ValueError, match=r"initial must have shape \(\.\.\., 6\); got \(4, 5\)"):
            call(x, initial[:, :5])
        with pytest.raises(ValueError, match=r"initial must have shape \(4, 6\), or broadcast to it; got \(3, 6\)"):
            call(x, initial[:3])
    assert certificate.check(x.tolist(), initial.numpy()).valid


def test_one_first_state_serves_all_sequences():
    teacher, student = _models()
    x, initial = _drawn(4, 5, 2), _drawn(6)
    one, other = (certify_states(teacher, student, x, first) for first in (initial, initial.expand(4, 6)))
    assert one.bound == other.bound
    assert one.check(x, initial).valid


def test_states_that_overflow_are_not_certified():
    teacher, student = _models()
    certificate = certify_states(teacher, student, _drawn(1, 3, 2))
    growing = replace(certificate, dense_transition=1e200 * certificate.dense_transition)
    with np.errstate(all="ignore"):
        assert not growing.check(_drawn(1, 9, 2)).valid


def test_bad_arguments_are_named():
    teacher, student = _models()
    with pytest.raises(ValueError, match="x must hold at least one sample"):
        certify_states(teacher, student, _drawn(1, 0, 2))
    with pytest.raises(ValueError, match="x must be finite"):
        certify_states(teacher, student, _drawn(1, 3, 2) * float("nan"))
    with pytest.raises(ValueError, match="equally many states and inputs"):
        certify_states(teacher, LowRankSSM(5, 2, n_inputs=2), _drawn(1, 3, 2))


def test_a_shared_basis_is_the_best_one():
    matrices = _drawn(3, 6, 6)
    found = shared_factors(matrices, 2)
    beside = np.concatenate(list(matrices.numpy()), 1)
    tail = float((np.linalg.svd(beside, compute_uv=False)[2:] ** 2).sum())
    assert found.objective == pytest.approx(tail, rel=1e-9)
    assert found.lower <= found.objective * (1 + 1e-12)
    assert found.objective <= found.upper * (1 + 1e-12)
    assert torch.allclose(found.U.mT @ found.U, torch.eye(2, dtype=torch.float64), rtol=0, atol=1e-12)
    assert float((found.products() - matrices).square().sum()) == pytest.approx(tail, rel=1e-9)
    own = sum(block_svd_error([matrix], 2).absolute ** 2 for matrix in matrices.numpy())
    assert own < found.objective


def test_layers_share_one_parameter():
    """Of two students whose matrices have one column space nothing is lost, and one parameter is trained."""
    basis = _drawn(6, 2)
    models = []
    for seed in (1, 2):
        A = basis @ _drawn(2, 6, seed=seed) / 6 - 2 * torch.eye(6, dtype=torch.float64)
        models.append(LowRankSSM.from_dense(A, _drawn(6, 1), _drawn(1, 6), 2, step=0.1))
    targets = [(model.U @ model.V.mT).detach() for model in models]
    found = shared_factors(targets, 2)
    models[0].U = models[1].U = torch.nn.Parameter(found.U)
    for model, target, V in zip(models, targets, found.V, strict=True):
        with torch.no_grad():
            model.V.copy_(V)
        assert torch.allclose(model.U @ model.V.mT, target, rtol=0, atol=1e-9)
    both = torch.nn.ModuleList(models)
    assert sum(parameter.numel() for parameter in both.parameters()) == 12 + 2 * (12 + 6 + 6)


def test_bad_matrices_are_named():
    with pytest.raises(ValueError, match="matrices must be of one shape"):
        shared_factors([_drawn(3, 3), _drawn(4, 4)], 1)
    with pytest.raises(ValueError, match="matrices must be of one shape"):
        shared_factors([], 1)
    with pytest.raises(ValueError, match="rank must be an integer from 1 to 3"):
        shared_factors([_drawn(3, 3)], 4)
    with pytest.raises(TypeError, match=r"matrices\[0\] must be a tensor"):
        shared_factors([np.eye(3)], 1)
