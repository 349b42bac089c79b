"""A small decoder with rotary positions and shared heads of keys, as ``transformers`` builds it."""

import pytest
import torch


@pytest.fixture(scope="session")
def decoder():
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
    )
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config).eval()
    # As large as trained weights make them, so that attention is not uniform.
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "q_proj" in name or "k_proj" in name:
                weight.mul_(20.0)
    return model


@pytest.fixture(scope="session")
def tokens():
    return torch.randint(0, 50, (3, 37), generator=torch.Generator().manual_seed(1))
