"""Which features to free from a penalty, so that a few weak directions of a design do no harm."""

import numpy as np
import scipy.linalg

from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["outlying_features"]


def outlying_features(vectors: Float64Array, *, n_nonzero: int, faint: float = 0.1) -> IndexArray:
    r"""Return features that carry the given directions: without them, sparse vectors stay away from the subspace.

    A round takes out all features whose axis makes an angle of cosine at least :math:`1/(3k)` with the subspace; then
    the subspace is restricted to the features that are left, and what became shorter than `faint` is dropped. There
    are at most k rounds.

    Parameters
    ----------
    vectors : ndarray of shape (n_features, q)
        Orthonormal directions V.
    n_nonzero : int
        Number k of relevant features.
    faint : float
        Shortest restriction of a unit vector that counts.

    Returns
    -------
    ndarray of int
        Features S, round by round, heaviest first. At most :math:`9 k^2 q` per round; O(n_features q^2) each.

    Notes
    -----
    For every v with k non-zeros, :math:`\|v_{S^c}\| \le \frac32 (\|(I - VV^T) v\| + f \|v\|)` with f = `faint`.

    Proof: let e be the distance of :math:`v_{S^c}` to the restricted subspace before a round; it is at most the
    bracket. If no feature of v is taken out in that round, its projection l has entries of at most
    :math:`\|l\| / (3k)` there, so :math:`\|v_{S^c}\|^2 \le \|v_{S^c}\| (\|l\| / (3 \sqrt k) + e)`, hence
    :math:`\|v_{S^c}\| \le \frac32 e`. There are at most k rounds that do take out a feature of v, after which none is
    left.

    Examples
    --------
    >>> import numpy as np
    >>> outlying_features(np.array([[0.6], [0.0], [0.8]]), n_nonzero=1).tolist()
    [2, 0]
    """
    remaining, found = np.arange(vectors.shape[0]), [np.empty(0, dtype=np.intp)]
    for _ in range(n_nonzero):
        left, lengths, _ = scipy.linalg.svd(vectors[remaining], full_matrices=False, check_finite=False)
        leverage = np.sum(left[:, lengths > faint] ** 2, axis=1)
        heavy = 9.0 * n_nonzero**2 * leverage >= 1.0
        if not heavy.any():
            break
        found.append(remaining[heavy][np.argsort(-leverage[heavy], kind="stable")])
        remaining = remaining[~heavy]
    return np.concatenate(found)
