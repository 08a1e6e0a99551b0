"""Give memory that was freed back to the system, so that an extraction needs no more for a larger corpus.

Every batch has other lengths, so what one freed seldom fits the next, and glibc keeps the pieces: the peak
over EMOVO four times was 1.6 times that over EMOVO once. Giving all of it back after every batch, or whenever
the process stands above its lowest, made an extraction with a small model a tenth slower, because the next
batch had to get every page anew.
"""

import ctypes
import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

GROWTH = 32 << 20
"""Bytes by which memory may grow above what the batches need before what is free in it is given back."""

WATCHED_BATCHES = 8
"""Batches whose largest size counts as what batches need: each sees the model's threads at another point."""


class FreedMemory:
    """Gives freed memory back whenever pieces have piled up to `GROWTH` above what the batches need.

    What they need is seen in the first batches, and again in those after memory was given back, when few
    pieces lie about. Does nothing where the C library cannot, or the system does not tell how large the
    process is.
    """

    def __init__(self) -> None:
        self._needed = 0
        self._watched = 0

    def settle(self) -> None:
        """Look, and give back what has piled up; call it after each batch."""
        now = _anonymous_bytes()
        if self._watched < WATCHED_BATCHES:
            self._needed = max(self._needed, now)
            self._watched += 1
        elif now > self._needed + GROWTH and (trim := _trim()) is not None:
            trim(0)
            self._needed = self._watched = 0


def _anonymous_bytes() -> int:
    """Memory of this process that no file backs; 0 where Linux's /proc is not there."""
    with suppress(OSError, ValueError, IndexError):
        resident, shared = Path("/proc/self/statm").read_text(encoding="ascii").split()[1:3]
        return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
    return 0


@cache
def _trim() -> Any:  # noqa: ANN401 - a foreign function has no public type
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
