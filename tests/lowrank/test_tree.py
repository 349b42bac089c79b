"""Trees give the same summary wherever they run."""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from lowrank.references import tail_energy

from sparsetheory.lowrank import SVDSummary, tree_summary
from sparsetheory.lowrank.datasets.families import drift_stream


@pytest.fixture(params=[1, 2, 7, 8, 9, 21])
def blocks(request):
    rng = np.random.default_rng(request.param)
    return [rng.standard_normal((14, 3)) for _ in range(request.param)]


def _same(a, b):
    return np.array_equal(a.basis, b.basis) and a.interval() == b.interval() and a.n_columns == b.n_columns


def test_interval_contains_truth(blocks):
    summary = tree_summary(blocks, 6, target_rank=4)
    assert summary.interval().contains(tail_energy(blocks, 4))
    assert summary.n_columns == 3 * len(blocks)


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_change_nothing(blocks, workers):
    with ThreadPoolExecutor(workers) as executor:
        assert _same(tree_summary(blocks, 5, executor=executor), tree_summary(blocks, 5))


def test_shape_is_the_balanced_tree(blocks):
    level = [SVDSummary.from_block(b, 5) for b in blocks]
    while len(level) > 1:
        pairs = [a.merge(b) for a, b in zip(level[::2], level[1::2], strict=False)]
        level = pairs + level[2 * len(pairs) :]
    assert _same(tree_summary(blocks, 5), level[0])


@pytest.mark.distributed
def test_processes_and_dask_change_nothing():
    distributed = pytest.importorskip("distributed")
    import dask.array as da

    rng = np.random.default_rng(0)
    blocks = [rng.standard_normal((14, 3)) for _ in range(19)]
    expected = tree_summary(blocks, 5)
    with ProcessPoolExecutor(2) as executor:
        assert _same(tree_summary(blocks, 5, executor=executor), expected)
    lazy = [da.from_array(b, chunks=(7, 3)) for b in blocks]
    assert _same(tree_summary(lazy, 5), expected)
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        assert _same(tree_summary(blocks, 5, executor=client), expected)
        assert _same(tree_summary(lazy, 5, executor=client), expected)


@pytest.mark.parametrize(("copies", "truth", "chain", "tree"), [(64, 0.418, 0.940, 0.458), (1024, 0.121, 0.995, 0.132)])
def test_drift_stream_separates_chain_and_tree(copies, truth, chain, tree):
    # The values follow from the construction: energies 1.01 + 0.001 i, nine of them, and 0.4 per copy, at rank 4.
    blocks = drift_stream(copies, 4, 9)
    energy = sum(np.linalg.norm(b) ** 2 for b in blocks)
    summary = SVDSummary.from_block(blocks[0], 9, target_rank=4)
    for block in blocks[1:]:
        summary.append(block)
    assert np.sqrt(tail_energy(blocks, 4) / energy) == pytest.approx(truth, abs=1e-3)
    assert summary.interval().relative()[1] == pytest.approx(chain, abs=1e-3)
    assert tree_summary(blocks, 9, target_rank=4).interval().relative()[1] == pytest.approx(tree, abs=1e-3)


def test_bad_input():
    with pytest.raises(ValueError, match="at least one block"):
        tree_summary([], 3)
    with pytest.raises(TypeError, match="executor must be None"):
        tree_summary([np.eye(3)], 3, executor="threads")
    with pytest.raises(ValueError, match="row counts must agree"):
        tree_summary([np.eye(3), np.eye(4)], 3)


def test_a_stack_of_complex_blocks(rng):
    stack = rng.standard_normal((11, 9, 2)) + 1j * rng.standard_normal((11, 9, 2))
    assert _same(tree_summary(stack, 4), tree_summary(list(stack), 4))
    assert tree_summary(stack, 4).interval().contains(tail_energy(list(stack), 4))


def test_memory_maps_are_read_by_threads(tmp_path, rng):
    stack = rng.standard_normal((9, 8, 2))
    np.save(tmp_path / "stack.npy", stack)
    mapped = np.load(tmp_path / "stack.npy", mmap_mode="r")
    with ThreadPoolExecutor(2) as executor:
        assert _same(tree_summary(mapped, 4, executor=executor), tree_summary(list(stack), 4))
