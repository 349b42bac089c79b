"""The sparse coding of a layer against loops, the Lasso of scikit-learn, the package's own coders, and grids."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from sparsetheory.gpu.representation import ista_block, ista_objective
from sparsetheory.gpu.solvers import encode
from sparsetheory.penalties import L1


def _random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _step_of(D):
    return 1.0 / float(torch.linalg.matrix_norm(D, ord=2)) ** 2


def test_one_step_is_that_of_a_loop_over_entries():
    Z, D, eta, alpha = _random(3, 4), _random(4, 4, seed=1), 0.2, 0.3
    found = ista_block(Z, D, eta, alpha)
    for row, codes in zip(Z, found, strict=True):
        # Columns of tokens, and a dictionary with atoms as columns, as papers write them.
        A = D.T
        residual = [float(row[i]) - sum(float(A[i, j] * row[j]) for j in range(4)) for i in range(4)]
        for j in range(4):
            moved = float(row[j]) + eta * sum(float(A[i, j]) * residual[i] for i in range(4)) - eta * alpha
            assert float(codes[j]) == pytest.approx(max(moved, 0.0), abs=1e-12)


def test_many_steps_lead_to_the_lasso_with_positive_coefficients():
    from sklearn.linear_model import Lasso

    dim, alpha = 6, 0.2
    Z, D = 2 * _random(5, dim), _random(dim, dim, seed=1)
    found = ista_block(Z, D, _step_of(D), alpha, n_iter=8_000)
    # Scikit-learn divides the squared residual by the number of rows, which are the features here.
    lasso = Lasso(alpha=alpha / dim, positive=True, fit_intercept=False, tol=1e-12, max_iter=1_000_000)
    theirs = np.stack([lasso.fit(D.numpy().T, row.numpy()).coef_.copy() for row in Z])
    assert np.abs(found.numpy() - theirs).max() < 1e-6
    ours = encode(Z, D, L1(alpha, positive=True), tol=1e-12)
    assert torch.allclose(found, ours.codes, atol=1e-5)
    assert torch.allclose(ista_objective(found, Z, D, alpha), ours.objective, rtol=1e-9)
    # Without the division, as with an objective that lacks the factor 1/2, the solution is another.
    other = np.stack([lasso.set_params(alpha=alpha / 2 / dim).fit(D.numpy().T, row.numpy()).coef_ for row in Z])
    assert np.abs(found.numpy() - other).max() > 1e-2


def test_codes_satisfy_the_conditions_of_optimality():
    Z, D, alpha = _random(5, 6), _random(6, 6, seed=1), 0.2
    C = ista_block(Z, D, _step_of(D), alpha, n_iter=8_000)
    slope = alpha - (Z - C @ D) @ D.T
    assert float(slope[C > 0].abs().max()) < 1e-6
    assert float(slope[C == 0].min()) > -1e-6
    assert bool((C > 0).any())
    assert bool((C == 0).any())


def test_the_start_may_be_infeasible_and_the_objective_does_not_rise_from_the_first_step_on():
    Z, D, alpha = _random(5, 6), _random(6, 6, seed=1), 0.2
    assert torch.isinf(ista_objective(Z, Z, D, alpha)).all()
    values = [ista_objective(ista_block(Z, D, _step_of(D), alpha, n_iter=n), Z, D, alpha) for n in range(1, 30)]
    for before, after in pairwise(values):
        assert bool((after <= before + 1e-12).all())


def test_a_step_of_length_0_is_relu_and_an_orthogonal_dictionary_soft_thresholds():
    Z = _random(4, 5)
    Q = torch.linalg.qr(_random(5, 5, seed=1))[0]
    assert torch.equal(ista_block(Z, Q, 0.0, 0.0), torch.relu(Z))
    assert torch.equal(ista_block(Z, Q, 0.0, 0.7, prox="lq"), torch.relu(Z))
    assert torch.allclose(ista_block(Z, Q, 1.0, 0.3), torch.relu(Z @ Q.T - 0.3), atol=1e-14)
    # One step is all it takes: another one changes nothing.
    assert torch.allclose(ista_block(Z, Q, 1.0, 0.3, n_iter=2), ista_block(Z, Q, 1.0, 0.3), atol=1e-14)


def test_powers_of_codes_take_their_own_proximal_step():
    Z, alpha, q = 2 * _random(3, 4), 0.5, 0.5
    found = ista_block(Z, torch.eye(4, dtype=torch.float64), 1.0, alpha, prox="lq", q=q)
    grid = np.linspace(0.0, 6.0, 600_001)
    for z, code in zip(Z.flatten(), found.flatten(), strict=True):
        best = grid[np.argmin((grid - float(z)) ** 2 / 2 + alpha * grid**q)]
        assert float(code) == pytest.approx(best, abs=2e-5)
    assert bool((found > 0).any())
    assert float(ista_objective(found, Z, torch.eye(4).double(), alpha, q=q).sum()) == pytest.approx(
        float(((Z - found) ** 2 / 2 + alpha * found**q).sum())
    )


def test_powers_of_codes_do_not_raise_their_objective():
    Z, D, alpha = _random(5, 6), _random(6, 6, seed=1), 0.2
    codes = [ista_block(Z, D, 0.99 * _step_of(D), alpha, n_iter=n, prox="lq", q=0.7) for n in range(1, 20)]
    values = [ista_objective(C, Z, D, alpha, q=0.7) for C in codes]
    for before, after in pairwise(values):
        assert bool((after <= before + 1e-12).all())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_codes_keep_shape_dtype_and_device(dtype, device):
    Z, D = _random(2, 3, 4).to(device, dtype), _random(4, 4).to(device, dtype)
    for prox in ("l1", "lq"):
        found = ista_block(Z, D, 0.1, 0.1, prox=prox)
        assert (found.shape, found.dtype, found.device) == (Z.shape, dtype, Z.device)


def test_tokens_decide_the_dtype_with_a_dictionary_of_another():
    Z, D = _random(3, 4), _random(4, 4, seed=1)
    found = ista_block(Z.float(), D, 0.1, 0.1)
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), ista_block(Z, D, 0.1, 0.1), atol=1e-5)
    assert ista_objective(found, Z.float(), D, 0.1).dtype == torch.float32


def test_gradients_pass_through_the_steps():
    Z, D = _random(3, 4).requires_grad_(), _random(4, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda z, d: ista_block(z, d, 0.1, 0.2, 3), (Z, D))


def test_errors_name_the_argument():
    Z, D = _random(3, 4), _random(4, 4)
    with pytest.raises(ValueError, match="D must be square, with one atom per feature of Z, 4"):
        ista_block(Z, D[:3], 0.1, 0.1)
    with pytest.raises(ValueError, match="prox must be one of 'l1', 'lq'"):
        ista_block(Z, D, 0.1, 0.1, prox="l0")
    with pytest.raises(ValueError, match="step_size must be"):
        ista_block(Z, D, -0.1, 0.1)
    with pytest.raises(ValueError, match="alpha must be"):
        ista_block(Z, D, 0.1, -0.1)
    with pytest.raises(ValueError, match="n_iter must be"):
        ista_block(Z, D, 0.1, 0.1, 0)
    with pytest.raises(ValueError, match="q must be"):
        ista_block(Z, D, 0.1, 0.1, prox="lq", q=1.0)
    with pytest.raises(ValueError, match="Z must be finite"):
        ista_block(Z / 0, D, 0.1, 0.1)
    with pytest.raises(ValueError, match=r"C must have shape \(3, 4\)"):
        ista_objective(Z[0], Z, D, 0.1)
