"""Claim about the target encoder: its weights never leave the hull of what the encoder's weights have been."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import core, representation
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array


@dataclass(frozen=True, eq=False)
class Walk:
    """Weights of an encoder after every step, and the share that its moving average keeps at first."""

    weights: Float64Array
    decay: float

    def average(self) -> Float64Array:
        """Return the weights of the target encoder after every step, by an optimiser that sets the weights."""
        import torch

        encoder = torch.nn.Linear(self.weights.shape[1], 1, bias=False, dtype=torch.float64)
        encoder.weight.data.copy_(tensor(self.weights[:1]))
        decay = core.Linear(self.decay, len(self.weights) - 1, 1.0)
        model = representation.SparseJEPA(encoder, [[0]], 0.0, decay, n_patches=1, n_latents=1)
        optimizer = torch.optim.SGD(model.trained_parameters(), lr=1.0)
        representation.JEPAController(optimizer, model)
        seen = []
        for weights in self.weights[1:]:
            encoder.weight.grad = encoder.weight.detach() - tensor(weights)
            optimizer.step()
            seen.append(array(model.target_encoder.weight)[0].copy())
        return np.array(seen)

    def recursion(self) -> Float64Array:
        """Return what the averages should be: the share that is kept grows to 1 along a line."""
        shares = np.linspace(self.decay, 1.0, len(self.weights))
        xi, seen = self.weights[0], []
        for share, theta in zip(shares, self.weights[1:], strict=False):
            xi = share * xi + (1 - share) * theta
            seen.append(xi)
        return np.array(seen)


def _draw(seed: int, decay: float, kind: str) -> Walk:
    rng = np.random.default_rng(seed)
    steps = rng.standard_normal((9, 3)) * (100.0 ** np.arange(9)[:, None] if kind == "growing" else 1.0)
    return Walk(np.cumsum(steps, axis=0), decay)


def _walks() -> st.SearchStrategy[Walk]:
    return st.builds(
        _draw, seeds, st.sampled_from((0.0, 0.3, 0.9, 0.996, 1.0)), st.sampled_from(("random walk", "growing"))
    )


def _hull(case: Walk, *, start: int) -> Measurement:
    """Compare averages with the smallest and largest weights so far, from some step on, and with the recursion."""
    low, high = (op.accumulate(case.weights[start:], axis=0) for op in (np.minimum, np.maximum))
    average = case.average()
    low, high = (ends[-len(average) :] if start else ends[1:] for ends in (low, high))
    found = Measurement.worst([average, -average], [high, -low], scale=float(np.abs(case.weights).max()))
    return found.and_chain({"error": float(np.abs(average - case.recursion()).max()), "zero": 0.0})


moving_average_hull = Claim(
    name="sparse_representation.moving_average_hull",
    summary="Weights of the target encoder lie between the smallest and the largest that the encoder has had.",
    statement=r"\xi_t = \tau_t \xi_{t-1} + (1 - \tau_t) \theta_t,\ \xi_0 = \theta_0 \;\Rightarrow\;"
    r" \min_{s \le t} \theta_s \le \xi_t \le \max_{s \le t} \theta_s",
    source=Source.classic("folklore", "averages are convex combinations"),
    verdict=Always(1e-12),
    instances=_walks,
    evaluate=lambda case: _hull(case, start=0),
    near_miss=lambda case: _hull(case, start=1),
)
