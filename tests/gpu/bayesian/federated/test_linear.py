"""Decentralised Turbo-VBI of a linear model against solvers on all rows."""

import io
from functools import reduce

import numpy as np
import pytest
import torch

from sparsetheory.bayesian import diagonal_posterior
from sparsetheory.gpu.bayesian import FederatedLinearTurboVBI, LinearClient, LinearSite, WeightPrior

KAPPA = 25.0


def _rows(seed=0, n_rows=90, n_columns=30):
    rng = np.random.default_rng(seed)
    F, x = rng.standard_normal((n_rows, n_columns)), np.zeros(n_columns)
    x[n_columns // 4 : n_columns // 4 + 5] = rng.choice([-1, 1], 5) * rng.uniform(0.5, 2, 5)
    return F, F @ x + rng.standard_normal(n_rows) / np.sqrt(KAPPA), x


def _fit(parts, n_columns, n_rounds=1000):
    clients = [LinearClient(F, y, noise_precision=KAPPA) for F, y in parts]
    server = FederatedLinearTurboVBI(WeightPrior((1, n_columns)), anneal_rounds=300, off_rate_ratio=1e-4)
    for _ in range(n_rounds):
        server.receive([client.message(server.mean) for client in clients])
    return server


def test_the_end_is_stationary_for_the_central_problem_and_the_same_for_any_split():
    F, y, x = _rows()
    whole = _fit([(F, y)], 30)
    split = _fit([(F[:60], y[:60]), (F[60:65], y[60:65]), (F[65:], y[65:])], 30)
    for server in (whole, split):
        precisions = server.prior.expected_precisions[0]
        central = diagonal_posterior(F, y, precisions, noise_precision=KAPPA)
        np.testing.assert_allclose(server.mean, central.mean, atol=1e-6)
        np.testing.assert_allclose(server.var, central.variance, rtol=1e-6)
        again = server.prior.fitted((server.mean**2 + server.var)[None], server.off_rate)
        np.testing.assert_allclose(again.expected_precisions, precisions, rtol=1e-5)
    np.testing.assert_allclose(split.mean, whole.mean, atol=1e-5)
    np.testing.assert_array_equal(split.prior.probability[0] > 0.5, x != 0)


def test_a_site_touches_the_likelihood_at_the_mean_and_is_below_it_elsewhere():
    F, y, _ = _rows(1, 12, 6)
    rng = np.random.default_rng(2)
    client, at = LinearClient(F, y, noise_precision=KAPPA), rng.standard_normal(6)
    site = client.message(at)

    def quadratic(x):
        return site.linear @ x - 0.5 * site.curvature @ x**2

    def log_likelihood(x):
        return -0.5 * KAPPA * ((y - F @ x) ** 2).sum()

    assert site.misfit == pytest.approx(-log_likelihood(at), rel=1e-12)
    gap = log_likelihood(at) - quadratic(at)
    for _ in range(50):
        x = at + rng.standard_normal(6) * 10 ** rng.uniform(-2, 2)
        assert log_likelihood(x) - quadratic(x) >= gap - 1e-9 * (1 + abs(gap) + abs(quadratic(x)))


def test_sites_merge_to_the_same_bits_in_any_order_and_come_back_from_files():
    F, y, _ = _rows(3)
    at = np.random.default_rng(4).standard_normal(30)
    sites = [LinearClient(F[i::5], y[i::5], noise_precision=KAPPA).message(at) for i in range(5)]
    forward, backward = reduce(LinearSite.merge, sites), reduce(LinearSite.merge, sites[::-1])
    assert torch.equal(forward.terms, backward.terms)
    assert forward.n_clients == 5
    whole = LinearClient(F, y, noise_precision=KAPPA).message(at)
    np.testing.assert_allclose(forward.precision, whole.precision, rtol=1e-12)
    stored = io.BytesIO()
    torch.save(forward.state_dict(), stored)
    stored.seek(0)
    again = LinearSite.from_state_dict(torch.load(stored, weights_only=True))
    np.testing.assert_array_equal(again.linear, forward.linear)


def test_bounds_are_the_expected_likelihood_minus_the_divergence_of_each_state_that_was_sent():
    F, y, _ = _rows(5)
    client = LinearClient(F, y, noise_precision=KAPPA)
    server = FederatedLinearTurboVBI(WeightPrior((1, 30)), anneal_rounds=3, off_rate_ratio=1e-2)
    server.receive(client.message(server.mean))
    assert server.bounds == []
    for number in range(6):
        draws = np.random.default_rng(number).standard_normal((20000, 30))
        draws = np.concatenate([draws, -draws])
        # A sample of zero mean and unit variance in every column, so that only rounding is left in the diagonal terms.
        draws /= np.sqrt((draws**2).mean(0))
        draws = server.mean + np.sqrt(server.var) * draws
        likelihood = -0.5 * KAPPA * ((y - draws @ F.T) ** 2).sum(1).mean()
        divergence = server.prior.kl((server.mean**2 + server.var)[None], 0.5 * np.log(server.var)[None])
        server.receive(client.message(server.mean))
        assert len(server.bounds) == number + 1
        assert server.bounds[-1] == pytest.approx(likelihood - divergence, abs=0.5)


def test_a_stored_server_goes_on_with_the_same_bits():
    F, y, _ = _rows(6)
    client = LinearClient(F, y, noise_precision=KAPPA)
    server, again = (FederatedLinearTurboVBI(WeightPrior((1, 30)), anneal_rounds=9, off_rate_ratio=1e-2) for _ in "ab")
    for _ in range(4):
        server.receive(client.message(server.mean))
    stored = io.BytesIO()
    torch.save(server.state_dict(), stored)
    stored.seek(0)
    again.load_state_dict(torch.load(stored, weights_only=True))
    for _ in range(3):
        for one in (server, again):
            one.receive(client.message(one.mean))
    np.testing.assert_array_equal(again.mean, server.mean)
    np.testing.assert_array_equal(again.var, server.var)
    np.testing.assert_array_equal(again.prior.probability, server.prior.probability)
    assert again.bounds == server.bounds
    with pytest.raises(ValueError, match="30 coefficients"):
        again.load_state_dict({**server.state_dict(), "mean": torch.zeros(29)})


def test_bad_input_is_refused():
    F, y, _ = _rows()
    with pytest.raises(ValueError, match="F and y must have shapes"):
        LinearClient(F, y[:-1], noise_precision=1.0)
    with pytest.raises(ValueError, match="finite"):
        LinearClient(F, y * np.nan, noise_precision=1.0)
    with pytest.raises(ValueError, match="noise_precision"):
        LinearClient(F, y, noise_precision=0.0)
    client = LinearClient(F, y, noise_precision=1.0)
    with pytest.raises(ValueError, match=r"mean must have shape \(30,\)"):
        client.message(np.zeros(3))
    with pytest.raises(ValueError, match="mean must be finite"):
        client.message(np.full(30, np.nan))
    with pytest.raises(ValueError, match=r"curvature.*below 2\^40"):
        LinearClient(1e7 * F, y, noise_precision=1.0).message(np.zeros(30))
    server = FederatedLinearTurboVBI(WeightPrior((1, 31)), anneal_rounds=3, off_rate_ratio=1e-3)
    for sites in ([], [client.message(np.zeros(30))]):
        with pytest.raises(ValueError, match="at least 1 of 31 features"):
            server.receive(sites)
    with pytest.raises(ValueError, match="30 features; got 6"):
        client.message(np.zeros(30)).merge(LinearClient(F[:, :6], y, noise_precision=1.0).message(np.zeros(6)))
    with pytest.raises(ValueError, match="one row"):
        FederatedLinearTurboVBI(WeightPrior((2, 15)), anneal_rounds=3, off_rate_ratio=1e-3)
