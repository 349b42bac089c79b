import pytest
import torch

from sparsetheory.gpu.activations import DeltaActivation, DeltaLinear, count_macs, quantize


@pytest.fixture
def weight(device):
    return torch.randn(7, 30, generator=torch.Generator().manual_seed(0)).to(device)


def walk(n_frames, device, batch=2, size=0.05):
    generator = torch.Generator().manual_seed(1)
    return (size * torch.randn(batch, n_frames, 30, generator=generator)).cumsum(1).to(device)


@pytest.mark.parametrize("q", [0.3, "each"])
def test_changes_add_up_to_the_quantised_product(weight, q):
    steps = torch.linspace(0.05, 0.6, 30, device=weight.device) if q == "each" else q
    x, bias = walk(200, weight.device), torch.arange(7.0, device=weight.device)
    outputs = DeltaLinear(weight, steps, bias)(x)
    exact = quantize(x, steps).double() @ weight.double().T + bias
    # One rounding at the end, however many frames went before.
    torch.testing.assert_close(outputs.double(), exact, rtol=2e-7, atol=2e-6)


def test_outputs_never_drift_where_forgetting_layers_do(device):
    weight, n = torch.ones(1, 1, device=device), 200
    ramp = torch.linspace(0, 1, n, device=device).reshape(1, n, 1)
    outputs = DeltaLinear(weight, 0.02)(ramp)
    assert (outputs - ramp).abs().max() <= 0.01 + 1e-6
    changes = ramp.diff(dim=1)
    forgetting = (changes * (changes.abs() >= 0.02)).cumsum(1)
    assert (forgetting - ramp[:, 1:]).abs().max() == pytest.approx(1.0)


def test_only_changed_codes_cause_work(weight):
    layer, x = DeltaLinear(weight, 0.5), torch.full((30,), 2.0, device=weight.device)
    layer.step(x)
    assert layer.n_events == 30
    layer.step(x + 0.2)
    assert layer.n_events == 30
    moved = x.clone()
    moved[4] = 3.0
    # Few changes take the path that gathers rows, many the whole product.
    torch.testing.assert_close(layer.step(moved), weight @ moved)
    assert layer.n_events == 31
    torch.testing.assert_close(layer.step(-moved), weight @ -moved)
    assert layer.n_events == 61


def test_clips_do_not_see_each_other(weight):
    layer, x = DeltaLinear(weight, 0.1), walk(6, weight.device)
    first = layer(x)
    assert torch.equal(layer(x), first)
    # One clip frame by frame, after a reset.
    single = torch.stack([layer.reset().step(x[1, 0]), *(layer.step(frame) for frame in x[1, 1:])])
    torch.testing.assert_close(single, first[1])


def test_steps_come_from_a_trained_layer(weight):
    quantiser = DeltaActivation("neuron", -0.25, shape=30).to(weight.device)
    x = walk(5, weight.device)
    outputs = DeltaLinear(weight, quantiser.threshold.abs())(x)
    torch.testing.assert_close(outputs, quantiser(x).y.detach() @ weight.T, rtol=1e-5, atol=1e-5)


def test_codes_that_single_precision_does_not_hold_are_refused(weight):
    layer, x = DeltaLinear(weight, 1.0), torch.zeros(30, device=weight.device)
    before = layer.step(x + 2.0**24)
    with pytest.raises(ValueError, match=r"x_t must be at most 2\*\*24 steps of q in size; got 1.68e\+07 steps"):
        layer.step(x + 2.0**24 + 4)
    with pytest.raises(ValueError, match="got nan steps"):
        layer.step(x * torch.nan)
    assert torch.equal(layer.step(x + 2.0**24), before)


def test_counts_of_operations():
    deltas = torch.tensor([[0.0, 0.5], [-0.0, -2.0]])
    assert count_macs(deltas, 12) == 24
    assert count_macs(deltas, torch.tensor([100.0, 7.0])) == 14
    # More than single precision counts.
    assert count_macs(torch.ones(3), 2**25 + 1) == 3 * (2**25 + 1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtype_stays(weight, dtype):
    assert DeltaLinear(weight.to(dtype), 0.5)(walk(3, weight.device).to(dtype)).dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_model_moved_to_another_dtype_keeps_its_sums(weight, dtype):
    layer = DeltaLinear(weight.to(dtype), 0.5)
    x = walk(30, weight.device)
    expected = layer(x)
    assert torch.equal(layer.to(dtype)(x), expected)


def test_codes_beyond_half_precision():
    x = torch.tensor([40.0], dtype=torch.float16)
    assert DeltaLinear(torch.ones(1, 1, dtype=torch.float16), 2.0**-12).step(x).item() == 40.0


def test_arguments_that_are_refused(weight):
    with pytest.raises(ValueError, match="q must be a finite positive number; got 0"):
        DeltaLinear(weight, 0)
    with pytest.raises(ValueError, match=r"q must be above 0, one number or 30; got shape \(30,\) with 1 entries"):
        DeltaLinear(weight, torch.arange(30.0))
    with pytest.raises(ValueError, match=r"bias must have shape \(7,\); got \(3,\)"):
        DeltaLinear(weight, 1.0, torch.zeros(3))
    layer = DeltaLinear(weight, 1.0)
    layer.step(torch.zeros(2, 30, device=weight.device))
    with pytest.raises(ValueError, match="reset between clips"):
        layer.step(torch.zeros(3, 30, device=weight.device))
    with pytest.raises(ValueError, match=r"x_t must have shape \(30,\) or with a batch before; got \(29,\)"):
        layer.step(torch.zeros(29))
