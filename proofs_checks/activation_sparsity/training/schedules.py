"""Claims about penalties that grow: the stages of a schedule, and paths of the lasso towards sparser codes."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.coding import encode
from sparsetheory.penalties import L1, MCP, Penalty
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

_SONG = "Song et al., ProSparse: Introducing and Enhancing Intrinsic Activation Sparsity within LLMs, 2024"
_TOL = 1e-10


@dataclass(frozen=True)
class Stages:
    """Peaks and ends of a schedule, and how far from an end its slope is judged, as a share of the next stage."""

    peaks: tuple[float, ...]
    ends: tuple[int, ...]
    near: float


def _draw_stages(rng: np.random.Generator, n: float) -> Stages:
    rises = rng.exponential(1.0, int(n)) * (rng.random(int(n)) < 0.8)
    rises[0] += 0.01
    ends = np.cumsum(rng.integers(1, 1000, int(n)))
    return Stages(tuple(np.cumsum(rises).tolist()), tuple(ends.tolist()), float(rng.uniform(0.001, 0.1)))


def _values(stages: Stages, at: Float64Array) -> Float64Array:
    from sparsetheory.gpu.activations import sine_stage_schedule

    schedule = sine_stage_schedule(stages.peaks, stages.ends)
    # Between whole steps, too: a schedule is a function of time.
    return np.array([schedule(t) for t in at.tolist()])


def _linear(stages: Stages, at: Float64Array) -> Float64Array:
    return np.interp(at, stages.ends, stages.peaks)


def _flatness(stages: Stages, values: Float64Array, before: Float64Array, after: Float64Array) -> Measurement:
    r"""Compare what happens near the ends of stages with a parabola.

    Within a stage the value is ``low + (high - low) (1 - cos(pi u)) / 2``. As ``1 - cos z <= z^2 / 2``, it has moved by
    at most ``(high - low) (pi u)^2 / 4`` after a share u of the stage, and by symmetry as little before its end. So the
    slope at both ends is zero.
    """
    peaks = np.array(stages.peaks)
    rise = np.diff(peaks) * (np.pi * stages.near) ** 2 / 4
    moved = np.concatenate([after - peaks[:-1], peaks[1:] - before])
    found = Measurement.worst(moved, np.concatenate([rise, rise]), scale=peaks[-1])
    ends = float(np.abs(values - peaks).max())
    return found.and_chain({"distance at the ends": ends, "none": 0.0})


def _stages(stages: Stages) -> Measurement:
    """Check ends, slopes there, order, and the range of values in between."""
    ends, length = np.array(stages.ends, dtype=float), np.diff(np.array(stages.ends, dtype=float))
    after, before = ends[:-1] + stages.near * length, ends[1:] - stages.near * length
    found = _flatness(stages, _values(stages, ends), _values(stages, before), _values(stages, after))
    path = _values(stages, np.linspace(0.0, 1.5 * ends[-1], 301))
    found = found.and_chain({"largest fall": float(np.maximum(0.0, -np.diff(path)).max()), "no fall": 0.0})
    outside = max(stages.peaks[0] - path.min(), path.max() - stages.peaks[-1], 0.0)
    return found.and_chain({"beyond the peaks": float(outside), "not at all": 0.0})


def _straight_stages(stages: Stages) -> Measurement:
    """Go from peak to peak on straight lines."""
    ends, length = np.array(stages.ends, dtype=float), np.diff(np.array(stages.ends, dtype=float))
    after, before = ends[:-1] + stages.near * length, ends[1:] - stages.near * length
    return _flatness(stages, _linear(stages, ends), _linear(stages, before), _linear(stages, after))


sine_stages = Claim(
    name="activation_sparsity.sine_stages",
    summary="The strength of the penalty meets its peaks at the ends of stages, never falls, and is flat at each end.",
    statement=r"\lambda(T_i) = \lambda_i, \quad 0 \le \lambda(T_i + u (T_{i+1} - T_i)) - \lambda_i"
    r" \le \frac{\pi^2 u^2}{4} (\lambda_{i+1} - \lambda_i)",
    source=Source(_SONG, "algorithm 1", arxiv="2402.13516"),
    verdict=Always(rtol=1e-13),  # a cosine and four operations
    evaluate=_stages,
    near_miss=_straight_stages,
    sweep=Sweep(
        axis="stages",
        values=(2, 3, 5, 8),
        draw=_draw_stages,
        trials=30,
        quick_trials=5,
        measured_label="change near an end",
        bound_label="parabola",
        log="y",
        y_label="strength",
    ),
)


@dataclass(frozen=True, eq=False)
class Path:
    """A signal, atoms, and growing strengths of a penalty."""

    signal: Float64Array
    atoms: Float64Array
    alphas: Float64Array


def _draw_path(rng: np.random.Generator, n_atoms: float, common: float = 0.5) -> Path:
    n, size = int(n_atoms), 10
    atoms = rng.standard_normal((n, size)) + common * 3 * rng.standard_normal(size)
    signal = rng.standard_normal(size) * 3
    top = float(np.abs(atoms @ signal).max())
    return Path(signal[None], atoms, top * np.geomspace(0.01, 0.9, 8))


@st.composite
def _paths(draw: st.DrawFn) -> Path:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return _draw_path(rng, draw(st.integers(1, 25)), draw(st.floats(0.0, 1.0)))


def _ends_of(path: Path, penalty: Penalty) -> tuple[Float64Array, Float64Array]:
    """Return objectives along growing strengths: each from the code before, and each from zero."""
    warm, cold = [], []
    codes: Any = np.zeros((1, len(path.atoms)))
    for alpha in path.alphas:
        now = replace(penalty, alpha=float(alpha))
        given: dict[str, Any] = {"tol": _TOL, "max_iter": 100_000, "solver": "cd"}
        one = encode(path.signal, path.atoms, now, init=codes, **given)
        two = encode(path.signal, path.atoms, now, **given)
        codes = one.codes
        warm.append(float(one.objective[0]))
        cold.append(float(two.objective[0]))
    return np.array(warm), np.array(cold)


def _distance(path: Path, penalty: Penalty) -> Measurement:
    warm, cold = _ends_of(path, penalty)
    return Measurement.worst(np.abs(warm - cold), _TOL * np.maximum(warm, cold), scale=float((path.signal**2).sum()))


def _paths_agree(path: Path) -> Measurement:
    """Compare objectives of both ways.

    The objective is convex, so both ways end within the duality gap of the same minimum. Where the path came from is
    forgotten: for a convex problem a schedule of the strength can save time, and nothing else.
    """
    return _distance(path, L1(1.0))


def _paths_of_mcp(path: Path) -> Measurement:
    """Expect the same of a penalty that is not convex."""
    return _distance(path, MCP(1.0, gamma=2.0))


growing_lasso = Claim(
    name="activation_sparsity.growing_lasso",
    summary="In a convex problem a penalty that grows step by step ends where its last strength alone does.",
    statement=r"\phi_{\lambda_S}(x_{\text{warm}}) = \phi_{\lambda_S}(x_{\text{cold}})"
    r" = \min_x \tfrac12 \|y - D x\|^2 + \lambda_S \|x\|_1",
    source=Source.classic("convexity", "no local minima; ProSparse's growing penalty is this path in reverse"),
    verdict=Always(rtol=1e-9),  # duality gaps are at most 1e-10 of the objective
    instances=_paths,
    evaluate=_paths_agree,
    near_miss=_paths_of_mcp,
    sweep=Sweep(
        axis="atoms, for signals of 10 numbers",
        values=(5, 10, 20, 40),
        draw=_draw_path,
        trials=20,
        quick_trials=3,
        measured_label="distance of objectives",
        bound_label="duality gaps",
        y_label="objective",
    ),
)
