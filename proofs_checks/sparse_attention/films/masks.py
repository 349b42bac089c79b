"""Claims about patterns of attention between tokens of a film: Kronecker products of bands, and the order of tokens."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.bayesian import kron_matvec
from sparsetheory.gpu import attention
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import BoolArray, Float64Array

_PAPER = "Chen et al., Sparse-vDiT (2025)"


@dataclass(frozen=True)
class Film:
    """Numbers of frames, places and text tokens, a half-width, and a seed for whatever is drawn besides."""

    frames: int
    places: int
    text: int
    w: int
    seed: int

    @property
    def layout(self) -> Any:
        """The layout of its tokens."""
        return attention.Layout(self.frames, self.places, self.text)

    @property
    def rng(self) -> np.random.Generator:
        """The same numbers at each call."""
        return np.random.default_rng(self.seed)


def _films() -> st.SearchStrategy[Film]:
    small = st.integers(1, 6)
    return st.builds(Film, small, small, st.integers(0, 5), st.integers(0, 8), st.integers(0, 2**32 - 1))


def _band(n: int, w: int) -> Float64Array:
    return np.array([[float(abs(i - j) <= w) for j in range(n)] for i in range(n)])


# Each pattern: the mask, its factors as (size, half-width), and the formula of its pairs.
_Pattern = tuple[Callable[[Film], Any], Callable[[Film], list[tuple[int, int]]], Callable[[Film], int]]


def _band_pairs(n: int, w: int) -> int:
    return n * (2 * w + 1) - w * (w + 1) if w < n else n * n


_PATTERNS: tuple[_Pattern, ...] = (
    (
        lambda film: attention.diagonal(film.layout, film.w),
        lambda film: [(film.frames * film.places, film.w)],
        lambda film: _band_pairs(film.frames * film.places, film.w),
    ),
    (
        lambda film: attention.self_frame(film.layout),
        lambda film: [(film.frames, 0), (film.places, film.places - 1)],
        lambda film: film.frames * film.places**2,
    ),
    (
        lambda film: attention.multi_diagonal(film.layout, film.w),
        lambda film: [(film.frames, film.frames - 1), (film.places, film.w)],
        lambda film: film.frames**2 * _band_pairs(film.places, film.w),
    ),
)


def _with_text(film: Film, video: BoolArray) -> BoolArray:
    n, text = film.layout.n, film.text
    kept = np.ones((n, n), dtype=bool)
    kept[text:, text:] = video
    return kept


def _misfits(film: Film, patterns: tuple[_Pattern, ...]) -> Measurement:
    """Count entries in which a mask differs from the Kronecker product, and by how much its count misses the formula.

    The product is also applied to a vector of whole numbers, by running sums over (size, width) and by the Kronecker
    operator of the classical side; both are exact.
    """
    off = []
    x = film.rng.integers(-9, 10, film.frames * film.places)
    for mask, factors, pairs in patterns:
        bands = [_band(n, w) for n, w in factors(film)]
        wanted: BoolArray = np.ones((1, 1), dtype=bool)
        for factor in bands:
            wanted = np.kron(wanted, factor) > 0
        found = array(mask(film).element_mask())
        product = attention.BandProduct(factors(film))
        off.append(np.sum(found != _with_text(film, wanted)))
        off.append(abs(int(wanted.sum()) - pairs(film)) + abs(product.count() - pairs(film)))
        off.append(np.abs(array(product @ tensor(x)) - kron_matvec(bands, x.astype(float))).sum())
        off.append(np.abs(array(product @ tensor(x)) - wanted @ x).sum())
    return Measurement.worst(off, 0.0, scale=1.0)


def _kronecker(film: Film) -> Measurement:
    """Compare the three patterns with their Kronecker products."""
    return _misfits(film, _PATTERNS)


def _wrong_lag(film: Film) -> Measurement:
    """Take the factors of the several diagonals in the other order, as if tokens stood place after place."""
    mask, factors, pairs = _PATTERNS[2]
    return _misfits(film, ((mask, lambda film: factors(film)[::-1], pairs),))


mask_products = Claim(
    name="sparse_attention.mask_products",
    summary="Block masks of film patterns are Kronecker products of bands, entry by entry, with exact counts.",
    statement=r"M = J_F \otimes B_P(w), \quad |M| = F^2 \big(P(2w + 1) - w(w + 1)\big); \quad M = I_F \otimes J_P; "
    r"\quad M = B_{FP}(w)",
    source=Source.ours("patterns of Sparse-vDiT, of which the paper gives pictures, as Kronecker products"),
    verdict=Always(0.0),
    instances=_films,
    evaluate=_kronecker,
    near_miss=_wrong_lag,
)


def _reordered(film: Film, order: Any) -> Measurement:
    """Compare attention in an order of tokens, under a window of whole frames of places, with that in their own order.

    Row i of the output is a sum over the keys that query i sees. An order of the tokens renames queries and keys alike,
    so the sums are the same ones. Place after place the pattern is a band of blocks.
    """
    rng, layout = film.rng, film.layout
    q, k, v = rng.standard_normal((3, 1, layout.n, 4))
    mask = attention.multi_diagonal(layout, film.w)
    wanted = array(attention.masked_attention(tensor(q), tensor(k), tensor(v), mask))
    window = np.kron(_band(film.places, film.w), np.ones((film.frames, film.frames))).astype(bool)
    scores = np.where(_with_text(film, window), (q[0] @ k[0].T / 2.0)[order][:, order], -np.inf)
    weights = np.exp(scores - scores.max(1, keepdims=True))
    output = np.empty_like(v[0])
    output[order] = weights @ v[0][order] / weights.sum(1, keepdims=True)
    return Measurement(np.abs(output - wanted[0]).max(), 0.0, scale=np.abs(v).max())


def _place_major(film: Film) -> Measurement:
    """Take the order of the layout, with text in front."""
    return _reordered(film, array(film.layout.place_major_order()))


def _text_moved(film: Film) -> Measurement:
    """Count places from the first token on, as if there were no text in front."""
    n = film.layout.n
    index = np.arange(n)
    return _reordered(film, np.lexsort((index // film.places, index % film.places)))


place_major = Claim(
    name="sparse_attention.place_major",
    summary="Attention of tokens place after place, under a band of blocks, is attention frame after frame.",
    statement=r"\mathrm{att}(Q, K, V, J_F \otimes B_P(w))[\pi] = \mathrm{att}(Q[\pi], K[\pi], V[\pi], "
    r"B_P(w) \otimes J_F)",
    source=Source(_PAPER, "reordering of tokens for multi-diagonal attention", "2506.03065"),
    verdict=Always(1e-11),  # softmax of at most 41 scores of size 20
    instances=_films,
    evaluate=_place_major,
    near_miss=_text_moved,
)
