"""How far the true loss of a network in a subspace can be above its loss on the sample."""

import math

from sparsetheory.constraints import COUNT, Real
from sparsetheory.gpu.dimension.subspace.quantiser import BITS

__all__ = ["occam_bound"]

_LOSS = Real(0.0, 1.0)
_DELTA = Real(0.0, 1.0, "neither")


def occam_bound(
    train_loss: float, n_components: int, bits: int, n_samples: int, delta: float, *, n_choices: int = 1
) -> float:
    r"""Bound the expected loss of a model that few numbers of few bits describe, by its loss on the sample.

    .. math:: L \le \hat L + \sqrt{\frac{d b \ln 2 + \ln (d (d + 1) c / \delta)}{2 m}}

    It holds with probability at least :math:`1 - \delta` over the sample, for all d at once, so that d may be chosen
    after the data were seen.

    Parameters
    ----------
    train_loss : float
        :math:`\hat L` in [0, 1]: the mean loss on the sample, of the model with the *rounded* numbers.
    n_components : int
        d: how many numbers were fitted to the sample. Layer scales and a head that is trained directly count too.
    bits : int
        b of each number.
    n_samples : int
        m: independent samples, which nothing else was fitted to: neither P nor the starting weights.
    delta : float
        Accepted probability of failure, in (0, 1).
    n_choices : int
        c: among how many settings of everything else the one here was chosen after the data were seen: bits, radii,
        seeds of P. They must be a list that was fixed before.

    Returns
    -------
    float
        Above 1 it says nothing.

    Raises
    ------
    ValueError
        If an argument is out of range.

    See Also
    --------
    certify_subspace : Rounds a model, evaluates it and counts what was fitted.

    Notes
    -----
    There are :math:`2^{db}` models of d numbers. Each gets the share
    :math:`\delta / (c\, d (d + 1)\, 2^{db})` of the failures; these sum to at most :math:`\delta`, and Hoeffding's
    inequality bounds each. The derivation is ours. Aghajanyan, Zettlemoyer and Gupta, "Intrinsic Dimensionality
    Explains the Effectiveness of Language Model Fine-Tuning", ACL 2021, arXiv:2012.13255, give the rate
    :math:`\sqrt{d / m}`.

    Examples
    --------
    >>> round(occam_bound(0.1, n_components=10, bits=8, n_samples=500, delta=0.05), 4)
    0.3513
    """
    low = _LOSS.check("train_loss", train_loss)
    COUNT.require(n_components=n_components, n_samples=n_samples, n_choices=n_choices)
    BITS.require(bits=bits)
    log_inverse = -math.log(_DELTA.check("delta", delta))
    log_count = n_components * bits * math.log(2) + math.log(n_components) + math.log(n_components + 1)
    return low + math.sqrt((log_count + math.log(n_choices) + log_inverse) / (2 * n_samples))
