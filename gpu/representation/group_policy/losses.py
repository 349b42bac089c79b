"""The clipped loss by which a policy moves towards answers of positive advantage."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sparsetheory.constraints import MISSING, NONNEGATIVE, Real
from sparsetheory.gpu.solvers.arguments import together, working_dtype

__all__ = ["clipped_policy_loss"]

# Beyond this the ratio of probabilities is cut before it is clipped, as its gradient would overflow.
_LARGEST_LOG_RATIO = 20.0


def clipped_policy_loss(
    logp: Tensor,
    logp_old: Tensor,
    advantages: Tensor,
    mask: Tensor,
    clip: tuple[float, float] = (0.2, 0.2),
    dual: float | None = 10.0,
) -> Tensor:
    r"""Return the clipped loss of proximal policy optimisation, a mean over all tokens that count.

    With the ratio :math:`w` of the new over the old probability of a token, it is

    .. math:: \max\bigl(-A w, \; -A \min(\max(w, 1 - c_-), 1 + c_+)\bigr),

    and where the advantage A is negative at most ``-dual A``, as the first term has no bound there.

    Parameters
    ----------
    logp : Tensor of float of shape (n, n_tokens)
        Logarithms of the probabilities of the tokens under the policy that is trained.
    logp_old : Tensor of shape (n, n_tokens)
        Under the policy that drew the answers; no gradient flows into it.
    advantages : Tensor of shape (n,) or (n, n_tokens)
        Of answers, or of tokens; no gradient flows into it.
    mask : Tensor of shape (n, n_tokens)
        Not zero where a token counts. What other tokens hold may be infinite or NaN.
    clip : pair of float
        The shares :math:`c_-` below 1 and :math:`c_+` by which the ratio may leave 1.
    dual : float or None
        Largest ratio at negative advantages, above 1; no bound for None.

    Returns
    -------
    Tensor of shape ()
        In the precision of `logp`, computed in float32 at least.

    Raises
    ------
    ValueError
        If shapes, dtypes or devices do not fit, or no token counts.

    Notes
    -----
    Ratios beyond ``exp(20)`` count as that, below ``exp(-20)`` as that, and have no gradient: they would overflow.

    References
    ----------
    J. Schulman et al., arXiv:1707.06347. Dual clip: D. Ye et al., "Mastering Complex Control in MOBA Games", AAAI 2020.

    Examples
    --------
    At the policy that drew the answers, the gradient is that of the advantage times the log probability:

    >>> import torch
    >>> logp = torch.zeros(1, 2, requires_grad=True)
    >>> clipped_policy_loss(logp, logp.detach(), torch.tensor([3.0]), torch.ones(1, 2)).backward()
    >>> logp.grad.tolist()
    [[-1.5, -1.5]]
    """
    if not isinstance(clip, Sequence) or len(clip) != 2:
        raise ValueError(f"clip must be a pair of numbers; got {clip!r}")
    low, high = clip
    Real(0.0, 1.0, closed="left").check("clip", low)
    NONNEGATIVE.check("clip", high)
    (MISSING | Real(1.0, closed="neither")).check("dual", dual)
    tensors = {"logp": logp, "logp_old": logp_old, "advantages": advantages, "mask": mask}
    for name, value in tensors.items():
        if not isinstance(value, Tensor) or (name != "mask" and not value.is_floating_point()):
            got = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"{name} must be a tensor{', of floating-point numbers' * (name != 'mask')}; got {got}")
    together(**tensors)
    if logp.ndim != 2 or logp_old.shape != logp.shape or mask.shape != logp.shape:
        raise ValueError(
            "logp, logp_old and mask must have one shape (n, n_tokens); "
            f"got {tuple(logp.shape)}, {tuple(logp_old.shape)} and {tuple(mask.shape)}"
        )
    if advantages.shape not in (logp.shape, logp.shape[:1]):
        raise ValueError(f"advantages must be of answers or of tokens; got shape {tuple(advantages.shape)}")
    counted = mask != 0
    if not bool(counted.any()):
        raise ValueError("mask must keep at least one token")
    wide = advantages.detach() if advantages.ndim == 2 else advantages.detach()[:, None].expand_as(logp)
    # Only tokens that count are touched: a gradient through what is left out would be NaN where that is infinite.
    dtype = working_dtype(logp, logp_old, advantages)
    gain, log_ratio = wide[counted].to(dtype), logp[counted].to(dtype) - logp_old.detach()[counted].to(dtype)
    ratio = log_ratio.clamp(-_LARGEST_LOG_RATIO, _LARGEST_LOG_RATIO).exp()
    losses = torch.maximum(-gain * ratio, -gain * ratio.clamp(1 - low, 1 + high))
    if dual is not None:
        losses = torch.where(gain < 0, torch.minimum(losses, -gain * dual), losses)
    return losses.mean().to(logp.dtype)
