"""Claims about one step: what removals, additions and exchanges of columns do to the bound, exactly."""

import numpy as np

from sparsetheory.bayesian.subspace.addition import addition_score
from sparsetheory.bayesian.subspace.linear.swaps import swap_gains
from sparsetheory.bayesian.subspace.removal import removal_score
from sparsetheory.proofs_checks.claim import Claim, Measurement, Reversed, Source
from sparsetheory.proofs_checks.subspace_vi.linear_instances import LinearCase, linear_cases, ours
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

# Bounds are sums of terms of the size of the scale, each rounded once; posterior means carry the condition number of
# the problem, which the cases keep below 1e6 or so.
_ROUNDING = 1e-9


def _largest(differences: Float64Array, case: LinearCase, others: float = 0.0) -> Measurement:
    worst = float(np.abs(differences).max(initial=0.0))
    return Measurement(worst, 0.0, scale=case.scale + others)


def _removal(case: LinearCase, exact_variances: bool = False) -> Measurement:
    r"""Compare the bound without one factor, the others as they are, with the score of the factor.

    At its optimum the factor of i is proportional to the prior times the exponential of a quadratic, so the terms of
    the bound that depend on it are the logarithm of a normalising constant: that is the ratio of both densities at 0.
    """
    now = case.posterior()
    variance = now.exact_variance if exact_variances else now.variance
    scores = removal_score(now.mean, np.sqrt(variance), "savage_dickey", prior_std=case.prior_std)
    before = case.bound(case.active, now.mean, now.variance)
    falls = []
    for i in range(case.active.size):
        rest = np.arange(case.active.size) != i
        falls.append(before - case.bound(case.active[rest], now.mean[rest], now.variance[rest]))
    return _largest(np.array(falls) - scores, case, float(np.abs(falls).max()))


removal_loss = Claim(
    name="subspace_vi.removal_loss",
    summary="The Savage-Dickey score of a weight is what the bound loses with it, in nats.",
    statement=r"L(A) - L(A \setminus i) = \ln p_i(0) - \ln q_i(0) = \mu_i^2 / (2\sigma_i^2) - \ln(\sigma_p / \sigma_i) "
    r"\text{ with the other factors fixed}",
    source=ours("exact price of a removal"),
    verdict=Always(_ROUNDING),
    instances=linear_cases,
    evaluate=_removal,
    # The marginal variances of the joint posterior instead of those of the factors.
    near_miss=lambda case: _removal(case, exact_variances=True),
)


def _evidence_loss(case: LinearCase, factors: bool = False) -> Measurement:
    """Compare the evidence without one column with both densities of its coefficient at zero.

    The model without the column is the model with it, given that the coefficient is zero: Bayes' rule at zero.
    """
    now = case.posterior()
    variance = now.variance if factors else now.exact_variance
    scores = removal_score(now.mean, np.sqrt(variance), "savage_dickey", prior_std=case.prior_std)
    falls = [now.log_evidence - case.posterior(np.delete(case.active, i)).log_evidence for i in range(now.active.size)]
    return _largest(np.array(falls) - scores, case, float(np.abs(falls).max()))


evidence_ratio = Claim(
    name="subspace_vi.evidence_ratio",
    summary="The same ratio for exact marginals is what the evidence itself loses.",
    statement=r"\ln p(y \mid A) - \ln p(y \mid A \setminus i) = \ln N(0; 0, \sigma_p^2) - \ln N(0; m_i, V_{ii})",
    source=Source.classic("J. M. Dickey, The weighted likelihood ratio, linear hypotheses (1971)", "Savage-Dickey"),
    verdict=Always(1e-8),
    instances=linear_cases,
    evaluate=_evidence_loss,
    near_miss=lambda case: _evidence_loss(case, factors=True),
)


def _addition(case: LinearCase, mean_loss: bool = False) -> Measurement:
    """Compare the bound with one more factor, at its optimum, with the gain."""
    now = case.posterior()
    gradient = case.kappa * case.F.T @ (case.y - case.F[:, case.active] @ now.mean)
    h = case.curvature()
    unit = case.y.size + 1.0 if mean_loss else 1.0
    gains = unit * addition_score(gradient / unit, h / unit, prior_std=case.prior_std, rule="gain")
    before, differences = case.bound(case.active, now.mean, now.variance), []
    for j in case.others:
        v = 1.0 / (h[j] + case.prior_std**-2)
        after = case.bound(np.append(case.active, j), np.append(now.mean, v * gradient[j]), np.append(now.variance, v))
        differences.append(after - before - gains[j])
    return _largest(np.array(differences), case, float(np.abs(gains).max()))


addition_gain = Claim(
    name="subspace_vi.addition_gain",
    summary="The gain is what the bound wins with a new weight at its best, in nats.",
    statement=r"L(A \cup j) - L(A) = \frac{g_j^2}{2(h_j + \sigma_p^{-2})} - \tfrac12 \ln(1 + \sigma_p^2 h_j), "
    r"\quad h_j = \kappa \|f_j\|^2",
    source=ours("exact gain of an addition"),
    verdict=Always(_ROUNDING),
    instances=linear_cases,
    evaluate=_addition,
    # Gradient and curvature of a mean loss, and the gain multiplied by the number of samples afterwards.
    near_miss=lambda case: _addition(case, mean_loss=True),
)


def _exchange(case: LinearCase, separate: bool = False) -> Measurement:
    """Compare all exchanges with differences of two bounds."""
    now = case.posterior()
    table = swap_gains(case.F, case.y, case.kappa, case.prior_std, case.active, now.mean, now.variance)
    gains, h = table.gain, case.curvature()
    before, left = case.bound(case.active, now.mean, now.variance), case.y - case.F[:, case.active] @ now.mean
    if separate:
        leaving = removal_score(now.mean, np.sqrt(now.variance), "savage_dickey", prior_std=case.prior_std)
        entering = addition_score(case.kappa * case.F.T @ left, h, prior_std=case.prior_std, rule="gain")
        gains = entering[table.candidates] - leaving[:, None]
    differences = []
    for i in range(case.active.size):
        for place, j in enumerate(table.candidates):
            v = 1.0 / (h[j] + case.prior_std**-2)
            g = case.kappa * case.F[:, j] @ (left + case.F[:, case.active[i]] * now.mean[i])
            active, mean, variance = case.active.copy(), now.mean.copy(), now.variance.copy()
            active[i], mean[i], variance[i] = j, v * g, v
            differences.append(case.bound(active, mean, variance) - before - gains[i, place])
    return _largest(np.array(differences), case, float(np.abs(gains).max()))


exchange_gain = Claim(
    name="subspace_vi.exchange_gain",
    summary="One matrix product gives the change of the bound for every exchange of two columns.",
    statement=r"L(A \setminus i \cup j) - L(A) = -\mathrm{SD}_i + \mathrm{gain}_j(g_j + \kappa f_j^\top f_i\, \mu_i)",
    source=ours("exact gain of an exchange"),
    verdict=Always(_ROUNDING),
    instances=lambda: linear_cases(most=3),
    evaluate=_exchange,
    # The gain at the old residual: what i explained is not given back.
    near_miss=lambda case: _exchange(case, separate=True),
)


def _resolved(case: LinearCase) -> Measurement:
    """Compare the bound after an exchange, solved anew, with the promise of the table."""
    now = case.posterior()
    table = swap_gains(case.F, case.y, case.kappa, case.prior_std, case.active, now.mean, now.variance)
    promised, found = [], []
    for i in range(case.active.size):
        for place in range(table.candidates.size):
            active = case.active.copy()
            active[i] = table.candidates[place]
            promised.append(now.elbo + table.gain[i, place])
            found.append(case.posterior(active).elbo)
    return Measurement.worst(promised, found, case.scale)


resolving = Claim(
    name="subspace_vi.resolving",
    summary="Solving anew after an exchange only raises the bound further.",
    statement=r"\max_q L(B) \ge L(A) + \Delta_{ij} \text{ for } B = A \setminus i \cup j",
    source=ours("re-solving is coordinate ascent"),
    verdict=Always(_ROUNDING),
    instances=lambda: linear_cases(most=3),
    evaluate=_resolved,
    near_miss=Reversed(),
)


def _gap(case: LinearCase, ratio: float = 0.5) -> Measurement:
    """Compare evidence less bound with the ratio of the determinant of the precision matrix and its diagonal."""
    now, columns = case.posterior(), case.F[:, case.active]
    precision = np.eye(case.active.size) + case.kappa * case.prior_std**2 * columns.T @ columns
    gap = float(np.log(np.diagonal(precision)).sum() - np.linalg.slogdet(precision)[1])
    return Measurement(abs(now.log_evidence - now.elbo - ratio * gap), 0.0, scale=case.scale + gap)


bound_gap = Claim(
    name="subspace_vi.bound_gap",
    summary="What the bound misses of the evidence is how far the active columns are from right angles.",
    statement=r"\ln p(y \mid A) - L(A) = \tfrac12 \ln \frac{\prod_i K_{ii}}{\det K}, "
    r"\quad K = I + \kappa\sigma_p^2 F_A^\top F_A",
    source=ours("gap of independent factors; Hadamard's inequality says that it is not negative"),
    verdict=Always(1e-8),
    instances=linear_cases,
    evaluate=_gap,
    near_miss=lambda case: _gap(case, ratio=1.0),
)
