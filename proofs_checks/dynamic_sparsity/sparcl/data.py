"""Claims about the data of a continual learner: what is counted as forgotten, what is removed, what is stored."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import dynamic
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import BoolArray, Float64Array, Int64Array

_PAPER = "Wang et al., SparCL: Sparse Continual Learning on the Edge, NeurIPS 2022"
_TONEVA = "Toneva et al., An Empirical Study of Example Forgetting during Deep Neural Network Learning, ICLR 2019"


def _answers() -> st.SearchStrategy[BoolArray]:
    """Return a strategy of answers, right or wrong: presentations x samples."""
    return st.builds(
        lambda seed, shape, share: np.random.default_rng(seed).random(shape) < share,
        seeds,
        st.tuples(st.integers(1, 12), st.integers(1, 4)),
        st.sampled_from([0.0, 0.3, 0.5, 0.8, 1.0]),
    )


def _counted(answers: BoolArray) -> Any:
    counter = dynamic.ForgettingCounter(answers.shape[1])
    for right in answers:
        counter.update(tensor(np.arange(right.size)), tensor(right))
    return counter


def _words(answers: BoolArray) -> list[str]:
    return ["".join("1" if right else "0" for right in column) for column in answers.T]


def _counter(answers: BoolArray) -> Measurement:
    """Compare events, first lessons and scores with those read from the answers as words.

    An event is the word "10"; the first lesson is the place of the first "1"; a word without "1" scores its length.
    """
    counter, words = _counted(answers), _words(answers)
    events, learned, scores = (array(part) for part in (counter.events, counter.first_learned, counter.scores))
    # Words like these do not overlap themselves, so that counting them one after the other finds all.
    wanted = [(w.count("10"), w.find("1"), w.count("10") if "1" in w else len(w)) for w in words]
    wrong = sum(
        found != tuple(want) for found, want in zip(zip(events, learned, scores, strict=True), wanted, strict=True)
    )
    return Measurement(float(wrong), 0.0, 1.0)


def _lessons(answers: BoolArray) -> Measurement:
    """Count how often a sample is learned again instead."""
    events = array(_counted(answers).events)
    return Measurement(
        float(sum(e != word.count("01") for e, word in zip(events, _words(answers), strict=True))), 0.0, 1.0
    )


forgetting_counter = Claim(
    name="dynamic_sparsity.forgetting_counter",
    summary="Right, wrong, right, wrong, wrong, right has two forgetting events; never right counts as hardest.",
    statement=r"s_i = \#\{t : a_i(t) = 1,\ a_i(t+1) = 0\}, \text{ and the number of presentations if } a_i = 0",
    source=Source(_TONEVA, "definition of forgetting events"),
    verdict=Always(rtol=0.0),
    instances=_answers,
    evaluate=_counter,
    near_miss=_lessons,
)


@dataclass(frozen=True, eq=False)
class Lessons:
    """Samples of two classes with margins at some presentations, and how many are to be removed in how many parts."""

    margins: Float64Array
    n_remove: int
    n_parts: int

    def removals(self) -> list[tuple[Int64Array, Int64Array, Int64Array]]:
        """Return the scores of all samples before each removal, what it removed, and what it kept."""
        n = self.margins.shape[1]
        labels = np.arange(n) % 2
        removal = dynamic.DataRemoval(tensor(labels), self.n_remove, range(1, self.n_parts + 1))
        found = []
        for epoch in range(1, self.n_parts + 1):
            kept = array(removal.kept)
            for margin in self.margins:
                logits = np.where(np.eye(2, dtype=bool)[labels], margin[:, None], 0.0)
                removal.observe(tensor(kept), tensor(logits[kept]))
            scores = array(removal.counter.scores)
            found.append((scores, array(removal.begin_epoch(epoch)), array(removal.kept)))
        return found


@st.composite
def _lessons_of(draw: st.DrawFn) -> Lessons:
    rng, n = np.random.default_rng(draw(seeds)), draw(st.integers(8, 20))
    values = rng.standard_normal((draw(st.integers(2, 6)), n)) + draw(st.sampled_from([-0.5, 0.5, 1.5]))
    if draw(st.booleans()):
        values = np.sign(values)
    # Fewer than there are samples of a class, so that none is left empty.
    return Lessons(values, draw(st.integers(0, n // 2 - 1)), draw(st.integers(1, 4)))


def _removal(case: Lessons) -> Measurement:
    """Count removed samples with a larger score than a kept one, and by how much the sum is wrong."""
    found = case.removals()
    wrong = sum(int((scores[gone] > scores[kept].min()).sum()) for scores, gone, kept in found)
    total = sum(len(gone) for _, gone, _ in found)
    return Measurement(float(wrong + abs(total - case.n_remove)), 0.0, 1.0)


def _by_margin(case: Lessons) -> Measurement:
    """Remove the samples of the largest mean margins: the most certain ones."""
    scores = array(_counted(case.margins > 0).scores)
    order = np.argsort(-case.margins.mean(0), kind="stable")
    gone, kept = order[: case.n_remove], order[case.n_remove :]
    return Measurement(float((scores[gone] > scores[kept].min()).sum()), 0.0, 1.0)


data_removal = Claim(
    name="dynamic_sparsity.data_removal",
    summary="Removals add up to what was asked for; none that goes was forgotten more often than one that stays.",
    statement=r"\sum_k |R_k| = n_{\text{remove}}, \quad \max_{R_k} s \le \min_{\text{kept}} s",
    source=Source(_PAPER, "dynamic data removal", "2209.09476", "authors' code"),
    verdict=Always(rtol=0.0),
    instances=_lessons_of,
    evaluate=_removal,
    near_miss=_by_margin,
)


@dataclass(frozen=True, eq=False)
class Stream:
    """A stream of numbers in batches, a capacity and a seed."""

    sizes: tuple[int, ...]
    capacity: int
    seed: int

    def stored(self) -> list[int]:
        """Return what the buffer holds at the end."""
        buffer, start = dynamic.ReplayBuffer(self.capacity, self.seed), 0
        for size in self.sizes:
            ids = tensor(np.arange(start, start + size))
            buffer.add(ids, ids)
            start += size
        held = buffer.stored
        return [] if held is None else [int(one) for one in held.inputs]

    def one_by_one(self, *, at_once: bool = False) -> list[int]:
        """Return what Vitter's algorithm R holds, with the same random numbers."""
        import torch

        source, start = torch.Generator().manual_seed(self.seed), 0
        held: list[int] = []
        for size in self.sizes:
            for one in range(start, start + size):
                if len(held) < self.capacity:
                    held.append(one)
                    continue
                drawn = float(torch.rand((), dtype=torch.float64, generator=source))
                # A batch that is compared with the length of the stream before it comes in too often.
                place = int(drawn * ((start if at_once else one) + 1))
                if place < self.capacity:
                    held[place] = one
            start += size
        return held


def _streams() -> st.SearchStrategy[Stream]:
    sizes = st.lists(st.integers(0, 9), min_size=1, max_size=6).map(tuple)
    return st.builds(Stream, sizes, st.integers(1, 8), seeds)


def _reservoir(case: Stream) -> Measurement:
    """Compare the buffer with a reservoir that takes one sample after the other.

    There the t-th sample takes a random one of t places if the buffer has it, which has the probability k / t; by
    induction each of t samples is stored with the probability k / t. The cut into batches does not matter.
    """
    return Measurement(float(case.stored() != case.one_by_one()), 0.0, 1.0)


def _batches_at_once(case: Stream) -> Measurement:
    """Give all samples of a batch the probability of its first one."""
    return Measurement(float(case.stored() != case.one_by_one(at_once=True)), 0.0, 1.0)


replay_reservoir = Claim(
    name="dynamic_sparsity.replay_reservoir",
    summary="A replay buffer holds what a reservoir holds that takes the samples one by one, whatever the batches.",
    statement=r"\text{buffer}(x_1, \dots, x_t) = R(x_1, \dots, x_t), \quad P(x_s \in R) = k/t \text{ for all } s \le t",
    source=Source.classic("Vitter 1985", "reservoir sampling, algorithm R"),
    verdict=Always(rtol=0.0),
    instances=_streams,
    evaluate=_reservoir,
    near_miss=_batches_at_once,
)
