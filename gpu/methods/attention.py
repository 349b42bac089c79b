"""Methods that let a query see few keys."""

from sparsetheory.gpu.methods.row import Method

__all__ = ["ATTENTION"]

ATTENTION: tuple[Method, ...] = (
    Method(
        name="attention.seer",
        title="blocks of keys by a small gate that is distilled from the attention of the model",
        source="Gao et al., 2410.13276",
        provenance="authors' code",
        needs=frozenset({"calibration"}),
        patterns=(),
        classical="multinomial logistic regression, by quasi-Newton or proximal gradient steps",
        claims=(
            "sparse_attention.block_maxima",
            "sparse_attention.gate_*",
            "sparse_attention.oracle_blocks",
            "sparse_attention.all_blocks",
            "sparse_attention.triangle_share",
        ),
    ),
    Method(
        name="attention.s2o",
        title="ranked keys are visited until little mass seems, or surely is, left",
        source="Zhang et al., 2602.22575",
        provenance="reconstructed",
        needs=frozenset(),
        patterns=(),
        classical="safe screening of blocks of keys; ranking by correlation, a step of matching pursuit",
        claims=(
            "sparse_attention.never_stopping",
            "sparse_attention.monotone_gain",
            "sparse_attention.certified_stops",
            "sparse_attention.ranked_tokens",
            "sparse_attention.matched_density",
        ),
    ),
    Method(
        name="attention.mustafar",
        title="keys and values of old tokens pruned by magnitude, packed as bitmaps or indices",
        source="Joo et al., 2505.22913",
        provenance="authors' code",
        needs=frozenset(),
        patterns=(),
        classical="best k-term approximation",
        claims=(
            "sparse_attention.cache_*",
            "sparse_attention.value_pruning",
            "sparse_attention.key_pruning",
            "sparse_attention.best_terms",
            "sparse_attention.stechkin",
        ),
    ),
    Method(
        name="attention.sparse_vdit",
        title="a pattern for each head of a film model, chosen once: window, same place, few keys, or none",
        source="Chen et al., 2506.03065",
        provenance="paper",
        needs=frozenset({"calibration"}),
        patterns=(),
        classical="Kronecker products of bands; knapsack with multiple choices, by a price or by a table",
        claims=(
            "sparse_attention.mask_products",
            "sparse_attention.place_major",
            "sparse_attention.mode_rule",
            "sparse_attention.rule_above_hull",
            "sparse_attention.planted_modes",
            "sparse_attention.price_optimal",
            "sparse_attention.table_optimal",
            "sparse_attention.rounded_table",
        ),
    ),
    Method(
        name="attention.focus_detr",
        title="a learned selector scores tokens of images, and layers compute the foreground only",
        source="Zheng et al., 2307.12612",
        provenance="authors' code",
        needs=frozenset(),
        patterns=(),
        classical="none",
        claims=(
            "sparse_attention.foreground_*",
            "sparse_attention.focal_loss",
            "sparse_attention.focus_rows",
            "sparse_attention.fine_token_error",
        ),
    ),
)
