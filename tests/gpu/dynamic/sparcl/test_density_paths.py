import pytest

from sparsetheory.gpu.dynamic import density_path


def test_the_path_of_three_quarters_sparsity_is_the_published_one():
    path = [density_path(epoch, 0.25) for epoch in range(50)]
    assert path[0] == path[4] == (0.25, 0.26)
    assert path[5] == path[44] == (0.24, 0.25)
    assert path[45] == path[49] == (0.25, 0.25)


def test_the_path_never_drops_to_more_than_it_grows_to():
    for epoch in range(12):
        pruned, grown = density_path(epoch, 0.3, 0.2, 0.1, settle=3, freeze=9)
        assert 0 < pruned <= grown <= 1


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((0, 0.0), "base"),
        ((0, 1.5), "base"),
        ((-1, 0.25), "epoch"),
        ((0, 0.995), "base \\+ inter must be at most 1"),
        ((0, 0.01), "intra must be below base"),
        ((0, 0.25, -0.1), "inter"),
        ((0, 0.25, 0.01, 0.01, 6, 5), "freeze must be at least settle"),
    ],
)
def test_a_path_out_of_range_is_refused(arguments, word):
    with pytest.raises(ValueError, match=word):
        density_path(*arguments)
