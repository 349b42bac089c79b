"""Half precision, sparse blocks and containers: used as they are, or refused with an error that helps."""

import numpy as np
import pytest
from scipy import sparse

from sparsetheory.lowrank import ConcatSVDClustering, block_svd_error, operands, range_finder_summary, tree_summary
from sparsetheory.lowrank.blocks import Blocks, as_matrix
from sparsetheory.lowrank.operands import as_operand


def test_half_precision_is_worked_on_in_double_and_returned_in_single(rng):
    block = rng.standard_normal((5, 3)).astype(np.float16)
    assert as_matrix(block).dtype == np.float64
    assert Blocks([block]).dtype == Blocks([block, block.astype(np.float32)]).dtype == np.float32
    assert Blocks([block, block.astype(float)]).dtype == np.float64
    assert block_svd_error([np.eye(3, dtype=np.float16)], 1).relative == pytest.approx(np.sqrt(2 / 3))
    fit = ConcatSVDClustering(2, 0.5).fit([block, block])
    assert {b.dtype for b in fit.bases_} == {np.dtype(np.float32)}
    assert fit.certificate_.check([block, block]).valid


@pytest.mark.parametrize("container", [sparse.csr_matrix(np.eye(3)), np.eye(3).view(np.matrix), "abc", {0: np.eye(3)}])
def test_one_matrix_is_not_a_list_of_its_rows(container):
    with pytest.raises(ValueError, match=f"blocks must be a list of matrices; got one {type(container).__name__}"):
        Blocks(container)


def test_a_number_is_no_list():
    with pytest.raises(TypeError, match="blocks must be a list of matrices; got int"):
        Blocks(3)


@pytest.mark.parametrize(
    ("block", "error", "message"),
    [
        ([[1.0, 2.0], [3.0]], ValueError, "block 1 cannot be read as a matrix"),
        (np.ma.masked_equal(np.eye(3), 0), TypeError, "block 1 is a masked array"),
        (sparse.csr_array((3, 0)), ValueError, "block 1 must have at least one row and one column"),
        (sparse.coo_array(([np.inf], ([0], [1])), (3, 2)), ValueError, "block 1 contains NaN or infinity"),
        (np.eye(3, dtype=np.clongdouble), TypeError, r"convert it, for example with astype\(np.float32\)"),
    ],
    ids=["ragged", "masked", "empty sparse", "infinite sparse", "long complex"],
)
def test_bad_blocks(block, error, message):
    with pytest.raises(error, match=message):
        Blocks([np.eye(3), block])


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "dia", "bsr", "lil", "dok"])
def test_sparse_blocks_give_what_dense_ones_give(rng, form):
    dense = [rng.standard_normal((12, n)) * (rng.random((12, n)) < 0.3) for n in (9, 4, 14)]
    dense[1] = dense[1] * 1j
    blocks = [sparse.csr_array(b).asformat(form) for b in dense]
    assert Blocks(blocks).energies == pytest.approx(Blocks(dense).energies)
    for method in ("auto", "svd", "gram_rows", "gram_cols"):
        found, expected = (block_svd_error(b, 3, method=method) for b in (blocks, dense))
        assert found.singular_values == pytest.approx(expected.singular_values, abs=1e-7)
    for call in (
        lambda b: range_finder_summary(b, 3, n_power=2, random_state=0).interval(3),
        lambda b: tree_summary(b, 4).interval(),
    ):
        assert call(blocks).relative() == pytest.approx(call(dense).relative(), rel=1e-9)


def test_repeated_entries_are_added_and_left_alone():
    repeated = sparse.csc_matrix((np.array([1.0, 2.0, 4.0]), np.array([1, 1, 0]), np.array([0, 2, 3])), (2, 2))
    for block in (repeated, repeated.tocsr(), repeated.tocoo()):
        before = block.nnz
        assert Blocks([block]).energies.tolist() == [25.0]
        assert as_operand(block).toarray().tolist() == [[0.0, 4.0], [3.0, 0.0]]
        assert block.nnz == before
    assert repeated.data.tolist() == [1.0, 2.0, 4.0]


def test_large_sparse_blocks_are_used_as_they_are():
    rng = np.random.default_rng(0)
    places = rng.integers(0, 30_000, (2, 9000))
    block = sparse.csr_array((rng.standard_normal(9000), places), (30_000, 30_000))
    summary = range_finder_summary([block], 3, random_state=0)
    top = np.sqrt(sparse.linalg.eigsh(block @ block.T, k=1, return_eigenvectors=False, v0=np.ones(30_000))[0])
    assert 0.5 * top <= summary.singular_values[0] <= top * (1 + 1e-9)
    assert summary.interval(3).energy == pytest.approx(np.sum(block.tocoo().data ** 2))
    for call in (lambda: tree_summary([block], 3), lambda: ConcatSVDClustering(3).fit([block] * 2)):
        with pytest.raises(ValueError, match=r"block 0 is sparse of shape.*made dense.*range_finder_summary"):
            call()
    with pytest.raises(ValueError, match="Gram matrix of sparse blocks would be dense of order 30000"):
        block_svd_error([block], 3)


def test_a_sparse_block_inside_the_sketch_misses_nothing(rng, monkeypatch):
    # The difference of energies cannot tell; panels of dense columns can.
    monkeypatch.setattr("sparsetheory.lowrank.range_finder._PANEL_ENTRIES", 60)
    block = sparse.csc_array(np.outer(rng.standard_normal(20), np.arange(30) % 3))
    interval = range_finder_summary([block], 2, random_state=0).interval(1)
    assert interval.decide(1e-10) is True


@pytest.mark.parametrize("error", [1e-2, 1e-5, 1e-8])
def test_what_sparse_blocks_have_outside_the_sketch_is_not_understated(error):
    rng = np.random.default_rng(0)
    u, v = (np.linalg.qr(rng.standard_normal((40, 4)))[0] for _ in range(2))
    dense = u * [1.0, 0.5, error, error] @ v.T
    for block in (dense, sparse.csc_array(dense)):
        interval = range_finder_summary([block], 2, oversampling=0, n_power=2, random_state=0).interval(2)
        assert interval.contains(2 * error**2)
        assert interval.relative()[1] <= 1.5 * error * np.sqrt(2 / 1.25)


def test_the_limit_of_dense_copies(monkeypatch):
    monkeypatch.setattr(operands, "_LARGEST_DENSE", 8)
    assert as_matrix(sparse.csr_array(np.eye(2))).tolist() == [[1, 0], [0, 1]]
    with pytest.raises(ValueError, match="block is sparse of shape"):
        as_matrix(sparse.csr_array(np.eye(3)))


def test_fingerprints_know_entries_not_containers(rng):
    block = np.round(rng.standard_normal((4, 3)), 1)
    block[0, 0] = -0.0
    same = [block, block.tolist(), np.asfortranarray(block), sparse.csr_array(block)]
    assert len({Blocks([b]).fingerprint() for b in same}) == 1
    assert Blocks([block[::-1]]).fingerprint() != Blocks([block]).fingerprint()
    assert Blocks([block, 2 * block]).fingerprint() != Blocks([2 * block, block]).fingerprint()
