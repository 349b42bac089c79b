"""The loss of a language model on what it reads."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from sparsetheory.gpu.core.recording import attention_mask

__all__ = ["next_token_loss"]


def next_token_loss(output: Any, batch: Any) -> Tensor:
    """Return the mean cross-entropy of each next token, in nats.

    Parameters
    ----------
    output : Tensor of shape (batch, positions, n_classes), or an object with ``logits``
        Logits. If the object has a ``loss`` that is not None, that is returned.
    batch : Tensor of int64 of shape (batch, positions), or tuple that begins with it, or mapping with ``"input_ids"``
        What the model read. Tokens that an attention mask leaves out are neither
        predicted nor predicted from.

    Returns
    -------
    Tensor of shape ()

    Raises
    ------
    TypeError
        If there are no logits, or the batch holds no tokens.

    Examples
    --------
    >>> import torch
    >>> next_token_loss(torch.zeros(1, 3, 2), torch.tensor([[0, 1, 1]]))  # the logarithm of 2
    tensor(0.6931)
    """
    given = getattr(output, "loss", None)
    if given is not None:
        return given
    logits = getattr(output, "logits", output)
    tokens = batch.get("input_ids") if isinstance(batch, Mapping) else batch
    tokens = tokens[0] if isinstance(tokens, tuple | list) and tokens else tokens
    if not isinstance(tokens, Tensor) or tokens.is_floating_point() or tokens.ndim != 2:
        raise TypeError("loss must be given, as the batch holds no tokens of shape (batch, positions) to predict")
    if not isinstance(logits, Tensor) or logits.shape[:-1] != tokens.shape:
        raise TypeError("loss must be given, as the model returns no logits for each token")
    aims, mask = tokens[:, 1:], attention_mask(batch)
    if mask is not None:
        aims = aims.masked_fill((mask[:, 1:] == 0) | (mask[:, :-1] == 0), -100)
    exact = logits[:, :-1].to(torch.promote_types(logits.dtype, torch.float32))
    return functional.cross_entropy(exact.flatten(0, 1), aims.flatten())
