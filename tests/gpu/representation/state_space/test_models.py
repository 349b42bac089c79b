"""Dense models and models of low rank, against loops, scipy and each other."""

import numpy as np
import pytest
import torch
from scipy.signal import cont2discrete, dlsim

from sparsetheory.gpu.representation import DenseSSM, LowRankSSM, zero_order_hold
from sparsetheory.gpu.weights import low_rank_plus_columns

FORMS = ["shifted", "paper"]


def _system(n=6, seed=0, dtype=torch.float64):
    source = torch.Generator().manual_seed(seed)
    A = torch.randn(n, n, generator=source, dtype=torch.float64) / n**0.5
    A -= (float(torch.linalg.eigvals(A).real.max()) + 0.5) * torch.eye(n)
    B, C, x, h = (
        torch.randn(shape, generator=source, dtype=torch.float64) for shape in ((n, 2), (3, n), (4, 13, 2), (4, n))
    )
    return tuple(part.to(dtype) for part in (A, B, C, x, h))


def _loop(student, x, h):
    T, states = student.transition().dense(), []
    for t in range(x.shape[1]):
        h = h @ T.mT + x[:, t] @ student.B.mT
        states.append(h)
    states = torch.stack(states, 1)
    return states, states @ student.C.mT


def test_the_dense_model_is_that_of_scipy():
    A, B, C, x, h = _system()
    Ad, Bd, *_ = cont2discrete((A.numpy(), B.numpy(), C.numpy(), np.zeros((3, 2))), 0.2)
    found = DenseSSM(A, B, C, 0.2).run(x[:1], h[:1])
    # It reads an input before the state that it changes: outputs come one sample later there.
    inputs = np.vstack([x[0].numpy(), np.zeros((1, 2))])
    _, outputs, states = dlsim((Ad, Bd, C.numpy(), np.zeros((3, 2)), 0.2), inputs, x0=h[0].numpy())
    assert np.abs(found.outputs[0].detach().numpy() - outputs[1:]).max() < 1e-12
    assert np.abs(found.states[0].detach().numpy() - states[1:]).max() < 1e-12


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n_columns", [0, 2])
@pytest.mark.parametrize("start", [False, True])
def test_outputs_and_states_are_those_of_a_loop(form, n_columns, start, device):
    A, B, C, x, h = (part.to(device) for part in _system())
    student = LowRankSSM.from_dense(A, B, C, 2, form, step=0.2, n_columns=n_columns, on_unstable="keep")
    initial = h if start else None
    states, outputs = _loop(student, x, h if start else torch.zeros_like(h))
    run = student.run(x, initial)
    for found, wanted in ((run.states, states), (run.outputs, outputs), (student(x, initial), outputs)):
        assert torch.allclose(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_a_student_of_full_rank_is_its_teacher(form):
    A, B, C, x, h = _system()
    teacher, student = DenseSSM(A, B, C, 0.2), LowRankSSM.from_dense(A, B, C, 6, form, step=0.2)
    assert torch.allclose(student.run(x, h).states, teacher.run(x, h).states, rtol=0, atol=1e-12)
    assert torch.allclose(student(x, h), teacher(x, h), rtol=0, atol=1e-12)
    assert student.spectral_radius() == pytest.approx(teacher.spectral_radius(), rel=1e-9)


def test_what_was_given_is_not_changed():
    A, B, C, *_ = _system()
    before = [part.clone() for part in (A, B, C)]
    for model in (DenseSSM(A, B, C, 0.2), LowRankSSM.from_dense(A, B, C, 2, step=0.2, on_unstable="keep")):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 1
    assert all(torch.equal(part, old) for part, old in zip((A, B, C), before, strict=True))


def test_random_models_hold_their_inputs_between_samples():
    model = LowRankSSM(6, 2, n_inputs=3, step=0.7, shift=2.0, generator=0)
    source = torch.Generator().manual_seed(0)
    *_, B = (torch.randn(shape, generator=source) for shape in ((6, 2), (6, 2), (6, 3)))
    _, held = zero_order_hold(model.U @ model.V.mT - 2.0 * torch.eye(6), B, 0.7)
    assert torch.allclose(model.B, held, rtol=0, atol=1e-6)


def test_no_direction_is_left_to_the_shift_at_full_rank():
    """The shift alone decays more slowly than all modes do."""
    A, B, C, *_ = _system()
    teacher, student = DenseSSM(A, B, C, 0.2), LowRankSSM.from_dense(A, B, C, 6, step=0.2, shift=0.01)
    assert student.spectral_radius() == pytest.approx(teacher.spectral_radius(), rel=1e-9)
    assert student.spectral_radius() < 0.95 < float(torch.exp(-student.shift * student.step))


@pytest.mark.parametrize("form", FORMS)
def test_sequences_go_on_from_their_last_state(form):
    A, B, C, x, _ = _system()
    student = LowRankSSM.from_dense(A, B, C, 3, form, step=0.2, on_unstable="keep")
    first = student.run(x[:, :5])
    rest = student(x[:, 5:], first.states[:, -1])
    assert torch.allclose(torch.cat([first.outputs, rest], 1), student(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("start", [False, True])
def test_sequences_without_samples_have_no_outputs(form, start):
    A, B, C, x, h = _system()
    models = DenseSSM(A, B, C, 0.2), LowRankSSM.from_dense(A, B, C, 3, form, step=0.2, on_unstable="keep")
    for model in models:
        assert model(x[:, :0], h if start else None).shape == (4, 0, 3)
        assert model(x[:, :1], h if start else None).shape == (4, 1, 3)


@pytest.mark.parametrize("form", FORMS)
def test_outputs_have_the_gradients_of_a_loop(form):
    """The loss by outputs never makes states; its gradients must be those of the model that does."""
    A, B, C, x, h = _system()
    student = LowRankSSM.from_dense(A, B, C, 2, form, step=0.2, n_columns=1, on_unstable="keep")
    own = torch.autograd.grad(student(x, h).square().sum(), list(student.parameters()))
    loop = torch.autograd.grad(_loop(student, x, h)[1].square().sum(), list(student.parameters()))
    for one, other in zip(own, loop, strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_random_models_are_stable_and_keep_their_dtype(form):
    for seed in range(5):
        model = LowRankSSM(12, 3, form, n_inputs=2, n_outputs=2, step=0.5, n_columns=2, generator=seed)
        assert model.stable
        assert model(torch.ones(20, 2)).isfinite().all()
    again = LowRankSSM(12, 3, form, n_inputs=2, n_outputs=2, step=0.5, n_columns=2, generator=4)
    assert torch.equal(again.U, model.U)
    assert model.bfloat16()(torch.ones(20, 2, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize("form", FORMS)
def test_saved_models_return(form):
    A, B, C, x, _ = _system()
    student = LowRankSSM.from_dense(A, B, C, 2, form, step=0.2, n_columns=1, on_unstable="keep")
    other = LowRankSSM(6, 2, form, n_inputs=2, n_outputs=3, n_columns=1, generator=0).double()
    other.load_state_dict(student.state_dict())
    assert torch.equal(other(x), student(x))


def test_the_shift_of_a_decay_plus_low_rank_is_found():
    """The mean of the diagonal is another number, and leaves a tail."""
    source = torch.Generator().manual_seed(0)
    left, right = torch.randn(2, 8, 2, generator=source, dtype=torch.float64)
    A = left @ right.mT - 3 * torch.eye(8, dtype=torch.float64)
    B, C = torch.ones(8, 1, dtype=torch.float64), torch.ones(1, 8, dtype=torch.float64)
    student = LowRankSSM.from_dense(A, B, C, 2, step=0.1, on_unstable="keep")
    assert float(student.shift) == pytest.approx(3.0, abs=1e-8)
    assert abs(-float(A.diagonal().mean()) - 3.0) > 0.01


def test_columns_are_those_of_the_split():
    A, B, C, *_ = _system()
    student = LowRankSSM.from_dense(A, B, C, 2, "paper", step=0.2, n_columns=2, on_unstable="keep")
    wanted = low_rank_plus_columns(student.truncated_matrix(A), 2, 2).approximation()
    assert torch.allclose(student.transition().dense(), wanted, rtol=0, atol=1e-12)
    plain = LowRankSSM.from_dense(A, B, C, 2, "paper", step=0.2, on_unstable="keep")
    target = student.truncated_matrix(A)
    assert (student.transition().dense() - target).norm() < (plain.transition().dense() - target).norm()


def _growing(n=4):
    """Return a system whose truncation to rank 1 grows: the mode that decays is the larger one."""
    A = torch.diag(torch.tensor([0.5, -4.0, -4.0, -4.0], dtype=torch.float64)[:n])
    return A, torch.ones(n, 1, dtype=torch.float64), torch.ones(1, n, dtype=torch.float64)


@pytest.mark.parametrize("form", FORMS)
def test_unstable_students_are_refused_clipped_or_kept(form):
    system = _growing()
    with pytest.raises(ValueError, match=r"spectral radius below 1; got 1\.05"):
        LowRankSSM.from_dense(*system, 1, form, step=0.1)
    assert not LowRankSSM.from_dense(*system, 1, form, step=0.1, on_unstable="keep").stable
    for n_columns in (0, 1):
        A = system[0] + 2 * n_columns * torch.eye(4)
        clipped = LowRankSSM.from_dense(A, *system[1:], 1, form, step=0.1, n_columns=n_columns, on_unstable="clip")
        assert clipped.stable
        assert clipped.spectral_radius() == pytest.approx(0.999, rel=1e-6)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_clipped_students_of_half_precision_are_stable(form, dtype):
    """Clipping to 0.999 once is lost in the rounding of the shift or of the factors."""
    for seed in range(8):
        A, B, C, *_ = _system(n=12, seed=seed)
        A, B, C = (part.to(dtype) for part in (A + (2 + seed % 4) * torch.eye(12), B, C))
        student = LowRankSSM.from_dense(A, B, C, 3, form, step=0.5, on_unstable="clip")
        assert 0.9 < student.spectral_radius() < 1
        assert student.U.dtype == student.shift.dtype == dtype


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_models_that_diverged_are_not_stable(form, bad):
    """Eigenvalues of such a matrix may end the process."""
    A, B, C, *_ = _system()
    student, teacher = LowRankSSM.from_dense(A, B, C, 2, form, step=0.2, on_unstable="keep"), DenseSSM(A, B, C, 0.2)
    with torch.no_grad():
        student.U[0, 0] = teacher.A[0, 0] = bad
    assert student.spectral_radius() == teacher.spectral_radius() == float("inf")
    assert not student.stable


def test_what_overflows_cannot_be_clipped():
    A, B, C, *_ = _system(dtype=torch.float32)
    with pytest.raises(ValueError, match="spectral radius below 1; got inf"):
        LowRankSSM.from_dense(A + 1e4 * torch.eye(6), B, C, 2, step=0.1, on_unstable="clip")


def test_half_precision_has_a_spectral_radius():
    A, B, C, *_ = _system()
    exact = DenseSSM(A, B, C, 0.2).spectral_radius()
    assert DenseSSM(A, B, C, 0.2).bfloat16().spectral_radius() == pytest.approx(exact, rel=0.02)


def test_directions_off_the_factors_count_for_stability():
    """A negative shift makes them grow, which no eigenvalue of the small matrix shows."""
    A, B, C, *_ = _system()
    student = LowRankSSM.from_dense(A, B, C, 1, step=0.2, shift=-1.0, on_unstable="keep")
    dense = torch.linalg.eigvals(student.transition().dense().detach()).abs().max()
    assert student.spectral_radius() == pytest.approx(float(dense), rel=1e-9)
    assert not student.stable


def test_bad_arguments_are_named():
    A, B, C, x, _ = _system()
    with pytest.raises(ValueError, match="rank must be an integer from 1 to 6"):
        LowRankSSM.from_dense(A, B, C, 7, step=0.1)
    with pytest.raises(ValueError, match="step must be a finite positive number"):
        LowRankSSM.from_dense(A, B, C, 2, step=0.0)
    with pytest.raises(ValueError, match="step must be a finite positive number"):
        DenseSSM(A, B, C, -1.0)
    with pytest.raises(ValueError, match="parametrization must be one of"):
        LowRankSSM(4, 2, "dense")
    with pytest.raises(ValueError, match="on_unstable must be one of"):
        LowRankSSM.from_dense(A, B, C, 2, step=0.1, on_unstable="ignore")
    with pytest.raises(ValueError, match="A must be n x n"):
        DenseSSM(A, B[:4], C, 0.1)
    with pytest.raises(ValueError, match="A must be finite"):
        DenseSSM(A * float("inf"), B, C, 0.1)
    with pytest.raises(ValueError, match=r"x must have shape \(\.\.\., T, 2\)"):
        DenseSSM(A, B, C, 0.1)(x[..., :1])
    with pytest.raises(ValueError, match="x must be a tensor"):
        LowRankSSM(4, 2)(x.numpy())
    for model in (DenseSSM(A, B, C, 0.1), LowRankSSM(6, 2, n_inputs=2)):
        with pytest.raises(ValueError, match=r"initial must have shape \(\.\.\., 6\); got \(4, 5\)"):
            model(x, torch.zeros(4, 5, dtype=torch.float64))
