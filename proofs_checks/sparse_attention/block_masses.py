"""Claims about masses of blocks of keys that were not looked at: bounds in order, and bounds that survive rounding."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import attention
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.sparse_attention.instances import Head, heads, seeds
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

_KINDS: tuple[Any, ...] = ("variance", "deviation", "chord", "plain")


def _bounds(head: Head, blocks: Any) -> tuple[Float64Array, Float64Array]:
    """Return lower bounds and all upper bounds, from the sharpest to the widest: shapes (n, B) and (4, n, B)."""
    q = tensor(head.q)
    uppers = [attention.log_mass_bounds(q, blocks, masses=kind, scale=1.0) for kind in _KINDS]
    return array(attention.log_mass_lower(q, blocks, scale=1.0)), np.stack([array(upper) for upper in uppers])


def _true_masses(head: Head, n_blocks: int) -> Float64Array:
    """Return the logarithms of the masses of the blocks, of shape (n, B)."""
    columns = [head.scores[:, head.labels == block] for block in range(n_blocks)]
    return np.stack([np.logaddexp.reduce(part, axis=1) for part in columns], axis=1)


def _ordered(lower: Float64Array, true: Float64Array, uppers: Float64Array) -> Measurement:
    """State lower <= true <= each upper bound; and each of these at most the next one, to a few last digits.

    Measured is by how much an inequality fails.
    """
    there = np.isfinite(true[0])
    lower, true, uppers = lower[:, there], true[:, there], uppers[..., there]
    digits = 16 * np.finfo(float).eps * (1 + np.abs(uppers))
    steps = (uppers - digits)[:-1] - uppers[1:]
    return Measurement(float(max(0.0, (lower - true).max(), (true - uppers).max(), steps.max())), 0.0, scale=1.0)


def _in_order(head: Head) -> Measurement:
    """Compare bounds with the masses of the blocks.

    exp is convex: its mean over a block is at least exp of the mean (Jensen), and at most the chord between the ends of
    the range. With the variance known too, a variable with two values has the largest mean (Bennett). A variance is at
    most (U - mean)(mean - L), where that variable is the chord's; so each bound is at most the next, by what it knows.
    """
    blocks = attention.KeyBlocks.from_keys(tensor(head.k), tensor(head.labels.astype(np.int64)))
    return _ordered(*_split(head, blocks))


def _split(head: Head, blocks: Any) -> tuple[Float64Array, Float64Array, Float64Array]:
    lower, uppers = _bounds(head, blocks)
    return lower, _true_masses(head, lower.shape[1]), uppers


def _visible_count(head: Head) -> Measurement:
    """Count the kept keys of a block only, but take their mean and covariance from all its keys.

    So a boundary of causality inside a block would be handled carelessly.
    """
    labels, k = tensor(head.labels.astype(np.int64)), tensor(head.k)
    lower, uppers = _bounds(head, attention.KeyBlocks.from_keys(k, labels))
    part = Head(head.q, head.k[head.kept], head.v[head.kept], head.kept[head.kept], head.labels[head.kept], head.kind)
    true = _true_masses(part, lower.shape[1])
    sizes, counts = (np.bincount(which, minlength=lower.shape[1]) for which in (head.labels, part.labels))
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = np.log(counts) - np.log(sizes)
    return _ordered(np.full_like(lower, -np.inf), true, uppers + np.where(counts > 0, shift, 0.0))


bounds_in_order = Claim(
    name="sparse_attention.bounds_in_order",
    summary="The mass of a block lies between the bounds of Jensen and Bennett, which is below chord and maximum.",
    statement=r"n e^{\bar s} \le \sum_{j \in B} e^{s_j} \le n M(\bar s, U, q^\top \Sigma q) \le "
    r"n M(\bar s, U, |q|^2 \lambda_{\max}) \le n \frac{(U - \bar s) e^L + (\bar s - L) e^U}{U - L} \le n e^U",
    source=Source.ours("inequalities of Jensen, Bennett, and Bhatia and Davis for the keys of a block"),
    # Bounds are enlarged by what rounding can do; the mass they are compared with is of float64 too.
    verdict=Always(rtol=0.0),
    instances=heads,
    evaluate=_in_order,
    near_miss=_visible_count,
)

_BATCH, _SMALL_BATCH = 1000, 20
_FLOATS = {64.0: "float64", 32.0: "float32", 16.0: "bfloat16"}


def _tight(rng: np.random.Generator, bits: float, batch: int = _BATCH) -> tuple[Any, Any]:
    """Draw queries with scores near 100 and 24 nearly equal keys, in the precision in which they are given."""
    d = int(rng.choice([1, 4, 8, 32]))
    center = rng.standard_normal((batch, 1, d)) * np.exp(rng.uniform(-3, 4, (batch, 1, 1)))
    q = rng.standard_normal((batch, 1, d))
    q *= 100 * np.sqrt(d) / np.abs((q * center).sum(-1, keepdims=True))
    spread = np.exp(rng.uniform(-16, -6, (batch, 1, 1))) * np.abs(center).max(-1, keepdims=True)
    k = center + spread * rng.standard_normal((batch, 24, d))
    return tuple(_rounded(part, bits) for part in (q, k))


def _few(seed: int, bits: float) -> tuple[Any, Any]:
    return _tight(np.random.default_rng(seed), bits, _SMALL_BATCH)


def _rounded(part: Float64Array, bits: float) -> Any:
    import torch

    return tensor(part).to(getattr(torch, _FLOATS[bits]))


def _violations(given: tuple[Any, Any], bound_of: Any) -> Measurement:
    """Count instances whose dropped mass in float64 exceeds a bound, or whose lower bound exceeds it."""
    q, k = given
    blocks = attention.KeyBlocks.from_keys(k, 8)
    kept = tensor(np.arange(24) < 8)
    scores = attention.attention_scores(q.to(blocks.mean.dtype), k.to(blocks.mean.dtype))
    log_kept = scores[..., :8].logsumexp(-1)
    true = attention.dropped_mass(attention.attention_scores(q.double(), k.double()), kept)
    dropped = tensor(np.array([False, True, True]))
    count = sum(int((true > bound_of(q, blocks, log_kept, dropped, kind).double()).sum()) for kind in _KINDS)
    lower = attention.dropped_mass_lower(q, blocks, log_kept, dropped=dropped)
    return Measurement(float(count + int((lower.double() > true).sum())), 0.0, scale=1.0)


def _certified(given: tuple[Any, Any]) -> Measurement:
    """Compare certified bounds with the dropped mass of the inputs as given.

    Inner products of d terms, means and square roots err by at most e = (d + 8) u |q| |k| / sqrt(d) and a little more.
    Every bound grows with the mean score, the upper end and the variance, and falls with the lower end. So each of
    these is moved by a multiple of e to its bad side, and the sum over the kept keys by its own error.
    """

    def bound(q: Any, blocks: Any, log_kept: Any, dropped: Any, kind: Any) -> Any:
        return attention.dropped_mass_bound(q, blocks, log_kept, dropped=dropped, masses=kind)

    return _violations(given, bound)


def _as_computed(given: tuple[Any, Any]) -> Measurement:
    """Take the same numbers as they come, without allowing for rounding."""

    def bound(q: Any, blocks: Any, log_kept: Any, dropped: Any, kind: str) -> Any:
        import torch

        scale, q = q.shape[-1] ** -0.5, q.to(blocks.mean.dtype)
        low, mean, high = attention.score_range(q, blocks, scale)
        variance = ((q[..., None, :, :] @ blocks.factor.mT).norm(dim=-1).mT * scale) ** 2
        means = high if kind == "plain" else attention.log_mean_exp_bound(mean, low, high, variance)
        log_masses = blocks.sizes[..., None, :].to(q.dtype).log() + means
        return torch.sigmoid(log_masses.masked_fill(~dropped, -torch.inf).logsumexp(-1) - log_kept)

    return _violations(given, bound)


rounded_bounds = Claim(
    name="sparse_attention.rounded_bounds",
    summary="A certified bound of the dropped mass holds in every precision, for 1000 nearly equal blocks a trial.",
    statement=r"\delta \le \mathrm{fl}\left(\frac{\rho}{1 + \rho}\right)",
    source=Source.ours("rounding analysis of bounds of block masses"),
    verdict=Always(rtol=0.0),
    instances=lambda: st.builds(_few, seeds, st.sampled_from(tuple(_FLOATS))),
    evaluate=_certified,
    near_miss=_as_computed,
    sweep=Sweep(
        axis="bits of the inputs",
        values=(16.0, 32.0, 64.0),
        draw=_tight,
        trials=10,
        quick_trials=1,
        measured_label="violations",
    ),
)
