"""Arguments that are one of a few names."""

from typing import Any

__all__ = ["require_choice"]


def require_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Raise ValueError for what is not one of the choices."""
    if not isinstance(value, str | float | int) or isinstance(value, bool) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}; got {value!r}")
