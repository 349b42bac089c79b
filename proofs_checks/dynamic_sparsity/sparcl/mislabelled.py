"""Claim about counts of forgetting: they tell wrong labels only if what is never learned counts as hard."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sparsetheory.gpu import core, dynamic
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread
from sparsetheory.proofs_checks.sparse_training.digits import shuffled_digits
from sparsetheory.proofs_checks.verdicts import WithProbability
from sparsetheory.typing import AnyArray

_EPOCHS, _BATCH, _TRAIN = 15, 64, 1257
_LEAST = 0.9


@dataclass(frozen=True, eq=False)
class Presentations:
    """Digits of which a share has a wrong label, shown 15 times to a network that learns them."""

    share: float
    seed: int

    @cached_property
    def _run(self) -> tuple[Any, AnyArray]:
        import torch

        x, y = (part[:_TRAIN] for part in shuffled_digits(self.seed))
        source = torch.Generator().manual_seed(self.seed)
        wrong = torch.randperm(_TRAIN, generator=source)[: round(self.share * _TRAIN)]
        y = y.clone()
        y[wrong] = (y[wrong] + torch.randint(1, 10, (len(wrong),), generator=source)) % 10
        model = core.models.MLP([64, 64, 10], generator=self.seed)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        counter = dynamic.ForgettingCounter(_TRAIN)
        with one_thread():
            for _ in range(_EPOCHS):
                for ids in torch.randperm(_TRAIN, generator=source).split(_BATCH):
                    logits = model(x[ids])
                    counter.observe(ids, logits, y[ids])
                    optimizer.zero_grad()
                    core.class_loss(logits, y[ids]).backward()
                    optimizer.step()
        return counter, np.isin(np.arange(_TRAIN), array(wrong))

    def area(self, what: str) -> float:
        """Return the probability that a wrong label has a larger score than a right one; ties count half."""
        from scipy import stats

        counter, wrong = self._run
        scores = array(getattr(counter, what))
        ranks = stats.rankdata(scores)
        n = int(wrong.sum())
        return float((ranks[wrong].sum() - n * (n + 1) / 2) / (n * (len(wrong) - n)))

    @property
    def unforgotten(self) -> float:
        """Share of all samples without a forgetting event."""
        return float((array(self._run[0].events) == 0).mean())


def _draw(rng: np.random.Generator, share: float) -> Presentations:
    return Presentations(share, int(rng.integers(2**31)))


def _scores(case: Presentations) -> Measurement:
    """Compare the area under the curve of the scores with 0.9; events alone and their share of zeros go along."""
    extras = {
        "events alone": case.area("events"),
        "presentations with a wrong answer": case.area("n_wrong"),
        "share without an event": case.unforgotten,
    }
    return Measurement(_LEAST, case.area("scores"), 1.0, extras)


def _events(case: Presentations) -> Measurement:
    """Expect it of the events alone, as if what is never learned were easy."""
    return Measurement(_LEAST, case.area("events"), 1.0)


forgetting_finds_wrong_labels = Claim(
    name="dynamic_sparsity.forgetting_finds_wrong_labels",
    summary="Counts of forgetting tell wrong labels from right ones because what is never learned counts as hardest; "
    "by forgetting events alone they cannot be told apart.",
    statement=r"P(s_{\text{wrong}} > s_{\text{right}}) > 0.9, \quad"
    r" s = \#\text{events, or } \#\text{presentations if never right}",
    source=Source.measured("digits, 15 presentations to a perceptron of 64 hidden units"),
    verdict=WithProbability(0.9, margin=0.25),
    evaluate=_scores,
    near_miss=_events,
    sweep=Sweep(
        axis="share of wrong labels",
        values=(0.02, 0.05, 0.1),
        draw=_draw,
        trials=25,
        quick_trials=13,
        quick_values=(0.05,),
        measured_label="0.9",
        bound_label="area under the curve of the scores",
        y_label="area under the curve",
    ),
)
