"""Claims about the step of the dictionary: the surrogate never rises, and how long a gradient step may be."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from sparsetheory.coding.dictionary.olshausen_update import gradient_step
from sparsetheory.coding.dictionary.online_update import Surrogate
from sparsetheory.proofs_checks.claim import Claim, Measurement, Sweep
from sparsetheory.proofs_checks.lq_coding.instances import EPS, classic, decades, ours, seeds
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

# Sums over at most 40 signals of squares of at most 8 entries, each the sum of at most 12 products.
_ROUNDING = 2000 * EPS


@dataclass(frozen=True, eq=False)
class _Batch:
    """Unit atoms in rows, and signals with codes; the first signals weigh less."""

    atoms: Float64Array
    codes: Float64Array
    signals: Float64Array
    keep: float
    sweeps: int

    def __repr__(self) -> str:
        shapes = f"atoms={self.atoms.shape}, codes={self.codes.shape}"
        return f"_Batch({shapes}, keep={self.keep:.3g}, sweeps={self.sweeps})"

    @property
    def weights(self) -> Float64Array:
        """Weight of every signal."""
        n = self.signals.shape[0]
        return np.where(np.arange(n) < n // 2, self.keep, 1.0)

    def error(self, atoms: Float64Array) -> float:
        """Return the weighted sum of half the squared errors."""
        return float(self.weights @ np.sum((self.signals - self.codes @ atoms) ** 2, axis=1)) / 2

    @property
    def scale(self) -> float:
        """The error without cancellation."""
        return max(float(self.weights @ self.sizes**2), 1e-300)

    @property
    def sizes(self) -> Float64Array:
        """What the residual of every signal is made of."""
        return np.linalg.norm(self.signals, axis=1) + np.abs(self.codes).sum(axis=1)

    def rng(self) -> np.random.Generator:
        """Return a fresh generator; the same one each time."""
        return np.random.default_rng(self.codes.size + self.sweeps)


def _draw_batch(n: int, m: int, samples: int, density: float, keep: float, sweeps: int, seed: int) -> _Batch:
    rng = np.random.default_rng(seed)
    atoms = rng.standard_normal((n, m)) + rng.choice([0.0, 3.0]) * rng.standard_normal(m)
    codes = rng.standard_normal((samples, n)) * (rng.random((samples, n)) < density) * 10 ** rng.uniform(-2, 0, n)
    signals = codes @ rng.standard_normal((n, m)) + rng.choice([0.0, 0.3]) * rng.standard_normal((samples, m))
    return _Batch(atoms / np.linalg.norm(atoms, axis=1, keepdims=True), codes, signals, keep, sweeps)


def _batches() -> st.SearchStrategy[_Batch]:
    return st.builds(
        _draw_batch,
        st.integers(1, 12),
        st.integers(1, 8),
        st.integers(1, 40),
        st.sampled_from([0.1, 0.5, 1.0]),
        st.sampled_from([0.0, 1.0]) | st.floats(1e-3, 1),
        st.integers(1, 3),
        seeds,
    )


def _improve(batch: _Batch) -> Float64Array:
    """Return the atoms that the library makes of a batch and its past."""
    half = batch.signals.shape[0] // 2
    past = Surrogate.empty(*batch.atoms.shape).absorb(batch.codes[:half], batch.signals[:half])
    surrogate = past.absorb(batch.codes[half:], batch.signals[half:], batch.keep)
    return np.asarray(surrogate.improve(batch.atoms, batch.sweeps), np.float64)


def _improve_at_once(batch: _Batch) -> Float64Array:
    """Move all atoms at once, each as if the others stayed."""
    weighted = batch.weights[:, None] * batch.codes
    curvature = np.maximum(np.sum(weighted * batch.codes, axis=0), 1e-300)[:, None]
    moved = batch.atoms + weighted.T @ (batch.signals - batch.codes @ batch.atoms) / curvature
    return moved / np.linalg.norm(moved, axis=1, keepdims=True)


def _surrogate(batch: _Batch, atoms: Float64Array | None = None) -> Measurement:
    r"""Compare the error, from codes and signals themselves, before and after; and the last atom with other unit ones.

    In one unit atom d the error is :math:`\tfrac12 A_{jj} - \langle d, u \rangle` plus a constant, least at
    :math:`u / \|u\|`.
    """
    improved = _improve(batch) if atoms is None else atoms
    others = batch.rng().standard_normal((10, batch.atoms.shape[1]))
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    error = batch.error(improved)
    replaced = [batch.error(np.vstack([improved[:-1], other])) for other in others]
    lengths = np.abs(np.linalg.norm(improved, axis=1) - 1).max() * batch.scale
    return Measurement.worst([error, error, lengths], [batch.error(batch.atoms), min(replaced), 0.0], batch.scale)


surrogate_descent = Claim(
    name="lq_coding.surrogate_descent",
    summary="Atom updates never raise the error of the codes they were made for.",
    statement=r"\sum_i w_i \|x_i - D^\top c_i\|^2 \text{ does not rise when } d_j \leftarrow u / \|u\|,\ "
    r"u = A_{jj} d_j + B_j - A_j D, \text{ one } j \text{ after another}",
    source=classic("Mairal, Bach, Ponce, Sapiro, JMLR 11 (2010)", "block coordinate descent, here on the sphere"),
    verdict=Always(_ROUNDING),
    instances=_batches,
    evaluate=_surrogate,
    near_miss=lambda batch: _surrogate(batch, _improve_at_once(batch)),
)


@dataclass(frozen=True)
class _GradientStep:
    """A batch, and the rate in units of the inverse of its largest curvature."""

    batch: _Batch
    fraction: float


def _gradient(instance: _GradientStep, *, mean: bool = False) -> Measurement:
    r"""Compare the error after one gradient step, before normalisation, with what its length guarantees.

    The error is quadratic in the atoms with largest curvature :math:`\Lambda = \lambda_{\max}(C^T C)`, so a step of
    rate :math:`\eta` changes it by at most :math:`-\eta (1 - \eta\Lambda/2)` times the squared gradient. The sum over a
    batch grows with the batch: what is a safe rate for a mean is not one for a sum.
    """
    batch = instance.batch
    atoms, codes, signals = batch.atoms, batch.codes, batch.signals
    curvature = max(float(np.linalg.norm(codes, 2)) ** 2, 1e-12)
    eta = instance.fraction / curvature * (signals.shape[0] if mean else 1)
    gradient = codes.T @ (codes @ atoms - signals)
    directions = gradient_step(atoms, codes, signals, eta)
    moved = directions * np.linalg.norm(atoms - eta * gradient, axis=1, keepdims=True)
    before, after = (float(np.sum((signals - codes @ a) ** 2)) / 2 for a in (atoms, moved))
    gain = eta * (1 - instance.fraction / 2) * float(np.sum(gradient**2))
    # The step multiplies the error by up to the square of one minus the rate times the curvature.
    scale = max(float(np.sum(batch.sizes**2)) * (1 + instance.fraction) ** 2, 1e-300)
    return Measurement(after, before - gain, scale, {"error before": before})


def _draw_gradient_step(rng: np.random.Generator, fraction: float) -> _GradientStep:
    return _GradientStep(_draw_batch(12, 8, 40, 0.3, 1.0, 1, int(rng.integers(2**32))), fraction)


dictionary_gradient = Claim(
    name="lq_coding.dictionary_gradient",
    summary="A gradient step of the dictionary lowers the error if its rate is below twice the curvature's inverse.",
    statement=r"\tfrac12 \|X - C(D - \eta \nabla)\|^2 \le \tfrac12 \|X - CD\|^2"
    r" - \eta (1 - \tfrac{\eta}{2} \lambda_{\max}(C^\top C)) \|\nabla\|^2",
    source=ours("rate of the dictionary step of Olshausen and Field, summed over a batch"),
    verdict=Always(_ROUNDING),
    instances=lambda: st.builds(_GradientStep, _batches(), decades(-2, 0.5)),
    evaluate=_gradient,
    near_miss=lambda instance: _gradient(instance, mean=True),
    sweep=Sweep(
        axis="rate times the largest curvature",
        values=(0.1, 0.3, 1.0, 2.0, 3.0),
        draw=_draw_gradient_step,
        trials=50,
        quick_trials=10,
        log="xy",
        measured_label="error after the step",
        y_label="squared error",
        bound_label="bound",
    ),
)
