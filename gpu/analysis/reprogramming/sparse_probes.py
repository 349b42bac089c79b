"""Linear heads that read few features."""

from dataclasses import dataclass

from torch import Tensor

from sparsetheory.gpu.analysis.reprogramming.probes import LinearProbe

__all__ = ["SparseProbes", "sparse_probes"]


@dataclass(frozen=True, eq=False)
class SparseProbes:
    """Probes along decreasing strengths of the l1 penalty."""

    alphas: Tensor
    probes: tuple[LinearProbe, ...]


def sparse_probes(
    features: Tensor, y: Tensor, *, n_classes: int | None = None, n_alphas: int = 20, min_ratio: float = 1e-2
) -> SparseProbes:
    """Fit a path of l1-penalised regressions on one-hot targets."""
    raise NotImplementedError
