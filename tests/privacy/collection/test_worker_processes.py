"""Partial states from worker processes merge to the state of one process, to the last bit."""

import numpy as np
import pytest
from privacy.collection.collections_of_users import MECHANISMS, records, schema, seeded

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

    def state_of(there, messages, users):
        state = MomentState(there)
        state.update(messages, users)
        return state

    (X, y), users = records(700), np.arange(700, dtype=np.uint64)
    collections = [(there, encode_block(there, X, y, users, seeded(0))) for there in map(schema, MECHANISMS)]
    shuffled = np.random.default_rng(1).permutation(700)
    # Seven equal parts in order, and parts of 0, 1, 3, 196, 0 and 500 users in any order.
    partitions = np.array_split(np.arange(700), 7), np.split(shuffled, [0, 1, 4, 200, 200])
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        for there, messages in collections:
            alone = state_of(there, messages, users)
            for parts in partitions:
                states = [delayed(state_of)(there, messages[part], users[part]) for part in parts]
                merged = client.compute(_tree(states, delayed)).result()
                assert merged == alone
                assert merged.to_bytes() == alone.to_bytes()
