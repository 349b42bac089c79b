"""A border of trained pixels."""

import pytest
import torch

from sparsetheory.gpu.analysis import ExpansivePrompt


def test_image_passes_bit_for_bit_and_the_border_is_the_sigmoid(device):
    prompt = ExpansivePrompt(3, 8, channels=2).to(device)
    with torch.no_grad():
        prompt.weight.normal_(generator=torch.Generator(device).manual_seed(0))
    x = torch.randn(5, 2, 3, 3, device=device)
    x[0, 0, 0, 0] = -0.0
    shown = prompt(x)
    assert shown.shape == (5, 2, 8, 8)
    assert torch.equal(shown[:, :, 2:5, 2:5].view(torch.int32), x.view(torch.int32))
    assert torch.equal(shown[:, :, prompt.border], prompt.weight.sigmoid()[:, prompt.border].expand(5, -1, -1))
    assert int(prompt.border.sum()) == 64 - 9


def test_gradient_is_zero_under_the_image_and_autograds_in_the_border():
    prompt = ExpansivePrompt(2, 4, init=0.3).double()
    x = torch.rand(3, 1, 2, 2, dtype=torch.float64)
    prompt(x).square().sum().backward()
    gradient = prompt.weight.grad
    assert torch.equal(gradient[:, 1:3, 1:3], torch.zeros(1, 2, 2, dtype=torch.float64))
    share = torch.tensor(0.3, dtype=torch.float64).sigmoid()
    # The derivative of three squares of a sigmoid.
    expected = 3 * 2 * share * share * (1 - share)
    torch.testing.assert_close(gradient[:, prompt.border], expected.expand(1, 12))


def test_start_is_grey_and_precision_that_of_images():
    prompt = ExpansivePrompt(2, 4)
    shown = prompt(torch.zeros(1, 1, 2, 2, dtype=torch.bfloat16))
    assert shown.dtype == torch.bfloat16
    assert set(shown[0, 0, prompt.border].tolist()) == {0.5}


def test_canvas_of_the_size_of_the_image_has_no_border():
    x = torch.rand(2, 1, 3, 3)
    assert torch.equal(ExpansivePrompt(3, 3)(x), x)


def test_images_are_not_written_to():
    x = torch.rand(2, 1, 3, 3)
    before = x.clone()
    ExpansivePrompt(3, 5)(x).sum().backward()
    assert torch.equal(x, before)


def test_border_moves_with_the_module_but_is_not_stored():
    prompt = ExpansivePrompt(2, 4)
    assert list(prompt.state_dict()) == ["weight"]
    assert "image_size=2, canvas_size=4, channels=1" in repr(prompt)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((4, 3), "canvas_size must be at least image_size, 4; got 3"),
        ((0, 3), "image_size"),
        ((2, 3, 0), "channels"),
        ((2, 3, 1, float("nan")), "init"),
    ],
)
def test_bad_sizes(arguments, words):
    with pytest.raises(ValueError, match=words):
        ExpansivePrompt(*arguments)


@pytest.mark.parametrize("shape", [(1, 1, 3, 2), (1, 2, 2, 2), (1, 2, 2), (2, 2)])
def test_bad_images(shape):
    with pytest.raises(ValueError, match=r"x must have shape \(n, 1, 2, 2\)"):
        ExpansivePrompt(2, 4)(torch.zeros(shape))


def test_integers_are_refused_as_the_border_would_be_black():
    with pytest.raises(ValueError, match=r"x must hold floating-point numbers.*; got torch.uint8"):
        ExpansivePrompt(2, 4)(torch.zeros(1, 1, 2, 2, dtype=torch.uint8))
