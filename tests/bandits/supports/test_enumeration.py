"""Every support once, in lexicographic order."""

from math import comb

import numpy as np
import pytest

from sparsetheory.bandits.supports.enumeration import all_supports, iter_supports


@pytest.mark.parametrize(("d", "s"), [(1, 1), (6, 1), (6, 6), (7, 2), (9, 3), (12, 10), (11, 5)])
def test_the_array_holds_what_the_iterator_gives(d, s):
    listed = all_supports(d, s)
    assert listed.dtype == np.intp
    np.testing.assert_array_equal(listed, list(iter_supports(d, s)))


def test_many_triples():
    listed = all_supports(100, 3)
    assert listed.shape == (comb(100, 3), 3)
    assert (np.diff(listed, axis=1) > 0).all()
    numbers = listed @ np.array([10_000, 100, 1])
    assert (np.diff(numbers) > 0).all()


def test_too_many_supports_are_counted_and_refused():
    with pytest.raises(ValueError, match=r"C\(300, 3\) = 4455100; got 2000000.*Screen.*n_nonzero"):
        all_supports(300, 3)
    with pytest.raises(ValueError, match="max_supports must be at least"):
        all_supports(5, 2, max_supports=9)
    assert len(all_supports(5, 2, max_supports=10)) == 10


@pytest.mark.parametrize("listing", [iter_supports, all_supports])
@pytest.mark.parametrize(("d", "s"), [(3, 0), (3, 4), (0, 1), (3, 1.5)])
def test_sizes_that_no_support_has(listing, d, s):
    with pytest.raises(ValueError, match="must be an integer from 1 to"):
        listing(d, s)
