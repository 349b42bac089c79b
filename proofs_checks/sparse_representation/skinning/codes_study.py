"""Forty bits per bone: tokens of an autoencoder, next to codes of columns whose points correspond."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sparsetheory.experiments.study import Study, StudyResult
from sparsetheory.gpu import representation, solvers
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, one_thread, tensor
from sparsetheory.proofs_checks.sparse_representation.skinning.token_models import (
    FULL_STEPS,
    outcome,
    rigs,
    trained,
)
from sparsetheory.typing import Float64Array

_SEEDS, _TRAIN, _TEST, _VERTICES, _BONES = 5, 512, 16, 128, 8
_STAGES, _CENTRES = 5, 256
_ATOMS, _NONZERO, _DIRECTIONS = 64, 4, 8


def _use(profile: str) -> StudyResult:
    columns = ("seed", "values of tokens used", "perplexity", "L1 per active weight", "IoU", "error", "error, rigid")
    if profile == "quick":
        return StudyResult.left_out(columns)
    found = [outcome(seed, FULL_STEPS) for seed in range(_SEEDS)]
    rows = [
        (
            seed,
            one.n_used,
            round(one.perplexity, 1),
            *(round(v, 3) for v in (one.l1_per_active, one.iou, one.blend_error, one.rigid_error)),
        )
        for seed, one in enumerate(found)
    ]
    notes = (
        "Synthetic tubes, 64 to train and 16 fresh ones, 300 steps. A token has 1000 values, and no term of the loss "
        "asks that all are used. Errors are mean distances of blended vertices, in units of the size of the rig."
    )
    return StudyResult(columns, rows, notes, _drawn_rig())


def _drawn_rig() -> Callable[[Any], None]:
    model, rig = trained(0, FULL_STEPS), rigs(0)[1][0]
    with one_thread():
        decoded = model.decode(model.tokens(rig.vertices, rig.weights), rig.vertices)

    def draw(figure: Any) -> None:
        tables = {"true": rig.weights, "40 bits per bone": decoded, "rigid": representation.rigid_weights(rig.weights)}
        for ax, (title, weights) in zip(figure.subplots(1, 3), tables.items(), strict=True):
            representation.draw_rig(rig.vertices, weights, ax, heads=rig.heads, tails=rig.tails)
            ax.set_title(title, fontsize=10)

    return draw


def _corresponding() -> tuple[Float64Array, Float64Array]:
    """Return weights of random tubes at the same relative places, of shape (n_rigs, n_vertices, n_bones)."""
    rng, tables = np.random.default_rng(0), []
    for _ in range(_TRAIN + _TEST):
        lengths, falloff = rng.uniform(0.6, 1.4, _BONES).tolist(), rng.uniform(0.8, 1.6)
        rig = representation.make_tube_rig(lengths, n_vertices=_VERTICES, falloff=falloff, generator=0)
        tables.append(array(rig.weights).astype(np.float64))
    stacked = np.stack(tables)
    return stacked[:_TRAIN], stacked[_TRAIN:]


def _columns(tables: Float64Array) -> Float64Array:
    return tables.transpose(0, 2, 1).reshape(-1, _VERTICES)


def _rounded(values: Float64Array, scale: Float64Array, bits: int) -> Float64Array:
    """Return values on as many even levels between minus and plus a scale as the bits have."""
    step = 2 * scale / (2**bits - 1)
    levels: Float64Array = np.clip(np.round((values + scale) / step), 0, 2**bits - 1) * step - scale
    return levels


def _residual_means(train: Float64Array, test: Float64Array) -> Float64Array:
    from sklearn.cluster import KMeans

    coded, left, rest = np.zeros_like(test), train, test
    for stage in range(_STAGES):
        means = KMeans(_CENTRES, n_init=1, random_state=stage).fit(left)
        coded += means.cluster_centers_[means.predict(rest)]
        left, rest = left - means.cluster_centers_[means.labels_], test - coded
    return coded


def _dictionary(train: Float64Array, test: Float64Array) -> Float64Array:
    """Learn atoms by turns of matching pursuit and least squares, and code with few of them."""
    rng = np.random.default_rng(0)
    atoms = train[rng.choice(len(train), _ATOMS, replace=False)]

    def coded(columns: Float64Array) -> Float64Array:
        D, Y = tensor(atoms), tensor(columns)
        return np.asarray(array(solvers.omp_gram(D @ D.T, Y @ D.T, n_nonzero=_NONZERO)), dtype=np.float64)

    for _ in range(20):
        codes = coded(train)
        atoms = np.asarray(np.linalg.lstsq(codes, train, rcond=None)[0], dtype=np.float64)
        unused = np.linalg.norm(atoms, axis=1) < 1e-9
        atoms[unused] = train[rng.choice(len(train), int(unused.sum()), replace=False)]
        atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    codes, largest = coded(test), np.abs(coded(train)).max()
    return np.asarray(np.where(codes != 0, _rounded(codes, largest, 4), 0.0) @ atoms)


def _principal(train: Float64Array, test: Float64Array) -> Float64Array:
    mean = train.mean(axis=0)
    axes = np.linalg.svd(train - mean, full_matrices=False)[2][:_DIRECTIONS]
    scale = np.abs((train - mean) @ axes.T).max(axis=0)
    return np.asarray(mean + _rounded((test - mean) @ axes.T, scale, 5) @ axes)


def _equal_bits(profile: str) -> StudyResult:
    columns = ("code", "bits per bone", "points correspond", "L1 per active weight", "IoU")
    if profile == "quick":
        return StudyResult.left_out(columns)
    train, test = _corresponding()
    tokens = outcome(0, FULL_STEPS)
    rows: list[tuple[Any, ...]] = [
        ("tokens of an autoencoder", 39.9, "no", round(tokens.l1_per_active, 3), round(tokens.iou, 3))
    ]
    codes: dict[str, Callable[[Float64Array, Float64Array], Float64Array]] = {
        "residual k-means, 5 stages of 256": _residual_means,
        "dictionary, 4 of 64 atoms, 4 bits each": _dictionary,
        "8 principal components, 5 bits each": _principal,
    }
    for name, code in codes.items():
        with one_thread():
            coded = code(_columns(train), _columns(test)).clip(min=0).reshape(_TEST, _BONES, _VERTICES)
        tables = coded.transpose(0, 2, 1)
        tables = tables / np.maximum(tables.sum(axis=2, keepdims=True), 1e-9)
        score = representation.skinning_score(tensor(tables), tensor(test), threshold=0.05)
        rows.append((name, 40, "yes", round(score.l1_per_active, 3), round(score.iou, 3)))
    notes = (
        "Synthetic tubes: columns are a few smooth functions of one coordinate. The other codes know which points of "
        "two rigs correspond, and are learned on more rigs; the autoencoder does not, and its shapes vary. So this is "
        "no contest; it says what the correspondence is worth."
    )
    return StudyResult(columns, rows, notes)


skinning_token_use = Study(
    name="sparse_representation.skinning_token_use",
    title="How many token values skinning weights use",
    description="Autoencoders of skinning weights with four tokens per bone, of 1000 values each, on synthetic rigs.",
    run=_use,
)

skinning_equal_bits = Study(
    name="sparse_representation.skinning_equal_bits",
    title="Skinning weights in forty bits per bone",
    description="Tokens of an autoencoder next to residual k-means, a sparse dictionary and principal components.",
    run=_equal_bits,
)
