"""Files of experiments: what is none is refused in words."""

import numpy as np
import pytest

from sparsetheory.bandits import AdaptiveSupportSearch, CoreSetBandit


def test_files_that_are_no_experiment_are_refused(tmp_path):
    (tmp_path / "text").write_text("hello")
    (tmp_path / "empty").touch()
    np.save(tmp_path / "array.npy", np.ones(3))
    np.savez(tmp_path / "other.npz", a=1)
    CoreSetBandit(eps=0.1).start(np.eye(3)).save(tmp_path / "whole")
    (tmp_path / "cut").write_bytes((tmp_path / "whole").read_bytes()[:300])
    for name in ("text", "empty", "array.npy", "other.npz", "cut"):
        with pytest.raises(ValueError, match=f"path must be a file that save wrote; got .*{name}"):
            CoreSetBandit.load(tmp_path / name, np.eye(3))
    with pytest.raises(ValueError, match="path must be a file of AdaptiveSupportSearch; got one of CoreSetBandit"):
        AdaptiveSupportSearch.load(tmp_path / "whole", np.eye(3))
    with pytest.raises(FileNotFoundError):
        CoreSetBandit.load(tmp_path / "nowhere", np.eye(3))


def test_an_experiment_that_has_not_begun_cannot_be_saved(tmp_path):
    with pytest.raises(ValueError, match="call fit or start"):
        CoreSetBandit(eps=0.1).save(tmp_path / "file")
