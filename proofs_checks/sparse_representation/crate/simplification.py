"""The published simplification of attention raises, in random draws, the rate that it was derived to lower."""

import numpy as np

from sparsetheory.gpu import representation
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.sparse_representation.crate.instances import BASES, KINDS, LEAST, Tokens, draw_tokens
from sparsetheory.proofs_checks.verdicts import WithProbability

_EPS = (0.3, 1.0)
# Tokens without energy, or next to none, are left to claims about all tokens.
_KINDS = KINDS[:3]


def _at_step(rng: np.random.Generator, kappa_a: float) -> Tokens:
    return draw_tokens(rng, rng.choice(_KINDS), rng.choice(BASES[:2]), rng.choice(_EPS), kappa_a=kappa_a)


def _in_dimensions(rng: np.random.Generator, n_components: float) -> Tokens:
    p = int(n_components)
    kappa_a = rng.choice((0.01, 0.1, 0.5, 1.0))
    drawn = draw_tokens(rng, rng.choice(_KINDS), "orthonormal", rng.choice(_EPS), kappa_a=kappa_a, n_components=p)
    return Tokens(drawn.Z * rng.choice((0.3, 1.0, 3.0)), drawn.U, drawn.eps, drawn.kappa_a)


def _both(case: Tokens, exact: str, published: str) -> Measurement:
    """Compare rates after the exact step and after attention with that before, as multiples of it.

    The exact step has the same share of its proved size as attention has of 1.
    """
    _, U = case.as_tensors
    kappa = case.kappa_a * representation.descent_step_size(U, case.eps, len(case.Z))
    steps = {"exact": case.stepped("exact", kappa * case.a), "code": case.stepped("code", case.kappa_a)}
    before = case.rate()
    lower, higher = (case.rate(steps[one]) / before for one in (exact, published))
    return Measurement.chain(lower + LEAST, 1.0, {"after published attention": higher - LEAST})


def _raised(case: Tokens, mode: str) -> Measurement:
    """Compare the rate after a step with that before, as a multiple of it."""
    return Measurement(1.0, case.rate(case.stepped(mode, case.kappa_a)) / case.rate() - LEAST)


_PUBLISHED = Source(
    "Yu et al. (2306.01129), the simplification of attention; Hu et al., An in-depth investigation of sparse rate "
    "reduction in transformer-like models (2024)",
    "the layer in fact raises the compressed rate; the sweep is ours",
    provenance="measured",
)

published_attention = Claim(
    name="sparse_representation.published_attention",
    summary="Published attention raises the compressed rate it was derived to lower; the exact step lowers it.",
    statement=r"\Pr[R^c(Z - \kappa' \nabla R^c) < R^c(Z) < R^c(Z + \kappa \sum_k U_k S_k)] \ge 0.99, \quad"
    r" Z \text{ random, of unit norm, or in the subspaces}",
    source=_PUBLISHED,
    verdict=WithProbability(0.99),
    evaluate=lambda case: _both(case, "exact", "code"),
    near_miss=lambda case: _both(case, "code", "exact"),
    sweep=Sweep(
        axis="step size, as a share of the longest",
        values=(0.01, 0.1, 0.5, 1.0),
        draw=_at_step,
        trials=240,
        quick_trials=48,
        log="x",
        measured_label="after the exact step",
        bound_label="before",
        y_label="compressed rate, as a multiple",
    ),
)

attention_in_few_dimensions = Claim(
    name="sparse_representation.attention_in_few_dimensions",
    summary="In orthonormal subspaces of up to 4 dimensions attention raised the rate in all random draws.",
    statement=r"\Pr[R^c(Z + \kappa \sum_k U_k S_k) > R^c(Z)] \ge 0.99, \quad p \le 4,\ U_k^T U_l = \delta_{kl} I",
    source=Source.measured("random draws; in two dimensions there are counterexamples, so it is no theorem"),
    verdict=WithProbability(0.99),
    evaluate=lambda case: _raised(case, "code"),
    near_miss=lambda case: _raised(case, "negative"),
    sweep=Sweep(
        axis="dimension of a subspace",
        values=(1.0, 2.0, 3.0, 4.0),
        draw=_in_dimensions,
        trials=1000,
        quick_trials=48,
        measured_label="before attention",
        bound_label="after attention",
        y_label="compressed rate, as a multiple",
    ),
)
