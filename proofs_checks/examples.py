"""How hypothesis draws the instances of a claim: reproducibly, and without leaving files behind."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, configuration, settings

__all__ = ["example_settings", "nothing_stored"]

# No file can be made below a device, and hypothesis goes on without its caches where it cannot write them.
_NOWHERE = Path(os.devnull) / "hypothesis"


def example_settings(max_examples: int, **further: Any) -> settings:
    """Return the settings under which all instances are drawn.

    Parameters
    ----------
    max_examples : int
        How many instances to draw at most.
    **further
        Further settings of hypothesis.

    Returns
    -------
    hypothesis.settings
    """
    return settings(
        max_examples=max_examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        **further,
    )


@contextmanager
def nothing_stored() -> Iterator[None]:
    """Keep hypothesis from writing its folder ``.hypothesis`` into the current one."""
    before = getattr(configuration, "__hypothesis_home_directory", None)
    configuration.set_hypothesis_home_dir(_NOWHERE)
    try:
        yield
    finally:
        configuration.set_hypothesis_home_dir(before)
