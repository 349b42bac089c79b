"""Whether operations are watched while they run, so that what they do must not depend on the values of tensors."""

import torch
from torch.autograd import forward_ad
from torch.utils._python_dispatch import _get_current_dispatch_mode

__all__ = ["is_traced"]


def is_traced() -> bool:
    """Return whether operations are compiled, transformed, counted, or run without values.

    Transforms are those of ``torch.func`` and derivatives in forward mode.
    """
    return (
        torch.compiler.is_compiling()
        or _get_current_dispatch_mode() is not None
        or torch._C._functorch.peek_interpreter_stack() is not None
        or torch.jit.is_tracing()
        or forward_ad._current_level >= 0
    )
