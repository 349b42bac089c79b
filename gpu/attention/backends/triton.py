"""Our kernel in Triton: loaded when it is asked for, on CUDA or in Triton's interpreter."""

import os

from torch import Tensor

from sparsetheory.gpu.attention.backends.problem import Problem
from sparsetheory.gpu.attention.backends.tiles import Geometry, cut, untiled

__all__ = ["triton_attention"]


def triton_attention(problem: Problem) -> Tensor:
    """Return the attention of a kernel that visits kept blocks with an online softmax.

    Raises
    ------
    RuntimeError
        If tensors are on no CUDA device and Triton does not interpret, Triton is absent, or a gradient is wanted.
    """
    _check_can_run(problem)
    from sparsetheory.gpu.attention.backends import _triton

    mask, geometry = problem.mask, Geometry.of(problem)
    q = cut(problem.q, mask.perm_q, mask.block[0])
    k, v = (cut(part, mask.perm_k, mask.block[1]) for part in (problem.k, problem.v))
    return untiled(_triton.attend(q.contiguous(), k.contiguous(), v.contiguous(), geometry, problem.scale), problem)


def _check_can_run(problem: Problem) -> None:
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if problem.q.device.type != "cuda" and not interpreted:
        raise RuntimeError(
            'backend "triton" needs tensors on a CUDA device, or TRITON_INTERPRET=1 before the kernel is loaded; '
            f'got tensors on {problem.q.device}. Use backend="online"'
        )
    if problem.wants_gradient:
        raise RuntimeError('backend "triton" has no gradient; use backend="online", or torch.no_grad()')
    try:
        import triton  # noqa: F401
    except ImportError as missing:
        raise RuntimeError(
            'backend "triton" needs the package triton, which is absent; use backend="online"'
        ) from missing
