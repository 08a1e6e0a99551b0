"""Files that are whole or absent: write to a temporary name, flush to disk, rename; and the hashes of files.

A reader therefore never sees half a file, whatever killed the writer.
"""

import csv
import errno
import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

_READ_BYTES = 1 << 20
_CANNOT_FLUSH = {errno.EBADF, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}  # what is said of a folder


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its place when the block ends without an error.

    The temporary file is in the same folder, because a rename is atomic only within one file system. On an
    error it is deleted and ``path`` stays as it was.
    """
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with naming_the_file(path):
            yield temporary
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def naming_the_file(path: Path) -> Iterator[None]:
    """Give an OSError from a write or a flush the file it concerns, which the system does not say.

    Raises:
        OSError: with ``filename`` set.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        raise


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Wait until no other process is in such a block for the same folder, which must exist.

    On a file system that cannot lock, the block runs all the same.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Create a folder and those above it that are missing, so that all of them survive a power cut.

    What a new folder holds may be on disk and yet be lost: the folder itself is an entry in the one above.
    """
    missing = list(takewhile(lambda path: not path.exists(), (folder, *folder.parents)))
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, so that a rename in it survives a power cut.

    Some file systems flush no folders, and a folder that may be written to need not be readable, which
    opening it takes; there is nothing to be done about either, so both are passed over.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_FLUSH:
            raise
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` in UTF-8, with the newlines as they are, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
    """Replace ``path`` by ``value`` as indented JSON, atomically; NaN and infinity raise ValueError."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Replace ``path`` by a CSV table with LF, atomically; bytes of a name that are no UTF-8 are escaped."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    table.writerows(rows)
    write_text(path, text.getvalue().encode(errors="backslashreplace").decode())


def canonical_json(value: Any) -> str:  # noqa: ANN401 - whatever JSON can hold
    """One spelling per value (sorted keys, no spaces), so that equal values have equal hashes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_of_value(value: Any) -> str:  # noqa: ANN401 - whatever JSON can hold
    """SHA-256, in hexadecimal, of a JSON value's canonical spelling."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


@cache
def source_digest() -> str:
    """Digest of this package's source: its version stays the same from one change to the next."""
    root = Path(__file__).parent
    return sha256_of_value(
        {path.relative_to(root).as_posix(): sha256_of_file(path) for path in sorted(root.rglob("*.py"))}
    )


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal; reads 1 MiB at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()
