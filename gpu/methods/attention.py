"""Methods that let a query see few keys."""

from sparsetheory.gpu.methods.row import Method

__all__ = ["ATTENTION"]

ATTENTION: tuple[Method, ...] = (
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
)
