"""The convex fit: one optimum from all starts, gaps that are true, and evidence that notices changes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from sparsetheory.gpu.attention import AttnGate, fit_gate_convex, gate_examples, gate_gap, train_gate


@pytest.fixture(scope="module")
def examples(decoder, tokens):
    mask = torch.ones_like(tokens)
    mask[1, :10] = 0
    batches = [{"input_ids": tokens, "attention_mask": mask}, {"input_ids": tokens[:1, :21]}]
    return gate_examples(decoder, batches, layers=[1], block=8)[1]


def make(seed=0):
    return AttnGate(8, 4, 2, block=8, generator=seed)


def test_two_starts_have_one_optimum(examples):
    first, second = (fit_gate_convex(make(seed), examples, 3e-2, tol=1e-10) for seed in (0, 1))
    assert first.certificate.valid
    assert first.objective == pytest.approx(second.objective, abs=1e-10)
    # Strong convexity: a gap g puts the weights within sqrt(2 g / alpha) of the optimum.
    assert float((first.gate.k_map - second.gate.k_map).detach().norm()) < 2 * (2e-10 / 3e-2) ** 0.5 + 1e-5


def test_scipy_finds_nothing_better(examples):
    found = fit_gate_convex(make(), examples, 1e-2, tol=1e-9)
    gate = make().double()

    def value(x):
        with torch.no_grad():
            gate.k_map.copy_(torch.from_numpy(x).reshape(gate.k_map.shape))
        state = gate_gap(gate, examples, 1e-2)
        return state.objective, (state.gradient + 1e-2 * gate.k_map.detach()).numpy().ravel()

    other = minimize(value, np.zeros(gate.k_map.numel()), jac=True, method="L-BFGS-B", options={"maxiter": 300})
    assert found.objective - 1e-9 <= other.fun <= found.objective + 1e-5


def test_gradients_and_losses_are_those_of_differences(examples):
    gate = make().double()
    state = gate_gap(gate, examples, 0.1)
    for entry in ((0, 0, 0), (3, 20, 7), (2, 11, 3)):
        values = []
        for step in (1e-5, -1e-5):
            moved = make().double()
            with torch.no_grad():
                moved.k_map[entry] += step
            values.append(gate_gap(moved, examples, 0.1).loss)
        assert (values[0] - values[1]) / 2e-5 == pytest.approx(float(state.gradient[entry]), abs=1e-9)


@pytest.mark.parametrize("penalty", ["ridge", "lasso"])
def test_no_gate_is_further_from_the_optimum_than_its_gap(examples, penalty):
    alpha = 5e-3
    best = fit_gate_convex(make(), examples, alpha, penalty, tol=1e-5, max_iter=3000)
    assert best.certificate.valid
    gate = make(3)
    for steps in (1, 30, 100):
        train_gate(gate, examples, steps, 1e-2, reduction="kl_row", skip_rows=0.0, alpha=alpha)
        state = gate_gap(gate, examples, alpha, penalty)
        assert best.objective - 1e-5 <= state.objective <= best.objective + state.gap


def test_the_lasso_gives_few_weights(examples):
    found = fit_gate_convex(make(), examples, 5e-3, "lasso", tol=1e-5, max_iter=3000)
    assert found.certificate.check(examples).valid
    share = float((found.gate.k_map != 0).float().mean())
    assert 0 < share < 0.3
    # Optimality: no entry of the gradient is above the strength of the penalty by more than the gap allows.
    state = gate_gap(found.gate, examples, 5e-3, "lasso")
    assert float(state.gradient.abs().max()) < 5e-3 * 1.05


def test_a_strong_penalty_leaves_nothing(examples):
    largest = float(gate_gap(zero_gate(), examples, 1.0, "lasso").gradient.abs().max())
    found = fit_gate_convex(make(), examples, 1.01 * largest, "lasso", tol=1e-9)
    assert (found.gate.k_map == 0).all()
    assert not (fit_gate_convex(make(), examples, 0.9 * largest, "lasso", tol=1e-7).gate.k_map == 0).all()


def zero_gate():
    gate = make()
    with torch.no_grad():
        gate.k_map.zero_()
    return gate


@pytest.mark.parametrize("penalty", ["ridge", "lasso"])
def test_the_certificate_is_checked_by_another_way(examples, penalty):
    found = fit_gate_convex(make(), examples, 1e-2, penalty, tol=1e-5, skip_rows=0.25)
    again = found.certificate.check(examples)
    assert again.valid
    assert again.measured == pytest.approx(found.gap, abs=1e-9)
    moved = replace(found.certificate, k_map=found.certificate.k_map * 1.2)
    assert not moved.check(examples).valid
    assert not found.certificate.check(examples[:1]).valid
    assert not replace(found.certificate, alpha=1e-3).check(examples).valid


def test_too_few_iterations_are_admitted(examples):
    found = fit_gate_convex(make(), examples, 1e-3, max_iter=10)
    assert not found.certificate.valid
    assert found.gap > found.certificate.bound
    assert "ended before" in found.certificate.reason


def test_the_gate_that_was_given_does_not_change(examples):
    gate = make()
    fit_gate_convex(gate, examples, 1e-1)
    assert torch.equal(gate.k_map, make().k_map)


def test_wrong_arguments(examples):
    with pytest.raises(ValueError, match="gate must have no map of queries"):
        fit_gate_convex(AttnGate(8, 4, 2, block=8, force_q_map=True), examples)
    with pytest.raises(ValueError, match="penalty must be one of 'ridge', 'lasso'; got 'l2'"):
        fit_gate_convex(make(), examples, penalty="l2")
    with pytest.raises(ValueError, match="alpha must be a finite positive number"):
        fit_gate_convex(make(), examples, 0.0)
    with pytest.raises(TypeError, match="options must be empty"):
        fit_gate_convex(make(), examples, 1e-1).certificate.check(examples, seed=0)
