"""Claims about activations on a grid: how far they move, what the gradients are, and that outputs never drift."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import activations
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

_SOURCE, _ARXIV = "Yousefzadeh and Sifalakis, Training for temporal sparsity, 2021", "2107.07305"


@dataclass(frozen=True, eq=False)
class Activations:
    """Activations, a step, and a gradient that comes back."""

    x: Float64Array
    q: float
    gradient: Float64Array

    @property
    def codes(self) -> Float64Array:
        """What the activations are in steps, rounded."""
        return np.asarray(np.round(self.x / self.q))

    def of_step(self, grad_mode: str) -> float:
        """Return the gradient of the step."""
        import torch

        q = torch.tensor(self.q, dtype=torch.float64, requires_grad=True)
        activations.quantize(tensor(self.x), q, grad_mode).backward(tensor(self.gradient))
        assert q.grad is not None
        return float(q.grad)


@st.composite
def _activations(draw: st.DrawFn) -> Activations:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    q, size = draw(st.floats(1e-3, 10)), draw(st.integers(1, 20))
    x = rng.uniform(-30, 30, size) * q
    if draw(st.booleans()):
        # Halves, where rounding has to choose.
        x = np.round(2 * x / q) * q / 2
    return Activations(x, q, rng.standard_normal(size))


def _half_a_step(case: Activations) -> Measurement:
    """Compare how far values move with half a step, and how far they move the second time with nothing."""
    once = activations.quantize(tensor(case.x), case.q)
    twice = array(activations.quantize(once, case.q))
    found = Measurement.worst(np.abs(array(once) - case.x), case.q / 2, scale=float(np.abs(case.x).max() + case.q))
    return found.and_chain({"second time": float(np.abs(twice - array(once)).max()), "0": 0.0})


quantised_step = Claim(
    name="activation_sparsity.quantised_step",
    summary="No activation moves by more than half a step, and what is on the grid stays.",
    statement=r"|Q(x) - x| \le q / 2, \quad Q(Q(x)) = Q(x)",
    source=Source(_SOURCE, "the quantiser", _ARXIV),
    verdict=Always(rtol=1e-15),
    instances=_activations,
    evaluate=_half_a_step,
    near_miss=0.9,
)


def _gradients(case: Activations, sign: int) -> Measurement:
    """Compare both gradients of the step with their formulas.

    Of ``q round(x / q)`` with rounding as the identity, the derivative is ``round(x / q) + q (-x / q^2)``. If ``x / q``
    is held fixed it is ``round(x / q)``, which the authors' code turns round.
    """
    paper = sign * float(case.gradient @ case.codes)
    honest = float(case.gradient @ (case.codes - case.x / case.q))
    scale = float(np.abs(case.gradient) @ (np.abs(case.codes) + 1))
    gaps = [abs(case.of_step("paper") - paper), abs(case.of_step("lsq") - honest)]
    return Measurement.worst(gaps, 0.0, scale=scale)


quantised_gradient = Claim(
    name="activation_sparsity.quantised_gradient",
    summary="The gradient of the step has the sign turned in the authors' code, so that a penalty enlarges the step.",
    statement=r"\partial L / \partial q = -\sum_i g_i\, \text{round}(x_i / q), \quad"
    r" \text{honest: } \sum_i g_i\, (\text{round}(x_i / q) - x_i / q)",
    source=Source(_SOURCE, "gradient of the quantiser", _ARXIV, provenance="authors' code"),
    verdict=Always(rtol=1e-14),
    instances=_activations,
    evaluate=lambda case: _gradients(case, -1),
    near_miss=lambda case: _gradients(case, 1),
)

_THRESHOLD = 0.02


@dataclass(frozen=True, eq=False)
class Creeping:
    """Activations that creep from frame to frame by less than a step, behind frames that stand still."""

    x: Float64Array
    weight: Float64Array
    q: Float64Array

    @property
    def exact(self) -> Float64Array:
        """Outputs without quantisation, frame by frame."""
        return np.asarray(self.x @ self.weight.T)

    @cached_property
    def layer(self) -> "activations.DeltaLinear":
        """The layer that computes from changes."""
        return activations.DeltaLinear(tensor(self.weight), tensor(self.q))

    @cached_property
    def errors(self) -> Float64Array:
        """Errors of its outputs."""
        return np.abs(array(self.layer(tensor(self.x)[None]))[0] - self.exact)

    @cached_property
    def memoryless_errors(self) -> Float64Array:
        """Errors where changes from the last frame are dropped if they are below a step."""
        changes = np.diff(self.x, axis=0, prepend=np.zeros_like(self.x[:1]))
        changes[1:][np.abs(changes[1:]) < self.q] = 0
        return np.abs(np.cumsum(changes, axis=0) @ self.weight.T - self.exact)

    @property
    def bounds(self) -> Float64Array:
        """Half the step of each input times its weight, for each output."""
        return np.asarray(np.abs(self.weight) @ self.q / 2)


def _draw(rng: np.random.Generator, n_frames: float) -> Creeping:
    frames, features = int(n_frames), 6
    q = _THRESHOLD * rng.uniform(0.5, 2, features)
    slopes = rng.uniform(-0.9, 0.9, features) * q
    ramps = rng.standard_normal(features) + slopes * np.arange(frames)[:, None]
    return Creeping(ramps, rng.standard_normal((3, features)), q)


def _no_drift(case: Creeping) -> Measurement:
    """Compare the errors of all outputs in all frames with the bound, and check that nothing happens at rest.

    Codes are integers, so their changes add up to the last code exactly; the error is that of one rounding.
    """
    scale = float(np.abs(case.x).max() * np.abs(case.weight).sum())
    found = Measurement.worst(case.errors, case.bounds, scale=scale)
    last = float(case.memoryless_errors[-1].max())
    still = activations.DeltaLinear(tensor(case.weight), tensor(case.q))
    still(tensor(np.repeat(case.x[None, :1], 4, axis=1)))
    events = still.n_events - np.count_nonzero(np.round(case.x[0] / case.q))
    result = Measurement(found.measured, found.bound, scale, {"without memory, last frame": last})
    return result.and_chain({"events at rest": float(events), "0": 0.0})


def _drifts(case: Creeping) -> Measurement:
    """Expect the same of a layer that drops small changes and forgets them."""
    return Measurement.worst(case.memoryless_errors, case.bounds)


delta_no_drift = Claim(
    name="activation_sparsity.delta_no_drift",
    summary="Outputs that are computed from changes of codes never drift, however slowly an input creeps.",
    statement=r"|y_{t,o} - (W x_t)_o| \le \tfrac12 \sum_i q_i |W_{oi}| \quad \text{for all } t",
    source=Source.ours("telescoping sums of integer codes"),
    verdict=Always(rtol=1e-13),
    evaluate=_no_drift,
    near_miss=_drifts,
    sweep=Sweep(
        axis="frames",
        values=(25.0, 50.0, 100.0, 200.0),
        draw=_draw,
        trials=30,
        quick_trials=5,
        log="xy",
        measured_label="error of an output",
        bound_label="its bound",
        y_label="error",
    ),
)
