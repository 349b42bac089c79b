import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from sparsetheory.gpu.attention import (
    Layout,
    attention_error_certificate,
    attention_scores,
    diagonal,
    dropped_mass,
    masked_attention,
    multi_diagonal,
    stripe,
    truncation_error,
)

LAYOUT = Layout(frames=3, places=5, text=2)
MODES = {"diagonal": diagonal(LAYOUT, 2), "multi": multi_diagonal(LAYOUT, 1), "stripe": stripe(LAYOUT, [3, 8])}


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_errs_by_the_mass_that_it_drops_times_the_distance_of_two_means(mode):
    q, k, v = torch.randn(3, 2, LAYOUT.n, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    kept = MODES[mode].element_mask()
    error = truncation_error(attention_scores(q, k), kept, v)
    output = masked_attention(q, k, v, MODES[mode])
    torch.testing.assert_close(scaled_dot_product_attention(q, k, v) - output, error)
    delta = dropped_mass(attention_scores(q, k), kept)
    weights = attention_scores(q, k).masked_fill(kept, -torch.inf).softmax(-1).nan_to_num(0.0)
    torch.testing.assert_close(error, delta[..., None] * (weights @ v - output))


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_is_certified_by_its_mask(mode):
    q, k, v = torch.randn(3, 2, LAYOUT.n, 4, generator=torch.Generator().manual_seed(1))
    certificate = attention_error_certificate(q, k, v, MODES[mode])
    assert certificate.check(q, k, v).valid
    # Text sees everything.
    assert certificate.dropped[..., : LAYOUT.text].max() == 0.0
    assert certificate.dropped[..., LAYOUT.text :].max() > 0.0


@pytest.mark.parametrize("backend", ["gather", "online"])
@pytest.mark.parametrize("mode", MODES)
def test_other_ways_to_compute_agree(mode, backend):
    q, k, v = torch.randn(3, 2, LAYOUT.n, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    dense = masked_attention(q, k, v, MODES[mode])
    torch.testing.assert_close(masked_attention(q, k, v, MODES[mode], backend=backend), dense)
