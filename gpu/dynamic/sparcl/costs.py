"""Operations of sparse continual learning, relative to dense training."""

__all__ = ["sparcl_cost"]


def sparcl_cost(density: float = 1.0, q: float = 0.0, data_fraction: float = 1.0, every: int | None = None) -> float:
    """Return the operations of training relative to those of dense training with all data."""
    raise NotImplementedError
