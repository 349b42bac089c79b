"""Bayesian sparse networks; layers become layers of another kind, so none gives masks for given ones."""

from sparsetheory.gpu.methods.row import Method

__all__ = ["BAYESIAN"]

BAYESIAN: tuple[Method, ...] = (
    Method(
        name="bayesian.variational_layers",
        title="layers with normal weights on a mask, predictions averaged over them",
        source="Kingma et al., 1506.02557",
        provenance="paper",
        needs=frozenset({"optimiser"}),
        patterns=(),
        classical="none",
        claims=(
            "bayesian_networks.local_noise_*",
            "bayesian_networks.sparse_products",
            "bayesian_networks.divergence_bounds",
            "bayesian_networks.reliability_bins",
        ),
    ),
    Method(
        name="bayesian.ssvi",
        title="normal weights on a sparse subspace that moves by prices and gains",
        source="Li et al., 2402.11025",
        provenance="authors' code",
        needs=frozenset({"optimiser", "hooks"}),
        patterns=(),
        classical="exchanges of columns by exact changes of the evidence bound",
        claims=(
            "subspace_vi.*",
            "bayesian_networks.swap_*",
            "bayesian_networks.swaps_beat_static",
            "bayesian_networks.no_noise_is_rigl",
            "bayesian_networks.full_masks_are_dense",
        ),
    ),
    Method(
        name="bayesian.structured_ssvi",
        title="subspaces of whole units or N:M weights, and one budget in nats",
        source="ours",
        provenance="ours",
        needs=frozenset({"optimiser", "hooks"}),
        patterns=(),
        classical="exchanges of groups of columns",
        claims=(
            "bayesian_networks.column_*",
            "bayesian_networks.row_prices",
            "bayesian_networks.global_*",
            "bayesian_networks.whole_units",
            "bayesian_networks.n_of_m",
        ),
    ),
    Method(
        name="bayesian.turbo_vbi",
        title="weights under a three-layer prior whose supports cluster",
        source="Xia et al., 2302.10483",
        provenance="reconstructed",
        needs=frozenset({"optimiser", "hooks"}),
        patterns=(),
        classical="Turbo-VBI of a linear model, messages on chains and grids",
        claims=(
            "bayesian_networks.structured_*",
            "bayesian_networks.supports_*",
            "bayesian_networks.published_*",
            "bayesian_networks.frozen_precisions_majorise",
            "bayesian_networks.linear_twin",
            "bayesian_networks.exported_network",
        ),
    ),
    Method(
        name="bayesian.federated_turbo_vbi",
        title="the same with data that stay at clients, who send mergeable messages",
        source="Xia et al., 2404.07532",
        provenance="reconstructed",
        needs=frozenset({"optimiser"}),
        patterns=(),
        classical="Turbo-VBI of a linear model, products of Gaussian factors",
        claims=(
            "bayesian_networks.merge_order",
            "bayesian_networks.single_client",
            "bayesian_networks.divergence_once",
            "bayesian_networks.products_saturate",
            "bayesian_networks.federated_*",
        ),
    ),
    Method(
        name="bayesian.posterior_pruning",
        title="dense variational inference, pruned by the posterior afterwards",
        source="Blundell et al., 1505.05424",
        provenance="paper",
        needs=frozenset({"optimiser"}),
        patterns=(),
        classical="Savage-Dickey ratios",
        claims=("bayesian_networks.plain_network", "subspace_vi.evidence_ratio"),
    ),
)
