"""Partial states from worker processes merge to the state of one process, to the last bit."""

import numpy as np
import pytest
from test_blocks_and_memory import records, schema_of, seeded_coin

from sparsetheory.privacy import MomentState
from sparsetheory.privacy.collection.blocks import encode_block


def _tree(states, delayed):
    level = list(states)
    while len(level) > 1:
        pairs = [level[i : i + 2] for i in range(0, len(level), 2)]
        level = [delayed(MomentState.merge)(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
    return level[0]


@pytest.mark.distributed
def test_partitions_and_processes_change_nothing():
    distributed = pytest.importorskip("distributed")
    from dask import delayed

    def state_of(schema, messages, users):
        state = MomentState(schema)
        state.update(messages, users)
        return state

    X, y, users = records(700)
    collections = {}
    for case in ("sphere", "sketch", "onebit", "gauss_tight"):
        schema = schema_of(case)
        collections[case] = schema, encode_block(schema, X, y, users, seeded_coin())
    shuffled = np.random.default_rng(1).permutation(700)
    partitions = {
        "seven, in order": np.array_split(np.arange(700), 7),
        "sizes from 0 to 500, shuffled": np.split(shuffled, [0, 1, 4, 200, 200]),
    }
    assert max(map(len, partitions["sizes from 0 to 500, shuffled"])) == 500
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        for schema, messages in collections.values():
            alone = state_of(schema, messages, users)
            for parts in partitions.values():
                states = [delayed(state_of)(schema, messages[part], users[part]) for part in parts]
                merged = client.compute(_tree(states, delayed)).result()
                assert merged == alone
                assert merged.to_bytes() == alone.to_bytes()
