import pytest
import torch

from sparsetheory.gpu.activations import DeltaActivation, quantize


@pytest.fixture
def x(device):
    return (3 * torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(0))).to(device)


def test_halves_go_to_even_codes():
    assert quantize(torch.tensor([0.5, 1.5, 2.5, -0.5]), 1.0).tolist() == [0.0, 2.0, 2.0, 0.0]


@pytest.mark.parametrize("step", [1e-5, 1e-7])
def test_small_steps_in_half_precision(step):
    x = torch.tensor([1.0, -3.0], dtype=torch.float16)
    assert torch.equal(quantize(x, step), x)
    assert torch.equal(DeltaActivation(threshold=step).half()(x.reshape(1, 2, 1)).y.flatten(), x)


def test_values_move_by_half_a_step_and_stay_on_the_grid(x):
    for q in (0.1, torch.full((6,), 0.3, device=x.device)):
        once = quantize(x, q)
        assert ((once - x).abs() <= torch.as_tensor(q, device=x.device) / 2 + 1e-6 * x.abs().max()).all()
        assert torch.equal(quantize(once, q), once)


def reference(x, q, grad_mode):
    """Build the same gradients from detached parts."""
    codes = (x / q).detach().round()
    if grad_mode == "paper":
        # The value q codes, the derivative -codes in q and 1 in x.
        return (q * codes).detach() + (x - x.detach()) - codes * (q - q.detach())
    ratio = x / q
    straight_through = ratio + (ratio.round() - ratio).detach()
    return q * straight_through


@pytest.mark.parametrize("grad_mode", ["paper", "lsq"])
@pytest.mark.parametrize("shape", [(), (6,), (5, 1), (4, 5, 6)])
def test_gradients_are_those_of_detached_parts(x, grad_mode, shape):
    x = x.double()
    upstream = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype).to(x.device)
    results = []
    for function in (quantize, reference):
        inputs = x.clone().requires_grad_()
        q = torch.full(shape, 0.37, dtype=x.dtype, device=x.device, requires_grad=True)
        y = function(inputs, q, grad_mode)
        y.backward(upstream)
        results.append((y.detach(), inputs.grad, q.grad))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_penalty_enlarges_the_step_only_with_the_sign_of_the_paper():
    x, signs = torch.tensor([0.9, 2.1, -3.2]), []
    for mode in ("paper", "lsq"):
        q = torch.tensor(1.0, requires_grad=True)
        quantize(x, q, mode).abs().sum().backward()
        signs.append(float(q.grad))
    # Descent goes against the gradient. The honest one is the sum of |round| - |x|.
    assert signs[0] == -6
    assert signs[1] == pytest.approx(6 - 6.2, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtype_stays(x, dtype):
    q = torch.tensor(0.25, device=x.device, requires_grad=True)
    y = quantize(x.to(dtype).requires_grad_(), q)
    y.sum().backward()
    assert y.dtype == dtype
    assert q.grad.dtype == torch.float32


@pytest.mark.parametrize(
    ("q", "grad_mode", "message"),
    [
        (0.0, "paper", "q must be a finite positive number; got 0.0"),
        (torch.tensor([1.0, -1.0]), "paper", "q must be above 0; got entries down to -1"),
        (torch.tensor(torch.nan), "paper", "q must be above 0; got entries down to nan"),
        (1.0, "straight", "grad_mode must be one of 'paper', 'lsq'; got 'straight'"),
    ],
)
def test_arguments_that_are_refused(q, grad_mode, message):
    with pytest.raises(ValueError, match=message):
        quantize(torch.ones(2), q, grad_mode)
