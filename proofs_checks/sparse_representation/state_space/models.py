"""Identities and bounds of state space models whose transition has low rank."""

import numpy as np

from sparsetheory.gpu import representation
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread
from sparsetheory.proofs_checks.sparse_representation.state_space.systems import System, systems
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

# Double precision, after some exponentials and decompositions.
_ROUNDING = 1e-10
_PAPER = "Zhang et al., DLRMamba (2026)"


def _imitated(system: System, *, missing: int) -> Measurement:
    """Compare outputs and states of a student of full rank, less some, with those of its teacher."""
    student = system.student(system.n_states - missing)
    with one_thread():
        wanted, found = system.teacher().run(system.x), student.run(system.x)
        outputs = student(system.x)
    pairs = [(found.states, wanted.states), (found.outputs, wanted.outputs), (outputs, wanted.outputs)]
    error = max(float((one - other).detach().abs().max()) for one, other in pairs)
    return Measurement(error, 0.0, 1.0 + float(wanted.states.detach().abs().max()))


full_rank = Claim(
    name="sparse_representation.full_rank_ssm",
    summary="A student of full rank has the states and outputs of its dense teacher, in both forms.",
    statement=r"r = N \;\Rightarrow\; h^s_t = h_t, \; y^s_t = y_t",
    source=Source(_PAPER, "eq. 5 with the whole singular value decomposition", "2603.06920"),
    verdict=Always(_ROUNDING),
    instances=systems,
    evaluate=lambda system: _imitated(system, missing=0),
    near_miss=lambda system: _imitated(system, missing=1),
)


def _beyond(system: System, *, whole: bool) -> Measurement:
    """Find the first singular value beyond the rank, of what the transition adds to a multiple of the identity."""
    with one_thread():
        transition = system.student().transition()
    matrix = array(transition.dense())
    if not whole:
        matrix = matrix - float(transition.scale) * np.eye(len(matrix))
    values = np.linalg.svd(matrix, compute_uv=False)
    return Measurement(float(values[system.rank]) if system.rank < len(values) else 0.0, 0.0, 1.0)


transition_rank = Claim(
    name="sparse_representation.transition_rank",
    summary="A transition of low rank is a multiple of the identity and a matrix of at most the rank.",
    statement=r"\operatorname{rank}(T - e^{-\alpha \Delta} I) \le r",
    source=Source(_PAPER, "eq. 5; with the shift, ours", "2603.06920", "ours"),
    verdict=Always(1e-12),
    instances=systems,
    evaluate=lambda system: _beyond(system, whole=False),
    near_miss=lambda system: _beyond(system, whole=True),
)


def _reduced(system: System, *, direct: bool) -> Measurement:
    """Compare outputs with those of a loop over as many numbers as the rank, and decays of inputs and outputs."""
    student = system.student()
    with one_thread():
        transition, outputs = student.transition(), array(student(system.x))
    left, right, scale = array(transition.left), array(transition.right), float(transition.scale)
    B, C, x = array(student.B), array(student.C), array(system.x)
    inner, y = np.zeros((len(x), left.shape[1])), np.zeros((len(x), len(C)))
    error = 0.0
    for t in range(x.shape[1]):
        y = scale * y + inner @ (C @ left).T + (x[:, t] @ (C @ B).T if direct else 0.0)
        inner = scale * inner + inner @ (right.T @ left).T + x[:, t] @ (right.T @ B).T
        error = max(error, float(np.abs(y - outputs[:, t]).max()))
    return Measurement(error, 0.0, 1.0 + float(np.abs(outputs).max()))


reduced_order = Claim(
    name="sparse_representation.reduced_order",
    summary="For its outputs, a transition of rank r needs no state of N numbers: r numbers and a decay do.",
    statement=r"T = s I + L R^T \;\Rightarrow\; y_t = s y_{t-1} + C L z_{t-1} + C B x_t,"
    r"\quad z_t = (s I + R^T L) z_{t-1} + R^T B x_t",
    source=Source.ours("z = R^T h follows a recurrence of its own"),
    verdict=Always(_ROUNDING),
    instances=systems,
    evaluate=lambda system: _reduced(system, direct=True),
    near_miss=lambda system: _reduced(system, direct=False),
)


def _recursion(system: System, *, summed: bool) -> Measurement:
    """Run both models by loops, and bound the distance of states by norms, of powers and as published."""
    with one_thread():
        dense, held = (array(part) for part in system.teacher().discretised())
        own = array(system.student().transition().dense())
    x = array(system.x[0])
    distance, growth = np.linalg.norm(dense - own, 2), np.linalg.norm(own, 2)
    powers = [np.linalg.norm(np.linalg.matrix_power(own, k), 2) for k in range(len(x))]
    states, other, errors = [np.zeros(len(dense))], np.zeros(len(dense)), []
    for sample in x:
        states.append(dense @ states[-1] + held @ sample)
        other = own @ other + held @ sample
        errors.append(np.linalg.norm(states[-1] - other))
    sizes = np.linalg.norm(states, axis=1)
    times = range(1, len(x) + 1)
    if not summed:
        bounds = [distance * sizes[t - 1] for t in times]
        return Measurement.worst(errors, bounds, 1.0 + float(sizes.max()))
    sharp = [distance * sum(powers[t - 1 - k] * sizes[k] for k in range(t)) for t in times]
    published = [distance * sum(growth ** (t - 1 - k) * sizes[k] for k in range(t)) for t in times]
    scale = 1.0 + float(sizes.max()) + published[-1]
    found = Measurement.worst(errors, sharp, scale)
    return found.and_chain({"norms of powers": sharp[-1], "powers of norms": published[-1]})


error_recursion = Claim(
    name="sparse_representation.state_error",
    summary="States of teacher and student differ by no more than the sum of all earlier errors, each carried on.",
    statement=r"\|h_t - h^s_t\| \le \|T - S\| \sum_{k < t} \|S^{t-1-k}\| \|h_k\|"
    r" \le \|T - S\| \sum_{k < t} \|S\|^{t-1-k} \|h_k\|",
    source=Source.classic("folklore", "perturbation of a linear recurrence"),
    verdict=Always(1e-12),
    instances=systems,
    evaluate=lambda system: _recursion(system, summed=True),
    near_miss=lambda system: _recursion(system, summed=False),
)


def _balanced(system: System, *, halves: bool) -> Measurement:
    """Compare the error with the tail of the singular values, and both Gram matrices with the leading ones."""
    A = array(system.matrices[0])
    with one_thread():
        U, V = (array(part) for part in representation.balanced_factors(system.matrices[0], system.rank))
    if not halves:
        # The same product, with all singular values on one side.
        lengths = np.linalg.norm(U, axis=0)
        U, V = U / np.where(lengths, lengths, 1.0), V * lengths
    values = np.linalg.svd(A, compute_uv=False)
    pairs: list[tuple[Float64Array, Float64Array]] = [
        (np.atleast_1d(np.sum((U @ V.T - A) ** 2)), np.atleast_1d(np.sum(values[system.rank :] ** 2))),
        (U.T @ U, np.diag(values[: system.rank])),
        (V.T @ V, np.diag(values[: system.rank])),
    ]
    error = max(float(np.abs(one - other).max()) for one, other in pairs)
    return Measurement(error, 0.0, 1.0 + float(np.sum(values**2)))


balanced = Claim(
    name="sparse_representation.balanced_factors",
    summary="Balanced factors are the best of their rank, and both have the singular values as Gram matrix.",
    statement=r"\|U V^T - A\|_F^2 = \sum_{i > r} \sigma_i^2, \quad U^T U = V^T V = \Sigma_r",
    source=Source.classic("Eckart, Young", "best approximation of a rank"),
    verdict=Always(_ROUNDING),
    instances=systems,
    evaluate=lambda system: _balanced(system, halves=True),
    near_miss=lambda system: _balanced(system, halves=False),
)


def _radius(system: System, *, factors: bool) -> Measurement:
    """Compare the spectral radius with the bound by the norm of the product of factors; and with dense eigenvalues."""
    student = system.student()
    with one_thread():
        radius = student.spectral_radius()
    dense = float(np.abs(np.linalg.eigvals(array(student.transition().dense()))).max())
    U, V = array(student.U), array(student.V)
    exponent = -float(student.shift) + (np.linalg.norm(U @ V.T, 2) if factors else 0.0)
    found = Measurement(radius, float(np.exp(system.step * exponent)), 1.0 + dense)
    # Eigenvalues of matrices that are nearly defective move by the root of the rounding.
    return found.and_chain({"difference from dense eigenvalues": 1e-4 * abs(radius - dense), "rounding": 1e-10})


stability = Claim(
    name="sparse_representation.shifted_stability",
    summary="A shifted transition is stable where the shift exceeds the norm of the product of its factors.",
    statement=r"\rho(T) \le e^{-\alpha \Delta} e^{\Delta \|U V^T\|}",
    source=Source.ours("the norm of an exponential is at most the exponential of the norm"),
    verdict=Always(_ROUNDING),
    instances=lambda: systems(("shifted",)),
    evaluate=lambda system: _radius(system, factors=True),
    near_miss=lambda system: _radius(system, factors=False),
)
