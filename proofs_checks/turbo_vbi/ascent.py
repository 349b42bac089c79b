"""Claims about the evidence lower bound: every update ascends, and the collapsed factor is the better one."""

from dataclasses import replace

from sparsetheory.bayesian.markov.support_priors import ChainPrior, SupportPrior
from sparsetheory.bayesian.markov.support_priors_grid import RowsPrior
from sparsetheory.bayesian.turbo.elbo import TurboState, turbo_elbo
from sparsetheory.proofs_checks.claim import Claim, Measurement
from sparsetheory.proofs_checks.turbo_vbi.instances import Case, cases, ours
from sparsetheory.proofs_checks.verdicts import Always

# The bound is a sum of terms that are some hundred times larger than itself at worst, each rounded once.
_ROUNDING = 1e-9
_SWEEPS = 12


def _worst_fall(bounds: list[float]) -> Measurement:
    return Measurement.worst(bounds[:-1], bounds[1:], max(abs(value) for value in bounds))


def _ascent(case: Case, update_exponent: float | None = None) -> Measurement:
    """Measure bounds before and after sweeps, each of which sets all factors to their optima one by one.

    The optimum of the factor of the support given the evidence is the prior times the evidence; exact messages give
    its marginals, so a round with them is coordinate ascent of the bound whose factor is a full joint distribution.
    """
    model = case.model if update_exponent is None else replace(case.model, update_exponent=update_exponent)
    state = case.sweep(model=model)
    bounds = [turbo_elbo(state)]
    for _ in range(_SWEEPS):
        state = case.sweep(state, model=model)
        bounds.append(turbo_elbo(state))
    return _worst_fall(bounds)


mean_field_ascent = Claim(
    name="turbo_vbi.mean_field_ascent",
    summary="The published updates never lower the evidence bound.",
    statement=r"L_{t+1} \ge L_t \text{ for every sweep of the published updates with the exponent of the data}",
    source=ours("published updates as coordinate ascent"),
    verdict=Always(_ROUNDING),
    instances=lambda: cases(factorisations=("meanfield",)),
    evaluate=_ascent,
    near_miss=lambda case: _ascent(case, update_exponent=1.0 if case.model.exponent == 0.5 else 0.5),
)

collapsed_ascent = Claim(
    name="turbo_vbi.collapsed_ascent",
    summary="The collapsed updates never lower the evidence bound.",
    statement=r"L_{t+1} \ge L_t \text{ for every sweep of the collapsed updates}",
    source=ours("collapsed updates as coordinate ascent"),
    verdict=Always(_ROUNDING),
    instances=lambda: cases(factorisations=("collapsed",)),
    evaluate=_ascent,
    near_miss=lambda case: _ascent(case, update_exponent=1.0 if case.model.exponent == 0.5 else 0.5),
)


def _pair(case: Case) -> tuple[TurboState, TurboState]:
    """Return both factorisations with the same factors of coefficients and noise."""
    tied = case.sweep(model=replace(case.model, factorisation="meanfield"))
    free = case.sweep(model=replace(case.model, factorisation="collapsed"))
    return tied, replace(free, noise=tied.noise)


def _inclusion(case: Case, slack: float = 0.0) -> Measurement:
    """Compare bounds: factors of precisions that ignore the state are a special case of those that do not.

    That holds for every factor of the support. Where that factor is the best one for each factorisation, not the same
    for both, the larger family has the larger maximum; the rows of a grid stop before their optimum.
    """
    tied, free = _pair(case)
    lower = turbo_elbo(tied) + slack
    same = turbo_elbo(replace(free, support=tied.support))
    best = turbo_elbo(free) if not isinstance(case.prior, RowsPrior) else same
    return Measurement.worst(lower, [same, best], abs(lower))


inclusion = Claim(
    name="turbo_vbi.inclusion",
    summary="The collapsed factors give the higher evidence bound.",
    statement=r"L_{\mathrm{collapsed}} \ge L_{\text{mean-field}} \text{ for the same } q(x), q(\kappa),"
    r" \text{ with the same } q(s) \text{ and with the best one of each}",
    source=ours("inclusion of families"),
    verdict=Always(_ROUNDING),
    instances=cases,
    evaluate=_inclusion,
    # The slack of a nat that a larger family would need to be worth its while.
    near_miss=lambda case: _inclusion(case, slack=1.0),
)


def _expectation_maximisation(case: Case, crossed: bool = False) -> Measurement:
    """Measure bounds along sweeps between which the chain is learned.

    The expected log probability of a chain with an initial law of its own is a sum of binomial log likelihoods, one
    for each probability, in which the expected counts are those of the pair marginals.
    """
    prior: SupportPrior = case.prior
    state = case.sweep()
    bounds = [turbo_elbo(state)]
    for _ in range(_SWEEPS):
        prior = prior.learned(state.support)
        if crossed and isinstance(prior, ChainPrior):
            prior = replace(prior, activation=prior.deactivation, deactivation=prior.activation)
        state = case.sweep(state, prior=prior)
        bounds.append(turbo_elbo(state))
    return _worst_fall(bounds)


learned_chain = Claim(
    name="turbo_vbi.learned_chain",
    summary="Learning the chain between sweeps never lowers the evidence bound.",
    statement=r"L_{t+1} \ge L_t \text{ if } (\lambda_1, p_{01}, p_{10}) \text{ takes its best value between sweeps}",
    source=ours("learned chains (Baum-Welch inside the bound)"),
    verdict=Always(_ROUNDING),
    instances=lambda: cases(priors=("chain", "iid", "lines")),
    evaluate=_expectation_maximisation,
    near_miss=lambda case: _expectation_maximisation(case, crossed=True),
)
