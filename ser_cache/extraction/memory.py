"""Give memory that was freed back to the system, so that an extraction needs no more for a larger corpus."""

import ctypes
from functools import cache
from typing import Any


def return_freed_memory() -> None:
    """Give it back now; does nothing where the C library cannot.

    Every batch has other lengths, so what one freed seldom fits the next, and glibc keeps the pieces: without
    this, the peak over EMOVO four times was 1.6 times that over EMOVO once.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Any:  # noqa: ANN401 - a foreign function has no public type
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
