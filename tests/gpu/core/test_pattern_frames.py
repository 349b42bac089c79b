import pytest

from sparsetheory.gpu.core import NM, StructureDecay


@pytest.mark.parametrize(
    ("kind", "target", "frames"),
    [
        ("stepwise", NM(1, 8), ["7:8", "4:8", "2:8", "1:8"]),
        ("stepwise", NM(3, 8), ["7:8", "4:8", "3:8"]),
        ("stepwise", NM(1, 2), ["1:2"]),
        ("stepwise", NM(4, 4), ["4:4"]),
        ("stepwise", NM(1, 3), ["2:3", "1:3"]),
        ("stepwise", NM(1, 32), ["31:32", "16:32", "8:32", "4:32", "2:32", "1:32"]),
        ("geometric", NM(2, 4), ["16:32", "8:16", "4:8", "2:4"]),
        ("densify", NM(2, 4), ["2:32", "2:16", "2:8", "2:4"]),
    ],
)
def test_frames(kind, target, frames):
    assert [str(frame) for frame in StructureDecay(kind, target, 100).frames] == frames


@pytest.mark.parametrize("kind", ["stepwise", "geometric", "densify"])
def test_frames_cover_the_steps_once_and_end_at_the_target(kind):
    for target in (NM(1, 8), NM(3, 8), NM(2, 4, axis=0)):
        for total, dense, finetune in ((10, 0, 0), (100, 7, 11), (33, 5, 20)):
            decay = StructureDecay(kind, target, total, dense, finetune)
            patterns = [decay.pattern_at(step) for step in range(total + 3)]
            assert all(p == NM(target.m, target.m, target.axis) for p in patterns[:dense])
            assert patterns[dense] == decay.frames[0]
            assert patterns[total - finetune - 1 :] == [target] * (finetune + 4)
            seen = list(dict.fromkeys(patterns[dense:]))
            assert seen == list(decay.frames)
            starts = [dense + int(i * (total - dense - finetune) / len(seen)) for i in range(len(seen))]
            assert list(decay.starts) == starts
            densities = [p.n / p.m for p in seen]
            wanted = {"stepwise": sorted(densities, reverse=True), "densify": sorted(densities)}
            assert densities == wanted.get(kind, [target.n / target.m] * 4)


@pytest.mark.parametrize(
    ("target", "total", "message"),
    [
        (NM(1, 8), 3, "total must leave 4 steps or more for the frames"),
        ((1, 8), 30, "target must be a pattern NM"),
    ],
)
def test_bad_input(target, total, message):
    with pytest.raises(ValueError, match=message):
        StructureDecay("stepwise", target, total)
