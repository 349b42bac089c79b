"""The span of anchors: an orthonormal basis of what they and all models contain."""

import numpy as np
import pytest
from regression.anchor_references import clustered, outside

from sparsetheory.regression.columns import Columns
from sparsetheory.regression.random_supports.anchor_span import AnchorSpan

NONE = np.empty(0, dtype=np.intp)


def test_span_keeps_an_orthonormal_basis(rng):
    X = clustered(rng, 60, 100, 5, 1e-9)
    ones = np.full((60, 1), 60**-0.5)
    span = AnchorSpan(Columns(X, ones), np.array([4, 9]), 1e-11)
    for index in [*range(20), 4, 3]:
        span.append(index)
    span.add(np.array([50, 3, 51]))
    assert span.indices == [4, 9, *(i for i in range(20) if i not in (4, 9)), 50, 51]
    np.testing.assert_allclose(span.Q.T @ span.Q, np.eye(span.Q.shape[1]), atol=1e-13)
    assert span.Q.shape[1] == 1 + len(span.indices)
    assert np.max(np.abs(outside(span.Q, np.hstack([ones, X[:, span.indices]])))) < 1e-12


def test_anchors_in_the_span_add_no_direction(rng):
    x = rng.standard_normal(30)
    span = AnchorSpan(Columns(np.column_stack([x, 2 * x, -x])), NONE, 1e-11)
    for index in range(3):
        span.append(index)
    assert span.indices == [0, 1, 2]
    assert span.Q.shape == (30, 1)


@pytest.mark.parametrize("how", ["append", "add"])
def test_anchors_may_not_fill_the_space(rng, how):
    span = AnchorSpan(Columns(rng.standard_normal((8, 20))), np.arange(5), 1e-11)
    with pytest.raises(ValueError, match="anchors span almost the whole sample space: 6 of 8"):
        getattr(span, how)(10 if how == "append" else np.array([10]))
