"""Low-rank state space models beside dense ones, loops and scipy, on one thread of the processor.

Run ``python benchmarks/state_space.py``; ``--quick`` cuts the sizes, ``--only PART`` runs one part, and ``--json FILE``
also writes one JSON line per row. Four inputs and outputs. All ways take turns, and the fastest call counts. "outputs"
is a forward pass of ``LowRankSSM`` in float32, with the exponential of the table; "states" is ``run``, which also makes
all states. "a loop of low-rank steps" is what the transition costs step by step, O(n r) operations each. The dense scan
is that of ``DenseSSM``, the dense loop a product a step; scipy's ``dlsim`` takes one sequence in float64. The part
"training" adds the backward pass. All are compared with each other before they are timed.
"""

from collections.abc import Callable

import numpy as np
import torch
from _timing import Row, best_of_each, run_parts
from scipy.signal import dlsim
from torch import Tensor

from sparsetheory.gpu.representation import DenseSSM, LowRankSSM

_CHANNELS, _STEP = 4, 0.1
# Sequences, samples, states and rank.
_SIZES = ((1, 300, 16, 4), (16, 300, 64, 8), (1, 4096, 64, 8), (8, 1024, 256, 16))
_SMALL = ((1, 40, 16, 4),)
# What outputs must reach beside a dense loop, on sequences longer than this.
_TARGET, _LONG = 3.0, 1000


def _models(n: int, rank: int) -> tuple[DenseSSM, LowRankSSM]:
    """Return a dense model of ``-2 I`` plus a matrix of the rank, and its student, which is the same."""
    source = torch.Generator().manual_seed(0)
    left, right = torch.randn(2, n, rank, generator=source)
    A = left @ right.mT / n - 2 * torch.eye(n)
    B, C = torch.randn(n, _CHANNELS, generator=source), torch.randn(_CHANNELS, n, generator=source) / n**0.5
    return DenseSSM(A, B, C, _STEP), LowRankSSM.from_dense(A, B, C, rank, step=_STEP)


def _dense_loop(model: DenseSSM, x: Tensor) -> Tensor:
    transition, held = model.discretised()
    added, h, states = x @ held.mT, x.new_zeros(len(x), len(transition)), []
    for t in range(x.shape[1]):
        h = h @ transition.mT + added[:, t]
        states.append(h)
    return torch.stack(states, 1) @ model.C.mT


def _low_rank_loop(model: LowRankSSM, x: Tensor) -> Tensor:
    transition, added = model.transition(), x @ model.B.mT
    h, states = x.new_zeros(len(x), 1, len(model.U)), []
    for t in range(x.shape[1]):
        h = transition.apply(h) + added[:, t : t + 1]
        states.append(h)
    return torch.cat(states, 1) @ model.C.mT


def _scipy(model: DenseSSM, x: Tensor) -> Callable[[], Tensor]:
    transition, held = (part.detach().double().numpy() for part in model.discretised())
    C, direct = model.C.detach().double().numpy(), np.zeros((_CHANNELS, _CHANNELS))
    # It reads a state before the input that changes it, so outputs come a sample later.
    inputs = [np.vstack([one.double().numpy(), np.zeros((1, _CHANNELS))]) for one in x]

    def run() -> Tensor:
        outputs = [dlsim((transition, held, C, direct, _STEP), one)[1][1:] for one in inputs]
        return torch.from_numpy(np.stack(outputs)).float()

    return run


def _ways(size: tuple[int, int, int, int]) -> dict[str, Callable[[], Tensor]]:
    batch, length, n, rank = size
    dense, student = _models(n, rank)
    x = torch.randn(batch, length, _CHANNELS, generator=torch.Generator().manual_seed(1))
    return {
        "outputs": lambda: student(x),
        "states": lambda: student.run(x).outputs,
        "a loop of low-rank steps": lambda: _low_rank_loop(student, x),
        "the dense scan": lambda: dense(x),
        "a dense loop": lambda: _dense_loop(dense, x),
        "scipy's dlsim": _scipy(dense, x),
    }


def _checked(ways: dict[str, Callable[[], Tensor]]) -> None:
    exact = ways["a dense loop"]()
    for name, way in ways.items():
        if not torch.allclose(way(), exact, atol=1e-3 * float(exact.abs().max())):
            raise RuntimeError(f"{name} and a dense loop disagree")


def _rows(task: str, size: tuple[int, int, int, int], ways: dict[str, Callable[[], object]], quick: bool) -> list[Row]:
    seconds = dict(zip(ways, best_of_each(*ways.values(), repeats=2 if quick else 5), strict=True))
    words = "{} of {} samples, {} states, rank {}".format(*size)
    rows = []
    for name in [other for other in ways if other != "outputs"]:
        target = _TARGET if name == "a dense loop" and size[1] > _LONG else None
        rows.append(Row(f"{task}, {words}", name, seconds["outputs"], seconds[name], target))
    return rows


def bench_outputs(quick: bool) -> list[Row]:
    """Compare outputs without states with all other ways to compute them."""
    rows = []
    torch.set_num_threads(1)
    for size in _SMALL if quick else _SIZES:
        with torch.inference_mode():
            ways = _ways(size)
            _checked(ways)
            rows += _rows("outputs", size, dict(ways), quick)
    return rows


def _with_backward(way: Callable[[], Tensor]) -> Callable[[], None]:
    return lambda: way().square().mean().backward()


def bench_training(quick: bool) -> list[Row]:
    """Compare forward and backward passes."""
    rows = []
    torch.set_num_threads(1)
    for size in _SMALL if quick else _SIZES:
        ways = {name: _with_backward(way) for name, way in _ways(size).items() if "scipy" not in name}
        rows += _rows("training", size, dict(ways), quick)
    return rows


_PARTS: dict[str, Callable[[bool], list[Row]]] = {"outputs": bench_outputs, "training": bench_training}


if __name__ == "__main__":
    run_parts("State space models of low rank", __doc__, _PARTS)
