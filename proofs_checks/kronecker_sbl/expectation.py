"""Claims about one expectation step: it equals the dense formulas, and knows the derivatives of the cost."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sparsetheory.bayesian import alternating_sweep, kron_posterior, sbl_cost
from sparsetheory.bayesian.sbl.posterior.dense import kron_covariance, kron_quadratics, pair_tables
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.kronecker_sbl.instances import Problem, kron, outer, problems
from sparsetheory.proofs_checks.verdicts import Always

# Both sides solve with C, whose amplification of rounding scales the measurement: some hundred operations each.
_SOLVES = 1e-13


def _relative(ours_: NDArray, dense: NDArray) -> float:
    return float(np.max(np.abs(ours_.reshape(-1) - dense.reshape(-1))) / max(np.max(np.abs(dense)), 1e-300))


def _dense(problem: Problem, reverse: bool = False) -> Measurement:
    """Compare mean, variance, S, q, cost and both noise updates with explicit inverses of the Kronecker matrix."""
    p, G = problem.posterior, problem.G
    A = kron(problem.dictionaries[::-1]) if reverse else problem.A
    G = kron(problem.variances[::-1]) if reverse else G
    C = problem.noise * np.eye(problem.y.size) + (A * G) @ A.conj().T
    inverse = np.linalg.inv(C)
    u = inverse @ problem.y
    mean = G * (A.conj().T @ u)
    cov = np.diag(G) - (G[:, None] * A.conj().T) @ inverse @ (A * G)
    # The misfit is a difference from the data, known to rounding of their energy.
    misfit, energy = np.linalg.norm(problem.y - A @ mean) ** 2, np.linalg.norm(problem.y) ** 2
    spread = np.trace(A @ cov @ A.conj().T).real
    deviations = [
        _relative(p.mean, mean),
        _relative(p.S, A.conj().T @ u),
        _relative(p.q, np.einsum("mn,mk,kn->n", A.conj(), inverse, A).real),
        # A variance is a difference from the prior.
        float(np.max(np.abs(p.var.reshape(-1) - np.diag(cov).real))) / float(G.max()),
        abs(p.noise_em * problem.y.size - misfit - spread) / (energy + spread),
        abs(p.noise_mm**2 * np.trace(inverse).real - misfit) / energy,
    ]
    cost = np.linalg.slogdet(C)[1] + np.vdot(problem.y, u).real
    deviations.append(abs(p.cost - cost) / (1.0 + abs(cost)))
    return Measurement(max(deviations), 0.0, problem.amplification)


posterior = Claim(
    name="kronecker_sbl.posterior",
    summary="One small eigenvalue problem per mode gives the posterior of the dense formulas.",
    statement=r"C = U\,(\sigma^2 + p_1 \otimes \cdots \otimes p_d)\,U^H"
    r" \text{ gives } \mu,\ \mathrm{diag}\,\Sigma,\ L,\ \sigma^2_{new} \text{ of the dense formulas}",
    source=Source.ours("expectation step by one small eigenvalue problem per mode"),
    verdict=Always(_SOLVES),
    instances=problems,
    evaluate=_dense,
    near_miss=lambda problem: _dense(problem, reverse=True),
)


def _gradient(problem: Problem, wrong: bool = False) -> Measurement:
    """Compare the derivatives by the logarithms of factors and noise with central differences of the cost.

    With a step h truncation is of order h^2 (1 + L), and rounding of order 1e-16 (1 + L) amplification / h: at h = 1e-5
    both are below 1e-9 times what scales the measurement.
    """
    p, step = problem.posterior, 1e-5

    def cost(k: int, i: int, size: float) -> float:
        moved = [g.copy() for g in problem.variances]
        moved[k][i] *= np.exp(size)
        return sbl_cost(problem.dictionaries, problem.y, moved, noise_variance=problem.noise)

    noises = [
        sbl_cost(problem.dictionaries, problem.y, problem.variances, noise_variance=problem.noise * np.exp(s))
        for s in (step, -step)
    ]
    errors = [abs(p.grad_log_noise - (noises[0] - noises[1]) / (2 * step))]
    for k, gamma in enumerate(problem.variances):
        gradient = p.grad_log(k) / gamma if wrong else p.grad_log(k)
        for i in range(gamma.size):
            difference = (cost(k, i, step) - cost(k, i, -step)) / (2 * step)
            errors.append(abs(gradient[i] - difference))
    return Measurement(max(errors), 0.0, (1.0 + abs(p.cost)) * problem.amplification)


gradient = Claim(
    name="kronecker_sbl.gradient",
    summary="The derivatives of the cost are those of finite differences.",
    statement=r"\partial L / \partial \log \gamma_{k,i} = \sum_{n: n_k = i} G_n (q_n - |S_n|^2)",
    source=Source.ours("derivatives of the cost without a division"),
    verdict=Always(1e-9),
    instances=problems,
    evaluate=_gradient,
    near_miss=lambda problem: _gradient(problem, wrong=True),
)


def _invariant(problem: Problem, shift: float = 2.0) -> Measurement:
    """Measure the worst deviation from what must not change: scales, rotations, units, order of columns, field."""
    rng, p, d = problem.rng(), problem.posterior, len(problem.dictionaries)
    mean, size = p.mean, max(float(np.max(np.abs(p.mean))), 1e-300)
    scales = np.exp(rng.standard_normal(d))
    scales[-1] /= np.prod(scales)
    rescaled = kron_posterior(
        problem.dictionaries,
        problem.y,
        [s * g for s, g in zip(scales, problem.variances, strict=True)],
        noise_variance=problem.noise,
    )
    swept = [outer(alternating_sweep(q.second_moment, q.variances)) for q in (p, rescaled)]
    rotations = [np.linalg.qr(rng.standard_normal(A.shape[:1] * 2))[0] for A in problem.dictionaries]
    rotated = kron_posterior(
        [Q @ A for Q, A in zip(rotations, problem.dictionaries, strict=True)],
        kron(rotations) @ problem.y,
        problem.variances,
        noise_variance=problem.noise,
    )
    orders = [rng.permutation(A.shape[1]) for A in problem.dictionaries]
    permuted = kron_posterior(
        [A[:, o] for A, o in zip(problem.dictionaries, orders, strict=True)],
        problem.y,
        [g[o] for g, o in zip(problem.variances, orders, strict=True)],
        noise_variance=problem.noise,
    )
    c = float(np.exp(rng.standard_normal()))
    first = [c * c * problem.variances[0], *problem.variances[1:]]
    scaled = kron_posterior(problem.dictionaries, c * problem.y, first, noise_variance=c * c * problem.noise)
    field = kron_posterior(
        [A + 0j for A in problem.dictionaries], problem.y, problem.variances, noise_variance=problem.noise
    )
    deviations = [
        np.max(np.abs(rescaled.second_moment - p.second_moment)) / np.max(p.second_moment),
        np.max(np.abs(swept[1] - swept[0]) / swept[0]),
        np.max(np.abs(rotated.mean - mean)) / size,
        np.max(np.abs(permuted.mean - mean[np.ix_(*orders)])) / size,
        np.max(np.abs(scaled.mean / c - mean)) / size,
        abs(scaled.cost - p.cost - shift * problem.y.size * np.log(c)) / (1.0 + abs(p.cost)),
        np.max(np.abs(field.mean - mean)) / size,
    ]
    return Measurement(float(max(deviations)), 0.0, problem.amplification)


invariances = Claim(
    name="kronecker_sbl.invariances",
    summary="Units, rotations, the order of columns and the field change what they must and nothing else.",
    statement=r"(y, \sigma^2, G) \to (cy, c^2\sigma^2, c^2 G):\ \mu \to c\mu,\ L \to L + 2M\log c;"
    r" \text{ exchanged scales, rotations, order of columns and field change nothing}",
    source=Source.ours("invariances of the model"),
    verdict=Always(1e-12),
    instances=problems,
    evaluate=_invariant,
    near_miss=lambda problem: _invariant(problem, shift=1.0),
)


def _contraction(problem: Problem, conjugate: bool = True) -> Measurement:
    """Compare the contractions behind the unstructured baseline with dense products, relative to the largest entry.

    Quadratic forms of an inverse cancel: relative to their size, rounding is amplified as by the inverse.
    """
    rng, tables = problem.rng(), pair_tables(problem.dictionaries)
    G = rng.uniform(0.0, 2.0, [A.shape[1] for A in problem.dictionaries])
    covariance = (problem.A * G.reshape(-1)) @ problem.A.conj().T
    K = np.linalg.inv(problem.C)
    quadratics = np.einsum("mn,mk,kn->n", problem.A.conj() if conjugate else problem.A, K, problem.A).real
    deviations = [
        _relative(kron_covariance(tables, G), covariance),
        _relative(kron_quadratics(tables, K), quadratics),
    ]
    return Measurement(max(deviations), 0.0, problem.amplification)


contractions = Claim(
    name="kronecker_sbl.contractions",
    summary="Covariances and quadratic forms need one small table per mode, not the dictionary.",
    statement=r"A\,\mathrm{diag}(G)A^H \text{ and } \mathrm{diag}(A^H C^{-1} A)"
    r" \text{ are contractions with one table } a_i a_i^H \text{ per mode}",
    source=Source.ours("unstructured learning without the dictionary"),
    verdict=Always(_SOLVES),
    instances=problems,
    evaluate=_contraction,
    near_miss=lambda problem: _contraction(problem, conjugate=False),
)


def _single_mode(problem: Problem, wrong: bool = False) -> Measurement:
    """Append modes of size one: the posterior and the sweep must be those without them."""
    one = np.ones((1, 1), dtype=problem.dictionaries[0].dtype)
    factor = np.array([2.0 if wrong else 1.0])
    extended = replace(
        problem, dictionaries=[one, *problem.dictionaries, one], variances=[factor, *problem.variances, np.ones(1)]
    )
    p, q = problem.posterior, extended.posterior
    swept = [outer(alternating_sweep(r.second_moment, r.variances)) for r in (p, q)]
    return Measurement(max(_relative(q.mean, p.mean), _relative(swept[1], swept[0])), 0.0, problem.amplification)


size_one_modes = Claim(
    name="kronecker_sbl.size_one_modes",
    summary="Modes of size one change nothing.",
    statement=r"A_{d+1} = (1):\ \text{posterior and maximisation step do not change}",
    source=Source.ours("modes of size one"),
    verdict=Always(1e-12),
    instances=problems,
    evaluate=_single_mode,
    near_miss=lambda problem: _single_mode(problem, wrong=True),
)
