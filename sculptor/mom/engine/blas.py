"""Keeping numpy's OpenBLAS to one thread while the engine computes.

OpenBLAS's threads wait for each other by spinning. On a machine whose cores are busy a prompt was
read five times slower with two of them than with one (measured on two shared cores), and how many
there are would change the last bits of a result. The library is found beside numpy, as its wheels
ship it; where it is not, numpy uses another one, and nothing is changed.
"""

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np

_FOLDERS = ("../numpy.libs", ".dylibs")
_NAMES = ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}")

_lock = threading.Lock()
_users = 0
_before = 0


@contextmanager
def one_thread() -> Iterator[None]:
    """Let BLAS use one thread inside; afterwards as many as before. May be nested and shared."""
    global _users, _before
    found = _find()
    if found is None:
        yield
        return
    get, put = found
    with _lock:
        if _users == 0:
            _before = get()
            put(1)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                put(_before)


@cache
def _find() -> tuple[Callable[[], int], Callable[[int], object]] | None:
    """Return how to ask and to set OpenBLAS's number of threads, or None."""
    package = Path(np.__file__).parent
    for path in (p for folder in _FOLDERS for p in (package / folder).glob("*openblas*")):
        library = ctypes.CDLL(str(path))
        for name in _NAMES:
            get = getattr(library, name.format("get_num_threads"), None)
            put = getattr(library, name.format("set_num_threads"), None)
            if get is not None and put is not None:
                return get, put
    return None
