"""The projection on the simplex is the nearest point, also with few nonzeros."""

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from sparsetheory.gpu.solvers import simplex_project


def _nearest(w, n_nonzero):
    """Return the least squared distance by a general solver on each support."""
    best = np.inf
    for support in combinations(range(len(w)), n_nonzero):
        part = w[list(support)]
        rest = np.square(w).sum() - np.square(part).sum()
        found = minimize(
            lambda x, part=part: np.square(x - part).sum(),
            np.full(n_nonzero, 1 / n_nonzero),
            jac=lambda x, part=part: 2 * (x - part),
            bounds=[(0, None)] * n_nonzero,
            constraints={"type": "eq", "fun": lambda x: x.sum() - 1, "jac": np.ones_like},
            tol=1e-14,
        )
        best = min(best, found.fun + rest)
    return best


@pytest.mark.parametrize("n_nonzero", [1, 2, 3, 5])
def test_no_point_of_the_simplex_is_nearer(rng, device, n_nonzero):
    for w in rng.standard_normal((5, 5)):
        found = simplex_project(torch.from_numpy(w).to(device), n_nonzero).cpu().numpy()
        assert (found >= 0).all()
        assert (found > 0).sum() <= n_nonzero
        assert abs(found.sum() - 1) < 1e-14
        assert abs(np.square(found - w).sum() - _nearest(w, n_nonzero)) < 1e-7


def test_cutting_after_projecting_is_another_point():
    w = torch.tensor([1.0, 0.5, 0.49])
    torch.testing.assert_close(simplex_project(w, 2), torch.tensor([0.75, 0.25, 0.0]))
    whole = simplex_project(w)
    cut = torch.where(whole >= whole.sort().values[-2], whole, 0.0)
    assert (cut / cut.sum())[0] > 0.79


def test_large_entries_cancel_in_no_sum(device):
    w = torch.tensor([1e8, 1e8 - 8, 0.0], device=device)
    assert simplex_project(w).tolist() == [1.0, 0.0, 0.0]
    assert simplex_project(torch.tensor([3e38, -3e38], device=device)).tolist() == [1.0, 0.0]


def test_points_of_the_simplex_stay(rng):
    W = torch.from_numpy(rng.dirichlet(np.ones(6), size=(3, 4)))
    torch.testing.assert_close(simplex_project(W), W, rtol=0, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_dtype_and_shape_are_kept(dtype):
    found = simplex_project(torch.zeros(2, 0 + 3, 4, dtype=dtype), 2)
    assert found.dtype == dtype
    assert found.shape == (2, 3, 4)
    assert ((found == 0.5).sum(-1) == 2).all()


def test_gradients_are_those_of_differences(rng):
    w = torch.from_numpy(rng.standard_normal((3, 5))).requires_grad_()
    assert torch.autograd.gradcheck(lambda w: simplex_project(w, 3), w)


@pytest.mark.parametrize(
    ("values", "n_nonzero", "match"),
    [
        (torch.tensor([1.0, torch.nan]), None, "W must be finite"),
        (torch.zeros(2, 0), None, "at least one entry"),
        (torch.zeros(3), 4, "n_nonzero must be at most"),
        (torch.zeros(3), 0, "n_nonzero must be an integer"),
    ],
)
def test_bad_input_is_named(values, n_nonzero, match):
    with pytest.raises(ValueError, match=match):
        simplex_project(values, n_nonzero)
