"""Claims about the pruned keys and values of a sentence encoder. Nobody has proved them; they were measured."""

from dataclasses import dataclass, replace

import numpy as np

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.sparse_attention.cache.pruned_models import N_TEXTS, cosines
from sparsetheory.proofs_checks.verdicts import WithProbability
from sparsetheory.typing import IndexArray

_WHERE = "all layers of the MiniLM encoder, cosine of embeddings, half of 28 texts in each trial"


@dataclass(frozen=True, eq=False)
class Sample:
    """Some of the texts, and how much is pruned."""

    sparsity: float
    texts: IndexArray

    def cosine(self, k: bool, v: bool, *, structured: bool = False, rotated: bool = False) -> float:
        """Return the mean cosine of the texts."""
        found = cosines(self.sparsity * k, self.sparsity * v, structured=structured, rotated=rotated)
        return float(found[self.texts].mean())


def _sample(rng: np.random.Generator, sparsity: float) -> Sample:
    return Sample(sparsity, rng.choice(N_TEXTS, N_TEXTS // 2, replace=False))


def _unstructured(sample: Sample) -> Measurement:
    """Compare both ways to prune keys, values and both; the case in which they are closest decides."""
    cases = {"keys": (True, False), "values": (False, True), "both": (True, True)}
    single = {name: sample.cosine(*case) for name, case in cases.items()}
    whole = {name: sample.cosine(*case, structured=True) for name, case in cases.items()}
    found = Measurement.worst([whole[name] + 0.05 for name in cases], [single[name] for name in cases], scale=1.0)
    curves = {f"{name}, {way}": of[name] for name in cases for way, of in (("entries", single), ("channels", whole))}
    return replace(found, extras=curves)


def _channels_are_as_good(sample: Sample) -> Measurement:
    """Expect whole channels of keys to cost no more than single entries."""
    return Measurement(sample.cosine(True, False), sample.cosine(True, False, structured=True), scale=1.0)


cache_encoder = Claim(
    name="sparse_attention.cache_encoder",
    summary="Pruning entries of each token keeps embeddings closer than pruning as many channels, by 0.05 of a cosine.",
    statement=r"\cos(\text{dense}, \text{channels}) + 0.05 \le \cos(\text{dense}, \text{entries of each token})"
    r" \quad \text{for keys, values and both}",
    source=Source.measured(f"whole channels cost more, as Joo et al. (2025, 2505.22913) say; {_WHERE}"),
    verdict=WithProbability(0.9),
    evaluate=_unstructured,
    near_miss=_channels_are_as_good,
    sweep=Sweep(
        axis="sparsity",
        values=(0.5, 0.7),
        draw=_sample,
        trials=40,
        quick_trials=21,
        quick_values=(0.5,),
        measured_label="channels, and 0.05",
        bound_label="entries of each token",
        y_label="cosine with dense embeddings, closest case",
    ),
)


def _rotated(sample: Sample) -> Measurement:
    """Compare keys pruned in the coordinates of their second moments with keys pruned as they are."""
    plain, turned = sample.cosine(True, False), sample.cosine(True, False, rotated=True)
    return Measurement(plain + 0.02, turned, scale=1.0, extras={"as they are": plain})


def _any_coordinates_do(sample: Sample) -> Measurement:
    """Expect the coordinates of the model to be as good as any."""
    return Measurement(sample.cosine(True, False, rotated=True), sample.cosine(True, False), scale=1.0)


cache_rotation = Claim(
    name="sparse_attention.cache_rotation",
    summary="Keys lose less if they are pruned in the coordinates in which other texts have few large entries.",
    statement=r"\cos(\text{dense}, \tilde K) + 0.02 \le \cos(\text{dense}, \widetilde{K R} R^\top), \quad"
    r" R = \text{eigenvectors of}\ \textstyle\sum k k^\top",
    source=Source.measured(f"rotation of each head before pruning at 70 %, made on 28 other texts; {_WHERE}"),
    verdict=WithProbability(0.9),
    evaluate=_rotated,
    near_miss=_any_coordinates_do,
    sweep=Sweep(
        axis="sparsity",
        values=(0.7,),
        draw=_sample,
        trials=40,
        quick_trials=21,
        measured_label="as they are, and 0.02",
        bound_label="rotated",
        y_label="cosine with dense embeddings",
    ),
)
