"""The estimator: every promise of its docstring, on every combination of options."""

import warnings
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from lowrank.references import tail_energy
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import (
    check_get_params_invariance,
    check_no_attributes_set_in_init,
    check_parameters_default_constructible,
    check_set_params,
)

from sparsetheory.lowrank import ConcatSVDClustering
from sparsetheory.lowrank.datasets.families import decaying_columns, subspace_mixture

ESTIMATORS = ("max_norm", "residual", "union", "incremental", "exact")
COMBINATIONS = [
    {"estimator": e, "order": o, "on_fail": f, "rank_mode": r}
    for e, o, f, r in product(ESTIMATORS, ("norm", "residual"), ("stop", "skip"), ("fixed", "minimal"))
] + [
    {"algorithm": "agglomerative"},
    {"algorithm": "agglomerative", "rank_mode": "minimal"},
    {"criterion": "block"},
    {"criterion": "block", "rank_mode": "minimal", "on_fail": "skip"},
]


def _name(options):
    return "-".join(map(str, options.values()))


def _best_error(blocks, members, rank):
    energy = sum(np.linalg.norm(blocks[k]) ** 2 for k in members)
    return np.sqrt(tail_energy([blocks[k] for k in members], rank) / energy)


@pytest.mark.parametrize("options", COMBINATIONS, ids=_name)
def test_promises(family, options):
    rank, eps = 4, 0.3
    fit = ConcatSVDClustering(rank, eps=eps, **options).fit(family)
    assert sorted(k for c in fit.clusters_ for k in c) == list(range(len(family)))
    assert all(fit.labels_[k] == label for label, c in enumerate(fit.clusters_) for k in c)
    assert (fit.errors_ <= eps).all()
    assert fit.n_clusters_lower_bound_ <= len(fit.clusters_)
    reconstructed = fit.inverse_transform(fit.transform(family))
    cost = 0
    for label, members in enumerate(fit.clusters_):
        basis, interval, error = fit.bases_[label], fit.intervals_[label], fit.errors_[label]
        assert np.linalg.norm(basis.conj().T @ basis - np.eye(basis.shape[1])) < 1e-12
        assert interval.contains(error**2 * interval.energy)
        whole = np.hstack([family[k] for k in members])
        missed = whole - np.hstack([reconstructed[k] for k in members])
        assert np.linalg.norm(missed) / np.linalg.norm(whole) == pytest.approx(error, abs=1e-7)
        raw = len(members) == 1 and error == 0 and (options.get("rank_mode") != "minimal")
        columns = whole.shape[1]
        factored = basis.shape[1] * (len(whole) + columns)
        cost += whole.size if raw else min(factored, whole.size)
        if len(members) > 1 and options.get("criterion") != "block":
            assert error == pytest.approx(_best_error(family, members, basis.shape[1]), abs=1e-7)
    size = sum(b.size for b in family)
    assert fit.compression_ratio_ == pytest.approx(size / cost)
    assert fit.certificate_.valid
    assert fit.certificate_.check(family).valid


def test_combinations_do_merge_something():
    # The promises above would hold for a clustering that never merges.
    blocks = subspace_mixture(18, 24, 4, n_subspaces=3, rank=3, noise=0.05, random_state=1).blocks
    for estimator in ("incremental", "exact"):
        assert len(ConcatSVDClustering(3, eps=0.2, estimator=estimator).fit(blocks).clusters_) == 3
    assert len(ConcatSVDClustering(3, eps=0.2, algorithm="agglomerative").fit(blocks).clusters_) == 3


def test_every_block_is_within_tolerance_under_the_block_criterion():
    rng = np.random.default_rng(0)
    base = rng.standard_normal((30, 6))
    blocks = [10.0 ** -(k % 3) * base @ rng.standard_normal((6, 4)) for k in range(12)]
    blocks = [b + 0.1 * np.linalg.norm(b) / 11 * rng.standard_normal(b.shape) for b in blocks]

    def worst(fit):
        back = fit.inverse_transform(fit.transform(blocks))
        return max(np.linalg.norm(b - a) / np.linalg.norm(b) for a, b in zip(back, blocks, strict=True))

    assert worst(ConcatSVDClustering(6, eps=0.2, criterion="block", on_fail="skip").fit(blocks)) <= 0.2
    # Without it, blocks of small norm are not protected.
    assert worst(ConcatSVDClustering(4, eps=0.4).fit(blocks)) > 0.4


def test_no_block_is_lost_when_seeds_stay_alone():
    rng = np.random.default_rng(0)
    blocks = [rng.standard_normal((30, 1)) for _ in range(40)]
    for estimator in ESTIMATORS:
        fit = ConcatSVDClustering(8, eps=0.2, estimator=estimator, order="norm").fit(blocks)
        assert sorted(k for c in fit.clusters_ for k in c) == list(range(40))


def test_patience_turns_the_rest_into_single_blocks():
    blocks = [np.eye(40)[:, [2 * k, 2 * k + 1]] for k in range(20)]
    fit = ConcatSVDClustering(4, eps=0.1, patience=3).fit(blocks)
    # Two seeds of two blocks fill the rank exactly; the third gives up.
    assert [len(c) for c in fit.clusters_] == [2, 2] + [1] * 16


def test_skip_looks_behind_a_refused_candidate():
    e = np.eye(8)
    blocks = [10 * e[:, :1], 10 * e[:, :1] + 0.1 * e[:, 1:2], 4 * e[:, 2:3], 0.1 * e[:, 3:4]]
    sizes = {f: len(ConcatSVDClustering(1, eps=0.05, on_fail=f).fit(blocks).clusters_[0]) for f in ("stop", "skip")}
    assert sizes["stop"] <= sizes["skip"] == 3


def test_exact_duplicates_merge_at_zero_tolerance(rng):
    block = rng.standard_normal((20, 5))
    for algorithm in ("greedy", "agglomerative"):
        fit = ConcatSVDClustering(5, eps=0.0, algorithm=algorithm).fit([block, block.copy(), block])
        assert fit.clusters_ == [[0, 1, 2]]
        assert fit.errors_[0] < 1e-7
        assert fit.certificate_.valid


def test_wide_seed_is_charged_with_its_own_error(rng):
    # Published code credits the seed with all its energy; then this pair would pass.
    blocks = [rng.standard_normal((20, 10)), 0.01 * rng.standard_normal((20, 2))]
    for estimator in ESTIMATORS:
        fit = ConcatSVDClustering(3, eps=0.2, estimator=estimator).fit(blocks)
        assert len(fit.clusters_) == 2


def test_single_precision_noise_is_not_taken_for_structure(rng):
    base = rng.standard_normal((60, 4)).astype(np.float32)
    blocks = [base] * 6 + [(base + 0.12 * rng.standard_normal((60, 4))).astype(np.float32) for _ in range(6)]
    fit = ConcatSVDClustering(4, eps=0.05).fit(blocks)
    for label, members in enumerate(fit.clusters_):
        if len(members) > 1:
            assert _best_error(blocks, members, 4) <= 0.05
            assert fit.intervals_[label].contains(tail_energy([blocks[k] for k in members], 4))


@pytest.mark.parametrize("zeros", [[0], [3], [0, 5]])
def test_zero_blocks_join_the_first_shared_cluster(zeros):
    blocks = subspace_mixture(6, 10, 3, n_subspaces=1, rank=2, random_state=0).blocks
    for k in zeros:
        blocks[k] = np.zeros((10, 3))
    fit = ConcatSVDClustering(2, eps=0.1).fit(blocks)
    assert sorted(fit.clusters_[0]) == list(range(6))
    assert np.isfinite(fit.errors_).all()


def test_zero_blocks_do_not_spoil_a_raw_block(rng):
    fit = ConcatSVDClustering(2, eps=0.1).fit([rng.standard_normal((10, 6)), np.zeros((10, 3))])
    assert fit.clusters_ == [[0], [1]]
    assert fit.errors_.tolist() == [0, 0]


def test_only_zeros():
    fit = ConcatSVDClustering(2, eps=0.1).fit([np.zeros((5, 2))] * 3)
    assert fit.clusters_ == [[0, 1, 2]]
    assert fit.errors_.tolist() == [0]
    assert fit.certificate_.check([np.zeros((5, 2))] * 3).valid


@pytest.mark.parametrize("scale", [1e-250, 1e-150, 1e150, 1e250])
@pytest.mark.parametrize("options", [{}, {"algorithm": "agglomerative"}, {"estimator": "union"}], ids=_name)
def test_scale_changes_nothing(scale, options):
    blocks = subspace_mixture(12, 24, 4, n_subspaces=3, rank=3, noise=0.05, random_state=1).blocks
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scaled = ConcatSVDClustering(4, eps=0.3, **options).fit([scale * b for b in blocks])
    plain = ConcatSVDClustering(4, eps=0.3, **options).fit(blocks)
    assert scaled.labels_.tolist() == plain.labels_.tolist()
    assert scaled.errors_ == pytest.approx(plain.errors_, rel=1e-9)
    assert scaled.certificate_.valid
    back = scaled.inverse_transform(scaled.transform([scale * b for b in blocks]))
    assert back[0] / scale == pytest.approx(plain.inverse_transform(plain.transform(blocks))[0], abs=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
def test_dtype_is_kept(dtype):
    blocks = [b.astype(dtype) for b in subspace_mixture(6, 10, 3, rank=2, random_state=0).blocks]
    fit = ConcatSVDClustering(2, eps=0.1).fit(blocks)
    assert {b.dtype for b in fit.bases_} == {x.dtype for x in fit.transform(blocks)} == {np.dtype(dtype)}
    assert fit.certificate_.check(blocks).valid


def test_byte_order_does_not_lose_imaginary_parts():
    blocks = [(b + 1j * b[::-1]).astype(">c16") for b in subspace_mixture(4, 10, 3, rank=2, random_state=0).blocks]
    fit = ConcatSVDClustering(4, eps=0.1).fit(blocks)
    assert {x.dtype for x in fit.bases_} == {np.dtype(complex)}
    assert fit.certificate_.check(blocks).valid


def test_blocks_that_differ_by_a_hundred_decades_cluster_like_others(rng):
    # Overlaps of the weak blocks underflow; bounds made of them must not be believed.
    base = rng.standard_normal((20, 2))
    blocks = [1e-100 * base @ rng.standard_normal((2, 3)) for _ in range(4)] + [rng.standard_normal((20, 3))]
    fit = ConcatSVDClustering(2, eps=0.1, algorithm="agglomerative").fit(blocks)
    assert sorted(map(sorted, fit.clusters_))[0][:4] == [0, 1, 2, 3]


def test_input_is_left_alone_and_layout_does_not_matter():
    blocks = subspace_mixture(8, 10, 3, n_subspaces=2, rank=2, noise=0.1, random_state=0).blocks
    for b in blocks:
        b.setflags(write=False)
    expected = ConcatSVDClustering(2, eps=0.3).fit(blocks)
    for converted in (
        [np.asfortranarray(b) for b in blocks],
        [sparse.csr_array(b) for b in blocks],
        np.array(blocks),
        tuple(blocks),
    ):
        assert ConcatSVDClustering(2, eps=0.3).fit(converted).labels_.tolist() == expected.labels_.tolist()


def test_threads_and_repetition_change_nothing():
    blocks = decaying_columns(60, 40, random_state=0)
    fits = [ConcatSVDClustering(5, eps=0.4, n_jobs=n).fit(blocks) for n in (None, 1, 2)]
    for fit in fits[1:]:
        assert fit.labels_.tolist() == fits[0].labels_.tolist()
        assert fit.errors_ == pytest.approx(fits[0].errors_, rel=1e-12)


def test_predict_finds_the_subspace():
    mixture = subspace_mixture(30, 40, 4, n_subspaces=3, rank=3, noise=0.01, random_state=0)
    fit = ConcatSVDClustering(3, eps=0.1).fit(mixture.blocks[:24])
    assert len(fit.clusters_) == 3
    for k in range(24, 30):
        same = np.flatnonzero(mixture.labels[:24] == mixture.labels[k])[0]
        assert fit.predict(mixture.blocks[k]) == fit.labels_[same]


def test_certificate_notices_tampering():
    blocks = subspace_mixture(12, 24, 4, n_subspaces=3, rank=3, random_state=1).blocks
    certificate = ConcatSVDClustering(3, eps=0.1).fit(blocks).certificate_
    assert certificate.check(blocks).valid
    rng = np.random.default_rng(0)
    assert not certificate.check([rng.standard_normal(b.shape) for b in blocks]).valid
    assert not replace(certificate, clusters=certificate.clusters[::-1]).check(blocks).valid
    overstated = tuple(replace(i, lower=0.0, upper=-1.0) for i in certificate.intervals)
    assert not replace(certificate, intervals=overstated).check(blocks).valid
    assert not replace(certificate, clusters=((0,), *certificate.clusters[1:])).check(blocks).valid


def test_scikit_learn_conventions():
    name, estimator = "ConcatSVDClustering", ConcatSVDClustering(rank=3)
    check_parameters_default_constructible(name, estimator)
    check_get_params_invariance(name, estimator)
    check_set_params(name, estimator)
    check_no_attributes_set_in_init(name, estimator)
    assert clone(estimator).get_params() == estimator.get_params()
    for call in (lambda e: e.transform([np.eye(3)]), lambda e: e.predict(np.eye(3)), lambda e: e.inverse_transform([])):
        with pytest.raises(NotFittedError):
            call(estimator)


GOOD = [np.eye(4)[:, :2], np.ones((4, 1))]


@pytest.mark.parametrize(
    ("options", "blocks", "error", "message"),
    [
        ({}, [], ValueError, "need at least one block"),
        ({}, [np.eye(4), np.eye(3)], ValueError, "block 0 has 4 rows, block 1 has 3"),
        ({}, [np.eye(4), np.ones(4)], ValueError, r"block 1 must be two-dimensional; got shape \(4,\); reshape"),
        ({}, [np.ones((4, 0))], ValueError, "block 0 must have at least one row and one column"),
        ({}, [np.eye(4), np.full((4, 1), np.nan)], ValueError, "block 1 contains NaN or infinity"),
        ({}, [np.full((4, 1), np.inf)], ValueError, "block 0 contains NaN or infinity"),
        ({}, [np.array([[object()]])], TypeError, "block 0 must be real or complex.*dtype object"),
        ({"rank": 0}, GOOD, ValueError, "rank must be an integer from 1 to .*; got 0"),
        ({"rank": 1.5}, GOOD, ValueError, "rank must be an integer.*got 1.5"),
        ({"rank": True}, GOOD, ValueError, "rank must be an integer.*got True"),
        ({"eps": -0.1}, GOOD, ValueError, "eps must be a finite non-negative number; got -0.1"),
        ({"eps": np.nan}, GOOD, ValueError, "eps must be a finite non-negative number"),
        ({"patience": 0}, GOOD, ValueError, "patience must be"),
        ({"oversampling": -1}, GOOD, ValueError, "oversampling must be"),
        ({"estimator": "best"}, GOOD, ValueError, "estimator must be one of 'incremental'.*got 'best'"),
        ({"order": "x"}, GOOD, ValueError, "order must be one of"),
        ({"algorithm": "x"}, GOOD, ValueError, "algorithm must be one of"),
        ({"criterion": "x"}, GOOD, ValueError, "criterion must be one of"),
        ({"on_fail": "x"}, GOOD, ValueError, "on_fail must be one of"),
        ({"rank_mode": "x"}, GOOD, ValueError, "rank_mode must be one of"),
        ({"criterion": "block", "estimator": "union"}, GOOD, ValueError, "criterion='block' needs"),
        ({"criterion": "block", "algorithm": "agglomerative"}, GOOD, ValueError, "criterion='block' needs"),
    ],
)
def test_bad_input_to_fit(options, blocks, error, message):
    with pytest.raises(error, match=message):
        ConcatSVDClustering(**{"rank": 2, **options}).fit(blocks)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: f.transform([np.eye(4)[:, :1]]), "labels must be given"),
        (lambda f: f.transform([np.eye(3)], labels=[0]), "blocks must have 4 rows as in fit; got 3"),
        (lambda f: f.transform(GOOD, labels=[0]), "labels must be 2 integers"),
        (lambda f: f.transform(GOOD, labels=[0, 9]), "labels must lie in 0 to"),
        (lambda f: f.predict(np.eye(3)), "blocks must have 4 rows as in fit; got 3"),
    ],
)
def test_bad_input_behind_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call(ConcatSVDClustering(2).fit(GOOD))


def test_pointless_parameters_are_warned_about():
    with pytest.warns(UserWarning, match="rank=4 is at least the row count 4"):
        assert len(ConcatSVDClustering(4).fit(GOOD).clusters_) == 1
    with pytest.warns(UserWarning, match=r"eps=1\.5 allows"):
        assert ConcatSVDClustering(2, eps=1.5).fit(GOOD).clusters_ == [[0, 1]]


def test_block_criterion_accepts_exact_merges_at_zero_tolerance(rng):
    block = rng.standard_normal((20, 5))
    for rank_mode in ("fixed", "minimal"):
        fit = ConcatSVDClustering(5, eps=0.0, criterion="block", rank_mode=rank_mode).fit([block, 3 * block, block])
        assert len(fit.clusters_) == 1
        assert fit.ranks_.tolist() == [5]
        assert fit.certificate_.check([block, 3 * block, block]).valid


@pytest.mark.parametrize("rank_mode", ["fixed", "minimal"])
@pytest.mark.parametrize("on_fail", ["stop", "skip"])
@pytest.mark.parametrize("order", ["norm", "residual"])
def test_every_block_of_every_family_under_the_block_criterion(family, rank_mode, on_fail, order):
    options = {"rank_mode": rank_mode, "on_fail": on_fail, "order": order}
    fit = ConcatSVDClustering(4, eps=0.4, criterion="block", **options).fit(family)
    back = fit.inverse_transform(fit.transform(family))
    for block, again in zip(family, back, strict=True):
        assert np.linalg.norm(block - again) <= 0.4 * np.linalg.norm(block) * (1 + 1e-12)
    assert fit.n_clusters_lower_bound_ <= len(fit.clusters_)


def test_single_precision_copies_do_not_buy_room_for_others(rng):
    # Updates that keep rounding noise as directions accept everything here, at a true error well beyond eps.
    base = (rng.standard_normal((60, 3)) @ rng.standard_normal((3, 8))).astype(np.float32)
    other = (base + 0.4 * rng.standard_normal((60, 8))).astype(np.float32)
    blocks = [base] * 8 + [other] * 8
    for options in ({}, {"estimator": "residual"}, {"estimator": "exact"}, {"algorithm": "agglomerative"}):
        fit = ConcatSVDClustering(3, eps=0.05, **options).fit(blocks)
        for label, members in enumerate(fit.clusters_):
            if len(members) > 1:
                assert _best_error(blocks, members, 3) <= 0.05
                assert fit.errors_[label] == pytest.approx(_best_error(blocks, members, 3), abs=1e-7)
    assert _best_error(blocks, range(16), 3) > 0.05
    assert sorted(map(len, ConcatSVDClustering(3, eps=0.05).fit(blocks).clusters_)) == [1] * 8 + [8]


def test_certificate_notices_bounds_that_were_moved():
    blocks = subspace_mixture(12, 24, 4, n_subspaces=3, rank=3, noise=0.1, random_state=1).blocks
    certificate = ConcatSVDClustering(3, eps=0.3).fit(blocks).certificate_
    assert certificate.check(blocks).valid
    assert certificate.check(blocks).measured == pytest.approx(certificate.measured)
    for change in ({"upper": 0.0, "lower": 0.0}, {"lower": 1e9, "upper": 1e9}):
        moved = tuple(replace(i, **change) for i in certificate.intervals)
        assert not replace(certificate, intervals=moved).check(blocks).valid
    assert not replace(certificate, bound=0.5 * certificate.measured).check(blocks).valid
    rotated = tuple(u[::-1] for u in certificate.bases)
    assert not replace(certificate, bases=rotated).check(blocks).valid
    for other in (blocks[:-1], [*blocks, blocks[0]], [b[:-1] for b in blocks], [b[:, :-1] for b in blocks]):
        with pytest.raises(ValueError, match="number and shapes of those fitted: 12 blocks of 24 rows and 48 columns"):
            certificate.check(other)


@pytest.mark.parametrize("eps", [None, "0.1", np.inf, 1j])
def test_tolerance_must_be_a_number(eps):
    with pytest.raises(ValueError, match="eps must be a finite non-negative number"):
        ConcatSVDClustering(2, eps=eps).fit(GOOD)


def test_scikit_learn_shorthands():
    blocks = subspace_mixture(8, 10, 3, n_subspaces=2, rank=2, noise=0.1, random_state=0).blocks
    fit = ConcatSVDClustering(2, eps=0.3).fit(blocks)
    assert ConcatSVDClustering(2, eps=0.3).fit_predict(blocks).tolist() == fit.labels_.tolist()
    for a, b in zip(ConcatSVDClustering(2, eps=0.3).fit_transform(blocks), fit.transform(blocks), strict=True):
        assert np.array_equal(a, b)


def test_single_block_stays_raw(rng):
    block = rng.standard_normal((10, 6))
    fit = ConcatSVDClustering(2, eps=0.1).fit([block])
    assert (fit.clusters_, fit.errors_.tolist(), fit.compression_ratio_) == ([[0]], [0.0], 1.0)
    assert fit.inverse_transform(fit.transform([block]))[0] == pytest.approx(block)
