"""A progress bar around a loop."""

from collections.abc import Collection, Iterable
from typing import TypeVar

__all__ = ["tracked"]

Item = TypeVar("Item")


def tracked(items: Iterable[Item], description: str, verbose: bool, total: int | None = None) -> Iterable[Item]:
    """Return items to loop over, with a progress bar if it is wanted.

    Parameters
    ----------
    items : iterable
    description : str
        What stands beside the bar.
    verbose : bool
        Whether a bar is shown. It goes to the standard output, and ends with the loop, however that ends.
    total : int, optional
        Number of items; their length by default.

    Returns
    -------
    iterable
        `items` themselves without a bar.

    Examples
    --------
    >>> from sparsetheory.progress import tracked
    >>> sum(tracked([1, 2, 3], "adding", verbose=False))
    6
    """
    if not verbose:
        return items
    from rich.progress import track

    known = len(items) if total is None and isinstance(items, Collection) else total
    return track(items, description=description, total=known)
