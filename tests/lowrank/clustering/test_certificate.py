"""The certificate of a clustering is valid for a right fit in every form, and for nothing else."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sparsetheory.certificates import Status
from sparsetheory.lowrank import ConcatSVDClustering
from sparsetheory.lowrank.datasets.families import subspace_mixture

FITS = {
    "greedy": {},
    "block": {"criterion": "block"},
    "agglomerative": {"algorithm": "agglomerative"},
    "minimal": {"rank_mode": "minimal"},
}


def _blocks(dtype):
    mixture = subspace_mixture(12, 24, 4, n_subspaces=3, rank=3, noise=0.05, random_state=1).blocks
    alone = np.random.default_rng(3).standard_normal((24, 4))
    return [b.astype(dtype) for b in [*mixture, alone]]


@pytest.fixture(scope="module", params=[(name, dtype) for name in FITS for dtype in ("f4", "f8", "c16")], ids=str)
def fitted(request):
    name, dtype = request.param
    blocks = _blocks(dtype)
    return ConcatSVDClustering(3, eps=0.3, **FITS[name]).fit(blocks), blocks


def _in_basis(change, label=0):
    def corrupt(certificate):
        bases = [u.copy() for u in certificate.bases]
        bases[label] = change(bases[label])
        return replace(certificate, bases=tuple(bases))

    return corrupt


def _entry(basis):
    basis[3, 0] += 1e-3
    return basis


def _exchanged(basis):
    basis[[0, 5], 0] = basis[[5, 0], 0]
    return basis


def _constant(value):
    return lambda basis: np.full_like(basis, value)


def _other_orthonormal(basis):
    rng = np.random.default_rng(0)
    return np.linalg.qr(rng.standard_normal(basis.shape))[0].astype(basis.dtype)


def _in_intervals(**changes):
    return lambda c: replace(c, intervals=tuple(replace(i, **changes) for i in c.intervals))


def _swapped(name):
    def corrupt(certificate):
        first, *middle, last = getattr(certificate, name)
        return replace(certificate, **{name: (last, *middle, first)})

    return corrupt


CORRUPTIONS = {
    "entry": _in_basis(_entry),
    "entry of a raw block": _in_basis(_entry, -1),
    "entries exchanged": _in_basis(_exchanged),
    "zero": _in_basis(_constant(0)),
    "zero of a raw block": _in_basis(_constant(0), -1),
    "NaN": _in_basis(_constant(np.nan)),
    "NaN of a raw block": _in_basis(_constant(np.nan), -1),
    "infinite": _in_basis(_constant(np.inf)),
    "column dropped": _in_basis(lambda u: u[:, :-1]),
    "row dropped": _in_basis(lambda u: u[:-1]),
    "no column": _in_basis(lambda u: u[:, :0]),
    "identity for a raw block": _in_basis(lambda u: np.eye(len(u), dtype=u.dtype), -1),
    "another subspace": _in_basis(_other_orthonormal),
    "another subspace for a raw block": _in_basis(_other_orthonormal, -1),
    "bases exchanged": _swapped("bases"),
    "clusters exchanged": _swapped("clusters"),
    "intervals exchanged": _swapped("intervals"),
    "fewer bases": lambda c: replace(c, bases=c.bases[:-1]),
    "fewer clusters": lambda c: replace(c, clusters=c.clusters[:-1]),
    "fewer intervals": lambda c: replace(c, intervals=c.intervals[:-1]),
    "nothing": lambda c: replace(c, clusters=(), bases=(), intervals=(), ranks=()),
    "an empty cluster": lambda c: replace(
        c, clusters=(*c.clusters, ()), bases=(*c.bases, c.bases[0]), intervals=(*c.intervals, c.intervals[0]),
        ranks=(*c.ranks, c.ranks[0]),
    ),
    "a block twice": lambda c: replace(c, clusters=((*c.clusters[0], 0), *c.clusters[1:])),
    "ranks beyond the promise": lambda c: replace(c, rank=c.rank - 1),
    "bound / 10": lambda c: replace(c, bound=c.bound / 10),
    "bound * 10": lambda c: replace(c, bound=c.bound * 10),
    "bound NaN": lambda c: replace(c, bound=np.nan),
    "other tolerance": lambda c: replace(c, eps=c.eps * 1.01),
    "intervals empty": _in_intervals(lower=0.0, upper=0.0),
    "intervals negative": _in_intervals(lower=-1.0, upper=-1.0),
    "intervals far away": _in_intervals(lower=1e9, upper=1e9),
    "intervals above the error": lambda c: replace(
        c,
        intervals=tuple(
            replace(i, lower=0.999 * c.bound**2 * i.energy, upper=c.bound**2 * i.energy) for i in c.intervals
        ),
    ),
    "columns too long": _in_basis(lambda u: (u * (1 + 1e-5)).astype(u.dtype)),
    "intervals NaN": _in_intervals(lower=np.nan, upper=np.nan),
    "intervals of another unit": _in_intervals(unit=2.0),
    "intervals of any error": lambda c: replace(c, intervals=tuple(replace(i, upper=i.energy) for i in c.intervals)),
}  # fmt: skip


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corrupted_certificate_is_invalid(fitted, name):
    fit, blocks = fitted
    corrupted = CORRUPTIONS[name](fit.certificate_)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checked = corrupted.check(blocks)
    assert checked.status is Status.INVALID
    assert checked.reason


OTHERS = {
    "another unit": lambda blocks: [2 * b for b in blocks],
    "an offset": lambda blocks: [b + 1 for b in blocks],
    "rows exchanged": lambda blocks: [b[::-1] for b in blocks],
    "other order": lambda blocks: blocks[::-1],
    "other data": lambda blocks: [np.random.default_rng(k).standard_normal(b.shape) for k, b in enumerate(blocks)],
    "nothing": lambda blocks: [0 * b for b in blocks],
    "one block": lambda blocks: [*blocks[:-1], 2 * blocks[-1]],
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_data_of_the_same_shapes_are_not_certified(fitted, name):
    fit, blocks = fitted
    assert fit.certificate_.check(blocks).valid
    assert not fit.certificate_.check(
        [b.astype(x.dtype) for b, x in zip(OTHERS[name](blocks), blocks, strict=True)]
    ).valid


def test_fit_and_check_agree(fitted):
    fit, blocks = fitted
    own, checked = fit.certificate_, fit.certificate_.check(blocks, random_state=None)
    assert (own.status, own.measured, own.bound, own.reason) == (Status.VALID, checked.measured, checked.bound, "")
    assert len(fit.clusters_) > 1
    assert own.bound == 0.3


@pytest.mark.parametrize("arguments", [(), ([np.eye(3)], [np.eye(3)])])
def test_number_of_arguments(fitted, arguments):
    with pytest.raises(TypeError, match=f"list of blocks as its only argument; got {len(arguments)}"):
        fitted[0].certificate_.check(*arguments)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([np.full((24, 4), np.nan)] * 13, "block 0 contains NaN"),
        ([], "at least one block"),
        ([np.eye(24)] * 12 + [1e-200 * np.eye(24)], "block 12 is so small"),
    ],
)
def test_check_refuses_what_fit_refuses(fitted, blocks, message):
    for call in (fitted[0].fit, fitted[0].certificate_.check):
        with pytest.raises(ValueError, match=message):
            call(blocks)


def _repeated(block):
    rows, columns = np.nonzero(np.ones(block.shape))
    values = np.concatenate([0.25 * block.ravel(), 0.75 * block.ravel()])
    return sparse.coo_matrix((values, (np.tile(rows, 2), np.tile(columns, 2))), shape=block.shape)


def _unsorted_csc(block):
    doubled = np.repeat(np.arange(block.shape[1] + 1) * 2 * block.shape[0], 1)
    indices = np.tile(np.arange(block.shape[0]), 2 * block.shape[1])
    data = np.concatenate([np.concatenate([0.25 * c, 0.75 * c]) for c in block.T])
    return sparse.csc_matrix((data, indices, doubled), shape=block.shape)


FORMS = {
    "lists": lambda b: b.tolist(),
    "frame": pd.DataFrame,
    "fortran": np.asfortranarray,
    "repeated entries": _repeated,
    "repeated entries, compressed": _unsorted_csc,
    **{f: (lambda b, f=f: sparse.csr_array(b).asformat(f)) for f in ("csr", "csc", "coo", "dia", "lil", "dok", "bsr")},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_that_is_fitted_is_checked(form):
    blocks = [np.round(b, 2) for b in _blocks("f8")]
    converted = [FORMS[form](b) for b in blocks]
    fit = ConcatSVDClustering(3, eps=0.3).fit(converted)
    assert fit.labels_.tolist() == ConcatSVDClustering(3, eps=0.3).fit(blocks).labels_.tolist()
    assert fit.certificate_.check(converted).valid
    assert fit.certificate_.check(blocks).valid
    assert not fit.certificate_.check([FORMS[form](2 * b) for b in blocks]).valid
    if form == "repeated entries, compressed":
        assert all(c.nnz == 2 * b.size for b, c in zip(blocks, converted, strict=True))


def test_stacks_lazy_and_mapped_blocks(tmp_path):
    import dask.array as da

    stack = np.array(_blocks("f8"))
    np.save(tmp_path / "stack.npy", stack)
    mapped = np.load(tmp_path / "stack.npy", mmap_mode="r")
    certificate = ConcatSVDClustering(3, eps=0.3).fit(mapped).certificate_
    for form in (stack, mapped, (b for b in stack), [da.from_array(b, chunks=(8, 4)) for b in stack]):
        assert certificate.check(form).valid


def test_a_small_block_outside_the_basis_is_seen_under_the_block_criterion():
    blocks = [np.eye(6)[:, :1], 1e-8 * (np.eye(6)[:, :1] + 1e-3 * np.eye(6)[:, 1:2])]
    fits = {c: ConcatSVDClustering(1, eps=0.1, criterion=c).fit(blocks) for c in ("cluster", "block")}
    assert [len(f.clusters_) for f in fits.values()] == [1, 1]
    away = [blocks[0], 1e-8 * np.linalg.norm([1, 1e-3]) * np.eye(6)[:, 2:3]]
    assert not fits["block"].certificate_.check(away).valid
    assert fits["block"].certificate_.check(away).measured == pytest.approx(1.0)
    slightly = [blocks[0], 1e-8 * (np.eye(6)[:, :1] + 0.15 * np.eye(6)[:, 1:2])]
    slightly[1] *= np.linalg.norm(blocks[1]) / np.linalg.norm(slightly[1])
    loose = tuple(replace(i, upper=0.01 * i.energy) for i in fits["block"].certificate_.intervals)
    certificate = replace(fits["block"].certificate_, intervals=loose)
    assert certificate.check(blocks).valid
    assert not certificate.check(slightly).valid
    # A certificate of the cluster does not become one of its blocks.
    loose = ConcatSVDClustering(1, eps=0.1).fit(away)
    assert len(loose.clusters_) == 1
    assert loose.certificate_.valid
    assert not replace(loose.certificate_, criterion="block").check(away).valid


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_allowance_is_what_storage_in_this_precision_moves(dtype):
    # A right basis, turned step by step out of an exact block: the verdict turns at the bound and the rounding.
    rng = np.random.default_rng(0)
    factors = rng.integers(-9, 10, (30, 4)).astype(float), rng.integers(-9, 10, (3, 5))
    block = (factors[0][:, :3] @ factors[1]).astype(dtype)
    fit = ConcatSVDClustering(3, eps=0.0).fit([block, block])
    assert fit.clusters_ == [[0, 1]]
    certificate, basis = fit.certificate_, fit.bases_[0].astype(float)
    outside = factors[0][:, 3] - basis @ (basis.T @ factors[0][:, 3])
    limit = certificate.bound + np.finfo(dtype).eps * np.sqrt(3) + 100 * 2.0**-53 * (3 + np.log2(30))
    intervals = tuple(replace(i, upper=max(i.upper, certificate.bound**2 * i.energy)) for i in certificate.intervals)
    measured = []
    for angle in limit * np.linspace(0.2, 2.5, 60):
        turned = np.linalg.qr(basis + np.outer(outside / np.linalg.norm(outside), [angle, angle, angle]))[0]
        checked = replace(certificate, bases=(turned.astype(dtype),), intervals=intervals).check([block, block])
        assert checked.valid == (checked.measured <= limit)
        measured.append(checked.measured / limit)
    assert any(0.9 < m < 1 for m in measured)
    assert any(1 < m < 1.1 for m in measured)


@pytest.mark.parametrize(("dtype", "resolved"), [("f4", 1e-6), ("f8", 1e-12)])
@pytest.mark.parametrize("eps", [0.0, 1e-20])
def test_the_statement_says_what_holds_where_less_was_asked_for(dtype, resolved, eps):
    block = np.random.default_rng(0).standard_normal((20, 3)).astype(dtype)
    certificate = ConcatSVDClustering(3, eps=eps).fit([block, block]).certificate_
    assert certificate.valid
    assert resolved / 10 < certificate.bound < 4 * resolved
    name = {"f4": "float32", "f8": "float64"}[dtype]
    assert f"at most {certificate.bound:g}, the resolution of {name} (eps={eps:g} was" in certificate.statement
    plain = ConcatSVDClustering(3, eps=0.25).fit([block, block]).certificate_
    assert plain.statement.endswith("has relative Frobenius error at most 0.25")
