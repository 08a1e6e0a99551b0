"""The seal of a part: a digest of everything in the file that never changes after its creation.

It lies in a user block, 4,096 bytes before HDF5's own, as one JSON object padded with blanks. It lists the
byte ranges that the writer may change (features, checksums, states); the digest covers that list and every
byte outside those ranges and outside the block: HDF5's structures, ids, offsets, and the padding between
them. The checksum of each row that is done covers the rest. Damage to anything that is ever read is therefore
found, and HDF5 never parses a damaged structure.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from ser_cache.errors import CacheError, DamagedPartError, VanishedPartError
from ser_cache.files import canonical_json
from ser_cache.store.schema import SCHEMA

USER_BLOCK = 4096
"""Bytes before HDF5's own; HDF5 allows powers of two from 512."""
Span = tuple[int, int]
"""``(first byte, bytes)`` in the file."""

_READ_BYTES = 1 << 20


def write_seal(path: Path, variable: Sequence[Span]) -> None:
    """Seal a file whose constant bytes are final.

    Args:
        path: an HDF5 file with a user block of `USER_BLOCK` bytes.
        variable: the byte ranges that will be written later.
    """
    with path.open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        content: dict[str, Any] = {
            "kind": "ser_cache part",
            "schema": SCHEMA,
            "bytes": size,
            "variable": sorted(span for span in variable if span[1]),
        }
        content["sha256"] = _digest(file, content, size)
        file.seek(0)
        file.write(_block(content))


def check_seal(path: Path) -> bytes:
    """Check every constant byte of a part against its seal.

    Returns:
        A digest of the seal, which tells this part from any other.

    Raises:
        DamagedPartError: the file is not a part, cut short, or damaged.
        CacheError: the file is absent, cannot be read, or has another schema.
    """
    try:
        with path.open("rb") as file:
            return _check(path, file)
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError | ValueError) -> CacheError:
    """What to tell the user when the system does not let a part be read."""
    if not path.exists():  # HDF5's own error does not say so
        return VanishedPartError(
            f"{path} is not there any more, as after `ser cache merge`: run the same command again."
        )
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return CacheError(f"{path} cannot be read ({reason}): check its permissions, and the disk.")


def replaced(path: Path) -> VanishedPartError:
    """What to tell the user when a part is no longer the one that was opened."""
    return VanishedPartError(f"{path} was replaced while it was in use: run the same command again.")


def seal_digest(block: bytes) -> bytes:
    """What `check_seal` returns for a part whose first `USER_BLOCK` bytes these are."""
    return hashlib.sha256(block).digest()


def _check(path: Path, file: BinaryIO) -> bytes:
    block = file.read(USER_BLOCK)
    try:
        content = json.loads(block)
        schema, size, variable = content["schema"], content["bytes"], content["variable"]
        spans = [(int(start), int(count)) for start, count in variable]
        genuine = isinstance(size, int) and _block(content) == block
    except (ValueError, KeyError, TypeError, RecursionError):
        genuine = False
    if not genuine:
        raise DamagedPartError(
            f"{path} is damaged in its first {USER_BLOCK} bytes, or is no part of a cache; {_MEND}."
        )
    found = os.fstat(file.fileno()).st_size
    if found != size:
        raise DamagedPartError(f"{path} has {found} bytes where {size} were written; {_MEND}.")
    if content.get("sha256") != _digest(file, {**content, "variable": spans}, size):
        raise DamagedPartError(
            f"{path} is damaged outside its features (its structure or its list of ids); {_MEND}."
        )
    # Only now: a damaged digit is no other layout.
    if schema != SCHEMA:
        raise CacheError(
            f"{path} has layout {schema!r}, and this version reads {SCHEMA}: use the version that wrote it, "
            "or delete it and run `ser extract` again."
        )
    return seal_digest(block)


_MEND = "restore it from a copy, or run `ser cache repair`, which sets it aside, and `ser extract` again"


def _block(content: dict[str, Any]) -> bytes:
    text = canonical_json(content).encode()
    if len(text) >= USER_BLOCK:
        raise ValueError("the seal does not fit its block")
    return text.ljust(USER_BLOCK - 1) + b"\n"


def _digest(file: BinaryIO, content: dict[str, Any], size: int) -> str:
    """SHA-256 over the seal's other entries and all bytes outside the block and the variable ranges."""
    digest = hashlib.sha256(canonical_json({**content, "sha256": ""}).encode())
    for start, count in _constant(content["variable"], size):
        file.seek(start)
        for done in range(0, count, _READ_BYTES):
            digest.update(file.read(min(_READ_BYTES, count - done)))
    return digest.hexdigest()


def _constant(variable: Sequence[Span], size: int) -> Iterator[Span]:
    """The complement of the variable ranges, after the user block."""
    position = USER_BLOCK
    for start, count in variable:
        if start > position:
            yield position, start - position
        position = max(position, start + count)
    if size > position:
        yield position, size - position
