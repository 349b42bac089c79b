"""Claim about a sparse JEPA on quadrants of digits: columns vanish, and the encoder stays as good as it was."""

import numpy as np

from sparsetheory.proofs_checks.claim import Claim, Measurement, Reversed, Source, Sweep
from sparsetheory.proofs_checks.sparse_representation.jepa.runs import DigitsRun, digits_run
from sparsetheory.proofs_checks.verdicts import WithProbability

_SHARE, _LOSS = 0.3, 0.03


def _draw(rng: np.random.Generator, alpha: float) -> DigitsRun:
    return digits_run(alpha, int(rng.integers(2**31)))


def _sparse(case: DigitsRun) -> Measurement:
    """Compare the share of zero columns with 0.3, and what a linear head loses with 0.03.

    An untrained encoder serves the head as well as any of them, see the study: this says that the penalty does no harm.
    """
    dense = digits_run(0.0, case.seed)
    quadrants = case.data[0]
    heads = [one.head(one.run.features(quadrants)) for one in (dense, case)]
    found = Measurement(_SHARE, case.run.zero_columns, scale=1.0)
    return found.and_chain({"loss of the head": abs(heads[0] - heads[1]), "0.03": _LOSS})


jepa_columns = Claim(
    name="sparse_representation.jepa_columns",
    summary="On digits 3 of 10 columns vanish or more, and a head on the encoder is within 0.03 of the dense one.",
    statement=r"\alpha \ge 2: \quad |\{(g, j): W_{g,j} = 0\}| \ge 0.3\, G m, \quad"
    r" |\mathrm{acc}_\alpha - \mathrm{acc}_0| \le 0.03",
    source=Source.measured("digits in four quadrants, two of them visible; encoders of 16, 32 and 16 units, 150 steps"),
    verdict=WithProbability(0.9, margin=0.55),
    evaluate=_sparse,
    near_miss=Reversed(),
    sweep=Sweep(
        axis="strength alpha",
        values=(2.0, 2.5, 3.0),
        draw=_draw,
        trials=12,
        quick_trials=5,
        quick_values=(2.0,),
        measured_label="0.3",
        bound_label="share of zero columns",
        y_label="share",
    ),
)
