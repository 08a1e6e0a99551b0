"""Give memory that was freed back to the system, so that an extraction needs no more for a larger corpus.

Every batch has other lengths, so what one freed seldom fits the next, and glibc keeps the pieces: the peak
over EMOVO four times was 1.6 times that over EMOVO once. Giving all of it back after every batch made an
extraction with a small model a tenth slower, because the next batch had to get every page anew.
"""

import ctypes
import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

GROWTH = 64 << 20
"""Bytes by which memory may grow before what is free in it is given back."""


class FreedMemory:
    """Gives freed memory back whenever the process has grown by `GROWTH` since it last did.

    Does nothing where the C library cannot, or the system does not tell how large the process is.
    """

    def __init__(self) -> None:
        self._least = _anonymous_bytes()

    def settle(self) -> None:
        """Look, and give back what has piled up; call it after each batch."""
        now = _anonymous_bytes()
        self._least = min(self._least, now)
        if now - self._least > GROWTH and (trim := _trim()) is not None:
            trim(0)
            # What is still there is in use: growth counts from here.
            self._least = _anonymous_bytes()


def _anonymous_bytes() -> int:
    """Memory of this process that no file backs; 0 where Linux's /proc is not there."""
    with suppress(OSError, ValueError, IndexError):
        resident, shared = Path("/proc/self/statm").read_text(encoding="ascii").split()[1:3]
        return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
    return 0


@cache
def _trim() -> Any:  # noqa: ANN401 - a foreign function has no public type
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
