"""Claim about a trained prompt: it writes a border and nothing else."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import analysis
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import AnyArray

_CHEN = "Chen, Yao, Chen, Zhang, Liu (2023)"


@dataclass(frozen=True, eq=False)
class Canvas:
    """Images, the weights of a border, and a linear functional of the canvas."""

    images: AnyArray
    weight: AnyArray
    functional: AnyArray

    @property
    def inside(self) -> tuple[Any, ...]:
        """Where the images lie."""
        size, canvas = self.images.shape[-1], self.weight.shape[-1]
        first = (canvas - size) // 2
        return ..., slice(first, first + size), slice(first, first + size)


def _draw_canvas(seed: int, size: int, border: int, channels: int, n: int) -> Canvas:
    rng = np.random.default_rng(seed)
    shapes = (n, channels, size, size), (channels, size + border, size + border), (n, channels, *[size + border] * 2)
    images, weight, functional = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    return Canvas(images, weight, functional)


def _canvases() -> st.SearchStrategy[Canvas]:
    sizes = st.integers(1, 5), st.integers(0, 5), st.integers(1, 3), st.integers(1, 3)
    return st.builds(_draw_canvas, seeds, *sizes)


def _shown(case: Canvas) -> Any:
    """Return a prompt with the weights of a canvas."""
    import torch

    canvas_size, size = case.weight.shape[-1], case.images.shape[-1]
    prompt = analysis.ExpansivePrompt(size, canvas_size, len(case.weight))
    with torch.no_grad():
        prompt.weight.copy_(tensor(case.weight))
    return prompt


def _border(case: Canvas) -> Measurement:
    """Count pixels of images that change, and entries of the gradient that are not what they must be.

    Under the image the gradient is 0 to the bit. In the border it is that of the sigmoid, ``s (1 - s)`` times the
    functional, summed over images: 1e-5 relative to the sum of sizes is the rounding of single precision.
    """
    prompt = _shown(case)
    shown = prompt(tensor(case.images))
    (shown * tensor(case.functional)).sum().backward()
    gradient = array(prompt.weight.grad)
    changed = np.count_nonzero(array(shown)[case.inside] != case.images) + np.count_nonzero(gradient[case.inside])
    share = 1 / (1 + np.exp(-case.weight.astype(float)))
    expected = share * (1 - share) * case.functional.sum(axis=0)
    expected[case.inside] = 0.0
    wrong = np.abs(gradient - expected) > 1e-5 * np.abs(case.functional).sum(axis=0)
    return Measurement(float(changed + np.count_nonzero(wrong)), 0.0, scale=1.0)


def _added_everywhere(case: Canvas) -> Measurement:
    """Add the prompt to all pixels, as if images lay on black and the border had no mask."""
    share = 1 / (1 + np.exp(-case.weight.astype(float)))
    changed = np.count_nonzero(case.images + share[case.inside] != case.images)
    return Measurement(float(changed), 0.0, scale=1.0)


prompt_border = Claim(
    name="network_analysis.prompt_border",
    summary="A prompt writes the border alone: the image passes bit for bit, and weights under it have no gradient.",
    statement=r"x'_{\mathrm{inside}} = x, \quad \partial L / \partial P_{\mathrm{inside}} = 0",
    source=Source(_CHEN, "visual prompts around the image", "2211.11635"),
    verdict=Always(rtol=0.0),
    instances=_canvases,
    evaluate=_border,
    near_miss=_added_everywhere,
)
