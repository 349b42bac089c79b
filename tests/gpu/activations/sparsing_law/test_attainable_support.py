import numpy as np
import pytest
import torch

from sparsetheory.gpu.activations import cett_oracle
from sparsetheory.regression import OMP


@pytest.fixture
def layer(device):
    generator = torch.Generator().manual_seed(2)
    h = torch.randn(5, 60, generator=generator)
    return h.to(device), torch.randn(20, 60, generator=generator).to(device)


def first_within(errors, target):
    return next(k for k, error in enumerate(errors) if error <= target)


def test_prefixes_by_magnitude_and_refitted_are_the_first_within_the_target(layer):
    h, w_out = layer
    found = cett_oracle(h, w_out, 0.3, "refit")
    H, W = h.double().cpu().numpy(), w_out.double().cpu().numpy()
    for token, row in enumerate(H):
        y, order = W @ row, np.argsort(-np.abs(row) * np.linalg.norm(W, axis=0), kind="stable")
        prefixes = [order[:k] for k in range(61)]
        kept = [np.linalg.norm(y - W[:, S] @ row[S]) / np.linalg.norm(y) for S in prefixes]
        fits = [np.linalg.norm(y - W[:, S] @ np.linalg.lstsq(W[:, S], y)[0]) / np.linalg.norm(y) for S in prefixes]
        assert found.magnitude[token] == first_within(kept, 0.3)
        assert found.n_nonzero[token] == first_within(fits, 0.3)
        assert found.slack[token] == int(found.magnitude[token]) / int(found.n_nonzero[token])


def test_pursuit_is_that_of_the_classical_side(layer):
    h, w_out = layer
    found = cett_oracle(h, w_out, 0.2)
    H, W = h.double().cpu().numpy(), w_out.double().cpu().numpy()
    for token, row in enumerate(H):
        y = W @ row
        model = OMP(tol=float((0.2 * np.linalg.norm(y)) ** 2), fit_intercept=False).fit(W, y)
        assert found.n_nonzero[token] == model.support_.size


def test_lasso_needs_fewer_than_by_magnitude(layer):
    h, w_out = layer
    found = cett_oracle(h[:2], w_out, 0.3, "lasso")
    assert (found.n_nonzero < found.magnitude).all()


def test_repeated_and_empty_columns_do_not_count_as_new():
    w_out = torch.eye(3)[:, [0, 0, 0, 1, 2]]
    w_out[:, 1] = 0
    found = cett_oracle(torch.tensor([[4.0, 9.0, 3.0, 2.0, 1.0]]), w_out, 1e-3, "refit")
    # By norm 4, 3, 2, 1: both first ones are one direction, which is fitted at once; the next are needed.
    assert found.n_nonzero.tolist() == [4]
    assert found.magnitude.tolist() == [4]
    assert cett_oracle(torch.tensor([[4.0, 9.0, 3.0, 0.0, 0.0]]), w_out, 1e-3, "refit").n_nonzero.tolist() == [1]


def test_tokens_without_output_are_left_out(layer):
    h, w_out = layer
    h[1] = 0
    assert cett_oracle(h, w_out, 0.5).n_nonzero.shape == (4,)


@pytest.mark.parametrize("target", [0, 1, -0.5])
def test_targets_that_are_refused(layer, target):
    with pytest.raises(ValueError, match=r"target must be a number"):
        cett_oracle(*layer, target)
