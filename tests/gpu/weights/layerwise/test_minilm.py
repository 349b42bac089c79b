"""The published order of methods, on a layer of a real encoder with real text."""

import pytest
import torch

from sparsetheory.gpu.core import NM, PerRow
from sparsetheory.gpu.weights import (
    admm_refit,
    alps,
    continuation_mask,
    magnitude,
    refit,
    sparse_swaps,
    sparsegpt,
    wanda,
)


@pytest.mark.slow
def test_errors_on_a_real_layer_are_ordered_and_sized_as_published(minilm):
    W, gram = minilm("encoder.layer.3.attention.self.query")
    W = W[::2]
    total = float((W @ gram * W).sum())
    damped = gram + 1e-2 * gram.diagonal().diag()

    def error(S):
        return float(((W - S) @ gram * (W - S)).sum()) / total

    for pattern, size in ((NM(2, 4), 1.0), (PerRow(192), 0.53)):
        start = wanda(W, gram, pattern)
        swapped = sparse_swaps(W, gram, start.mask, pattern)
        found = {
            "magnitude": error(magnitude(W, pattern).weight),
            "wanda": error(start.weight),
            "swaps": error(swapped.weight),
            "sparsegpt": error(sparsegpt(W, gram, pattern).weight),
            "swaps and refit": error(refit(W, damped, swapped.mask)),
            "admm": error(admm_refit(W, gram, pattern).weight),
            "alps": error(alps(W, gram, pattern).weight),
            "continuation": error(refit(W, damped, continuation_mask(W, damped, pattern))),
        }
        assert found["magnitude"] > found["wanda"] > found["swaps"] > found["swaps and refit"] > found["alps"]
        assert found["wanda"] > 1.5 * found["sparsegpt"]
        assert found["sparsegpt"] > 1.3 * found["admm"]
        assert found["admm"] > 1.15 * found["alps"]
        assert found["continuation"] < 1.02 * found["alps"]
        assert 0.06 * size < found["wanda"] < 0.09 * size
        assert 0.017 * size < found["alps"] < 0.025 * size


def test_real_gram_matrices_are_solved_to_working_precision(minilm):
    # Their condition is 1e5 and more.
    W, gram = minilm("encoder.layer.3.attention.self.query")
    W, mask = W[:16], magnitude(W[:16], NM(2, 4)).mask
    found = refit(W, gram, mask)
    slope = ((found - W) @ gram) * mask
    assert float(slope.abs().max()) < 1e-9 * float((W @ gram).abs().max())
    assert torch.equal(found != 0, mask)
