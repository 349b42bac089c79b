"""Studies of gates: a real decoder that reads on with few blocks, and the pooled features that a lasso keeps."""

from collections.abc import Callable
from functools import cache
from typing import Any

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import attention, core
from sparsetheory.proofs_checks.layerwise_pruning.tensors import one_thread
from sparsetheory.proofs_checks.sparse_attention.gates.texts import learning_texts

__all__ = ["decoder_reading"]

_BLOCK, _TOKENS, _N_ARTICLES = 32, 1024, 3
_COLUMNS = ("rule", "blocks of 32 a row", "kept pairs", "dropped mass, mean", "perplexity", "perplexity, dense")
_RULES = ("oracle", "sink and nearest", "gate", "mean-pooled", "random")
_NOTES = (
    "The dequantised SmolLM2-135M reads 1024 tokens of an article with few blocks of 32 keys in every row, the block "
    "of its own position always among them, in all layers. Gates are distilled on three other articles, 200 steps of "
    "AdamW. The dropped mass is exact, a mean over layers. Sinks with the nearest blocks need neither scores nor "
    "training: a gate is worth its cost only where it is better than these."
)


@cache
def _decoder() -> tuple[Any, list[Any]]:
    """Return the decoder and batches of one article each."""
    decoder = core.models.load_smollm2()
    texts = [text for text in core.datasets.load_wikipedia_articles().texts if len(text) > 8 * _TOKENS]
    batches = decoder.batches(texts[: _N_ARTICLES + 1], batch_size=1, max_length=_TOKENS)
    return decoder, batches


@cache
def _gates() -> dict[int, Any]:
    decoder, batches = _decoder()
    with one_thread():
        found = attention.distill_gate(
            decoder.model, batches[1:], 200, 1e-2, block=_BLOCK, reduction="kl_row", skip_rows=0.0
        )
    return found.gates


def _scores(rule: str, call: Any) -> Any:
    q, k, n = call.q, call.k, call.q.shape[2]
    if rule == "sink and nearest":
        return attention.sink_window_scores(n, n, _BLOCK)
    if rule == "mean-pooled":
        return attention.mean_pooled_scores(q, k, _BLOCK, scale=call.scale)
    oracle = attention.oracle_scores(q, k, _BLOCK, scale=call.scale)
    return oracle if rule == "oracle" else attention.random_scores(oracle, call.layer)


def _reading(rule: str, n_blocks: int) -> Any:
    """Return the context in which the decoder attends by a rule."""
    decoder, _ = _decoder()
    if rule == "gate":
        return attention.gated_attention(decoder.model, _gates(), n_blocks=n_blocks, dense_last=0)

    def choose(call: Any) -> Any:
        return attention.select_blocks(_scores(rule, call), n_blocks=n_blocks, dense_last=0)

    return attention.sparse_attention(decoder.model, choose)


@cache
def decoder_reading(rule: str, n_blocks: int) -> tuple[float, float, float]:
    """Return perplexity, share of kept pairs and mean dropped mass of the decoder on one article.

    Raises
    ------
    ImportError
        Without the packages that carry the decoder and the articles.
    """
    decoder, batches = _decoder()
    tokens = batches[0]["input_ids"][0]
    if rule == "dense":
        with one_thread():
            return core.perplexity(decoder.model, tokens, window=_TOKENS).value, 1.0, 0.0
    with one_thread(), _reading(rule, n_blocks) as record:
        found = core.perplexity(decoder.model, tokens, window=_TOKENS).value
    layers = record.layers
    shares = [sum(getattr(layer, name) for layer in layers) / len(layers) for name in ("density", "dropped_mean")]
    return found, shares[0], shares[1]


def _decoder_study(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_COLUMNS)
    dense, _, _ = decoder_reading("dense", 0)
    rows = []
    for n_blocks in (4, 8):
        for rule in _RULES:
            value, share, dropped = decoder_reading(rule, n_blocks)
            rows.append((rule, n_blocks, round(share, 3), round(dropped, 3), round(value, 2), round(dense, 2)))
    return StudyResult(_COLUMNS, rows, _NOTES, _bars(rows, dense))


def _bars(rows: list[tuple[Any, ...]], dense: float) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        ax = figure.add_subplot()
        for shift, n_blocks in ((-0.2, 4), (0.2, 8)):
            values = [row[4] for row in rows if row[1] == n_blocks]
            ax.barh([place + shift for place in range(len(_RULES))], values, 0.4, label=f"{n_blocks} of 32 blocks")
        ax.axvline(dense, color="black", linewidth=1, label="dense")
        ax.set_yticks(range(len(_RULES)), _RULES)
        ax.invert_yaxis()
        ax.set_xscale("log")
        ax.set_xlabel("perplexity of one article")
        ax.set_title("SmolLM2 with few blocks of keys in all layers")
        ax.legend(fontsize=8)

    return draw


decoder_blocks = Study(
    name="sparse_attention.decoder_blocks",
    title="A decoder that attends to few blocks",
    description="SmolLM2 reads an article with the blocks that its gates choose, and with those of rules without "
    "training; perplexity beside the exact dropped mass.",
    run=_decoder_study,
)

_FEATURES = ("alpha", "weights kept", "largest", "smallest", "mean", "loss, nats a row", "duality gap")
_FEATURE_NOTES = (
    "The map of keys of a gate for three heads of layer 2 of MiniLM, fitted with a lasso on four texts. Shares of the "
    "weights that are kept, of all and by the pooled feature that they read: the largest and the smallest value of a "
    "feature in a block, and its mean."
)


def _feature_study(profile: str) -> StudyResult:
    if profile == "quick":
        return StudyResult.left_out(_FEATURES)
    examples = [learning_texts(4, 3)]
    rows = []
    for alpha in (3e-3, 1e-3, 3e-4):
        with one_thread():
            gate = attention.AttnGate(32, 3, 3, 16, causal=False)
            found = attention.fit_gate_convex(gate, examples, alpha, "lasso", tol=1e-3, max_iter=3000)
        kept = (found.gate.k_map.detach() != 0).double().unflatten(1, (3, -1)).mean((0, 2, 3)).tolist()
        shares = [round(share, 4) for share in (sum(kept) / 3, *kept)]
        rows.append((alpha, *shares, round(found.loss, 4), round(found.gap, 5)))
    return StudyResult(_FEATURES, rows, _FEATURE_NOTES)


gate_features = Study(
    name="sparse_attention.gate_features",
    title="Which pooled features a gate reads",
    description="A lasso on the map of keys of a gate, at the optimum of the convex problem within a duality gap.",
    run=_feature_study,
)
