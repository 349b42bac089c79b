"""Identities of the four paths through an image."""

from dataclasses import dataclass

from hypothesis import strategies as st

from sparsetheory.gpu import representation
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.verdicts import Always


@dataclass(frozen=True)
class Picture:
    """A batch of random images.

    Parameters
    ----------
    seed, batch, channels, height, width : int
    """

    seed: int
    batch: int
    channels: int
    height: int
    width: int


def _pictures() -> st.SearchStrategy[Picture]:
    small = st.integers(1, 5)
    return st.builds(Picture, st.integers(0, 2**31 - 1), st.integers(1, 2), st.integers(1, 3), small, small)


def _walked(picture: Picture, *, transposed: bool) -> Measurement:
    """Compare paths with loops over pixels, and the merge with the image and, as an adjoint, with the scan."""
    import torch

    source = torch.Generator().manual_seed(picture.seed)
    size = (picture.batch, picture.channels, picture.height, picture.width)
    image = torch.randn(size, generator=source, dtype=torch.float64)
    found = representation.ss2d_scan(image)
    rows = [(i, j) for i in range(picture.height) for j in range(picture.width)]
    columns = sorted(rows, key=lambda place: (place[1], place[0]))
    wrong = 0
    for path, places in enumerate((rows, columns, rows[::-1], columns[::-1])):
        for index, (i, j) in enumerate(places):
            wrong += int((found[:, path, index] != image[:, :, i, j]).sum())
    other = torch.randn(found.shape, generator=source, dtype=torch.float64)
    shape = (picture.width, picture.height) if transposed else (picture.height, picture.width)
    back = representation.ss2d_merge(found, shape).reshape(image.shape)
    merged = representation.ss2d_merge(other, shape).reshape(image.shape)
    adjoint = abs(float((found * other).sum() - (image * merged).sum()))
    return Measurement(wrong + float((back - 4 * image).abs().max()) + adjoint, 0.0, 1.0 + float(found.norm()))


paths = Claim(
    name="sparse_representation.four_paths",
    summary="The four paths are permutations of the pixels, and the merge undoes each of them.",
    statement=r"S_i = \text{permutation}, \quad M = \sum_i S_i^{-1}, \quad M S = 4 I, \quad"
    r" \langle S x, y \rangle = \langle x, M y \rangle",
    source=Source("Liu et al., VMamba (2024)", "cross-scan and cross-merge", "2401.10166"),
    verdict=Always(1e-12),
    instances=_pictures,
    evaluate=lambda picture: _walked(picture, transposed=False),
    near_miss=lambda picture: _walked(picture, transposed=True),
)
