"""The search for the pattern of each head of a layer, from a few samples."""

from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor

from sparsetheory.constraints import MISSING, Choice
from sparsetheory.gpu.attention.backends.problem import check_tensors
from sparsetheory.gpu.attention.block_mask import BlockMask
from sparsetheory.gpu.attention.layouts.mode_plan import ModePlan, mode_output, mode_rule
from sparsetheory.typing import Float64Array

__all__ = ["search_modes"]


def search_modes(
    qkv_samples: Iterable[tuple[Tensor, Tensor, Tensor]],
    modes: Mapping[str, BlockMask],
    alpha: float = 0.5,
    max_loss: float = 1.0,
    normalize: Literal["layer"] | None = None,
) -> ModePlan:
    """Choose a mode for each head of a layer: full attention, none at all, or one of the given masks [1]_.

    A head takes the mode of least ``mse + alpha * (1 - sparsity)``, and stays full where this is above `max_loss` for
    all modes, see :func:`mode_rule`. The error is that of the output against full attention, and the sparsity is the
    share of all pairs that a mode does not compute: 1 for skipping, whose output is zero.

    Parameters
    ----------
    qkv_samples : iterable of (Tensor, Tensor, Tensor)
        Queries of shape (..., heads, n, head_dim), and keys and values of shape (..., key heads, m, head_dim), each
        from one run of the model. Errors are means over all samples.
    modes : mapping of str to BlockMask
        Patterns by name, the same for all heads, not causal. Among modes that tie the first one wins, skipping before
        all of them.
    alpha : float
        Price of all pairs, at least 0.
    max_loss : float
        Largest sum of error and price, at least 0, possibly infinite.
    normalize : "layer", optional
        Divide errors by the mean square of the outputs over all heads of the layer. The published rule, and the
        default, takes errors as they are, so that what `max_loss` means depends on the scale of the values. The mean
        square of the head itself would not do: skipping would then have an error of 1 for every head, however small.

    Returns
    -------
    ModePlan
        For one layer; layers, and steps of a diffusion, are searched one by one.

    Raises
    ------
    TypeError
        If a sample or a mode is of another type.
    ValueError
        If there is no sample, shapes do not fit, entries are not finite, a mask is causal or has leading axes, or a
        mode is called "full" or "skip".

    Notes
    -----
    Errors are computed in float32 or wider and summed in float64. It costs an attention for each sample and mode.

    References
    ----------
    .. [1] P. Chen et al., "Sparse-vDiT: unleashing the power of sparse attention to accelerate video diffusion
       transformers", 2025, arXiv:2506.03065.

    Examples
    --------
    The first head looks at its own place in both frames. The second one has almost no output.

    >>> from sparsetheory.gpu.attention import Layout, diagonal, multi_diagonal
    >>> layout = Layout(frames=2, places=8)
    >>> code = 9 * torch.eye(8).repeat(2, 1)
    >>> v = torch.randn(2, 16, 8, generator=torch.Generator().manual_seed(0)) * torch.tensor([1, 0.01]).view(2, 1, 1)
    >>> plan = search_modes(
    ...     [(code.expand(2, 16, 8), code.expand(2, 16, 8), v)],
    ...     {"diagonal": diagonal(layout, 1), "multi-diagonal": multi_diagonal(layout, 1)},
    ... )
    >>> plan.modes, plan.flops()
    (('multi-diagonal', 'skip'), 2816)
    """
    (MISSING | Choice("layer")).check("normalize", normalize)
    _check_modes(modes)
    errors, energies, shape = _errors(qkv_samples, modes)
    if normalize == "layer" and energies > 0:
        errors = errors / energies
    plan = ModePlan(("full", "skip", *modes), (), errors, dict(modes), shape)
    chosen = mode_rule(errors, plan.sparsities, alpha, max_loss)
    return ModePlan(plan.names, tuple(chosen.tolist()), errors, plan.masks, shape)


def _errors(
    samples: Iterable[tuple[Tensor, Tensor, Tensor]], modes: Mapping[str, BlockMask]
) -> tuple[Float64Array, float, tuple[int, int, int]]:
    """Return the errors of all heads in all modes, the mean square of all outputs, and the sizes."""
    sums, n_samples, sizes = torch.zeros(()), 0, None
    for q, k, v in samples:
        check_tensors(q, k, v)
        found = (q.shape[-3], q.shape[-2], k.shape[-2], q.shape[-1])
        if sizes not in (None, found):
            raise ValueError(f"qkv_samples must agree in heads, queries, keys and dimension; got {sizes} and {found}")
        sizes = found
        sums = sums + _squares(q, k, v, modes)
        n_samples += 1
    if sizes is None:
        raise ValueError("qkv_samples must hold at least one sample; got none")
    errors = (sums / n_samples).numpy()
    # The output is the error of skipping.
    return errors, float(errors[:, 1].mean()), sizes[1:]


def _squares(q: Tensor, k: Tensor, v: Tensor, modes: Mapping[str, BlockMask]) -> Tensor:
    """Return the mean squared errors of one sample in float64 on the CPU, of shape (heads, modes)."""
    wide = torch.promote_types(q.dtype, torch.float32)
    group = q.shape[-3] // k.shape[-3]
    q, k, v = (x.detach().to(wide) for x in (q, k.repeat_interleave(group, -3), v.repeat_interleave(group, -3)))
    full = mode_output(q, k, v, None)
    outputs = [full, torch.zeros_like(full), *(mode_output(q, k, v, mask) for mask in modes.values())]
    axes = [axis for axis in range(full.dim()) if axis != full.dim() - 3]
    return torch.stack([(output - full).double().square().mean(axes) for output in outputs], -1).cpu()


def _check_modes(modes: Mapping[str, BlockMask]) -> None:
    for name, mask in modes.items():
        if name in ("full", "skip"):
            raise ValueError(f"modes must not be called full or skip, which are always tried; got {name!r}")
        if not isinstance(mask, BlockMask):
            raise TypeError(f"modes[{name!r}] must be a BlockMask; got {type(mask).__name__}")
        if mask.causal or mask.lead:
            raise ValueError(f"modes[{name!r}] must be one mask for all heads, not causal; got {mask!r:.200}")
