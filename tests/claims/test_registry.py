"""Claims are found without being registered."""

import fnmatch
import re
from pathlib import Path

import pytest

from sparsetheory.proofs_checks import Claim, all_claims, all_studies, find_claims

ROOT = Path(__file__).resolve().parents[2]


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


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("concatenated_svd.weyl_eror", "concatenated_svd.weyl_error"),
        ("drift_stream", "concatenated_svd.drift_stream"),
        ("concatenated_svd.drift_strem", "concatenated_svd.drift_stream"),
    ],
)
def test_an_unknown_pattern_names_the_closest_choices(typed, meant):
    with pytest.raises(ValueError, match=f"no claim matches '{typed}'; did you mean .*{meant}") as caught:
        find_claims([typed])
    assert len(str(caught.value)) < 300


def test_an_unknown_pattern_that_resembles_nothing_points_to_the_list():
    with pytest.raises(ValueError, match="no claim matches 'qqq'; `sparsetheory list` shows all names"):
        find_claims(["qqq"])


def test_every_claim_has_a_plain_sentence_and_every_figure_a_y_axis():
    for claim in all_claims().values():
        assert claim.summary.endswith("."), claim.name
        assert len(claim.summary) <= 168, claim.name
        if claim.sweep is not None:
            assert claim.sweep.measured_label != "measured", claim.name


def test_every_claim_and_study_that_a_text_names_exists():
    known = {*all_claims(), *all_studies()}
    families = {name.partition(".")[0] for name in known}
    named = re.compile(rf"(?<![\w.])(?:{'|'.join(families)})\.[a-z][a-z_0-9]*[*a-z0-9]")
    texts = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "notebooks").glob("*.ipynb")]
    files = {f"{family}.{end}" for family in families for end in ("md", "ipynb", "py")}
    unknown = {
        (path.name, name)
        for path in texts
        for name in set(named.findall(path.read_text(encoding="utf-8"))) - files
        if not fnmatch.filter(known, name)
    }
    assert not unknown
