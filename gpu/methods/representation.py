"""Representations that are sparse, low-dimensional or discrete; none gives masks for given layers."""

from sparsetheory.gpu.methods.row import Method

__all__ = ["REPRESENTATION"]

REPRESENTATION: tuple[Method, ...] = (
    Method(
        name="representation.crate",
        title="attention as a step on a coding rate, sparse coding as a layer",
        source="Yu et al., 2306.01129",
        provenance="authors' code",
        needs=frozenset({"optimiser"}),
        patterns=(),
        classical="non-negative Lasso, dictionary learning, K-subspaces",
        claims=(
            "sparse_representation.exact_step",
            "sparse_representation.published_attention",
            "sparse_representation.trained_attention",
            "sparse_representation.coding_*",
        ),
    ),
    Method(
        name="representation.sparse_jepa",
        title="joint embedding prediction, each group of features from few latent variables",
        source="Hartman and Varshney, 2504.16140",
        provenance="reconstructed",
        needs=frozenset({"optimiser", "hooks"}),
        patterns=(),
        classical="group lasso, multi-information",
        claims=(
            "sparse_representation.group_lasso_*",
            "sparse_representation.group_prox_*",
            "sparse_representation.jepa_columns",
        ),
    ),
    Method(
        name="representation.molrg",
        title="denoiser of a mixture of low-rank Gaussians",
        source="Wang et al., 2409.02426",
        provenance="paper",
        needs=frozenset({"optimiser"}),
        patterns=(),
        classical="principal components, subspace clustering by matching pursuit",
        claims=(
            "sparse_representation.training_is_pca",
            "sparse_representation.sharp_transition",
            "sparse_representation.recovery_from_codes",
        ),
    ),
    Method(
        name="representation.low_rank_ssm",
        title="state space models with transitions of low rank, distilled",
        source="Zhang et al., 2603.06920",
        provenance="paper",
        needs=frozenset({"optimiser"}),
        patterns=(),
        classical="truncated SVD, shared bases",
        claims=(
            "sparse_representation.low_rank_exponential",
            "sparse_representation.shifted_truncation",
            "sparse_representation.imitated_states",
            "sparse_representation.state_error",
        ),
    ),
    Method(
        name="representation.skin_tokens",
        title="skinning weights as a few discrete codes for each bone",
        source="Zhang et al., 2602.04805",
        provenance="reconstructed",
        needs=frozenset({"optimiser"}),
        patterns=(),
        classical="sparse least squares on the simplex",
        claims=(
            "sparse_representation.skinning_*",
            "sparse_representation.fsq_*",
            "sparse_representation.blend_*",
            "sparse_representation.simplex_projection",
        ),
    ),
    Method(
        name="representation.images",
        title="albedo and shading, alignment and robust fusion of imperfect views",
        source="2L3, 2401.15841",
        provenance="ours",
        needs=frozenset(),
        patterns=(),
        classical="proximal maps of l1, lq and l0, fused Lasso, Poisson equation",
        claims=(
            "sparse_representation.retinex_*",
            "sparse_representation.alignment_*",
            "sparse_representation.fusion_*",
            "sparse_representation.fused_lasso",
        ),
    ),
    Method(
        name="representation.group_policy",
        title="residual codes of items, prefix rewards, advantages with a bonus for rare hits",
        source="Hong et al., 2510.20815",
        provenance="authors' code",
        needs=frozenset({"optimiser"}),
        patterns=(),
        classical="k-means, matching pursuit codes, sparse bandits",
        claims=(
            "sparse_representation.pass_bonus_is_expectation",
            "sparse_representation.advantage_identities",
            "sparse_representation.prefix_*",
            "sparse_representation.residual_codes_improve",
        ),
    ),
)
