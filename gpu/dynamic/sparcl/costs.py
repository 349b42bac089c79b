"""Operations of sparse continual learning, relative to dense training."""

from sparsetheory.constraints import COUNT, MISSING, Real

__all__ = ["sparcl_cost"]

_SHARE = Real(0.0, 1.0, closed="right")
_REST = Real(0.0, 1.0, closed="left")


def sparcl_cost(density: float = 1.0, q: float = 0.0, data_fraction: float = 1.0, every: int | None = None) -> float:
    """Return the operations of training as a share of those of dense training with all data.

    A dense step has three products of equal cost: forward, gradient of the inputs, gradient of the weights. Sparse
    weights save in all of them, a gradient mask in the last one only:
    ``(2 density + min(density, 1 - q)) / 3 * data_fraction``.

    Parameters
    ----------
    density : float
        Share of the weights that is there, above 0 and at most 1; the mean over the training.
    q : float
        Share of the entries of the gradient that is not computed, in [0, 1).
    data_fraction : float
        Share of the samples that is trained with, above 0 and at most 1; the mean over the epochs.
    every : int, optional
        Steps from choice to choice of the gradient mask. The step of a choice needs the gradients of all weights that
        are there; the published count leaves that out, and so does this one by default.

    Returns
    -------
    float

    References
    ----------
    Wang et al., "SparCL: Sparse Continual Learning on the Edge", NeurIPS 2022, arXiv 2209.09476.

    Examples
    --------
    >>> round(sparcl_cost(0.25, 0.8), 4), round(sparcl_cost(0.25, 0.8, 1 - 0.3 * 0.75), 4)
    (0.2333, 0.1808)
    """
    _SHARE.require(density=density, data_fraction=data_fraction)
    _REST.check("q", q)
    own = min(density, 1 - q)
    if (MISSING | COUNT).check("every", every) is not None:
        own = (density + (int(every or 1) - 1) * own) / int(every or 1)
    return (2 * density + own) / 3 * data_fraction
