import pytest
import torch

from sparsetheory.gpu.activations import DeltaActivation, quantize


@pytest.fixture
def clips(device):
    return torch.rand(3, 5, 4, 2, 2, generator=torch.Generator().manual_seed(0)).to(device)


def test_output_penalty_and_events_are_those_of_the_quantiser(clips):
    layer = DeltaActivation(threshold=0.2, alpha=0.5, fan_out=9).to(clips.device)
    found = layer(clips)
    y = quantize(clips, 0.2)
    torch.testing.assert_close(found.y, y)
    changes = y[:, 1:] - y[:, :-1]
    torch.testing.assert_close(found.penalty, 0.5 * 9 * changes.abs().mean())
    assert (found.n_events, found.n_changes) == (int((changes != 0).sum()), 3 * 4 * 16)
    assert found.n_clamped == 0


def test_static_clips_have_no_events_and_no_penalty(clips):
    found = DeltaActivation(alpha=1.0).to(clips.device)(clips[:, :1].expand(-1, 7, -1, -1, -1))
    assert (found.n_events, found.penalty.item()) == (0, 0.0)


def test_clips_of_one_frame_have_no_penalty(clips):
    layer = DeltaActivation(alpha=1.0).to(clips.device)
    found = layer(clips[:, :1])
    found.penalty.backward()
    assert (found.n_events, found.n_changes, found.penalty.item()) == (0, 0, 0.0)


def test_frames_behind_the_end_of_a_clip_do_not_count(clips):
    layer = DeltaActivation(threshold=0.05, alpha=1.0).to(clips.device)
    lengths = torch.tensor([5, 2, 1])
    garbage = clips.clone()
    garbage[1, 2:], garbage[2, 1:] = 9.0, -9.0
    found, other = layer(clips, lengths), layer(garbage, lengths)
    assert torch.equal(found.penalty, other.penalty)
    assert found.n_events == other.n_events
    assert found.n_changes == (4 + 1 + 0) * 16


@pytest.mark.parametrize(
    ("granularity", "shape", "view"), [("channel", 4, (4, 1, 1)), ("neuron", (4, 2, 2), (4, 2, 2)), ("layer", None, ())]
)
def test_thresholds_of_layers_channels_and_neurons(clips, granularity, shape, view):
    layer = DeltaActivation(granularity, 0.1, shape=shape).to(clips.device)
    with torch.no_grad():
        scale = torch.linspace(-1.0, 2.0, layer.threshold.numel(), device=clips.device) + 0.05
        layer.threshold.mul_(scale.reshape(layer.threshold.shape))
    q = layer.threshold.detach().abs().reshape(view)
    torch.testing.assert_close(layer(clips).y, quantize(clips, q))
    layer(clips).y.sum().backward()
    codes = (clips / q).round()
    expected = -(codes.sum((0, 1)) if q.ndim else codes.sum())
    if granularity == "channel":
        expected = expected.sum((1, 2))
    torch.testing.assert_close(layer.threshold.grad, expected * layer.threshold.detach().sign())


def test_thresholds_near_zero_are_clamped_reported_and_still_learn(clips):
    layer = DeltaActivation("channel", shape=4).to(clips.device)
    with torch.no_grad():
        layer.threshold[1] = -1e-12
    found = layer(clips)
    found.y.sum().backward()
    assert found.n_clamped == 1
    torch.testing.assert_close(found.y[:, :, 1], clips[:, :, 1])
    assert layer.threshold.grad[1] > 0
    assert DeltaActivation().to(clips.device)(torch.zeros_like(clips)).n_clamped == 0


def test_a_strong_penalty_makes_a_network_still(device):
    x = torch.rand(20, 6, 8, generator=torch.Generator().manual_seed(0)).to(device)
    layer = DeltaActivation(alpha=1.0).to(device)
    descent = torch.optim.SGD(layer.parameters(), lr=0.05)
    before = layer(x).n_events
    for _ in range(120):
        descent.zero_grad()
        layer(x).penalty.backward()
        descent.step()
    assert layer(x).n_events < 0.1 * before


def test_half_precision_sums_in_single(clips):
    found = DeltaActivation(alpha=1.0).to(clips.device)(clips.half())
    assert found.y.dtype == torch.float16
    assert found.penalty.dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"granularity": "pixel"}, "granularity must be one of 'layer', 'channel', 'neuron'; got 'pixel'"),
        ({"threshold": 0.0}, "threshold must not be 0; got 0.0"),
        ({"threshold": float("nan")}, "threshold must be a finite number; got nan"),
        ({"alpha": -1.0}, "alpha must be a finite non-negative number; got -1.0"),
        ({"fan_out": 0}, "fan_out must be a finite positive number; got 0"),
        ({"granularity": "channel"}, "shape must be the number of channels for thresholds per channel; got None"),
        ({"granularity": "neuron", "shape": (3, 0)}, "shape must be the shape of a frame"),
        ({"shape": 3}, "shape must be None for one threshold per layer; got 3"),
    ],
)
def test_arguments_that_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        DeltaActivation(**arguments)


def test_clips_that_are_refused(clips):
    with pytest.raises(ValueError, match="x must fit channel thresholds"):
        DeltaActivation("channel", shape=3).to(clips.device)(clips)
    with pytest.raises(ValueError, match="x must be activations of shape"):
        DeltaActivation()(torch.zeros(3))
    with pytest.raises(ValueError, match="lengths must have shape"):
        DeltaActivation().to(clips.device)(clips, torch.ones(2))


def test_a_step_that_has_reached_zero_is_enlarged():
    layer, x = DeltaActivation(), torch.tensor([[[1.0], [-3.0]]])
    layer.threshold.data.zero_()
    found = layer(x)
    assert torch.allclose(found.y, x)
    assert found.n_clamped == 1
