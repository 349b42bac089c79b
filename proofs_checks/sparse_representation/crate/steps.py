"""What steps of attention do to the compressed rate: theorems, and counterexamples to what is not one."""

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import representation
from sparsetheory.proofs_checks.claim import Claim, Measurement, Reversed, Source
from sparsetheory.proofs_checks.sparse_representation.crate.instances import LEAST, Tokens, tokens
from sparsetheory.proofs_checks.verdicts import Always

# Rates are sums of a few logarithms, in double precision, of numbers of up to 1e10.
_ROUNDING = 1e-9


def _exact(case: Tokens) -> Measurement:
    """Compare the fall of the rate with half the squared gradient times the step.

    The rate of a subspace is a sum over singular values s of its coordinates of ``log(1 + a s^2) / 2``, a function
    whose second derivative lies between ``-a/8`` and ``a``. So its gradient in the coordinates has the Lipschitz
    constant a, and the gradient in the tokens ``a ||[U_1 ... U_K]||^2``. Steps of up to one over that lower the rate
    by at least half the step times the squared gradient.
    """
    Z, U = case.as_tensors
    kappa = case.kappa_a * representation.descent_step_size(U, case.eps, len(case.Z))
    after = case.rate(representation.mssa_step(Z, U, case.eps, kappa))
    gradient = representation.compressed_rate_grad(Z, U, case.eps)
    before = case.rate()
    return Measurement(after, before - kappa / 2 * float(gradient.square().sum()), 1.0 + before)


def _published(case: Tokens) -> Measurement:
    """Say the same of the layer that was derived from the exact step."""
    before = case.rate()
    return Measurement(case.rate(case.stepped("code")), before, 1.0 + before)


exact_step = Claim(
    name="sparse_representation.exact_step",
    summary="Gradient steps of the proved size never raise the compressed rate, whatever the bases; attention may.",
    statement=r"\kappa \le \frac{1}{a \|[U_1 \ldots U_K]\|_2^2} \;\Rightarrow\;"
    r" R^c(Z - \kappa \nabla R^c) \le R^c(Z) - \tfrac{\kappa}{2} \|\nabla R^c(Z)\|_F^2",
    source=Source.ours("Lipschitz constant of the gradient, from the function of the singular values"),
    verdict=Always(_ROUNDING),
    instances=tokens,
    evaluate=_exact,
    near_miss=_published,
)


def _direction(case: Tokens, mode: str) -> Measurement:
    """Compare rates before and after attention, for subspaces of one dimension that are orthogonal to each other.

    In a subspace tokens have one coordinate w_i, and the output of attention is ``f'(w_i)`` for the convex function
    ``f(t) = log sum_j exp(t w_j)``. As ``t f'(t) >= f(t) - f(0)``, and by Jensen ``f(w_i) - log N >= w_i mean(w)``,
    coordinates and outputs have an inner product of at least ``(sum w)^2 / N``. So the squared norm of the coordinates
    does not fall, for any step, and the rate is an increasing function of it. Orthogonal bases keep subspaces apart.
    """
    before = case.rate()
    return Measurement(before, case.rate(case.stepped(mode, case.kappa_a)), 1.0 + before)


attention_in_lines = Claim(
    name="sparse_representation.attention_in_lines",
    summary="In subspaces of one dimension, orthogonal to each other, published attention never lowers the rate.",
    statement=r"p = 1,\ [U_1 \ldots U_K]^T [U_1 \ldots U_K] = I \;\Rightarrow\;"
    r" R^c(Z + \kappa \sum_k U_k S_k) \ge R^c(Z) \text{ for all } \kappa \ge 0",
    source=Source.ours("convexity of log-sum-exp, and Jensen's inequality"),
    verdict=Always(_ROUNDING),
    instances=lambda: tokens(bases=("orthonormal",), n_components=1),
    evaluate=lambda case: _direction(case, "code"),
    near_miss=lambda case: _direction(case, "negative"),
)


def _outlier(n_ones: int, size: float, eps: float, kappa_a: float) -> Tokens:
    return Tokens(np.array([[size]] + [[1.0]] * n_ones), np.ones((1, 1, 1)), eps, kappa_a)


def _outliers() -> st.SearchStrategy[Tokens]:
    sizes = st.floats(10.0, 20.0)
    return st.builds(
        _outlier,
        st.integers(1, 40),
        sizes,
        st.sampled_from((0.1, 0.3, 1.0, 3.0)),
        st.sampled_from((0.01, 0.1, 0.5, 1.0)),
    )


def _raised(case: Tokens, mode: str) -> Measurement:
    """Compare rates before and after a step: the softmax sends every token to the outlier."""
    return Measurement((1 + LEAST) * case.rate(), case.rate(case.stepped(mode, case.kappa_a)))


outlier = Claim(
    name="sparse_representation.outlier",
    summary="One large token among ones in a line: the step before its last simplification raises the rate, too.",
    statement=r"w = (c, 1, \ldots, 1),\ c \ge 10 \;\Rightarrow\;"
    r" R^c((1 - \kappa a) w + \kappa a\, S) > R^c(w), \quad 0.01 \le \kappa a \le 1",
    source=Source.ours("a counterexample to the approximation of the gradient by attention, without its factor a"),
    verdict=Always(0.0),
    instances=_outliers,
    evaluate=lambda case: _raised(case, "paper_unscaled"),
    near_miss=lambda case: _raised(case, "exact"),
)


def _plane(n_each: int, size: float, eps: float, step: float) -> Tokens:
    few, many = [[size, 0.0]], [[1.5, 3.0]] * n_each + [[6.0, 6.0]] * n_each
    return Tokens(np.array(few + many), np.eye(2)[None], eps, step)


def _planes() -> st.SearchStrategy[Tokens]:
    return st.builds(
        _plane, st.integers(300, 600), st.floats(40.0, 50.0), st.sampled_from((0.01, 0.1, 1.0)), st.floats(1e-3, 1e-2)
    )


def _lowered(case: Tokens) -> Measurement:
    """Compare rates after and before attention, where it is the same shift of almost all tokens.

    The softmax sends all tokens to one at ``v = (c, 0)``. To first order the rate changes by the step times
    ``v^T G^{-1} s`` for the second moments G and the sum s of the tokens. In one dimension both point the same way. In
    two they need not: where tokens are large along the first axis only together with the second, ``G^{-1}`` turns s.
    """
    return Measurement(case.rate(case.stepped("code", case.kappa_a)), (1 - LEAST) * case.rate())


attention_in_planes = Claim(
    name="sparse_representation.attention_in_planes",
    summary="In two dimensions there are tokens whose rate published attention lowers, by small steps.",
    statement=r"p = 2,\ Z = \{(c, 0),\ n \times (1.5, 3),\ n \times (6, 6)\},\ 40 \le c \le 50,\ 300 \le n \le 600"
    r" \;\Rightarrow\; R^c(Z + \kappa S) < R^c(Z), \quad 0.001 \le \kappa \le 0.01",
    source=Source.ours("a counterexample in the plane to what holds in a line"),
    verdict=Always(0.0),
    instances=_planes,
    evaluate=_lowered,
    near_miss=Reversed(),
)
