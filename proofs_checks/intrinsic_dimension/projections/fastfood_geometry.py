"""Claims about lengths and angles of the columns of fastfood projections."""

import numpy as np

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.intrinsic_dimension.projections.kinds import Case
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array
from sparsetheory.proofs_checks.verdicts import WithProbability

_COLUMNS = 40


def _drawn(rng: np.random.Generator, D: float) -> Case:
    return Case("fastfood", _COLUMNS, int(D), int(rng.integers(2**31)))


def _lengths(case: Case) -> Measurement:
    norms = array(case.map.column_norms())
    return Measurement(float(np.abs(norms - 1).max()), 5 / np.sqrt(case.D))


fastfood_lengths = Claim(
    name="intrinsic_dimension.fastfood_lengths",
    summary="Cut to D entries, the columns of a fastfood projection have length one within five over the root of D.",
    statement=r"\max_{j \le 40} \bigl|\|P e_j\| - 1\bigr| \le 5 / \sqrt{D}",
    source=Source.measured("lengths of columns"),
    verdict=WithProbability(0.99, margin=0.15),
    evaluate=_lengths,
    near_miss=0.05,
    sweep=Sweep(
        axis="dimensions",
        values=(50.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0),
        quick_values=(50.0, 300.0, 3000.0),
        draw=_drawn,
        trials=200,
        quick_trials=40,
        log="xy",
        measured_label="largest deviation of 40 lengths from one",
    ),
)


def _cosines(case: Case) -> Measurement:
    normalised = case.matrix / np.linalg.norm(case.matrix, axis=0)
    cosines = np.abs(normalised.T @ normalised - np.eye(case.d))
    return Measurement(float(cosines.max()), 2 * np.sqrt(2 * np.log(case.d**2) / case.D))


fastfood_angles = Claim(
    name="intrinsic_dimension.fastfood_angles",
    summary="The columns of a fastfood projection are nearly orthogonal, as random directions are.",
    statement=r"\max_{j \ne k \le d} |\cos(P e_j, P e_k)| \le 2 \sqrt{2 \ln d^2 / D}, \quad d = 40",
    source=Source.measured("angles between columns"),
    verdict=WithProbability(0.99, margin=0.15),
    evaluate=_cosines,
    near_miss=0.4,
    sweep=Sweep(
        axis="dimensions",
        values=(50.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0),
        quick_values=(50.0, 300.0, 3000.0),
        draw=_drawn,
        trials=200,
        quick_trials=40,
        log="xy",
        measured_label="largest cosine of 40 columns",
    ),
)
