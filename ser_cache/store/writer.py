"""Fill a part in place, so that a kill at any moment leaves every finished utterance whole.

Order, for each utterance: its features, then its checksum, a flush to disk shared by all utterances since the
last one, then its state, and a second flush. A row whose state says done is therefore complete on disk. The
bytes of any other row mean nothing, so a failed one stays failed while it is tried again, until its features
are on disk.
"""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ser_cache.errors import CacheError
from ser_cache.store.failures import FAILURES_FILE, read_failures, update_failures
from ser_cache.store.part import Part, write_error
from ser_cache.store.schema import (
    CHECKSUM_DTYPE,
    DONE,
    FAILED,
    PENDING,
    STATE_DTYPE,
    SUPERSEDED,
)

_sync = getattr(os, "fdatasync", os.fsync)  # the size never changes, so the data alone needs flushing


class PartWriter:
    """The only writer of one part; hold the folder's lock while it lives.

    A context manager: leaving it commits what was written, on an error too, and closes the file.

    Args:
        part: the part to fill.
        flush_seconds: after so long, the next `write` or `fail` also commits.

    Raises:
        CacheError: the part cannot be opened for writing.
    """

    def __init__(self, part: Part, *, flush_seconds: float = 5.0) -> None:
        self.part = part
        self._flush_seconds = flush_seconds
        self._written: list[int] = []
        self._failed: dict[int, str] = {}
        self._committed = time.monotonic()
        try:
            self._descriptor = os.open(part.path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise write_error(part.path, error) from error

    def write(self, row: int, features: Mapping[str, NDArray[Any]]) -> None:
        """Store one utterance's features; it counts as done after the next commit.

        Args:
            row: its row, which must not be done.
            features: per field of the part: ``hidden`` (layers, frames, width) in the codec's type, ``mean``
                and ``std`` (layers, width) float32.

        Raises:
            CacheError: the disk is full or refuses the write.
            ValueError: an array has another shape or type than the part.
        """
        self._store(row, self._pieces(row, features))
        self._written.append(row)
        self._commit_when_due()

    def fail(self, row: int, reason: str) -> None:
        """Give one utterance up; the next commit marks it failed, its reason in the failures file.

        Raises:
            CacheError: a commit was due, and the disk is full or refuses the write.
        """
        self._failed[row] = reason
        self._commit_when_due()

    def commit(self) -> None:
        """Flush what was written to disk, and only then say that it is there.

        Raises:
            CacheError: the disk is full or refuses the write.
        """
        self._committed = time.monotonic()
        # Forgotten before the flush: after one that failed, a second may claim success for lost pages.
        written, self._written = self._written, []
        failed, self._failed = self._failed, {}
        if not written and not failed:
            return
        unlisted = self._list(written, failed)
        if unlisted is not None:  # these rows stay as they were; what has no line to change is kept
            listed = read_failures(self.part.path.parent)
            written, failed = [row for row in written if self.part.ids[row] not in listed], {}
        try:
            _sync(self._descriptor)
        except OSError as error:
            raise write_error(self.part.path, error) from error
        self._require_place()
        self._mark(dict.fromkeys(written, DONE) | dict.fromkeys(failed, FAILED))
        if unlisted is not None:
            raise write_error(self.part.path.with_name(FAILURES_FILE), unlisted) from unlisted

    def _commit_when_due(self) -> None:
        if time.monotonic() - self._committed >= self._flush_seconds:
            self.commit()

    def supersede(self, rows: Iterable[int]) -> None:
        """Retire rows whose audio has changed, or that have no features and left the manifest.

        Raises:
            CacheError: the disk is full or refuses the write.
        """
        retired = dict.fromkeys(rows, SUPERSEDED)
        self._mark(retired)
        if (unlisted := self._list(list(retired), {})) is not None:
            raise write_error(self.part.path.with_name(FAILURES_FILE), unlisted) from unlisted

    def redo(self, rows: Iterable[int]) -> None:
        """Mark damaged rows pending, so that the next extraction makes their features again."""
        self._mark(dict.fromkeys(rows, PENDING))

    def close(self) -> None:
        """Commit and close; harmless when repeated."""
        if self._descriptor < 0:
            return
        try:
            self.commit()
        finally:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _require_place(self) -> None:
        """Refuse to count rows of a file that is no longer where it was: they are lost to everybody."""
        try:
            there = os.path.samestat(os.fstat(self._descriptor), self.part.path.stat())
        except FileNotFoundError:
            there = False
        if not there:
            raise CacheError(
                f"{self.part.path} was deleted or replaced while it was being filled: run the same command "
                "again."
            )

    def _list(self, written: Sequence[int], failed: Mapping[int, str]) -> OSError | None:
        """Bring the failures file up to date; returns the error of a disk that refuses."""
        ids = self.part.ids
        try:
            update_failures(
                self.part.path.parent,
                added={ids[row]: reason for row, reason in failed.items()},
                removed=[ids[row] for row in written],
            )
        except OSError as error:
            return error
        return None

    def _pieces(self, row: int, features: Mapping[str, NDArray[Any]]) -> list[memoryview]:
        """The bytes of a row in the order of `Part.spans`, checked against the part's shapes."""
        layers, width = len(self.part.layers), self.part.width
        pieces: list[memoryview] = []
        for field in self.part.fields:
            values = features[field.name]
            shape = (layers, self.part.frames(row), width) if field.per_frame else (layers, width)
            if values.shape != shape or values.dtype != np.dtype(field.dtype):
                raise ValueError(f"{field.name} is {values.dtype} {values.shape}, not {field.dtype} {shape}")
            blocks = values if field.per_frame else values[None]
            # Flat bytes: an empty memoryview of more dimensions cannot be cast.
            pieces.extend(np.ascontiguousarray(block).reshape(-1).view(np.uint8).data for block in blocks)
        return pieces

    def _store(self, row: int, pieces: Sequence[memoryview]) -> None:
        checksum = np.array(self.part.checksum(row, pieces), dtype=CHECKSUM_DTYPE)
        place = self.part.positions["checksum"] + row * CHECKSUM_DTYPE.itemsize
        try:
            for (start, _), piece in zip(self.part.spans(row), pieces, strict=True):
                self._write_at(start, piece)
            self._write_at(place, memoryview(checksum.tobytes()))
        except OSError as error:
            raise write_error(self.part.path, error) from error

    def _mark(self, states: Mapping[int, bytes]) -> None:
        if not states:
            return
        try:
            for row, state in states.items():
                place = self.part.positions["state"] + row * STATE_DTYPE.itemsize
                self._write_at(place, memoryview(state))
            _sync(self._descriptor)
        except OSError as error:
            raise write_error(self.part.path, error) from error

    def _write_at(self, start: int, data: memoryview) -> None:
        while data:
            count = os.pwrite(self._descriptor, data, start)
            if count == 0:
                raise CacheError(f"{self.part.path} takes no more bytes: check the disk, then run again.")
            start, data = start + count, data[count:]
