"""Labels and summaries belong to the blocks they were made for; others are told from them by their entries."""

import numpy as np
import pytest
from scipy import sparse

from sparsetheory.lowrank import ConcatSVDClustering, SVDSummary, range_finder_summary, tree_summary
from sparsetheory.lowrank.clustering.baselines import kmeans_clusters, random_clusters
from sparsetheory.lowrank.datasets.families import subspace_mixture
from sparsetheory.lowrank.limits import hard_instance


@pytest.fixture(scope="module")
def fitted():
    blocks = subspace_mixture(30, 40, 8, n_subspaces=3, rank=4, random_state=0).blocks
    return ConcatSVDClustering(4, eps=0.01).fit(blocks), blocks


def _error(back, blocks):
    return np.linalg.norm(np.hstack(back) - np.hstack(blocks)) / np.linalg.norm(np.hstack(blocks))


def test_new_blocks_are_not_coded_with_the_labels_of_others(fitted):
    fit, blocks = fitted
    rng = np.random.default_rng(1)
    new = [fit.bases_[(c + 1) % 3] @ rng.standard_normal((4, 8)) for c in fit.labels_]
    changed = [blocks[0] * (1 + 1e-15), *blocks[1:]]
    for others in (new, blocks[::-1], [2 * b for b in blocks], changed, [b.astype(np.float32) for b in blocks]):
        with pytest.raises(ValueError, match="labels must be given for blocks other than the fitted ones"):
            fit.transform(others)
    labels = [fit.predict(b) for b in new]
    assert _error(fit.inverse_transform(fit.transform(new, labels), labels), new) < 1e-12


@pytest.mark.parametrize(
    "form", [lambda b: b.tolist(), np.asfortranarray, sparse.coo_array, np.copy, lambda b: b.astype(">f8")]
)
def test_the_fitted_blocks_are_known_in_every_form(fitted, form):
    fit, blocks = fitted
    assert _error(fit.inverse_transform(fit.transform([form(b) for b in blocks])), blocks) < 1e-12


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c[:-1], "labels must be 29 integers"),
        (lambda c: [c[0][:-1], *c[1:]], r"coefficients of block 0 must have shape \(4, 8\).*got \(3, 8\)"),
        (lambda c: [*c[:-1], c[-1][:, :-1]], r"coefficients of block 29 must have shape \(4, 8\)"),
        (lambda c: [x[:, 0] for x in c], r"coefficients of block 0 must have shape \(4, 8\).*got \(4,\)"),
    ],
)  # fmt: skip
def test_coefficients_of_other_shapes_are_refused(fitted, change, message):
    fit, blocks = fitted
    with pytest.raises(ValueError, match=message):
        fit.inverse_transform(change(fit.transform(blocks)))


def test_coefficients_with_labels_may_have_any_width(fitted):
    fit, _ = fitted
    assert fit.inverse_transform([np.ones((4, 2))], [1])[0].shape == (40, 2)
    with pytest.raises(ValueError, match=r"must have shape \(4, n\)"):
        fit.inverse_transform([np.ones((3, 2))], [1])


@pytest.fixture(scope="module")
def summarised():
    rng = np.random.default_rng(0)
    blocks = [rng.standard_normal((12, 3)) + (1j * rng.standard_normal((12, 3)) if k else 0) for k in range(4)]
    return tree_summary(blocks, 5), blocks


def test_posterior_knows_the_columns_it_is_about(summarised):
    summary, blocks = summarised
    whole = summary.posterior(blocks)
    joint = np.hstack(blocks)
    for same in (blocks[::-1], [joint], [joint[:, ::-1]], [joint[:, :5], joint[:, 5:]]):
        assert summary.posterior(same).relative() == pytest.approx(whole.relative(), rel=1e-9)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda b: b[:-1], "12 columns; got 9"),
        (lambda b: [1.001 * x for x in b], "energy"),
        (lambda b: [(1 + 1e-10) * x for x in b], "energy"),
        # The same energies in other places.
        (lambda b: [x[::-1] for x in b], "probe"),
        (lambda b: [b[0][:, ::-1] * 1j, *b[1:-1], b[-1][[1, 0, *range(2, 12)]]], "probe"),
    ],
)
def test_posterior_refuses_other_columns(summarised, change, what):
    summary, blocks = summarised
    with pytest.raises(ValueError, match=f"blocks must be those summarised: {what}"):
        summary.posterior(change(blocks))


def test_posterior_recognises_after_every_kind_of_growth():
    rng = np.random.default_rng(0)
    blocks = [rng.standard_normal((9, 2)).astype(np.float32) for _ in range(40)]
    summary = SVDSummary.from_block(blocks[0], 4, target_rank=2)
    for block in blocks[1:20]:
        summary.append(block)
    for block in blocks[20:]:
        summary = summary.merge(SVDSummary.from_block(block, 4, target_rank=2))
    assert summary.n_steps == 40
    assert summary.posterior(blocks).upper <= summary.interval().upper


@pytest.mark.parametrize("state", ["a", -1, 1.5, [None]])
@pytest.mark.parametrize(
    "call",
    [
        lambda s: range_finder_summary([np.eye(3)], 1, random_state=s),
        lambda s: hard_instance([1.0], 4, 1, random_state=s),
        lambda s: random_clusters([np.eye(3)], 1, 1, random_state=s),
        lambda s: kmeans_clusters([np.eye(3)], 1, 1, random_state=s),
    ],
    ids=["range finder", "hard instance", "random", "k-means"],
)
def test_bad_seeds_are_named(call, state):
    with pytest.raises(ValueError, match="random_state must be None, an int of at least 0"):
        call(state)


@pytest.mark.parametrize("at", [1, 8, 20])
@pytest.mark.parametrize(
    ("block", "message"),
    [
        (np.full((3, 2), np.nan), "contains NaN or infinity"),
        (np.ones(3), "must be two-dimensional"),
        (np.array([["a"] * 2] * 3), "must be real or complex"),
        (1e200 * np.eye(3), "squares leave the range"),
        (np.eye(4), "has 4"),
        (np.eye(4).tolist(), "has 4"),
    ],
    ids=["NaN", "1-D", "text", "range", "rows", "rows of a list"],
)
def test_trees_say_which_block(at, block, message):
    blocks = [np.eye(3)] * 21
    blocks[at] = block
    with pytest.raises((ValueError, TypeError), match=f"block {at}.*{message}"):
        tree_summary(blocks, 1)
