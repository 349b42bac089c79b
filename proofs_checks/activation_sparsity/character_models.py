"""Claim about the sparsity that a rise of perplexity allows, on decoders over characters."""

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from sparsetheory.gpu import activations, core
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.verdicts import WithProbability

__all__ = ["character_decoder", "held_out_batch"]

_STEPS, _BATCH, _CONTEXT, _ROWS = 150, 16, 64, 16
_KINDS = ("silu", "relu")
_WITHIN = 2e-3


@cache
def character_decoder(kind: str, seed: int, n_steps: int = _STEPS) -> Any:
    """Return a decoder of two gated layers with 160 neurons each, trained on docstrings of Python's library.

    Parameters
    ----------
    kind : {"silu", "relu"}
        Activation of the gates.
    seed : int
    n_steps : int
        Steps of AdamW with rate 2e-3 on batches of 16 texts of 64 characters.
    """
    import torch

    text = core.datasets.load_characters()
    model = core.models.CharacterDecoder(len(text.alphabet), activation=kind, generator=seed)
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, len(text.calibration) - _CONTEXT, n_steps * _BATCH)
    windows = torch.from_numpy(text.calibration[starts[:, None] + np.arange(_CONTEXT + 1)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    with one_thread():
        core.train(
            model, windows[:, :-1], windows[:, 1:], optimizer=optimizer, n_steps=n_steps, batch_size=_BATCH, generator=0
        )
    return model.eval()


def held_out_batch(start: int, rows: int = _ROWS) -> Any:
    """Return held-out characters from a place on, as one batch of texts of 64."""
    import torch

    text = core.datasets.load_characters().held_out
    return torch.from_numpy(text[start : start + rows * _CONTEXT].reshape(rows, _CONTEXT))


@dataclass(frozen=True, eq=False)
class Sparsified:
    """A decoder and a text, with the fewest neurons that a rise of perplexity by p percent, or p / 5, allows."""

    kind: str
    seed: int
    start: int
    p: float

    @cached_property
    def wide(self) -> "activations.PplSparsity":
        """What p percent allow."""
        return self._found(self.p)

    @cached_property
    def narrow(self) -> "activations.PplSparsity":
        """What a fifth of that allows."""
        return self._found(self.p / 5)

    def _found(self, p: float) -> "activations.PplSparsity":
        with one_thread():
            return activations.ppl_sparsity(
                character_decoder(self.kind, self.seed), [held_out_batch(self.start)], p, tol=1e-5
            )

    @cached_property
    def zeros(self) -> float:
        """Share of neurons that are exactly zero in the dense model."""
        with one_thread():
            hidden = activations.hidden_activations(
                character_decoder(self.kind, self.seed), [held_out_batch(self.start)]
            )
        return float(np.mean([float((h == 0).double().mean()) for h, _ in hidden.values()]))


def _draw(pool: int) -> Any:
    def draw(rng: np.random.Generator, p: float) -> Sparsified:
        last = len(core.datasets.load_characters().held_out) - _ROWS * _CONTEXT
        return Sparsified(_KINDS[rng.integers(2)], int(rng.integers(pool)), int(rng.integers(last)), p)

    return draw


def _sparser(case: Sparsified) -> Measurement:
    """Check the perplexity that is reached, that more of it buys sparsity, and that zeros count as left out."""
    missed = max(abs(found.ppl_ratio - 1 - p / 100) for found, p in ((case.wide, case.p), (case.narrow, case.p / 5)))
    found = Measurement(missed, _WITHIN, scale=1.0)
    found = found.and_chain({"active, p": case.wide.active_ratio + 1e-9, "active, p / 5": case.narrow.active_ratio})
    return found.and_chain({"exact zeros": case.zeros, "left out, p / 5": 1 - case.narrow.active_ratio})


def _costs_nothing(case: Sparsified) -> Measurement:
    """Expect a fifth of the rise to allow the same sparsity."""
    return Measurement(case.narrow.active_ratio, case.wide.active_ratio)


ppl_sparsity_grows = Claim(
    name="activation_sparsity.ppl_sparsity_grows",
    summary="The more perplexity may rise, the fewer neurons are needed, and the rise that was asked for is reached.",
    statement=r"a(p) < a(p / 5) < 1, \quad |\text{PPL} / \text{PPL}_0 - 1 - p| \le 0.002",
    source=Source.measured(
        "decoders over characters, two gated layers of 160 neurons, SiLU and ReLU, 1024 held-out characters; ReLU "
        "decoders leave out at least their exact zeros, but are not sparser than SiLU ones by this measure"
    ),
    verdict=WithProbability(0.8, margin=0.2),
    evaluate=_sparser,
    near_miss=_costs_nothing,
    sweep=Sweep(
        axis="allowed rise of perplexity p, in percent",
        values=(2.5, 5.0, 10.0),
        draw=_draw(1),
        trials=24,
        quick_trials=10,
        quick_values=(5.0,),
        log="y",
        measured_label="distance of the rise from p",
        bound_label="0.002",
        y_label="shares",
    ),
)
