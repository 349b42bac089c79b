"""Mean loss of language models on batches of texts."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sparsetheory.gpu.core.recording import attention_mask, check_batches, run_batches

__all__ = ["next_token_loss"]


def next_token_loss(model: nn.Module, batches: Iterable[Any]) -> float:
    """Return the mean negative log-likelihood of the next token of causal language models; its exponent is perplexity.

    Parameters
    ----------
    model : torch.nn.Module
        From tokens to logits of shape (batch, positions, n_tokens), or to an output that has ``logits``. Run in
        evaluation mode and without gradients.
    batches : iterable
        Tensors of tokens of shape (batch, positions), or mappings with ``"input_ids"``. A token is scored where it and
        the one before are real by ``"attention_mask"``; the first of a text has none before.

    Returns
    -------
    float
        In nats, summed in double precision.

    Raises
    ------
    TypeError
        If `batches` is a single batch.
    ValueError
        If nothing is scored.

    Examples
    --------
    >>> import math, torch
    >>> from torch import nn
    >>> model = nn.Embedding.from_pretrained(torch.zeros(4, 4))
    >>> math.isclose(next_token_loss(model, [torch.tensor([[0, 1, 2]])]), math.log(4), rel_tol=1e-6)
    True
    """
    check_batches("batches", batches)
    total, count = 0.0, 0
    for batch in batches:
        (output,) = run_batches(model, [batch])
        tokens, real = _tokens(batch), attention_mask(batch)
        logits = getattr(output, "logits", output)[:, :-1]
        exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
        likelihood = exact.log_softmax(-1).gather(-1, tokens[:, 1:, None]).squeeze(-1)
        scored = torch.ones_like(likelihood, dtype=torch.bool)
        if real is not None:
            scored = (real[:, 1:] != 0) & (real[:, :-1] != 0)
        total -= float(likelihood[scored].double().sum())
        count += int(scored.sum())
    if not count:
        raise ValueError("batches must hold texts of at least two real tokens; got none")
    return total / count


def _tokens(batch: Any) -> Tensor:
    if isinstance(batch, Mapping):
        return batch["input_ids"]
    return batch[0] if isinstance(batch, tuple | list) else batch
