"""Low-rank compression of many blocks side by side, with certified error."""

from typing import TYPE_CHECKING, Any

from sparsetheory.lowrank.bounds import (
    centroid_bound,
    pair_bounds,
    residual_bound,
    union_bound,
    weyl_bound,
)
from sparsetheory.lowrank.clustering.certificate import ClusteringCertificate
from sparsetheory.lowrank.interval import ErrorInterval
from sparsetheory.lowrank.limits import hard_instance, min_clusters_lower_bound
from sparsetheory.lowrank.range_finder import RangeFinderSummary, range_finder_summary
from sparsetheory.lowrank.spectra import SVDError, block_svd_error
from sparsetheory.lowrank.summary import SVDSummary
from sparsetheory.lowrank.trace_bounds import perturbation_bound, scalar_bounds
from sparsetheory.lowrank.tree import tree_summary

if TYPE_CHECKING:
    from sparsetheory.lowrank.clustering.estimator import ConcatSVDClustering

__all__ = [
    "ClusteringCertificate",
    "ConcatSVDClustering",
    "ErrorInterval",
    "RangeFinderSummary",
    "SVDError",
    "SVDSummary",
    "block_svd_error",
    "centroid_bound",
    "hard_instance",
    "min_clusters_lower_bound",
    "pair_bounds",
    "perturbation_bound",
    "range_finder_summary",
    "residual_bound",
    "scalar_bounds",
    "tree_summary",
    "union_bound",
    "weyl_bound",
]


def __getattr__(name: str) -> Any:
    # scikit-learn takes longer to import than everything else here; only the estimator needs it.
    if name == "ConcatSVDClustering":
        from sparsetheory.lowrank.clustering.estimator import ConcatSVDClustering

        return ConcatSVDClustering
    raise AttributeError(f"module 'sparsetheory.lowrank' has no attribute {name!r}")
