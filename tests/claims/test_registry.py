"""Claims are found without being registered."""

import pytest

from sparsetheory.proofs_checks import Claim, all_claims, find_claims


def test_all_claims_have_unique_names_of_their_family():
    claims = all_claims()
    assert len(claims) > 20
    assert all(isinstance(c, Claim) and name == c.name and "." in name for name, c in claims.items())


def test_patterns_select():
    assert [c.name for c in find_claims(["concatenated_svd.weyl_error"])] == ["concatenated_svd.weyl_error"]
    assert {c.name for c in find_claims(["*weyl*"])} >= {
        "concatenated_svd.weyl_error",
        "concatenated_svd.weyl_monotonicity",
    }


def test_unknown_pattern_names_the_choices():
    with pytest.raises(ValueError, match=r"no claim matches 'nothing'.*concatenated_svd\.weyl_error"):
        find_claims(["nothing"])
