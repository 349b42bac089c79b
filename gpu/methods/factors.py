"""Methods that put layers of another kind in place of given ones."""

from sparsetheory.gpu.methods.row import Method

__all__ = ["FACTORS"]

FACTORS: tuple[Method, ...] = (
    Method(
        name="weights.sparse_ift",
        title="wider, parallel or factorised sparse layers at the cost of dense ones",
        source="Thangarasa et al., 2303.11525",
        provenance="authors' code",
        needs=frozenset(),
        patterns=(),
        classical="none",
        claims=(
            "weight_structure.iso_flop_cost",
            "weight_structure.widened_cost",
            "weight_structure.merged_factors",
        ),
    ),
    Method(
        name="weights.lost",
        title="low-rank factors plus whole columns",
        source="Li et al., 2508.02668",
        provenance="reconstructed",
        needs=frozenset(),
        patterns=(),
        classical="truncated singular value decomposition",
        claims=(
            "weight_structure.lost_columns",
            "weight_structure.error_order",
            "weight_structure.monotone_trace",
            "weight_structure.best_for_columns",
            "weight_structure.encoder_columns",
        ),
    ),
)
