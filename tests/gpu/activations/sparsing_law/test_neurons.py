import math

import numpy as np
import pytest
import torch

from sparsetheory.gpu.activations import SizeThreshold, cett, cett_threshold, neuron_norms
from sparsetheory.gpu.activations.sparsing_law.neurons import Neurons


@pytest.fixture
def layer(device):
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(20, 32, generator=generator)
    return h.to(device), torch.randn(8, 32, generator=generator).to(device)


def brute_force(h, w_out, eps):
    parts = h[:, None, :] * w_out
    dropped = parts * (parts.norm(dim=1, keepdim=True) < eps)
    return dropped.sum(2).norm(dim=1) / parts.sum(2).norm(dim=1)


def test_norms_and_error_are_those_of_the_sum_of_neurons(layer):
    h, w_out = layer
    torch.testing.assert_close(neuron_norms(h, w_out), (h[:, None, :] * w_out).norm(dim=1))
    for eps in (0.0, 0.7, 2.0, 5.0, math.inf):
        torch.testing.assert_close(cett(h, w_out, eps), brute_force(h, w_out, eps))


def test_ends_are_exact(layer):
    h, w_out = layer
    assert torch.equal(cett(h, w_out, 0.0), torch.zeros(20, device=h.device))
    assert torch.equal(cett(h, w_out, math.inf), torch.ones(20, device=h.device))


def test_error_above_one_is_not_clamped():
    assert cett(torch.tensor([[5.0, 4.0]]), torch.tensor([[1.0, -1.0]]), 4.5).item() == 4.0


def test_error_falls_while_more_neurons_are_left_out():
    w_out, h = torch.tensor([[1.0, -1.0, 1.0], [0.0, 0.0, 1.0]]), torch.tensor([[1.0, 1.1, 5.0]])
    found = [float(cett(h.double(), w_out.double(), eps)) for eps in (0.9, 1.05, 1.2)]
    assert found == pytest.approx([0.0, 0.143, 0.014], abs=1e-3)


def test_tokens_without_output_have_no_error_and_do_not_count():
    h, w_out = torch.tensor([[0.0, 0.0], [1.0, 2.0]]), torch.tensor([[1.0, 0.5]])
    found = cett(h, w_out, 1.0)
    assert found.isnan().tolist() == [True, False]
    for method in ("bisect", "scan"):
        assert cett_threshold(h, w_out, 0.4, method) == cett_threshold(h[1:], w_out, 0.4, method)
    with pytest.raises(ValueError, match="h must hold a token whose output is not zero; got 1 tokens without any"):
        cett_threshold(h[:1], w_out, 0.4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(layer, dtype):
    h, w_out = (part.to(dtype) for part in layer)
    found = cett(h, w_out, 2.0)
    assert found.dtype == neuron_norms(h, w_out).dtype == torch.float32
    assert torch.equal(found, cett(h.float(), w_out.float(), 2.0))


def test_batches_have_the_errors_of_their_tokens(layer):
    h, w_out = layer
    torch.testing.assert_close(cett(h.reshape(4, 5, 32), w_out, 2.0).flatten(), cett(h, w_out, 2.0))


def test_no_tensor_of_all_neurons_and_outputs_is_made():
    class Largest(torch.utils._python_dispatch.TorchDispatchMode):
        numel = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                self.numel = max(self.numel, result.numel())
            return result

    h, w_out = torch.ones(200, 150), torch.ones(40, 150)
    with Largest() as largest:
        cett(h, w_out, 1.0)
    assert largest.numel == h.numel()


@pytest.mark.parametrize("eps", [-1.0, math.nan, "1", True])
def test_thresholds_that_are_refused(eps):
    with pytest.raises(ValueError, match="eps must be a number of at least 0; got"):
        cett(torch.ones(1, 2), torch.ones(3, 2), eps)


def test_shapes_and_entries_that_are_refused():
    with pytest.raises(ValueError, match=r"got \(1, 2\) and \(2, 3\)"):
        cett(torch.ones(1, 2), torch.ones(2, 3), 1.0)
    with pytest.raises(ValueError, match="h must not hold NaN"):
        cett(torch.full((1, 2), math.nan), torch.ones(3, 2), 1.0)
    with pytest.raises(TypeError, match="w_out must be a tensor of real floating-point numbers"):
        neuron_norms(torch.ones(1, 2), torch.ones(3, 2, dtype=torch.int64))


def test_a_neuron_at_the_threshold_stays():
    h, w_out = torch.tensor([[2.0, 1.0]]), torch.eye(2)
    assert cett(h, w_out, 1.0).item() == 0.0
    found = Neurons.of(h, w_out)
    assert (found.mean_cett(1.0), found.mean_cett(1.5)) == (0.0, pytest.approx(0.2**0.5))


def test_thresholds_of_neurons_are_those_of_norms(layer):
    h, w_out = layer
    w_out[:, 3] = 0
    rule = SizeThreshold.of_norms(2.0, w_out)
    assert torch.equal(rule(h), neuron_norms(h, w_out) >= 2.0)
    # A neuron without a column is never active, whatever the threshold.
    assert not SizeThreshold.of_norms(0.0, w_out)(h)[:, 3].any()
    assert np.count_nonzero(SizeThreshold.of_norms(0.0, w_out)(h).cpu()) == 20 * 31
