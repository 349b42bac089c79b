"""Searches for sparse networks, and ways to look at one; none gives masks for given layers at once."""

from sparsetheory.gpu.methods.row import Method

__all__ = ["SEARCH"]

SEARCH: tuple[Method, ...] = (
    Method(
        name="search.random_masks",
        title="the best of many random masks, before training or by halving",
        source="Farahani, 2403.08265",
        provenance="reconstructed",
        needs=frozenset(),
        patterns=(),
        classical="best arm of a bandit",
        claims=("sparse_search.best_of_n_*", "sparse_search.neutral", "sparse_search.halving_finds_the_best"),
    ),
    Method(
        name="search.dass",
        title="a chain of dense and sparse operations, chosen by gradients",
        source="Mousavi et al., 2207.06968",
        provenance="reconstructed",
        needs=frozenset({"optimiser"}),
        patterns=(),
        classical="knapsack of densities",
        claims=(
            "sparse_search.straight_through_scores",
            "sparse_search.exact_mask_count",
            "sparse_search.alpha_gradient",
            "sparse_search.sparse_ops_against_pruning",
        ),
    ),
    Method(
        name="analysis.reprogramming",
        title="heads and prompts on frozen lottery tickets",
        source="Misra et al., 2308.14969",
        provenance="authors' code",
        needs=frozenset({"optimiser"}),
        patterns=(),
        classical="sparse regression on frozen features, assignment",
        claims=(
            "network_analysis.prompt_border",
            "network_analysis.greedy_label_map",
            "network_analysis.probe_beats_prompt",
            "network_analysis.ticket_calibration",
        ),
    ),
    Method(
        name="analysis.updates",
        title="which weights fine-tuning changes, by precision and tolerance",
        source="Mukherjee et al., 2505.11711",
        provenance="authors' code",
        needs=frozenset(),
        patterns=(),
        classical="sparsest update by regression, shared subspaces by truncated SVD",
        claims=(
            "network_analysis.bf16_visible_update",
            "network_analysis.update_*",
            "network_analysis.subnetwork_replay",
            "network_analysis.sparse_full_rank",
        ),
    ),
    Method(
        name="analysis.depth",
        title="which layers of a residual network are used",
        source="Muhtar et al., 2603.15389",
        provenance="authors' code",
        needs=frozenset({"calibration", "hooks"}),
        patterns=(),
        classical="least squares, Lasso and low rank in the place of a layer",
        claims=("network_analysis.variance_*", "network_analysis.curse_of_depth", "network_analysis.linear_layer"),
    ),
)
