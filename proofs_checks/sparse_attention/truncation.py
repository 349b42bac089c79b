"""Claims about what it does to attention to keep some keys only."""

import numpy as np

from sparsetheory.gpu import attention
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.sparse_attention.instances import ROUNDING, Head, draw_head, heads
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array


def _parts(head: Head) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return the dropped mass, the log of the kept one and the error of the output, by the package."""
    scores, kept, v = tensor(head.scores), tensor(head.kept), tensor(head.v)
    found = (
        attention.dropped_mass(scores, kept),
        attention.log_kept_mass(scores, kept),
        attention.truncation_error(scores, kept, v),
    )
    return array(found[0]), array(found[1]), array(found[2])


def _identities(head: Head) -> Measurement:
    """Compare with two dense softmaxes.

    p~ = p 1_S / alpha is larger than p on S by (1 / alpha - 1) p, in all by 1 - alpha = delta, and smaller by delta
    elsewhere. KL(p~ | p) = sum p~ log(1 / alpha). And o = alpha o~ + delta mu gives o - o~ = delta (mu - o~).
    """
    delta, log_kept, error = _parts(head)
    p, part = head.full, head.truncated
    moved = np.abs(p - part).sum(1) - 2 * delta
    logs = head.scores - head.scores.max(1, keepdims=True)
    log_p = logs - np.log(np.exp(logs).sum(1, keepdims=True))
    inside = logs[:, head.kept] - logs[:, head.kept].max(1, keepdims=True)
    log_part = inside - np.log(np.exp(inside).sum(1, keepdims=True))
    divergence = (part[:, head.kept] * (log_part - log_p[:, head.kept])).sum(1) + log_kept
    output = (p - part) @ head.v - error
    return Measurement(float(max(np.abs(x).max() for x in (moved, divergence, output))), 0.0, scale=head.scale)


def _mean_of_all(head: Head) -> Measurement:
    """Expect o - o~ = delta (mu - o), as if the kept output were not rescaled."""
    delta, _, error = _parts(head)
    distance = error / np.maximum(delta, 1e-300)[:, None]  # mu - o~
    other = delta[:, None] * (distance - error)
    return Measurement(float(np.abs(other - error).max()), 0.0, scale=head.scale)


truncation_identities = Claim(
    name="sparse_attention.truncation_identities",
    summary="Dropping mass delta moves softmax by 2 delta, and its output by delta times a distance of means.",
    statement=r"\|p - \tilde p\|_1 = 2\delta,\quad \mathrm{KL}(\tilde p \,\|\, p) = -\log\alpha,\quad "
    r"o - \tilde o = \delta\,(\mu - \tilde o)",
    source=Source.ours("truncated softmax"),
    verdict=Always(rtol=ROUNDING),
    instances=heads,
    evaluate=_identities,
    near_miss=_mean_of_all,
)


def _errors(head: Head, *, renormalised: bool = True) -> Measurement:
    """State the chain from the true error of an output to twice the largest value.

    Over all queries the last bound gives |O - O~|_F <= diameter |delta|_2; and the Euclidean distance of the two
    distributions is at most sqrt(2) delta, as the l1 distance is 2 delta, half of it upwards.
    """
    delta, values = head.mass, head.v
    output = head.truncated @ values
    error = np.linalg.norm(head.full @ values - output, axis=1)
    away = np.linalg.norm(values[~head.kept][None] - (output[:, None] if renormalised else 0.0), axis=2).max(1)
    diameter = float(array(attention.value_diameter(tensor(values))))
    chains = np.stack([error, delta * away, delta * diameter, 2 * delta * np.linalg.norm(values, axis=1).max()])
    worst = int(np.argmax((chains[:-1] - chains[1:]).max(0)))
    steps = chains[:, worst].tolist()
    measurement = Measurement.chain(
        steps[0], steps[1], {"diameter": steps[2], "twice the largest value": steps[3]}, scale=head.scale
    )
    apart = np.linalg.norm(head.full - head.truncated, axis=1) - np.sqrt(2) * delta
    return measurement.and_chain(
        {
            "Frobenius norm": float(np.linalg.norm(error)),
            "its bound": diameter * float(np.linalg.norm(delta)),
        }
    ).and_chain({"euclidean excess": float(apart.max()), "none": 0.0})


def _not_renormalised(head: Head) -> Measurement:
    """Expect the error delta max |v_j| of an output that is divided by the full denominator."""
    return _errors(head, renormalised=False)


truncation_errors = Claim(
    name="sparse_attention.truncation_errors",
    summary="The error of an output is at most the dropped mass times a distance of values.",
    statement=r"\|o - \tilde o\| \le \delta \max_{j \notin S}\|v_j - \tilde o\| \le \delta\,\mathrm{diam}(V) "
    r"\le 2\delta \max_j \|v_j\|",
    source=Source.ours("truncated softmax"),
    verdict=Always(rtol=ROUNDING),
    instances=heads,
    evaluate=_errors,
    near_miss=_not_renormalised,
)

_SINGLE = 2.0**-24
_GAPS = (1.0, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0)


def _far_apart(rng: np.random.Generator, gap: float) -> Head:
    """Draw scores of single precision, of which the dropped ones lie lower by a gap."""
    head = draw_head(int(rng.integers(2**32)), "gaussian", 3.0, m=24)
    scores = (head.scores - gap * ~head.kept).astype(np.float32)
    # The scores themselves are the data: products of one-hot keys.
    return Head(scores.astype(np.float64), np.eye(24), head.v[:24], head.kept, head.labels, head.kind)


def _relative(head: Head, found: Float64Array) -> Measurement:
    error = np.abs(found / head.mass - 1).max()
    bound = (head.kept.size + 16 + 4 * float(np.abs(head.scores).max())) * _SINGLE
    return Measurement(float(error), bound)


def _in_single(head: Head) -> Measurement:
    """Compare the mass computed in float32 with a sum in float64, relative to it.

    Two log-sum-exps round the largest score and a sum of at most m terms; their difference is an absolute error of the
    logarithm, and so a relative one of the mass.
    """
    found = attention.dropped_mass(tensor(head.scores.astype(np.float32)), tensor(head.kept))
    measurement = _relative(head, array(found).astype(np.float64))
    return Measurement(
        measurement.measured, measurement.bound, extras={"one minus the kept mass": _rest(head).measured}
    )


def _rest(head: Head) -> Measurement:
    """Compute the mass as one minus the kept one."""
    weights = np.exp((head.scores - head.scores.max(1, keepdims=True)).astype(np.float32))
    kept = weights[:, head.kept].sum(1) / weights.sum(1)
    return _relative(head, (np.float32(1) - kept).astype(np.float64))


small_masses = Claim(
    name="sparse_attention.small_masses",
    summary="The dropped mass keeps its digits in single precision, however small it is.",
    statement=r"|\hat\delta / \delta - 1| \le (m + 16 + 4 \max_j |s_j|)\,u",
    source=Source.ours("the logistic function of two log-sum-exps"),
    verdict=Always(rtol=0.0),
    evaluate=_in_single,
    near_miss=_rest,
    sweep=Sweep(
        axis="gap between kept and dropped scores",
        values=_GAPS,
        draw=_far_apart,
        trials=30,
        quick_trials=4,
        log="y",
        measured_label="relative error in float32",
        bound_label="rounding analysis",
    ),
)
