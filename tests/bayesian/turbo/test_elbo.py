"""The bound: closed forms, that it is one, and where ascent ends; ascent itself is a claim."""

from dataclasses import replace

import numpy as np
import pytest
from bayesian.turbo_references import draw_model, draw_problem
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import gammaln

from sparsetheory.bayesian.markov.support_priors import ChainPrior, IndependentPrior
from sparsetheory.bayesian.markov.support_priors_grid import RowsPrior
from sparsetheory.bayesian.turbo.elbo import InitialFactors, turbo_elbo
from sparsetheory.bayesian.turbo.estimator import TurboVBI
from sparsetheory.bayesian.turbo.model import NoiseFactor
from sparsetheory.bayesian.turbo.sparse_prior import SparsePrior
from sparsetheory.bayesian.turbo.sweep import turbo_round, turbo_sweep

cases = st.tuples(
    st.integers(0, 2**32 - 1),
    st.integers(2, 12),
    st.booleans(),
    st.sampled_from(["collapsed", "meanfield"]),
    st.sampled_from(["iid", "chain", "lines", "rows"]),
    st.booleans(),
    st.integers(1, 2),
)


def _setting(case):
    seed, m, complex_data, factorisation, kind, learn, n_snapshots = case
    rng = np.random.default_rng(seed)
    problem = draw_problem(rng, m, 12, n_snapshots, complex_data)
    model = draw_model(problem, rng, factorisation, "learn" if learn else float(rng.uniform(0.01, 1)))
    p01, p10 = rng.uniform(0.02, 0.9, 2)
    prior = {
        "iid": IndependentPrior(p01),
        "chain": ChainPrior(p01, p10, (1, 12), initial=0.3),
        "lines": ChainPrior(p01, p10, (3, 4)),
        "rows": RowsPrior(p01, p10, (3, 4), max_iter=2),
    }[kind]
    noise = NoiseFactor.known(1.0 if model.noise_precision is None else model.noise_precision)
    start = InitialFactors(np.exp(rng.standard_normal(12)), noise, prior.update(np.zeros(12), None))
    return problem, model, prior, start


@given(cases)
def test_collapsed_form(case):
    problem, model, prior, start = _setting((*case[:3], "collapsed", *case[4:]))
    state = turbo_sweep(problem, model, prior, start)
    x, noise, L = state.x, state.noise, problem.n_snapshots
    weight, share = model.exponent * L, model.exponent * state.second_moment
    off = model.off_shape * np.log(model.off_rate) - gammaln(model.off_shape) + gammaln(model.off_shape + weight)
    off -= (model.off_shape + weight) * np.log(model.off_rate + share)
    data = L * model.n_rows * (noise.log_mean - np.log(np.pi / model.exponent))
    data -= noise.mean * (x.residual + L * x.spread)
    log_z = state.support.log_prior + state.support.probability @ state.support.log_odds
    expected = model.exponent * (data + L * (x.log_det + 12)) + off.sum() + log_z + noise.log_prior
    assert turbo_elbo(state) == pytest.approx(expected, rel=1e-9, abs=1e-8)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["collapsed", "meanfield"]))
def test_bounds_the_evidence_of_one_coefficient(seed, factorisation):
    rng = np.random.default_rng(seed)
    f, y, variance, a, b, p = rng.uniform(0.5, 2), rng.normal(0, 2), rng.uniform(0.1, 1), 1.0, rng.uniform(0.1, 2), 0.3
    model = TurboVBI(
        prior=SparsePrior("iid", activation=p, deactivation=1 - p, on_shape=a, on_rate=b, off_rate_ratio=0.01),
        noise_variance=variance,
        factorisation=factorisation,
        max_iter=500,
    ).fit([[f]], [y])

    # With the precision integrated out, a coefficient is Student's t with 2a degrees of freedom. The likelihood is
    # negligible outside of the grid, and the narrower density is forty steps wide.
    x = np.linspace(-40, 40, 100_001)
    likelihood = stats.norm.pdf(y, f * x, np.sqrt(variance))
    evidence = sum(
        share * np.trapezoid(likelihood * stats.t.pdf(x, 2 * a, scale=np.sqrt(rate / a)), x)
        for share, rate in ((p, b), (1 - p, 0.01 * b))
    )
    assert model.history_["elbo"][-1] <= np.log(evidence) + 1e-6


def test_known_noise_has_no_prior_term():
    assert NoiseFactor.known(3.0).log_prior == 0.0
    assert NoiseFactor.known(3.0).log_mean == np.log(3.0)


def test_learned_noise_is_capped(rng):
    # Fewer observations than coefficients and no noise: the precision would grow without limit.
    F = rng.standard_normal((5, 5))
    model = TurboVBI(prior=SparsePrior(noise_rate=1e-300, noise_shape=1e-6), max_iter=2000).fit(F, F @ np.ones(5))
    scale = np.mean((F @ np.ones(5)) ** 2)
    assert model.noise_precision_ <= 1e12 / scale * (1 + 1e-12)


def test_published_exponent_descends_for_some_real_data():
    # What the published updates maximise is not the bound of the real model.
    drops = []
    for seed in range(30):
        problem, model, prior, start = _setting((seed, 8, False, "meanfield", "iid", True, 1))
        published = replace(model, update_exponent=1.0)
        state = turbo_sweep(problem, published, prior, start)
        for _ in range(20):
            after = turbo_sweep(problem, published, prior, state)
            drops.append((turbo_elbo(after) - turbo_elbo(state)) / abs(turbo_elbo(state)))
            state = after
    assert min(drops) < -1e-6


def test_inner_sweeps_reach_the_same_point():
    problem, model, prior, start = _setting((3, 8, True, "collapsed", "chain", False, 1))
    ends = []
    for inner in (1, 8):
        state = turbo_round(problem, model, prior, start, inner)
        for _ in range(400):
            state = turbo_round(problem, model, prior, state, inner)
        ends.append(state)
    np.testing.assert_allclose(ends[0].x.mean, ends[1].x.mean, atol=1e-9)
    np.testing.assert_allclose(ends[0].support.probability, ends[1].support.probability, atol=1e-9)


def test_bound_of_what_is_no_state():
    with pytest.raises(TypeError, match=r"state must be a TurboState.*got int"):
        turbo_elbo(3)
