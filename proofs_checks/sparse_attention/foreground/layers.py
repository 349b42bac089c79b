"""Claims about a layer that computes foreground tokens only: what it equals, what it leaves, and what it drops."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import attention
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always

_DIM, _HEADS = 8, 2


@dataclass(frozen=True)
class Batch:
    """A batch of images with different numbers of tokens: sizes, budgets as shares, fine tokens and a seed."""

    valid: tuple[int, ...]
    shares: tuple[float, ...]
    topk: int
    seed: int

    @property
    def budgets(self) -> list[int]:
        """Tokens that are computed in each image."""
        return [max(round(share * count), 1) for share, count in zip(self.shares, self.valid, strict=True)]

    @cached_property
    def layer(self) -> Any:
        """A layer with random weights, in double precision."""
        return attention.FocusEncoderLayer(_DIM, _HEADS, self.topk, generator=self.seed).double()

    @cached_property
    def arguments(self) -> tuple[Any, ...]:
        """Tokens, foreground scores with ties, scores of classes and positions."""
        rng, n = np.random.default_rng(self.seed), max(self.valid)
        shape = (len(self.valid), n)
        return (
            tensor(rng.standard_normal((*shape, _DIM))),
            tensor(rng.integers(-2, 3, shape).astype(float)),
            tensor(rng.integers(-2, 3, (*shape, 3)).astype(float)),
            tensor(rng.standard_normal((*shape, _DIM))),
        )

    @cached_property
    def inside(self) -> Any:
        """Which tokens are no padding."""
        return tensor(np.arange(max(self.valid)) < np.array(self.valid)[:, None])

    def run(self) -> Any:
        """Return the tokens after the layer."""
        import torch

        tokens, scores, classes, pos = self.arguments
        with torch.no_grad():
            return self.layer(tokens, scores, classes, tensor(np.array(self.budgets)), pos=pos, valid=self.inside)

    def order(self, image: int) -> list[int]:
        """Return the tokens of an image that are computed, by falling score, the first of equal ones first."""
        scores = array(self.arguments[1][image])[: self.valid[image]]
        return sorted(range(self.valid[image]), key=lambda i: -scores[i])[: self.budgets[image]]

    def fine(self, image: int) -> list[int]:
        """Return those that attend to each other."""
        _, scores, classes, _ = (array(x[image]) for x in self.arguments)
        chosen, products = self.order(image), scores * classes.max(-1)
        return sorted(chosen, key=lambda i: -products[i])[: self.topk]


@st.composite
def _batches(draw: Any) -> Batch:
    valid = draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))
    shares = [draw(st.sampled_from([0.0, 0.3, 0.6, 1.0])) for _ in valid]
    return Batch(tuple(valid), tuple(shares), draw(st.integers(1, 6)), draw(st.integers(0, 2**16)))


def _dense(part: Any, queries: Any, keys: Any, values: Any, kept: list[int]) -> Any:
    """Return attention of all tokens to the kept ones: they are the first block of keys of a block mask."""
    import torch

    n = len(keys)
    order = [*kept, *(i for i in range(n) if i not in kept)]
    blocks = torch.zeros(1, -(-n // len(kept)), dtype=torch.bool)
    blocks[:, 0] = True
    mask = attention.BlockMask(blocks, n, n, block=(n, len(kept)), perm_k=torch.tensor(order))
    q, k, v = (
        part.split(queries[None], part.query),
        part.split(keys[None], part.key),
        part.split(values[None], part.value),
    )
    return part.out(attention.masked_attention(q, k, v, mask).transpose(1, 2).flatten(2))[0]


def _rows(x: Any, rows: list[int], update: Any) -> Any:
    result = x.clone()
    result[rows] = update[rows]
    return result


def _by_rows(batch: Batch, image: int, fine: list[int]) -> Any:
    """Compute all tokens of an image in both attentions and keep the rows of those that are computed."""
    import torch

    layer = batch.layer
    x, at = batch.arguments[0][image], batch.arguments[3][image]
    with torch.no_grad():
        mixed = layer.fine_norm(x + _dense(layer.fine_attention, x + at, x + at, x, fine))
        y = _rows(x, fine, mixed)
        z = layer.map_norm(y + _dense(layer.map_attention, y + at, x + at, x, list(range(batch.valid[image]))))
        return _rows(x, batch.order(image), layer.norm(z + layer.feed_forward(z)))


def _same(batch: Batch, *, all_fine: bool = False) -> Measurement:
    """Compare the layer, which gathers tokens, with dense attention under masks of keys, of which rows are kept.

    A row of attention depends on its own query and on the keys it sees. So rows may be left out, and keys that are not
    seen, before or after the products. All rows that are not computed must be the same bits as before.
    """
    found, off, changed = batch.run(), [0.0], 0
    for image in range(len(batch.valid)):
        order = batch.order(image)
        wanted = _by_rows(batch, image, order if all_fine else batch.fine(image))
        off.append(float((found[image] - wanted).abs().max()))
        rest = [i for i in range(max(batch.valid)) if i not in order]
        changed += int((found[image][rest] != batch.arguments[0][image][rest]).sum())
    # Normalised rows are of size 1; a changed bit elsewhere counts fully.
    return Measurement.worst([*off, float(changed)], 0.0, scale=1.0)


focus_rows = Claim(
    name="sparse_attention.focus_rows",
    summary="Gather, attend and scatter equals dense attention under a mask of rows, and leaves the others alone.",
    statement=r"\mathrm{scatter}\big(f(\mathrm{gather}(X, T)), X, T\big)_i = f(X \mid \text{keys})_i \ (i \in T), "
    r"\quad = X_i \ (i \notin T)",
    source=Source.ours("layer of Focus-DETR with the usual attention to the map"),
    verdict=Always(1e-11),  # a few dozen operations on entries of size 10 in double precision
    instances=_batches,
    evaluate=_same,
    near_miss=lambda batch: _same(batch, all_fine=True),
)


def _error(batch: Batch, factor: float = 1.0) -> Measurement:
    """Compare the attention among fine tokens with attention to all foreground tokens of an image.

    With the dropped mass delta of a query the outputs differ by delta times the distance of two means of values, one
    of the dropped and one of the kept tokens, so by at most delta times the diameter of the values.
    """
    tokens, scores, classes, pos = batch.arguments
    count = tensor(np.array(batch.budgets))
    problem = batch.layer.attention_problem(tokens, scores, classes, count, pos=pos, valid=batch.inside)
    q, k, v = (array(x) for x in (problem.q, problem.k, problem.v))
    certificate = attention.attention_error_certificate(
        problem.q.detach(), problem.k.detach(), problem.v.detach(), problem.kept, visible=problem.visible
    )
    measured, bounds = list[float](), list[float]()
    for image in range(len(batch.valid)):
        visible = np.flatnonzero(array(problem.visible[image, 0, 0]))
        kept = np.flatnonzero(array(problem.kept[image, 0, 0]))
        if len(kept) == len(visible):
            continue
        for head in range(_HEADS):
            keys, values = k[image, head], v[image, head]
            rows = q[image, head][: len(kept)]
            full, part = (_attended(rows, keys[seen], values[seen]) for seen in (visible, kept))
            diameter = np.linalg.norm(values[visible][:, None] - values[visible], axis=-1).max()
            dropped = array(certificate.dropped[image, head])[: len(kept)]
            measured += np.linalg.norm(full - part, axis=-1).tolist()
            bounds += (factor * dropped * diameter).tolist()
    return Measurement.worst(measured, bounds, scale=float(np.abs(v).max()))


def _attended(q: Any, k: Any, v: Any) -> Any:
    scores = q @ k.T / np.sqrt(q.shape[1])
    weights = np.exp(scores - scores.max(1, keepdims=True))
    return weights @ v / weights.sum(1, keepdims=True)


fine_token_error = Claim(
    name="sparse_attention.fine_token_error",
    summary="Attention among fine tokens errs by at most the mass it drops times the diameter of the values.",
    statement=r"\|o - \tilde{o}\| \le \delta \, \mathrm{diam}(V), \quad \delta = \sum_{j \in T \setminus S} p_j",
    source=Source.ours("error of a truncated softmax, with the fine tokens as the kept keys"),
    verdict=Always(1e-11),
    # With two tokens, one of them kept, the bound is attained.
    instances=lambda: st.one_of(_batches(), st.builds(Batch, st.just((2,)), st.just((1.0,)), st.just(1), st.just(0))),
    evaluate=_error,
    near_miss=0.5,
)
