"""Blocks of keys that are close to each other: statistics of such blocks bound scores well."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, generator

__all__ = ["cluster_keys"]


def cluster_keys(k: Tensor, n_blocks: int, *, key_mask: Tensor | None = None, random_state: Any = 0) -> Tensor:
    """Return labels of keys by k-means, for each head by itself.

    It pays where keys are used by many queries, as in decoding from a cache. The clusters are computed on the CPU, at
    ``O(m n_blocks d)`` operations for each of some tens of iterations.

    Parameters
    ----------
    k : Tensor of shape (..., m, d)
    n_blocks : int
        Clusters of each head, at most; no more than keys that exist.
    key_mask : Tensor of bool, broadcast to (..., m), optional
        True for keys that exist.
    random_state : int, Generator or None
        Draws the first centres.

    Returns
    -------
    Tensor of int64 of shape (..., m)
        The cluster of each key; -1 for a key that does not exist. On the device of the keys.

    Examples
    --------
    >>> import torch
    >>> labels = cluster_keys(torch.tensor([[0.0, 0.0], [9.0, 9.0], [0.1, 0.0]]), 2)
    >>> bool(labels[0] == labels[2]), bool(labels[0] == labels[1])
    (True, False)
    """
    from sklearn.cluster import KMeans

    COUNT.check("n_blocks", n_blocks)
    rng = generator(random_state)
    keys = k.detach().to("cpu", torch.float64).flatten(0, -3) if k.dim() > 2 else k.detach().cpu().double()[None]
    exists = torch.ones(k.shape[:-1], dtype=torch.bool) if key_mask is None else key_mask.cpu().expand(k.shape[:-1])
    labels = torch.full(keys.shape[:-1], -1, dtype=torch.int64)
    for head, (points, present) in enumerate(zip(keys, exists.reshape(keys.shape[:-1]), strict=True)):
        chosen = points[present].numpy()
        # Equal keys share a cluster, and k-means warns where there are fewer different keys than clusters.
        wanted = min(n_blocks, len(np.unique(chosen, axis=0)))
        seed = int(rng.integers(2**31))
        found = KMeans(wanted, n_init=1, random_state=seed).fit_predict(chosen)
        labels[head, present] = torch.from_numpy(found.astype(np.int64))
    return labels.reshape(k.shape[:-1]).to(k.device)
