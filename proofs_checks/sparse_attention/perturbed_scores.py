"""Claims about attention whose scores, keys and values are all approximate, and about its certificate."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import attention
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.sparse_attention.instances import ROUNDING, SIZES, Head, draw_head, heads, seeds
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array


@dataclass(frozen=True, eq=False)
class Perturbed:
    """A problem, and a second one of the same size with errors in scores and values."""

    exact: Head
    score_errors: Float64Array
    value_errors: Float64Array

    @property
    def scores(self) -> Float64Array:
        """Scores with errors."""
        return self.exact.scores + self.score_errors

    def softmax(self, *, truncated: bool) -> Float64Array:
        """Return softmax of the scores with errors, of the kept keys only or of all."""
        scores = self.scores if not truncated else np.where(self.exact.kept, self.scores, -np.inf)
        weights = np.exp(scores - scores.max(1, keepdims=True))
        return np.asarray(weights / weights.sum(1, keepdims=True))


def _perturb(seed: int, size: float, kind: str, shift: float) -> Perturbed:
    rng = np.random.default_rng(seed)
    head = draw_head(seed, kind, size)
    errors = np.exp(rng.uniform(-3, 1)) * rng.standard_normal(head.scores.shape) + shift
    return Perturbed(head, errors, 0.1 * rng.standard_normal(head.v.shape))


def _composed(case: Perturbed) -> Measurement:
    """Compare the error of the output with the sum of three bounds.

    From p to p', softmax of the scores with errors, mass tanh(eta / 2) moves at most, over the diameter of the values.
    Dropping keys of p' moves mass delta'. The errors of the values are averaged by what is left.
    """
    return _composition(case, attention.perturbation_bound(tensor(case.score_errors)).numpy())


def _composition(case: Perturbed, moved: Float64Array) -> Measurement:
    head, part = case.exact, case.softmax(truncated=True)
    dropped = attention.dropped_mass(tensor(case.scores), tensor(head.kept))
    diameter = attention.value_diameter(tensor(head.v))
    lengths = part @ np.linalg.norm(case.value_errors, axis=1)
    bound = array(attention.composed_error_bound(tensor(moved), dropped, diameter, tensor(lengths)))
    error = np.linalg.norm(head.full @ head.v - part @ (head.v + case.value_errors), axis=1)
    p, other = head.full, case.softmax(truncated=False)
    measurement = Measurement.worst(error, bound, scale=head.scale)
    return measurement.and_chain(
        {"total variation excess": float((np.abs(p - other).sum(1) / 2 - moved).max()), "none": 0.0}
    )


def _quarter(case: Perturbed) -> Measurement:
    """Take half of eta, a quarter of the range."""
    spread = np.ptp(case.score_errors, axis=1)
    return _composition(case, np.tanh(spread / 8))


composed_errors = Claim(
    name="sparse_attention.composed_errors",
    summary="Errors of scores, dropped mass and errors of values add up.",
    statement=r"\|o - \tilde o'\| \le (\tanh(\eta / 2) + \delta')\,\mathrm{diam}(V) "
    r"+ \sum_j \tilde p'_j \|\Delta v_j\|, \quad \tfrac12 \|p - p'\|_1 \le \tanh(\eta / 2)",
    source=Source.ours("softmax of perturbed scores"),
    verdict=Always(rtol=ROUNDING),
    instances=lambda: st.builds(
        _perturb,
        seeds,
        st.sampled_from(SIZES[:4]),
        st.sampled_from(("gaussian", "copies")),
        st.sampled_from((0.0, 40.0)),
    ),
    evaluate=_composed,
    near_miss=_quarter,
)


def _two_groups(rng: np.random.Generator, eta: float) -> tuple[Float64Array, Float64Array]:
    """Draw scores of two groups of keys, the first of mass 1 / (1 + e^eta), and errors that raise it by eta."""
    sizes = rng.integers(1, 9, 2)
    scores = np.concatenate([np.full(n, level - np.log(n)) for n, level in zip(sizes, (-eta, 0.0), strict=True)])
    errors = np.repeat([eta, -eta], sizes) + rng.uniform(-9, 9)
    return scores + rng.uniform(-9, 9), errors


def _moved(pair: tuple[Float64Array, Float64Array], share: float = 1.0) -> Measurement:
    """Compare the mass that moves between two groups with tanh(eta / 2): the bound is attained."""
    scores, errors = pair
    p, other = (np.exp(s - s.max()) / np.exp(s - s.max()).sum() for s in (scores, scores + errors))
    moved = float(np.abs(p - other).sum() / 2)
    bound = float(attention.perturbation_bound(tensor(share * errors)))
    # Both ways: at most the bound, and no less.
    return replace(Measurement(moved, bound, scale=1.0), extras={"moved": moved}, also=(("bound", "moved"),))


def _half_of_the_largest(pair: tuple[Float64Array, Float64Array]) -> Measurement:
    """Take the error of one group for the half range."""
    return _moved(pair, 0.5)


perturbed_softmax = Claim(
    name="sparse_attention.perturbed_softmax",
    summary="Errors of scores move at most the mass tanh(eta / 2), and two groups of keys attain it.",
    statement=r"\tfrac12 \|p - p'\|_1 = \tanh(\eta / 2),\quad \eta = \tfrac12 (\max_j e_j - \min_j e_j)",
    source=Source.ours("softmax of perturbed scores"),
    verdict=Always(rtol=ROUNDING),
    evaluate=_moved,
    near_miss=_half_of_the_largest,
    sweep=Sweep(
        axis="half range of the errors of scores",
        values=(0.01, 0.1, 0.3, 1.0, 2.0, 4.0, 8.0),
        draw=_two_groups,
        trials=20,
        quick_trials=3,
        log="x",
        measured_label="mass that moves between two groups",
        bound_label="tanh(eta / 2)",
    ),
)


def _bound_by(head: Head, masses: Any) -> tuple[Float64Array, Float64Array]:
    """Return the bounds of the dropped mass and of the error of every query."""
    q, k, v = (tensor(part)[None] for part in (head.q, head.k, head.v))
    labels = tensor(head.labels.astype(np.int64))
    found = attention.attention_error_certificate(q, k, v, tensor(head.kept), masses=masses, labels=labels, scale=1.0)
    return array(found.dropped)[0], array(found.error)[0]


def _exact(head: Head) -> Measurement:
    """Compare the certificate that knows all scores with two dense attentions.

    Its bounds are at least the true values, and at most these and the rounding of float64.
    """
    mass, error = _bound_by(head, "exact")
    true = np.linalg.norm((head.full - head.truncated) @ head.v, axis=1)
    excess = np.maximum(mass - head.mass, error - true)
    short = max(float((head.mass - mass).max()), float((true - error).max()), 0.0)
    return Measurement(float(excess.max()), 0.0, scale=head.scale).and_chain({"shortfall": short, "none": 0.0})


def _from_statistics(head: Head) -> Measurement:
    """Expect the same of a certificate that bounds dropped scores."""
    mass, _ = _bound_by(head, "variance")
    return Measurement(float((mass - head.mass).max()), 0.0, scale=head.scale)


exact_certificate = Claim(
    name="sparse_attention.exact_certificate",
    summary="The certificate that computes all scores states the true dropped mass and error, up to rounding.",
    statement=r"\hat\delta = \delta,\quad \|\hat\delta\,(\mu - \tilde o)\| = \|o - \tilde o\|",
    source=Source.ours("truncated softmax"),
    verdict=Always(rtol=ROUNDING),
    instances=heads,
    evaluate=_exact,
    near_miss=_from_statistics,
)
