"""A decoder of characters that is trained further with ReLU and a penalty: how sparse it gets, and what that costs."""

import copy
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.verdicts import WithProbability

_WIDTH, _HIDDEN, _CONTEXT, _BATCH, _RATE = 32, 96, 32, 8, 2e-3
# Steps with SiLU, with ReLU, and with a penalty; its last strength, for the mean of all hidden activations of a layer.
_SMOOTH, _RECTIFIED, _PENALISED, _STRENGTH = 120, 40, 80, 0.6
# Peaks and ends of stages, as shares of the last ones.
_PEAKS, _ENDS = (1 / 30, 1 / 3, 1 / 3, 1.0, 1.0), (0.1, 0.4, 0.5, 0.8, 1.0)
_LEAST_RISE, _MOST_CHANGE, _THRESHOLDS = 0.1, 0.005, (0.05, 0.1)
_DATA = "docstrings of Python's standard library as characters, two gated layers of width 32"


@cache
def _corpus() -> tuple[Any, Any, int]:
    """Return characters to train on and to judge by, and how many there are."""
    import torch

    from sparsetheory.gpu import core

    text = core.datasets.load_characters()
    return torch.from_numpy(text.calibration), torch.from_numpy(text.held_out), len(text.alphabet)


def _windows(text: Any, n: int, source: Any) -> tuple[Any, Any]:
    """Return windows of a text, and the characters that follow each position."""
    import torch

    starts = torch.randint(len(text) - _CONTEXT - 1, (n, 1), generator=source)
    windows = text[starts + torch.arange(_CONTEXT + 1)]
    return windows[:, :-1], windows[:, 1:]


def _trained(model: Any, n_steps: int, source: Any, alpha: Any = None) -> Any:
    """Train a copy of a model by AdamW, with a penalty on hidden activations where there is a strength."""
    import torch

    from sparsetheory.gpu import activations, core

    model = copy.deepcopy(model)
    x, y = _windows(_corpus()[0], n_steps * _BATCH, source)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE)
    penalty = None if alpha is None else activations.ActivationPenalty(optimizer, model, alpha)

    def loss(output: Any, targets: Any) -> Any:
        value = core.class_loss(output, targets)
        return value if penalty is None else value + penalty.term()

    with one_thread():
        core.train(model, x, y, optimizer=optimizer, n_steps=n_steps, batch_size=_BATCH, loss=loss, generator=source)
    if penalty is not None:
        penalty.remove()
    return model


@cache
def _rectified(seed: int) -> Any:
    """Return a model trained with SiLU, then with ReLU."""
    import torch

    from sparsetheory.gpu import activations, core

    source = torch.Generator().manual_seed(seed)
    sizes: dict[str, Any] = {"width": _WIDTH, "hidden": _HIDDEN, "context": _CONTEXT}
    model = _trained(core.models.CharacterDecoder(_corpus()[2], **sizes, generator=seed), _SMOOTH, source)
    activations.relufy(model)
    return _trained(model, _RECTIFIED, source)


@cache
def _further(seed: int, strength: float | None, *, stages: bool = True, n_steps: int = _PENALISED) -> Any:
    """Train further without penalty, with a constant one, or with one that grows in stages, on the same batches."""
    import torch

    from sparsetheory.gpu.activations import sine_stage_schedule

    alpha: Any = strength
    if strength is not None and stages:
        ends = [round(end * n_steps) for end in _ENDS]
        alpha = sine_stage_schedule([strength * peak for peak in _PEAKS], ends)
    return _trained(_rectified(seed), n_steps, torch.Generator().manual_seed(seed + 1), alpha)


def _judged(model: Any, x: Any, y: Any, threshold: float = 0.0) -> tuple[float, float]:
    """Return the loss in nats per character, and the share of zeros, with a threshold in place of ReLU."""
    import torch

    from sparsetheory.gpu import activations, core

    model = copy.deepcopy(model)
    activations.relufy(model, old=(activations.FATReLU,), new=partial(activations.FATReLU, threshold))
    with torch.no_grad(), one_thread():
        loss = float(core.class_loss(model(x), y))
        return loss, 1.0 - float(np.mean(list(core.activation_ratio(model, [x]).values())))


@dataclass(frozen=True, eq=False)
class Texts:
    """A seed of training, and one of the texts to judge by."""

    seed: int
    texts: int

    @cached_property
    def windows(self) -> tuple[Any, Any]:
        """Texts that the models have not seen."""
        import torch

        return _windows(_corpus()[1], 64, torch.Generator().manual_seed(self.texts))

    def judge(self, strength: float | None, threshold: float = 0.0) -> tuple[float, float]:
        """Return loss and share of zeros of a model trained further."""
        return _judged(_further(self.seed, strength), *self.windows, threshold)


def _penalised(case: Texts, thresholds: tuple[float, ...] = _THRESHOLDS) -> Measurement:
    """Compare shares of zeros with and without penalty, then losses and zeros as thresholds grow."""
    plain, (loss, zeros) = case.judge(None), case.judge(_STRENGTH)
    found = Measurement(plain[1] + _LEAST_RISE, zeros, 1.0)
    cut = [case.judge(_STRENGTH, t) for t in thresholds]
    found = found.and_chain({"loss change": max(abs(each[0] - loss) for each in cut), "at most": _MOST_CHANGE})
    shares = {f"zeros, threshold {t:g}": each[1] for t, each in zip(thresholds, cut, strict=True)}
    return found.and_chain({"zeros": zeros, **shares})


def _large_thresholds(case: Texts) -> Measurement:
    """Expect a threshold of 1 to change as little."""
    return _penalised(case, (1.0,))


penalised_characters = Claim(
    name="activation_sparsity.penalised_characters",
    summary="The penalty adds ten points of zeros or more; a small threshold then adds some and costs next to none.",
    statement=r"z_{\lambda} \ge z_0 + 0.1, \quad |\ell(\mathrm{FATReLU}_t) - \ell(\mathrm{ReLU})| \le 0.005"
    r" \text{ nats for } t \le 0.1",
    source=Source.measured(_DATA),
    verdict=WithProbability(0.6, margin=0.25),
    evaluate=_penalised,
    near_miss=_large_thresholds,
    sweep=Sweep(
        axis="seed of training",
        values=(0, 1, 2, 3),
        draw=lambda rng, seed: Texts(int(seed), int(rng.integers(2**31))),
        trials=12,
        quick_trials=11,
        quick_values=(0,),
        measured_label="zeros without penalty + 0.1",
        bound_label="zeros with penalty",
        y_label="share of hidden activations; nats",
    ),
)


_COLUMNS = (
    "seed",
    "strength",
    "loss, constant",
    "zeros, constant",
    "loss, stages",
    "zeros, stages",
    "stages - constant",
)
_STRENGTHS = (0.05, 0.2, 0.6, 1.8)
_NOTES = (
    "The last column is the loss with stages minus that with a constant strength at the same share of zeros, "
    "interpolated over strengths: above zero where stages are worse. It is empty beyond the constant strengths."
)


def _stages_or_constant(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_COLUMNS)
    rows: list[tuple[Any, ...]] = []
    for seed in range(5):
        windows = Texts(seed, 0).windows
        curves = [
            [_judged(_further(seed, s, stages=stages, n_steps=3 * _PENALISED), *windows) for s in _STRENGTHS]
            for stages in (False, True)
        ]
        constant = np.array(curves[0])
        for strength, (loss, zeros), (other_loss, other_zeros) in zip(_STRENGTHS, *curves, strict=True):
            inside = constant[0, 1] <= other_zeros <= constant[-1, 1]
            matched = float(np.interp(other_zeros, constant[:, 1], constant[:, 0]))
            cells = (loss, zeros, other_loss, other_zeros, other_loss - matched)
            rounded = [round(float(cell), 4) for cell in cells]
            rows.append((seed, strength, *(rounded if inside else [*rounded[:-1], ""])))
    return StudyResult(_COLUMNS, rows, _NOTES, partial(_draw_curves, rows))


def _draw_curves(rows: list[tuple[Any, ...]], figure: Any) -> None:
    ax = figure.add_subplot()
    for seed in sorted({row[0] for row in rows}):
        chosen = [row for row in rows if row[0] == seed]
        for column, style, name in ((2, "o-", "constant"), (4, "s--", "stages")):
            zeros, losses = [row[column + 1] for row in chosen], [row[column] for row in chosen]
            ax.plot(zeros, losses, style, color=f"C{seed}", label=name if seed == 0 else None)
    ax.set_xlabel("share of zeros")
    ax.set_ylabel("loss, nats per character")
    ax.legend(fontsize=8)


stages_or_constant = Study(
    name="activation_sparsity.stages_or_constant",
    title="ProSparse: does a penalty that grows in stages cost less than a constant one?",
    description=f"Measured on {_DATA}: losses at matched shares of zeros, for several strengths.",
    run=_stages_or_constant,
)
