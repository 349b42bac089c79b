"""The one decorator under which every kernel is compiled, and the cache that its machine code is kept in."""

import hashlib
import pickle
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

__all__ = ["kernel"]

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
_DIGEST_SIZE = hashlib.sha256().digest_size
_warned: set[str] = set()


def kernel(function: Callable[..., Any] | None = None, *, fastmath: bool = False) -> Any:
    """Compile a module-level function on first call and keep the machine code on disk.

    The interpreter lock is released while it runs, and division by zero follows NumPy. Where no cache folder
    can be written, kernels are compiled afresh in every process, and one warning says so. Kept code that is damaged is
    compiled and kept afresh, again with one warning.

    Parameters
    ----------
    function : callable
        Arrays and scalars in, arrays and scalars out. numba notices an edit only in the file of the cached function,
        so a kernel calls kernels of its own file, those of ``proximal.py``, and inlined pieces (whoever edits these in
        place must change ``NUMBA_CACHE_DIR``; the tests and ``make`` name it by a hash of all kernels).
    fastmath : bool
        Let sums be reordered, so that they vectorise. NaN and infinity keep their meaning.

    Returns
    -------
    callable
        The compiled dispatcher.
    """
    if function is None:
        return partial(kernel, fastmath=fastmath)
    options = _OPTIONS | ({"fastmath": {"reassoc", "contract"}} if fastmath else {})
    dispatcher = numba.njit(**options)(function)
    try:
        dispatcher._cache = _CheckedCache(function)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        _warn_once(
            "folder",
            "kernels are compiled in every process, because no cache folder can be written; "
            "set NUMBA_CACHE_DIR to a writable folder to keep them",
        )
    return dispatcher


def _warn_once(kind: str, message: str) -> None:
    if kind not in _warned:
        _warned.add(kind)
        warnings.warn(message, RuntimeWarning, stacklevel=3)


class _CheckedCache(FunctionCache):
    """numba's cache, except that a damaged file or a full disk costs a compilation and not the process."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        stamp = self._impl.locator.get_source_stamp()
        self._cache_file = _CheckedFile(self._cache_path, self._impl.filename_base, stamp)

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:
            message = f"compiled kernels cannot be kept in {self._cache_path} ({error.strerror})"
            _warn_once("save", f"{message}; NUMBA_CACHE_DIR chooses another folder")


class _CheckedFile(IndexDataCacheFile):
    """Index and machine code, each followed by a checksum: a flipped bit would crash the process or, worse, compute."""

    def __init__(self, cache_path: str, filename_base: str, source_stamp: Any) -> None:
        super().__init__(cache_path=cache_path, filename_base=filename_base, source_stamp=source_stamp)
        # What was kept without checksums counts as kept by another version.
        self._version = f"{self._version}+sha256"

    def _dump(self, obj: Any) -> bytes:
        # Unpickling stops at the end of the object and never sees the checksum.
        data = super()._dump(obj)
        return data + hashlib.sha256(data).digest()

    def _load_index(self) -> dict[Any, str]:
        try:
            with open(self._index_path, "rb") as file:
                version = pickle.load(file)
                intact = version != self._version or _is_intact(file.read())
        except FileNotFoundError:
            return {}
        except Exception:  # unpickling bytes that are no pickle may raise anything
            intact = False
        if not intact:
            self._warn_of_damage()
            return {}
        return super()._load_index()

    def _load_data(self, name: str) -> Any:
        with open(self._data_path(name), "rb") as file:
            intact = _is_intact(file.read())
        if not intact:
            self._warn_of_damage()
            raise OSError(f"{name} is damaged")  # numba compiles where a file cannot be read
        return super()._load_data(name)

    def _warn_of_damage(self) -> None:
        _warn_once("damage", f"compiled kernels in {self._cache_path} are damaged; they are compiled and kept afresh")


def _is_intact(content: bytes) -> bool:
    data, digest = content[:-_DIGEST_SIZE], content[-_DIGEST_SIZE:]
    return hashlib.sha256(data).digest() == digest
