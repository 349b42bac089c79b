"""Bayesian sparse networks; layers become layers of another kind, so none gives masks for given ones."""

from sparsetheory.gpu.methods.row import Method

__all__ = ["BAYESIAN"]

BAYESIAN: tuple[Method, ...] = (
    Method(
        name="bayesian.ssvi",
        title="normal weights on a sparse subspace that moves by prices and gains",
        source="Li et al., 2402.11025",
        provenance="authors' code",
        needs=frozenset({"optimiser", "hooks"}),
        patterns=(),
        classical="best subset by exchanges, Savage-Dickey ratios",
        claims=("subspace_vi.*", "bayesian_networks.*"),
    ),
    Method(
        name="bayesian.turbo_vbi",
        title="weights under a three-layer prior whose supports cluster",
        source="Xia et al., 2302.10483",
        provenance="reconstructed",
        needs=frozenset({"optimiser", "hooks"}),
        patterns=(),
        classical="Turbo-VBI of a linear model, messages on chains and grids",
        claims=("bayesian_networks.*",),
    ),
    Method(
        name="bayesian.federated_turbo_vbi",
        title="the same with data that stay at clients, who send mergeable messages",
        source="Xia et al., 2404.07532",
        provenance="reconstructed",
        needs=frozenset({"optimiser"}),
        patterns=(),
        classical="products of Gaussian factors",
        claims=("bayesian_networks.*",),
    ),
)
