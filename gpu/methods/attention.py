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
)
