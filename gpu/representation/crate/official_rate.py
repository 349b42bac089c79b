"""The rate as it is measured on trained networks: of tokens of unit norm, with its own power of the precision."""

from dataclasses import dataclass

from torch import Tensor

from sparsetheory.constraints import POSITIVE
from sparsetheory.gpu.representation.crate.rates import half_logdet
from sparsetheory.gpu.solvers.arguments import finite_tensor

__all__ = ["OfficialRate", "official_coding_rate"]


@dataclass(frozen=True, eq=False)
class OfficialRate:
    """Rates of samples, summed over heads.

    Parameters
    ----------
    rates : Tensor of float64 of shape (n_samples,)
        In nats.
    """

    rates: Tensor

    @property
    def mean(self) -> float:
        """Mean over the samples."""
        return float(self.rates.mean())

    @property
    def std(self) -> float:
        """Sample standard deviation over the samples, with one degree of freedom less; not a number for one."""
        return float(self.rates.std()) if len(self.rates) > 1 else float("nan")


def official_coding_rate(W: Tensor, eps: float = 0.01) -> OfficialRate:
    r"""Return the rate of projected tokens as the authors of CRATE measure it on trained networks.

    Each token is divided by its norm. The rate of a head is then
    :math:`\frac12 \log\det(I_N + \frac{p}{N \epsilon} W W^T)`, with :math:`\epsilon`, not its square; rates are
    summed over heads.

    Parameters
    ----------
    W : Tensor of shape (n_samples, n_heads, n_tokens, n_components)
        Tokens in the coordinates of each head.
    eps : float
        Above 0.

    Returns
    -------
    OfficialRate

    Raises
    ------
    TypeError, ValueError
        If `W` has not four axes, is not finite, or holds a token of zeros, which has no direction.

    See Also
    --------
    compressed_rate : The rate of the theory, which depends on the norms of tokens.

    Notes
    -----
    Source: code of Y. Yu et al., "White-Box Transformers via Sparse Rate Reduction", arXiv 2306.01129.

    Examples
    --------
    >>> import torch
    >>> found = official_coding_rate(torch.eye(2).expand(3, 1, 2, 2), eps=1.0)
    >>> round(found.mean, 4), round(found.std, 4)
    (0.6931, 0.0)
    """
    finite_tensor("W", W)
    if W.ndim != 4 or 0 in W.shape:
        raise ValueError(
            f"W must have shape (n_samples, n_heads, n_tokens, n_components), none of them 0; got {tuple(W.shape)}"
        )
    POSITIVE.require(eps=eps)
    tokens = W.double()
    norms = tokens.norm(dim=-1, keepdim=True)
    if not bool(norms.all()):
        sample, head, token = (int(place) for place in (norms[..., 0] == 0).nonzero()[0])
        raise ValueError(f"W must have no token of zeros; token {token} of head {head} of sample {sample} is one")
    return OfficialRate(half_logdet(tokens / norms, W.shape[-1] / (W.shape[-2] * eps)).sum(-1))
