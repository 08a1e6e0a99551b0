"""Check every byte of a part: its seal, its states, and each row's checksum.

It reads, and never maps: a bad sector or a file cut short is then an error to report, and not a signal that
kills the process. No lock is needed: a writer never changes a row that is done, and says that a row is done
only when its checksum is on disk.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ser_cache.errors import CacheError, DamagedPartError
from ser_cache.store.part import Part, open_part
from ser_cache.store.schema import CHECKSUM_DTYPE, DONE, STATE_DTYPE, STATES
from ser_cache.store.seal import Span, unreadable

_READ_BYTES = 1 << 20
_THREADS = min(8, os.cpu_count() or 1)  # beyond these, no disk keeps up


@dataclass(frozen=True)
class PartReport:
    """What is wrong with one part.

    Attributes:
        path: the file.
        problem: why no row of it can be read, or "".
        broken: whether that is damage; otherwise the file is absent, unreadable or of another version.
        rows: row -> what is wrong with it, where the rest can be read.
        ids: the id of each damaged row.
    """

    path: Path
    problem: str = ""
    broken: bool = False
    rows: dict[int, str] = field(default_factory=dict)
    ids: dict[int, str] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problem and not self.rows

    @property
    def lines(self) -> list[str]:
        """One line for each thing that is wrong; none for a sound part."""
        if self.problem:
            return [self.problem]
        return [f"{self.path}: utterance {self.ids[row]!r} {what}" for row, what in self.rows.items()]


def verify_part(path: Path) -> list[str]:
    """Read a whole part and list what is wrong with it; an empty list means sound. See `inspect_part`."""
    return inspect_part(path).lines


def inspect_part(path: Path, on_read: Callable[[int], None] | None = None) -> PartReport:
    """Read a whole part and say what is wrong with it.

    The features of rows that are not done (pending, failed, superseded) are never used, so their bytes and
    checksums are not judged, only their states are. Where every row is done, every byte of the file is.

    Works while a writer fills the part, and on a file whose writer was killed.

    Args:
        path: the part.
        on_read: called with the number of further bytes dealt with.
    """
    try:
        part = open_part(path)
    except CacheError as error:
        return PartReport(path, str(error), broken=isinstance(error, DamagedPartError))
    try:
        with path.open("rb", buffering=0) as file:
            damaged = dict(_damaged(part, file.fileno(), on_read or (lambda _: None)))
    except OSError as error:
        return PartReport(path, str(unreadable(path, error)))
    return PartReport(path, rows=damaged, ids={row: part.ids[row] for row in damaged})


def _damaged(part: Part, descriptor: int, on_read: Callable[[int], None]) -> Iterator[tuple[int, str]]:
    """Rows that are damaged, each with what is wrong."""
    rows = len(part.ids)
    # The states first: the checksum of a row that is done by now was written before.
    states = _column(descriptor, part.positions["state"], STATE_DTYPE, rows)
    checksums = _column(descriptor, part.positions["checksum"], CHECKSUM_DTYPE, rows)

    def check(row: int) -> tuple[str, int]:
        spans = list(part.spans(row))
        return _problem(part, row, states[row], checksums[row], _pieces(descriptor, spans)), _total(spans)

    threads = ThreadPoolExecutor(_THREADS)  # hashing lets go of the interpreter
    try:
        for row, (problem, count) in enumerate(threads.map(check, range(rows))):
            if problem:
                yield row, problem
            on_read(count)
    finally:
        threads.shutdown(cancel_futures=True)


def _problem(part: Part, row: int, state: bytes, checksum: int, pieces: Iterator[memoryview]) -> str:
    if state not in STATES:
        return f"has the unknown state {state!r}"
    if state != DONE:
        return ""
    try:
        found = part.checksum(row, pieces)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return "" if found == checksum else "does not match its checksum"


def _total(spans: Sequence[Span]) -> int:
    return sum(count for _, count in spans)


def _pieces(descriptor: int, spans: Sequence[Span]) -> Iterator[memoryview]:
    for start, count in spans:
        for done in range(0, count, _READ_BYTES):
            yield memoryview(os.pread(descriptor, min(_READ_BYTES, count - done), start + done))


def _column(descriptor: int, start: int, dtype: np.dtype[Any], rows: int) -> list[Any]:
    return list(np.frombuffer(os.pread(descriptor, rows * dtype.itemsize, start), dtype).tolist())
