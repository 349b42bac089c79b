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
)
