"""What a student is near to and what it costs: the shift, the numbers of its transition, and what a loss sees."""

from typing import Any

import numpy as np

from sparsetheory.gpu import representation
from sparsetheory.proofs_checks.claim import Claim, Measurement, Reversed, Source
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread
from sparsetheory.proofs_checks.sparse_representation.state_space.systems import System, systems
from sparsetheory.proofs_checks.verdicts import Always

_PAPER = "Zhang et al., DLRMamba (2026)"


def _distances(system: System) -> Measurement:
    """Compare what a student leaves of A at its own shift with what the mean of the diagonal leaves."""
    A = array(system.matrices[0])
    with one_thread():
        chosen = float(system.student().shift)
    left = []
    for shift in (chosen, -float(np.mean(np.diagonal(A)))):
        values = np.linalg.svd(A + shift * np.eye(len(A)), compute_uv=False)
        left.append(float(np.linalg.norm(values[system.rank :])))
    return Measurement(left[0], left[1], float(np.linalg.norm(A)))


nearest_shift = Claim(
    name="sparse_representation.nearest_shift",
    summary="The shift that a student takes leaves no more of its teacher than the mean of the diagonal does.",
    statement=r"\sum_{i > r} \sigma_i^2(A + \hat\alpha I) \le \sum_{i > r} \sigma_i^2(A + \bar\alpha I),"
    r"\quad \bar\alpha = -\operatorname{tr} A / N",
    source=Source.ours("the best low rank for a shift and the best shift for it, in turn"),
    verdict=Always(1e-12),
    instances=lambda: systems(("shifted",)),
    evaluate=_distances,
    near_miss=Reversed(),
)


def _counted(system: System, *, n_factors: int) -> Measurement:
    student = system.student()
    numbers = student.U.numel() + student.V.numel()
    share = n_factors * system.rank / system.n_states
    saves = (numbers < system.n_states**2) == (2 * system.rank < system.n_states)
    return Measurement(abs(numbers / system.n_states**2 - share) + (not saves), 0.0, 1.0)


transition_numbers = Claim(
    name="sparse_representation.transition_numbers",
    summary="Factors take 2 r / N of the numbers of a dense transition: from half the states on they save none.",
    statement=r"\#(U, V) / N^2 = 2 r / N, \quad \#(U, V) < N^2 \Leftrightarrow r < N / 2",
    source=Source(_PAPER, "count of the factors of eq. 5", "2603.06920", "ours"),
    verdict=Always(1e-12),
    instances=systems,
    evaluate=lambda system: _counted(system, n_factors=2),
    near_miss=lambda system: _counted(system, n_factors=1),
)


def _loss(system: System, factors: tuple[Any, Any], other: tuple[Any, Any], compare: str) -> float:
    empty = system.drawn(3, 1, 1)
    one, two = (representation.SSMRun(empty, empty, pair) for pair in (factors, other))
    return float(representation.structure_aware_loss(one, two, (1.0, 0.0, 0.0), compare=compare))


def _invariance(system: System, *, raw: bool) -> Measurement:
    """Compare losses before and after signs of columns change, and, of products, before and after a rotation."""
    import torch

    (U, V), other = system.factors, system.drawn(2, 2, system.n_states, system.rank).unbind()
    signs = torch.where(system.drawn(3, system.rank) < 0, -1.0, 1.0).double()
    rotation = torch.linalg.qr(system.drawn(3, system.rank, system.rank)).Q
    turned = (U @ rotation, V @ rotation), (U * signs, V * signs)
    with one_thread():
        losses = [_loss(system, pair, other, "product") for pair in ((U, V), *turned)]
        by_factors = [_loss(system, pair, other, "factors") for pair in ((U, V), turned[1])]
        if raw:
            by_factors = [float(((pair[0] - other[0]) ** 2).sum()) for pair in ((U, V), turned[1])]
    error = max(max(losses) - min(losses), max(by_factors) - min(by_factors))
    return Measurement(error, 0.0, 1.0 + max(losses) + max(by_factors))


loss_invariance = Claim(
    name="sparse_representation.factor_loss_invariance",
    summary="The loss of factors does not see their signs, and that of products not their rotations either.",
    statement=r"L(U D, V D) = L(U, V),\ D = \operatorname{diag}(\pm 1); \quad"
    r" \|U Q (V Q)^T - A_r\|_F^2 = \|U V^T - A_r\|_F^2,\ Q Q^T = I",
    source=Source(_PAPER, "loss of the factors; signs are not fixed there", "2603.06920", "ours"),
    verdict=Always(1e-12),
    instances=systems,
    evaluate=lambda system: _invariance(system, raw=False),
    near_miss=lambda system: _invariance(system, raw=True),
)
