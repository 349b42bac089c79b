"""AdamS against its formulas written out, its state, and what it refuses."""

import copy
import io

import pytest
import torch
from torch import nn

from sparsetheory.gpu.core import NM, layer_mask
from sparsetheory.gpu.weights import AdamS

DTYPES = [(torch.float64, 1e-12), (torch.float32, 1e-5)]


def _parameter(*shape, dtype=torch.float64, seed=0):
    return nn.Parameter(torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed)))


def _optimizer(*parameters, alpha=0.3, total_steps=40, lr=0.01, **options):
    group = {"params": list(parameters), "sparse": True, **options}
    return AdamS([group], lr, total_steps=total_steps, alpha=alpha, pattern="2:4")


def _gradients(shape, n, dtype=torch.float64, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, dtype=dtype, generator=generator) for _ in range(n)]


def _written_out(weight, gradients, *, total, alpha, lr, betas=(0.9, 0.999), eps=1e-8, every=10):
    """Return the weight after all steps, element by element as the algorithm says, and the last mask."""
    mean, square, mask = torch.zeros_like(weight), torch.zeros_like(weight), None
    for t, gradient in enumerate(gradients):
        if t % every == 0:
            mask = NM(2, 4).mask(weight.abs())
        part = min(1.0, t / total)
        mean = betas[0] * mean + (1 - betas[0]) * gradient
        direction = torch.where(mask, mean, (1 - part) * mean + part * alpha * weight.sign())
        square = betas[1] * square + (1 - betas[1]) * direction**2
        root = (square / (1 - betas[1] ** (t + 1))).sqrt()
        weight = weight - lr * direction / (1 - betas[0] ** (t + 1)) / (root + eps)
    return weight, mask


@pytest.mark.parametrize(("dtype", "rtol"), DTYPES, ids=str)
def test_steps_are_those_of_the_formulas_before_and_after_the_end(device, dtype, rtol):
    parameter = nn.Parameter(_parameter(6, 8, dtype=dtype).detach().to(device))
    gradients = [gradient.to(device) for gradient in _gradients((6, 8), 47, dtype)]
    expected, mask = _written_out(parameter.detach().clone(), gradients, total=40, alpha=0.3, lr=0.01)
    optimizer = _optimizer(parameter)
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
    torch.testing.assert_close(parameter.detach(), expected, rtol=rtol, atol=rtol)
    assert torch.equal(optimizer.masks[parameter], mask)


def test_without_decay_it_is_adam_with_squares_of_the_mean():
    sparse, dense = _parameter(4, 8), _parameter(4, 8)
    first = _optimizer(sparse, alpha=0.0)
    other = AdamS([dense], 0.01, total_steps=40, alpha=0.3, pattern="4:4")
    for gradient in _gradients((4, 8), 10):  # up to the second choice of masks
        sparse.grad, dense.grad = gradient.clone(), gradient.clone()
        first.step()
        other.step()
    mask = first.masks[sparse]
    assert torch.equal(sparse[mask], dense[mask])
    assert not torch.equal(sparse, dense)  # off the mask the mean fades, as it does for any alpha
    full = _parameter(4, 8)
    everything = AdamS([{"params": [full], "sparse": True}], 0.01, total_steps=40, alpha=0.3, pattern="4:4")
    for gradient in _gradients((4, 8), 10):
        full.grad = gradient.clone()
        everything.step()
    assert torch.equal(full, dense)


def test_the_running_mean_does_not_know_alpha():
    # Were the decay written into it, or into what it is averaged with, the two would differ.
    found = []
    for alpha in (1e-3, 10.0):
        parameter = _parameter(4, 8, dtype=torch.float32)
        optimizer = _optimizer(parameter, alpha=alpha)
        for gradient in _gradients((4, 8), 30, torch.float32):
            parameter.grad = gradient.clone()
            optimizer.step()
        found.append((optimizer.state[parameter], parameter))
    (first, weight), (second, other) = found
    assert torch.equal(first["exp_avg"], second["exp_avg"])
    assert not torch.equal(first["exp_avg_sq"], second["exp_avg_sq"])
    assert not torch.equal(weight, other)


def test_without_gradient_the_decay_moves_by_learning_rates_whatever_alpha_is():
    # Squares of the gradient in place of those of the direction would make steps of lr * 1e8, or none.
    moved = []
    for alpha in (1e-3, 1e-1, 10.0):
        parameter = nn.Parameter(torch.tensor([[100.0, -100.0, 200.0, 200.0]], dtype=torch.float64))
        optimizer = _optimizer(parameter, alpha=alpha, total_steps=60)
        steps = []
        for _ in range(60):
            before = parameter.detach().clone()
            parameter.grad = torch.zeros_like(parameter)
            optimizer.step()
            steps.append(((before - parameter.detach()) * before.sign() / 0.01)[0])
        moved.append(torch.stack(steps))
        assert float(moved[-1][20:, :2].min()) > 1.0
        assert float(moved[-1][20:, :2].max()) < 1.95
        assert not moved[-1][:, 2:].any()
    for other in moved[1:]:
        torch.testing.assert_close(other[20:], moved[0][20:], rtol=0.02, atol=1e-12)


def test_zeros_stay_without_gradient_and_ties_keep_the_first():
    parameter = nn.Parameter(torch.zeros(2, 8))
    optimizer = _optimizer(parameter, total_steps=4)
    for _ in range(4):
        parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
    assert not parameter.any()
    assert optimizer.masks[parameter].tolist() == [[True, True, False, False] * 2] * 2


def test_masks_are_chosen_at_the_first_step_and_every_tenth():
    parameter = _parameter(2, 4)
    optimizer = _optimizer(parameter, lr=0.0)
    assert torch.equal(optimizer.masks[parameter], NM(2, 4).mask(parameter.detach().abs()))
    seen = []
    for step in range(12):
        with torch.no_grad():
            parameter.copy_(_parameter(2, 4, seed=step))
        optimizer.step()
        seen.append(optimizer.masks[parameter])
    for step in range(12):
        chosen = _parameter(2, 4, seed=step - step % 10).detach().abs()
        assert torch.equal(seen[step], NM(2, 4).mask(chosen))


@pytest.mark.parametrize("transposed", [False, True])
def test_layers_are_masked_along_their_inputs(transposed):
    weight = _parameter(8, 3) if transposed else _parameter(3, 8)
    filters = _parameter(3, 8, 2, 1)
    for parameter in (weight, filters):
        optimizer = _optimizer(parameter, transposed=transposed)
        expected = layer_mask(NM(2, 4), parameter.detach().abs(), transposed=transposed)
        assert torch.equal(optimizer.masks[parameter], expected)
    assert optimizer.masks[filters].sum(1).eq(4).all()


def _saved(optimizer):
    buffer = io.BytesIO()
    torch.save(optimizer.state_dict(), buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


@pytest.mark.parametrize("how", ["state dict", "deep copy"])
def test_a_resumed_run_goes_on_to_the_bit(how):
    parameter, gradients = _parameter(4, 8, dtype=torch.float32), _gradients((4, 8), 33, torch.float32)
    optimizer = _optimizer(parameter)
    for step, gradient in enumerate(gradients):
        parameter.grad = gradient.clone()
        optimizer.step()
        if step == 16:  # between two choices of masks
            other = copy.deepcopy(optimizer)
            (again,) = other.param_groups[0]["params"]
            if how == "state dict":
                again = nn.Parameter(parameter.detach().clone())
                other = AdamS([{"params": [again], "sparse": True}], 1.0, total_steps=1, alpha=0.0, pattern="2:4")
                other.load_state_dict(_saved(optimizer))
                assert other.masks[again].dtype == torch.bool
    for gradient in gradients[17:]:
        again.grad = gradient.clone()
        other.step()
    assert torch.equal(again, parameter)
    assert torch.equal(other.masks[again], optimizer.masks[parameter])


def test_states_that_do_not_fit_are_refused():
    parameter = nn.Parameter(torch.ones(2, 4))
    parameter.grad = torch.ones(2, 4)
    adam, optimizer = torch.optim.Adam([parameter]), _optimizer(parameter)
    adam.step()
    optimizer.step()
    with pytest.raises(ValueError, match="must be that of an AdamS"):
        optimizer.load_state_dict(adam.state_dict())
    state = _saved(optimizer)
    state["state"][0]["mask"] = torch.ones(4, 2)
    with pytest.raises(ValueError, match=r"parameter 0 must have a mask of its shape \(2, 4\); got one of \(4, 2\)"):
        optimizer.load_state_dict(state)
    del state["state"][0]["mask"]
    with pytest.raises(ValueError, match=r"parameter 0 must have a mask .*; got none"):
        optimizer.load_state_dict(state)
    parameter.data = torch.ones(4, 4)
    parameter.grad = torch.ones(4, 4)
    with pytest.raises(ValueError, match=r"must have a mask of its shape \(4, 4\); got one of \(2, 4\)"):
        optimizer.step()


def test_weights_that_cannot_be_made_sparse_are_refused_by_name():
    def attempt(weight, error, match):
        named = [("fc.weight", nn.Parameter(weight))]
        with pytest.raises(error, match=match):
            AdamS([{"params": named, "sparse": True}], 0.1, total_steps=9, alpha=0.1, pattern="2:4")

    attempt(torch.ones(2, 6), ValueError, "fc.weight must have a multiple of 4 entries")
    attempt(torch.ones(16), ValueError, "fc.weight must have the axes of its layer .* flattened")
    for dtype in (torch.bfloat16, torch.float16):
        attempt(
            torch.ones(2, 4, dtype=dtype), TypeError, "fc.weight must be float32 or float64 .* small steps are lost"
        )
    dense = [("fc.bias", nn.Parameter(torch.ones(3, dtype=torch.bfloat16)))]
    assert not AdamS(dense, 0.1, total_steps=9, alpha=0.1, pattern="2:4").masks


def test_sharded_weights_are_refused():
    if not torch.distributed.is_available():
        pytest.skip("torch is built without torch.distributed")
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        shards = distribute_tensor(torch.ones(4, 4), init_device_mesh("cpu", (1,)), [Shard(0)])
        with pytest.raises(ValueError, match="parameter 0 must be a whole tensor; got a DTensor"):
            _optimizer(nn.Parameter(shards))
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"lr": -1.0}, "lr must be"),
        ({"total_steps": 0}, "total_steps must be"),
        ({"alpha": -0.1}, "alpha must be"),
        ({"betas": (1.0, 0.9)}, r"betas\[0\] must be"),
        ({"betas": (0.9, -0.1)}, r"betas\[1\] must be"),
        ({"eps": 0.0}, "eps must be"),
        ({"mask_every": 0}, "mask_every must be"),
        ({"pattern": 2}, "pattern must be"),
    ],
)
def test_arguments_are_checked(options, match):
    given = {"lr": 0.1, "total_steps": 9, "alpha": 0.1, "pattern": "2:4"} | options
    with pytest.raises(ValueError, match=match):
        AdamS([nn.Parameter(torch.ones(4))], **given)


def test_a_closure_computes_gradients_and_its_loss_is_returned():
    parameter, same = _parameter(2, 4), _parameter(2, 4)
    optimizer, other = _optimizer(parameter), _optimizer(same)

    def closure():
        optimizer.zero_grad()
        loss = parameter.square().sum()
        loss.backward()
        return loss

    before = float(parameter.detach().square().sum())
    assert float(optimizer.step(closure).detach()) == pytest.approx(before)
    same.square().sum().backward()
    other.step()
    assert torch.equal(parameter, same)


def test_a_scaler_skips_steps_that_are_not_counted():
    parameter, same = _parameter(2, 4, dtype=torch.float32), _parameter(2, 4, dtype=torch.float32)
    optimizer, other = _optimizer(parameter), _optimizer(same)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    for step in range(6):
        optimizer.zero_grad()
        scaler.scale(parameter.square().sum() * (float("inf") if step == 3 else 1.0)).backward()
        scaler.step(optimizer)
        scaler.update()
        if step != 3:
            other.zero_grad()
            same.square().sum().backward()
            other.step()
    assert optimizer.param_groups[0]["steps_done"] == 5
    assert torch.equal(parameter, same)


def test_parameters_without_gradient_wait_and_later_groups_join():
    first, second, late = _parameter(2, 4), _parameter(2, 4), _parameter(2, 4)
    optimizer = _optimizer(first, second)
    for step in range(4):
        first.grad = torch.ones_like(first)
        second.grad = torch.ones_like(second) if step % 2 else None
        optimizer.step()
    assert [optimizer.state[each]["step"] for each in (first, second)] == [4, 2]
    optimizer.add_param_group({"params": [late], "sparse": True})
    assert optimizer.param_groups[1]["steps_done"] == 4
    late.grad = torch.ones_like(late)
    with pytest.raises(ValueError, match="multiple of 4"):
        optimizer.add_param_group({"params": [_parameter(2, 3)], "sparse": True})
    optimizer.step()
    assert len(optimizer.param_groups) == 2
    assert optimizer.masks[late].sum() == 4


def test_a_state_of_another_pattern_is_refused():
    parameter = _parameter(2, 8)
    state = AdamS([{"params": [parameter], "sparse": True}], 0.1, total_steps=5, alpha=0.1, pattern="2:4").state_dict()
    other = AdamS([{"params": [parameter], "sparse": True}], 0.1, total_steps=5, alpha=0.1, pattern="1:4")
    with pytest.raises(ValueError, match="state_dict must be of the pattern 1:4; got 2:4"):
        other.load_state_dict(state)


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("kind", ["gaps", "transposed"])
def test_how_a_parameter_lies_in_memory_does_not_matter(kind, sparse):
    plain, whole = _parameter(6, 8), torch.zeros(6, 16, dtype=torch.float64)
    if kind == "gaps":
        view = whole[:, ::2]
        view.copy_(plain.detach())
    else:
        view = plain.detach().T.contiguous().T
    other = nn.Parameter(view)
    for parameter in (plain, other):
        optimizer = _optimizer(parameter, sparse=sparse)
        for gradient in _gradients((6, 8), 25):
            parameter.grad = gradient.clone()
            optimizer.step()
    torch.testing.assert_close(other.detach(), plain.detach(), rtol=1e-12, atol=1e-12)
    assert not whole[:, 1::2].any()


@pytest.mark.parametrize("before", [torch.channels_last, torch.contiguous_format], ids=str)
def test_a_run_may_be_resumed_in_another_memory_format(before):
    formats = {torch.channels_last, torch.contiguous_format}
    gradients = _gradients((4, 8, 3, 3), 24)
    start = _parameter(4, 8, 3, 3).detach()

    def run(weight, state, part):
        parameter = nn.Parameter(weight.clone())
        optimizer = _optimizer(parameter)
        if state is not None:
            optimizer.load_state_dict(state)
        for gradient in part:
            parameter.grad = gradient.clone()
            optimizer.step()
        return parameter.detach(), optimizer.state_dict()

    expected, _ = run(start.to(memory_format=before), None, gradients)
    halfway, state = run(start.to(memory_format=before), None, gradients[:12])
    after = (formats - {before}).pop()
    found, _ = run(halfway.to(memory_format=after), state, gradients[12:])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
