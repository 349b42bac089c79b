import copy
import itertools

import pytest
import torch
from torch import nn

from sparsetheory.gpu.core import NM, MaskDecay, StructureDecay
from sparsetheory.gpu.weights import SparseSTE, StepCounter, live_masks, sparsify, srste_penalty

_X = torch.randn(30, 16, generator=torch.Generator().manual_seed(1))
_Y = torch.randn(30, 4, generator=torch.Generator().manual_seed(2))


def _fading(weight):
    return SparseSTE(NM(1, 4), mask_decay=MaskDecay("linear", 0.1, start=2), backward="scaled")


def _framed(weight):
    return SparseSTE(StructureDecay("stepwise", NM(1, 8), total=12, dense=2))


def _start(make):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 4))
    sparsify(model, make)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    StepCounter(optimizer, model)
    srste_penalty(optimizer, model, 0.1)
    return model, optimizer


def _train(model, optimizer, n_steps):
    for _ in range(n_steps):
        optimizer.zero_grad()
        (model(_X) - _Y).square().mean().backward()
        optimizer.step()


def _steps(model):
    return {one.step for one in model.modules() if isinstance(one, SparseSTE)}


@pytest.mark.parametrize("make", [_fading, _framed])
def test_a_run_that_is_resumed_in_the_middle_ends_the_same(make):
    whole, optimizer = _start(make)
    _train(whole, optimizer, 12)
    first, optimizer = _start(make)
    _train(first, optimizer, 5)
    state = copy.deepcopy((first.state_dict(), optimizer.state_dict()))
    second, optimizer = _start(make)
    second.load_state_dict(state[0])
    optimizer.load_state_dict(state[1])
    assert _steps(second) == {5}
    _train(second, optimizer, 7)
    assert _steps(second) == _steps(whole) == {12}
    for one, other in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
    assert live_masks(second) == live_masks(whole)


def test_evaluation_and_accumulation_are_no_steps():
    model, optimizer = _start(_fading)
    for _ in range(3):
        (model(_X) - _Y).square().mean().backward()
    model.eval()(_X)
    assert _steps(model) == {0}
    optimizer.step()
    assert _steps(model) == {1}


def test_a_step_with_infinite_gradients_is_not_counted():
    model, optimizer = _start(_fading)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    for factor, done in ((float("inf"), 0), (1.0, 1), (float("nan"), 1), (1.0, 2)):
        optimizer.zero_grad()
        scaler.scale((model(_X) - _Y).square().mean() * factor).backward()
        scaler.step(optimizer)
        scaler.update()
        assert _steps(model) == {done}


def test_a_fused_step_that_is_left_out_is_not_counted():
    model, _ = _start(_fading)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=True)
    StepCounter(optimizer, model)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for factor, done in ((float("inf"), 0), (1.0, 1)):
        optimizer.zero_grad()
        scaler.scale((model(_X) - _Y).square().mean() * factor).backward()
        scaler.step(optimizer)
        scaler.update()
        assert _steps(model) == {done}


def test_it_ends_when_removed():
    model = nn.Linear(16, 4)
    sparsify(model, _fading)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with StepCounter(optimizer, model):
        _train(model, optimizer, 2)
    _train(model, optimizer, 1)
    assert _steps(model) == {2}


def test_an_optimiser_counts_the_steps_of_a_weight_once():
    model = nn.Linear(16, 4)
    sparsify(model, _fading)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    first = StepCounter(optimizer, model)
    with pytest.raises(ValueError, match="optimizer must count steps once; it has a StepCounter already"):
        StepCounter(optimizer, model)
    model(_X).sum().backward()
    optimizer.step()
    assert _steps(model) == {1}
    first.remove()
    StepCounter(optimizer, model)
    optimizer.step()
    assert _steps(model) == {2}


def test_it_needs_sparse_weights_and_steps():
    model = nn.Linear(4, 4)
    with pytest.raises(ValueError, match="model must have sparse weights; got none, call sparsify first"):
        StepCounter(torch.optim.SGD(model.parameters()), model)
    sparsify(model, "2:4")
    with pytest.raises(ValueError, match="LBFGS"):
        StepCounter(torch.optim.LBFGS(model.parameters()), model)


def _published_frames(kind, n, m):
    """List the patterns of the published code for each of its three recipes."""
    if kind == "stepwise":
        # The number of frames is cut to an integer, so that 3:8 has two of them and ends at 4:8.
        frames, halvings = [(m - 1, m)], 0
        for count in range((m // n).bit_length() - 1):
            halvings = count + 1
            frames.append((m >> halvings, m))
        return frames
    return [(n * k if kind == "geometric" else n, m * k) for k in (8, 4, 2, 1)]


@pytest.mark.parametrize("kind", ["stepwise", "geometric", "densify"])
@pytest.mark.parametrize(("n", "m"), [(1, 8), (2, 8), (2, 4), (1, 16), (3, 8)])
def test_frames_start_when_published_ones_do(kind, n, m):
    total, dense, finetune = 50, 4, 7
    frames = _published_frames(kind, n, m)
    ours = StructureDecay(kind, NM(n, m), total, dense, finetune)
    if kind == "stepwise" and (n, m) == (3, 8):
        assert frames[-1] == (4, 8)  # Published frames stop short of the target.
        assert ours.frames[-1] == NM(3, 8)
        return
    span = total - dense - finetune
    starts = {dense + int(i * span / len(frames)): frame for i, frame in enumerate(frames)}
    now = (m, m)
    for epoch in itertools.chain(range(total)):
        # Published code asks for the epoch itself, so that a run that skips one misses a frame.
        now = starts.get(epoch, now)
        pattern = ours.pattern_at(epoch)
        assert (pattern.n, pattern.m) == now
