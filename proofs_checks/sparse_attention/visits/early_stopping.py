"""Claims about attention that stops visiting keys: what is exact, what is bounded, and what is not."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import attention
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.sparse_attention.visits.kept_blocks import dense_outputs
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import BoolArray, Float64Array

_ROUNDING = 1e-12
_KINDS = ("gaussian", "copies", "hidden key")


@dataclass(frozen=True)
class Walk:
    """Causal or full attention of one head, with any order of the history of each segment.

    Keys are Gaussian, or few that are repeated, or all zero but the last one, which has nearly all of the mass.
    """

    n: int
    segment: int
    block: tuple[int, int]
    causal: bool
    kind: str
    size: float
    seed: int

    @cached_property
    def arrays(self) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Queries, keys and values."""
        rng = np.random.default_rng(self.seed)
        q, k, v = rng.standard_normal((3, self.n, 4))
        q *= self.size
        if self.kind == "copies":
            k = k[rng.integers(min(2, self.n), size=self.n)]
        if self.kind == "hidden key":
            q, k = np.tile([1.0, 0.0, 0.0, 0.0], (self.n, 1)), np.zeros((self.n, 4))
            k[-1, 0] = 40.0
        return q, k, v

    @cached_property
    def order(self) -> Any:
        """A random order of each history and of the queries of each segment."""
        rng = np.random.default_rng([self.seed, 1])
        starts = range(0, self.n, self.segment)
        keys = [rng.permutation(start if self.causal else self.n) for start in starts]
        queries = [rng.permutation(min(self.segment, self.n - start)) for start in starts]
        return attention.VisitOrder(self.segment, tuple(map(tensor, keys)), tuple(map(tensor, queries)))

    @cached_property
    def scores(self) -> Float64Array:
        """Scores of all pairs; minus infinity for later keys of causal attention."""
        q, k, _ = self.arrays
        scores: Float64Array = q @ k.T / 2
        return np.where(np.triu(np.ones_like(scores), 1) > 0, -np.inf, scores) if self.causal else scores

    @property
    def scale(self) -> float:
        """What rounding is relative to."""
        finite = np.abs(self.scores[np.isfinite(self.scores)]).max()
        return float((1 + finite) * (1 + np.abs(self.arrays[2]).max()))

    def run(self, order: Any = None, gain_tol: float | None = None, max_dropped: float | None = None) -> Any:
        """Return the attention that stops by the rules."""
        q, k, v = (tensor(part[None]) for part in self.arrays)
        given = self.order if order is None else order
        return attention.early_stop_attention(q, k, v, given, gain_tol, max_dropped, self.block, self.causal)

    def visited(self, stop: Any, order: Any = None) -> BoolArray:
        """Return the pairs that were visited, tile by tile."""
        given = self.order if order is None else order
        pairs = np.zeros((self.n, self.n), dtype=bool)
        counts = iter(array(stop.blocks_visited)[0])
        for number, start in enumerate(range(0, self.n, self.segment)):
            end = min(start + self.segment, self.n)
            keys = array(given.keys[number]).reshape(-1)
            queries = np.arange(end - start) if given.queries is None else array(given.queries[number]).reshape(-1)
            for first in range(0, end - start, self.block[0]):
                rows = start + queries[first : first + self.block[0]]
                pairs[np.ix_(rows, keys[: next(counts) * self.block[1]])] = True
                if self.causal:
                    pairs[rows, start:end] = True
        return pairs & np.isfinite(self.scores)

    def dropped(self, pairs: BoolArray) -> Float64Array:
        """Return the mass of each query outside pairs."""
        weight = np.exp(self.scores - self.scores.max(1, keepdims=True))
        mass: Float64Array = np.where(pairs, 0.0, weight).sum(1) / weight.sum(1)
        return mass


def _walks(**fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[Walk]:
    drawn: dict[str, st.SearchStrategy[Any]] = {
        "n": st.integers(1, 20),
        "segment": st.integers(4, 9),
        "block": st.tuples(st.integers(1, 5), st.integers(1, 5)),
        "causal": st.booleans(),
        "kind": st.sampled_from(_KINDS),
        "size": st.sampled_from([0.1, 2.0, 40.0]),
        "seed": st.integers(0, 2**32 - 1),
    }
    return st.builds(Walk, **(drawn | fixed))


def _distance(walk: Walk, gain_tol: float | None = None) -> Measurement:
    out = array(walk.run(gain_tol=gain_tol).out)[0]
    expected = dense_outputs(walk.scores, walk.arrays[2])
    return Measurement(float(np.abs(out - expected).max()), 0.0, scale=walk.scale)


def _never(walk: Walk) -> Measurement:
    """Give no rule, or a tolerance of zero: the worse one counts."""
    return max(_distance(walk), _distance(walk, gain_tol=0.0), key=lambda found: found.measured)


def _some_gain(walk: Walk) -> Measurement:
    """Stop at a gain of a tenth."""
    return _distance(walk, gain_tol=0.1)


never_stopping = Claim(
    name="sparse_attention.never_stopping",
    summary="Attention that never stops is dense attention, in whatever order keys and queries are visited.",
    statement=r"\tau \le 0 \;\Rightarrow\; o_i = \sum_{j \le i} \mathrm{softmax}(s_i)_j\, v_j"
    r" \quad \text{for every permutation of the history}",
    source=Source.ours("an online softmax does not depend on the order of keys"),
    verdict=Always(rtol=_ROUNDING),
    instances=_walks,
    evaluate=_never,
    near_miss=_some_gain,
)


def _falling(walk: Walk) -> Any:
    """Return the order of falling scores of each query: blocks of one query, so masses of blocks fall."""
    order = np.argsort(-walk.scores, axis=1, kind="stable")
    return attention.VisitOrder(1, tuple(map(tensor, order)))


def _by_gain(walk: Walk, *, sorted_keys: bool = True) -> Measurement:
    """Compare the true dropped mass with the bound at the gain of the last block, and at the tolerance."""
    tol = 0.2
    order = _falling(walk) if sorted_keys else attention.VisitOrder(1, (tensor(np.arange(walk.n)),) * walk.n)
    stop = walk.run(order, gain_tol=tol)
    dropped = walk.dropped(walk.visited(stop, order))
    left = stop.blocks_left[0].double()
    at_gain = array(attention.monotone_gain_bound(stop.gain[0], left))
    at_tol = array(attention.monotone_gain_bound(tol + 0 * left, left))
    measured = Measurement.worst(dropped, at_gain, scale=1.0)
    values = walk.arrays[2]
    error = np.linalg.norm(array(stop.out)[0] - dense_outputs(walk.scores, values), axis=1)
    diameter = np.linalg.norm(values[:, None] - values[None], axis=2).max()
    loosest = int(np.argmax(at_gain - at_tol))
    worst = int(np.argmax(error - at_gain * diameter))
    return measured.and_chain(
        {"bound at the gain": float(at_gain[loosest]), "bound at the tolerance": float(at_tol[loosest])}
    ).and_chain({"error": float(error[worst]), "bound times diameter": float(at_gain[worst] * diameter)})


def _natural_order(walk: Walk) -> Measurement:
    """Visit keys in the order of the sequence; the last one may hold nearly all of the mass."""
    return _by_gain(walk, sorted_keys=False)


monotone_gain = Claim(
    name="sparse_attention.monotone_gain",
    summary="A query that stops at a small gain dropped little, if masses of blocks fell; in other orders there is "
    "no bound.",
    statement=r"g_1 \ge g_2 \ge \dots,\ g_t \le \tau \ell_t \;\Rightarrow\; \delta \le \frac{r\tau}{1 + r\tau},\quad "
    r"\|o - \tilde o\| \le \frac{r\tau}{1 + r\tau}\,\mathrm{diam}(V)",
    source=Source.ours("r blocks that are left hold at most r times the mass of the last one"),
    verdict=Always(rtol=_ROUNDING),
    instances=lambda: _walks(
        segment=st.just(1), causal=st.just(False), block=st.tuples(st.just(1), st.integers(1, 5)), n=st.integers(1, 16)
    ),
    evaluate=_by_gain,
    near_miss=_natural_order,
)

_TOLERANCES = (0.05, 0.4)


def _certified(walk: Walk, *, formula: bool = False) -> Measurement:
    """Check bound and tolerance for each query, that fewer blocks are left at smaller tolerances, and the count."""
    excesses, visits = [], []
    for tol in _TOLERANCES:
        stop = walk.run(max_dropped=tol)
        pairs = walk.visited(stop)
        bound = array(stop.dropped_bound)[0]
        if formula:
            bound = array(attention.monotone_gain_bound(stop.gain[0], int(stop.blocks_left.max())))
        excesses.append(np.concatenate([walk.dropped(pairs) - bound, bound - tol]))
        visits.append(array(stop.blocks_visited)[0])
        excesses.append(np.array([abs(stop.density - _share(walk, stop)) - 1e-12]))
    fewer = np.diff(np.array(visits, dtype=float), axis=0).ravel()
    return Measurement.worst(np.concatenate([*excesses, fewer]), 0.0, scale=1.0)


def _share(walk: Walk, stop: Any) -> float:
    """Count visited blocks over those that causality allows, tile by tile."""
    visited, allowed = 0, 0
    counts = iter(array(stop.blocks_visited)[0].tolist())
    for start in range(0, walk.n, walk.segment):
        length = min(walk.segment, walk.n - start)
        for first in range(0, length, walk.block[0]):
            last = min(first + walk.block[0], length)
            own = -(-last // walk.block[1]) if walk.causal else 0
            visited += own + next(counts)
            allowed += own + -(-(start if walk.causal else walk.n) // walk.block[1])
    return visited / allowed


def _gain_as_certificate(walk: Walk) -> Measurement:
    """Take the formula of falling masses for the bound."""
    return _certified(walk, formula=True)


certified_stops = Claim(
    name="sparse_attention.certified_stops",
    summary="By the certified rule no query drops more than its tolerance, and a smaller one visits no fewer blocks.",
    statement=r"\delta_i \le \frac{\rho_i}{1 + \rho_i} \le \varepsilon,\quad "
    r"\varepsilon' \le \varepsilon \Rightarrow t_{\varepsilon'} \ge t_\varepsilon",
    source=Source.ours("an upper bound of the mass of the blocks that are left"),
    verdict=Always(rtol=0.0),
    instances=_walks,
    evaluate=_certified,
    near_miss=_gain_as_certificate,
)
