"""The attention of a pretrained model: what goes into it, and other ways to compute it.

Models of ``transformers`` look their attention up in a table of functions, by a name in their configuration. For the
time of a block of code our function is entered there under a name of its own, so no code of the model is changed.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from sparsetheory.gpu.core.recording import check_batches, run_batches

__all__ = ["AttentionCall", "capture_attention", "replaced_attention"]

_NUMBERS = count()


@dataclass(frozen=True, eq=False)
class AttentionCall:
    """One call of the attention of one layer, after rotary positions where the model has them.

    Parameters
    ----------
    layer : int
        Number of the layer, from 0.
    q : Tensor of shape (batch, heads, n_queries, head_dim)
    k, v : Tensor of shape (batch, key heads, n_keys, head_dim)
        Each head of keys serves ``heads // key heads`` neighbouring heads of queries.
    visible : Tensor of bool of shape (batch, 1, n_queries, n_keys)
        Which keys a query may see: causality and padding.
    scale : float
        Factor of the products of queries and keys.
    """

    layer: int
    q: Tensor
    k: Tensor
    v: Tensor
    visible: Tensor
    scale: float

    @property
    def key_mask(self) -> Tensor:
        """Keys that some query may see, of shape (batch, n_keys)."""
        return self.visible.any(-2).squeeze(1)

    @property
    def causal(self) -> bool:
        """Whether no query sees a later key, the last query standing at the last key."""
        n, m = self.visible.shape[-2:]
        return n > 1 and not bool(self.visible.triu(m - n + 1).any())

    def grouped(self) -> "AttentionCall":
        """Return the call with keys and values repeated, one head for each head of queries."""
        times = self.q.shape[1] // self.k.shape[1]
        k, v = (part.repeat_interleave(times, dim=1) for part in (self.k, self.v))
        return AttentionCall(self.layer, self.q, k, v, self.visible, self.scale)

    def dense(self) -> Tensor:
        """Return the exact attention, of the shape of `q`."""
        return functional.scaled_dot_product_attention(
            self.q, self.k, self.v, attn_mask=self.visible, scale=self.scale, enable_gqa=True
        )


@contextmanager
def replaced_attention(model: nn.Module, attend: Callable[[AttentionCall], Tensor]) -> Iterator[None]:
    """Compute the attention of a model by a function, for the time of a block of code.

    Parameters
    ----------
    model : torch.nn.Module
        Model of ``transformers`` whose attention can be set by name, as MiniLM and SmolLM2 of this package.
    attend : callable
        From an :class:`AttentionCall` to outputs of the shape of its `q`.

    Raises
    ------
    TypeError
        If the model does not let its attention be set.
    ValueError
        If a call asks for dropout of attention, as in training; put the model into evaluation mode.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.core.models import load_minilm
    >>> encoder = load_minilm()
    >>> batch = encoder.batches(["Sparse codes are short.", "So is this."])[0]
    >>> with torch.no_grad():
    ...     dense = encoder.model(**batch).last_hidden_state
    ...     with replaced_attention(encoder.model, lambda call: call.dense()):
    ...         ours = encoder.model(**batch).last_hidden_state
    >>> bool(torch.allclose(dense, ours, atol=1e-5))
    True
    """
    chosen: Any = model
    if not hasattr(chosen, "set_attn_implementation"):
        raise TypeError(
            f"model must be a model of transformers that lets its attention be set; got {type(model).__name__}"
        )
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    def attention(
        module: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor,
        *,
        scaling: float,
        **options: Any,
    ) -> tuple[Tensor, None]:
        if options.get("dropout"):
            raise ValueError(f"model must be in evaluation mode; its attention asks for dropout {options['dropout']}")
        call = AttentionCall(module.layer_idx, query, key, value, mask, scaling)
        return attend(call).transpose(1, 2).contiguous(), None

    def visible(*arguments: Any, **options: Any) -> Tensor | None:
        # A mask that is left out would have to be guessed from the kind of the model.
        return sdpa_mask(*arguments, **{**options, "allow_is_causal_skip": False, "allow_is_bidirectional_skip": False})

    name = f"sparsetheory_{next(_NUMBERS)}"
    AttentionInterface.register(name, attention)
    AttentionMaskInterface.register(name, visible)
    before = chosen.config._attn_implementation
    try:
        chosen.set_attn_implementation(name)
        yield
    finally:
        chosen.set_attn_implementation(before)
        for table in (AttentionInterface, AttentionMaskInterface):
            table._global_mapping.pop(name)


def capture_attention(
    model: nn.Module, batches: Iterable[Any], layers: Iterable[int] | None = None
) -> dict[int, list[AttentionCall]]:
    """Record what goes into the attention of layers while the model runs on batches.

    Parameters
    ----------
    model : torch.nn.Module
        As :func:`replaced_attention` takes it. Run in evaluation mode and without gradients; its mode is restored.
    batches : iterable
        What the model takes.
    layers : iterable of int, optional
        Numbers of the layers; all by default.

    Returns
    -------
    dict of int to list of AttentionCall
        One call per batch; tensors are detached and stay on their device.

    Examples
    --------
    >>> from sparsetheory.gpu.core.models import load_minilm
    >>> encoder = load_minilm()
    >>> calls = capture_attention(encoder.model, encoder.batches(["Sparse codes are short."]), layers=[2])
    >>> calls[2][0].q.shape
    torch.Size([1, 12, 7, 32])
    """
    check_batches("batches", batches)
    wanted = None if layers is None else list(layers)
    calls: dict[int, list[AttentionCall]] = {} if wanted is None else {layer: [] for layer in wanted}

    def attend(call: AttentionCall) -> Tensor:
        if wanted is None or call.layer in wanted:
            calls.setdefault(call.layer, []).append(call)
        return call.dense()

    with replaced_attention(model, attend):
        for _ in run_batches(model, batches):
            pass
    if missing := [layer for layer, seen in calls.items() if not seen]:
        raise ValueError(f"layers must be numbers of layers of the model; got {missing}")
    return calls
