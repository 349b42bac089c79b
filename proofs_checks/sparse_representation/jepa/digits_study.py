"""What the penalty does to features and latents on digits, beside an untrained encoder and raw pixels."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.proofs_checks.sparse_representation.jepa.runs import digits_run
from sparsetheory.typing import Float64Array

_ALPHAS, _SEEDS, _QUICK = (0.0, 1.0, 1.5, 2.0, 2.5, 3.0), range(5), ((0.0, 2.0), range(1))
_COLUMNS = (
    "latents standardised",
    "alpha",
    "zero columns",
    "error of the prediction",
    "spread of the latents",
    "head on the encoder",
    "head on the latents",
    "untrained encoder",
    "raw pixels",
)


def _measured(alpha: float, seed: int, standardise: bool) -> list[float]:
    case = digits_run(alpha, seed, standardise)
    quadrants, run = case.data[0], case.run
    latents = run.latents(quadrants)
    return [
        run.zero_columns,
        float(run.losses[-20:].mean()),
        float(run.stacked_latents(quadrants).std(0).mean()),
        case.head(run.features(quadrants)),
        case.head(latents),
        case.head(run.features(quadrants, trained=False)),
        case.head(quadrants.flatten(1)),
    ]


def _plot(rows: list[tuple[Any, ...]]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        figure.set_size_inches(10, 4)
        left, right = figure.subplots(1, 2)
        for standardise, style in ((True, "o-"), (False, "s--")):
            chosen = [row for row in rows if row[0] is standardise]
            alphas = [row[1] for row in chosen]
            words = "latents standardised" if standardise else "latents free"
            left.plot(alphas, [row[2] for row in chosen], style, color="C0", label=f"zero columns, {words}")
            left.plot(alphas, [row[3] for row in chosen], style, color="C1", label=f"error, {words}")
            right.plot(alphas, [row[5] for row in chosen], style, color="C0", label=f"encoder, {words}")
            right.plot(alphas, [row[6] for row in chosen], style, color="C1", label=f"latents, {words}")
        right.axhline(rows[0][7], color="C2", ls=":", label="untrained encoder")
        right.axhline(rows[0][8], color="grey", ls=":", label="raw pixels")
        left.set_ylabel("share of columns; error of the prediction")
        right.set_ylabel("accuracy of a linear head on other digits")
        for ax in (left, right):
            ax.set_xlabel("strength alpha")
            ax.legend(fontsize=7)

    return draw


def _run(profile: str) -> StudyResult:
    alphas, seeds = _QUICK if profile == "quick" else (_ALPHAS, _SEEDS)
    rows: list[tuple[Any, ...]] = []
    for standardise in (True, False):
        for alpha in alphas:
            means: Float64Array = np.mean([_measured(alpha, seed, standardise) for seed in seeds], axis=0)
            rows.append((standardise, alpha, *(round(float(mean), 3) for mean in means)))
    free = [row for row in rows if not row[0]]
    notes = (
        f"Seeds: {len(seeds)}. From alpha 0 to {alphas[-1]:g} accuracy of heads on latents changes by "
        f"{rows[len(alphas) - 1][6] - rows[0][6]:+.3f} with standardised latents and by "
        f"{free[-1][6] - free[0][6]:+.3f} with free ones; the paper "
        "says that sparsity helps. An untrained encoder and raw pixels serve a head about as well as any trained one: "
        "these heads do not tell encoders apart. Where latents are free, their spread grows from "
        f"{free[0][4]:.2f} to {free[-1][4]:.2f}: they make up for the small columns."
    )
    return StudyResult(_COLUMNS, rows, notes, _plot(rows))


jepa_heads = Study(
    name="sparse_representation.jepa_heads",
    title="Sparse joint embedding prediction on digits",
    description="Linear heads on the encoder and on the latents of models with and without the penalty, for quadrants "
    "of digits.",
    run=_run,
)
