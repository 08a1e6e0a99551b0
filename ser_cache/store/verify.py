"""Check every byte of a part: its seal, its states, and each row's checksum."""

import mmap
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ser_cache.errors import CacheError
from ser_cache.store.part import Part, open_part
from ser_cache.store.schema import CHECKSUM_DTYPE, DONE, STATE_DTYPE, STATES


def verify_part(path: Path) -> list[str]:
    """Read a whole part and list what is wrong with it; an empty list means sound.

    The features of rows that are not done are never read, so their bytes are not judged. Works on a file
    whose writer was killed.
    """
    try:
        part = open_part(path)
    except CacheError as error:
        return [str(error)]
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return [f"{path}: utterance {part.ids[row]!r} {problem}" for row, problem in _damaged(part, mapped)]


def _damaged(part: Part, mapped: mmap.mmap) -> Iterator[tuple[int, str]]:
    """Rows that are damaged, each with what is wrong."""
    rows = len(part.ids)
    with memoryview(mapped) as view:
        states = np.frombuffer(view, STATE_DTYPE, rows, part.positions["state"]).tolist()
        checksums = np.frombuffer(view, CHECKSUM_DTYPE, rows, part.positions["checksum"]).tolist()
        for row, state in enumerate(states):
            if state not in STATES:
                yield row, f"has the unknown state {state!r}"
            elif state == DONE:
                pieces = (view[start : start + count] for start, count in part.spans(row))
                if part.checksum(row, pieces) != checksums[row]:
                    yield row, "does not match its checksum"
