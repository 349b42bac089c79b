"""Pretrained language models with their tokenizer: texts become batches that a model takes as they are."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsetheory.constraints import COUNT
from sparsetheory.gpu.core.recording import run_batches

__all__ = ["TextModel", "quiet_transformers", "sentence_embeddings"]


@dataclass(frozen=True, eq=False)
class TextModel:
    """A pretrained model and the tokenizer that it was trained with.

    Parameters
    ----------
    model : torch.nn.Module
        Module of ``transformers``, in evaluation mode.
    tokenizer : object
        Fast tokenizer of ``transformers``.
    """

    model: nn.Module
    tokenizer: Any

    def batches(
        self, texts: Sequence[str], *, batch_size: int = 16, max_length: int | None = 64
    ) -> list[dict[str, Tensor]]:
        """Return texts as batches of keyword arguments of the model, on its device.

        Parameters
        ----------
        texts : sequence of str
            Taken in order; texts of one batch are padded to the longest.
        batch_size : int
            Texts of a batch.
        max_length : int, optional
            Tokens after which a text is cut, special tokens included. None cuts where the model ends.

        Returns
        -------
        list of dict of str to Tensor
            With ``"input_ids"`` and ``"attention_mask"`` of shape (texts, tokens), as 64-bit integers. The mask is 1
            where a token is real and 0 where it pads. A tokenizer without a token for padding takes that of the end.
        """
        COUNT.check("batch_size", batch_size)
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        device = next(self.model.parameters()).device
        parts = (list(texts[start : start + batch_size]) for start in range(0, len(texts), batch_size))
        encoded = (
            self.tokenizer(part, padding=True, truncation=True, max_length=max_length, return_tensors="pt")
            for part in parts
        )
        return [{name: value.to(device) for name, value in batch.items()} for batch in encoded]


def sentence_embeddings(model: nn.Module, batches: Iterable[Mapping[str, Tensor]], *, normalise: bool = True) -> Tensor:
    """Embed texts by the mean of their last hidden states, over real tokens only.

    Parameters
    ----------
    model : torch.nn.Module
        Encoder whose output has ``last_hidden_state``. Run in evaluation mode and without gradients.
    batches : iterable of mapping
        As :meth:`TextModel.batches` returns them.
    normalise : bool
        Whether embeddings are scaled to length 1.

    Returns
    -------
    Tensor of shape (n_texts, width)
        On the device and in the dtype of the model.
    """
    batches = list(batches)
    means = []
    for batch, output in zip(batches, run_batches(model, batches), strict=True):
        hidden = output.last_hidden_state
        real = batch["attention_mask"].to(hidden).unsqueeze(-1)
        means.append((hidden * real).sum(dim=1) / real.sum(dim=1))
    joined = torch.cat(means)
    return functional.normalize(joined, dim=1) if normalise else joined


@contextmanager
def quiet_transformers() -> Iterator[Any]:
    """Import ``transformers`` and hold back its progress bars inside the block.

    Raises
    ------
    ImportError
        Without the extra ``sparsetheory[hf]``.
    """
    try:
        import transformers
    except ImportError as error:
        raise ImportError(
            "pretrained language models need the extra: pip install 'sparsetheory[hf]'", name="transformers"
        ) from error
    log = transformers.utils.logging
    shown = log.is_progress_bar_enabled()
    log.disable_progress_bar()
    try:
        yield transformers
    finally:
        if shown:
            log.enable_progress_bar()
