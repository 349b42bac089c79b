import sys
from pathlib import Path

import pytest

from sparsetheory.proofs_checks import registry


@pytest.fixture
def _only_toys(monkeypatch):
    monkeypatch.setattr(registry.root, "__path__", [str(Path(__file__).parent / "toys")])
    monkeypatch.delitem(sys.modules, "sparsetheory.proofs_checks.toy_claims", raising=False)


@pytest.mark.usefixtures("_only_toys")
def test_claims_and_studies_are_found():
    assert list(registry.all_claims()) == ["toys.norms", "toys.energy", "toys.triangle"]
    assert list(registry.all_studies()) == ["toys.letters"]


@pytest.mark.usefixtures("_only_toys")
def test_patterns_select_both():
    claims, studies = registry.find_experiments(["toys.n*", "toys.letters"])
    assert [claim.name for claim in claims] == ["toys.norms"]
    assert [study.name for study in studies] == ["toys.letters"]


@pytest.mark.usefixtures("_only_toys")
def test_unknown_patterns_are_refused():
    with pytest.raises(ValueError, match=r"no claim matches 'toys\.letters'"):
        registry.find_claims(["toys.letters"])
    with pytest.raises(ValueError, match="no claim or study matches 'x'"):
        registry.find_experiments(["x"])
