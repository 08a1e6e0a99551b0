"""One HDF5 file of a cache: created whole before the first feature, and opened for reading or writing.

All datasets are contiguous, allocated early and never filled, so each has one fixed place in the file. HDF5
touches the file only here: at creation under a temporary name, and to parse a sealed header.
"""

import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ser_cache.errors import CacheError
from ser_cache.files import replacing
from ser_cache.store.fingerprint import Fingerprint
from ser_cache.store.schema import (
    CHECKSUM_DTYPE,
    OVERHEAD,
    PENDING,
    STATE_DTYPE,
    Field,
    Row,
    fields,
    row_bytes,
    stored_frames,
)
from ser_cache.store.seal import USER_BLOCK, Span, check_seal, replaced, unreadable, write_seal

_PAGE = 4096  # datasets of a page or more start on one, as maps and direct reads like it
_ZEROS = bytes(1 << 20)
NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""What the system says when a disk, a quota or a limit is full."""
_NO_FALLOCATE = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


@dataclass(frozen=True)
class Part:
    """The constant header of one part, and where its bytes lie.

    Attributes:
        path: the file.
        seal: tells this part from any other that may come to have its name.
        backbone: the cache folder of the features, variant included.
        corpus: whose utterances these are.
        fingerprint: what made the features and how they are stored.
        provenance: library versions, device, ...: recorded, never compared.
        width: features per frame.
        ids: the id of each row.
        samples: (rows,) int64, length of each utterance at 16 kHz.
        audio_sha256: hash of each row's audio file.
        offsets: (rows + 1,) int64; row i's frames are ``offsets[i]:offsets[i + 1]`` of each layer. Where no
            frames are kept, they still say how many the statistics were taken over.
        model_frames: (rows,) int64, frames the model gave for each row, before any averaging.
        positions: byte offset in the file of each dataset that the writer fills.
    """

    path: Path
    seal: bytes
    backbone: str
    corpus: str
    fingerprint: Fingerprint
    provenance: Mapping[str, Any]
    width: int
    ids: tuple[str, ...]
    samples: NDArray[np.int64]
    audio_sha256: tuple[str, ...]
    offsets: NDArray[np.int64]
    model_frames: NDArray[np.int64]
    positions: Mapping[str, int]

    @property
    def layers(self) -> tuple[int, ...]:
        """The stored layers, ascending."""
        return self.fingerprint.layers

    @property
    def fields(self) -> tuple[Field, ...]:
        """The feature datasets, in checksum order."""
        return fields(self.fingerprint.storage)

    def shape(self, field: Field) -> tuple[int, int, int]:
        """The shape of one feature dataset."""
        return field.shape(len(self.ids), int(self.offsets[-1]), len(self.layers), self.width)

    def frames(self, row: int) -> int:
        """Stored frames of one row."""
        return int(self.offsets[row + 1] - self.offsets[row])

    def spans(self, row: int) -> Iterator[Span]:
        """The byte ranges of a row's features: each layer's frames of each per-frame field, then the rest."""
        for field in self.fields:
            position, step = self.positions[field.name], self.width * np.dtype(field.dtype).itemsize
            if field.per_frame:
                first, total = int(self.offsets[row]), int(self.offsets[-1])
                for layer in range(len(self.layers)):
                    yield position + (layer * total + first) * step, self.frames(row) * step
            else:
                yield position + row * len(self.layers) * step, len(self.layers) * step

    def size_of(self, rows: NDArray[np.bool_]) -> int:
        """Bytes that the features of some rows take, whether they are written yet or not."""
        frames = int(np.diff(self.offsets)[rows].sum())
        per_layer = sum(
            (frames if field.per_frame else int(np.count_nonzero(rows))) * np.dtype(field.dtype).itemsize
            for field in self.fields
        )
        return per_layer * len(self.layers) * self.width

    def checksum(self, row: int, pieces: Iterable[memoryview]) -> int:
        """64 bits over everything stored for a row: its columns, and its bytes in the order of `spans`.

        The first eight bytes of a SHA-256, little-endian: processors have instructions for it, and anyone can
        recompute it.
        """
        columns = (
            self.ids[row],
            int(self.samples[row]),
            self.audio_sha256[row],
            *self.offsets[row : row + 2],
        )
        digest = hashlib.sha256("\0".join(map(str, columns)).encode())
        for piece in pieces:
            digest.update(piece)
        return int.from_bytes(digest.digest()[:8], "little")


def create_part(
    path: Path, fingerprint: Fingerprint, rows: Sequence[Row], width: int, provenance: Mapping[str, Any]
) -> Part:
    """Create a part with every row pending and all its disk space reserved.

    Args:
        path: ``<cache>/<backbone>/<corpus>/part-NNNN.h5``; it must not exist.
        fingerprint: what will make the features and how they are stored.
        rows: the utterances, in the order of the manifest.
        width: features per frame.
        provenance: what is worth knowing about this extraction, as JSON.

    Raises:
        CacheError: the file exists, the folder cannot be written, or the disk cannot hold the part.
    """
    if path.exists():
        raise CacheError(f"{path} exists already and was left as it is: run the same command again.")
    try:
        with replacing(path) as temporary:
            # HDF5 answers a full disk with tracebacks on stderr, so room for what it writes is tried first.
            temporary.touch()
            _reserve(temporary, _header_bytes(rows), [(0, _header_bytes(rows))])
            positions = _build(temporary, path, fingerprint, rows, width, provenance)
            write_seal(temporary, list(positions.values()))
            zeros = [span for name, span in positions.items() if name != "state"]
            _reserve(temporary, temporary.stat().st_size, zeros)
    except OSError as error:
        raise write_error(path, error) from error
    return open_part(path)


def open_part(path: Path) -> Part:
    """Check a part's seal and read its header.

    Raises:
        CacheError: the file is absent, damaged, not a part, or of another schema.
    """
    seal = check_seal(path)
    try:
        with h5py.File(path, "r", locking=False) as file:
            return Part(
                path=path,
                seal=seal,
                backbone=str(file.attrs["backbone"]),
                corpus=str(file.attrs["corpus"]),
                fingerprint=Fingerprint.from_json(file.attrs["fingerprint"]),
                provenance=json.loads(file.attrs["provenance"]),
                width=int(file.attrs["width"]),
                ids=tuple(raw.decode() for raw in file["ids"][:]),
                samples=file["samples"][:],
                audio_sha256=tuple(raw.decode() for raw in file["audio_sha256"][:]),
                offsets=file["offsets"][:],
                model_frames=file["frames"][:] if "frames" in file else np.diff(file["offsets"][:]),
                positions=_positions(file),
            )
    except OSError as error:
        raise unreadable(path, error) from error


def read_states(part: Part) -> NDArray[np.bytes_]:
    """The state of each row, (rows,) of four bytes, as it is on disk now.

    Raises:
        CacheError: the file has vanished or been replaced since it was opened, as by a merge.
    """
    count = len(part.ids)
    try:
        states = np.fromfile(part.path, dtype=STATE_DTYPE, count=count, offset=part.positions["state"])
    except OSError as error:
        raise unreadable(part.path, error) from error
    if len(states) < count:
        raise replaced(part.path)
    return states


def part_paths(folder: Path) -> list[Path]:
    """The parts of one corpus under one backbone, in the order in which they were made."""
    # By number: as text, part-10000 would come before part-9999, and of two rows the older would count.
    return sorted(folder.glob("part-*.h5"), key=lambda path: (len(path.name), path.name))


def next_number(paths: Iterable[Path]) -> int:
    """The number of the next part: above all that exist, because one in between may have been deleted."""
    numbers = (path.stem.removeprefix("part-") for path in paths)
    return max((int(number) for number in numbers if number.isdecimal()), default=-1) + 1


def write_error(path: Path, error: OSError) -> CacheError:
    """What to tell the user when the system refuses to write to a part."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in NO_SPACE:
        return CacheError(
            f"no space left for {path} ({reason}): free some, or set a cache elsewhere with --cache; "
            "then run the same command again, which goes on where it was."
        )
    return CacheError(
        f"{path} cannot be written ({reason}): make the folder writable, or set another with --cache."
    )


def _build(
    temporary: Path,
    path: Path,
    fingerprint: Fingerprint,
    rows: Sequence[Row],
    width: int,
    provenance: Mapping[str, Any],
) -> dict[str, Span]:
    """Write the HDF5 file; returns the byte range of each dataset that is filled later."""
    frames = [stored_frames(fingerprint.storage, row.frames) for row in rows]
    constant = {
        "ids": np.array([row.id.encode() for row in rows]),
        "samples": np.array([row.samples for row in rows], dtype="<i8"),
        "audio_sha256": np.array([row.audio_sha256.encode() for row in rows], dtype="S64"),
        "offsets": np.concatenate(([0], np.cumsum(frames))).astype("<i8"),
    }
    if fingerprint.storage["frame_average"] > 1:  # elsewhere the offsets say it
        constant["frames"] = np.array([row.frames for row in rows], dtype="<i8")
    attributes = {
        "backbone": path.parent.parent.name,
        "corpus": path.parent.name,
        "fingerprint": fingerprint.to_json(),
        "provenance": json.dumps(dict(provenance), sort_keys=True),
        "width": width,
    }
    with h5py.File(
        temporary,
        "w",
        locking=False,  # the name is ours alone, and some network file systems cannot lock
        userblock_size=USER_BLOCK,
        alignment_threshold=_PAGE,
        alignment_interval=_PAGE,
    ) as file:
        file.attrs.update(attributes)
        for name, values in constant.items():
            file.create_dataset(name, data=values)
        # The states lie before the features: a copy made from front to back while an extraction goes on then
        # says no row is done whose features were not yet there.
        _reserve_dataset(file, "state", (len(rows),), STATE_DTYPE)
        _reserve_dataset(file, "checksum", (len(rows),), CHECKSUM_DTYPE)
        layers = len(fingerprint.layers)
        for field in fields(fingerprint.storage):
            _reserve_dataset(
                file, field.name, field.shape(len(rows), sum(frames), layers, width), field.dtype
            )
        file["state"][:] = PENDING
        return {
            name: (position, int(file[name].size) * file[name].dtype.itemsize)
            for name, position in _positions(file).items()
        }


def _reserve_dataset(file: h5py.File, name: str, shape: tuple[int, ...], dtype: str | np.dtype[Any]) -> None:
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    kind = h5py.h5t.py_create(np.dtype(dtype))
    h5py.h5d.create(file.id, name.encode(), kind, h5py.h5s.create_simple(shape), properties)


def _positions(file: h5py.File) -> dict[str, int]:
    fingerprint = Fingerprint.from_json(file.attrs["fingerprint"])
    names = [field.name for field in fields(fingerprint.storage)] + ["checksum", "state"]
    # An empty dataset (every clip too short) has no place in the file, and nothing is ever written to it.
    return {name: file[name].id.get_offset() if file[name].size else USER_BLOCK for name in names}


def _header_bytes(rows: Sequence[Row]) -> int:
    """An upper bound of what HDF5 itself writes: the constant columns, its structures and padding."""
    longest = max((len(row.id.encode()) for row in rows), default=0)
    return OVERHEAD + len(rows) * (longest + row_bytes({"tier": "pooled", "layers": []}, 0))


def _reserve(path: Path, size: int, zeros: Sequence[Span]) -> None:
    """Claim the blocks of a sparse file, so that a full disk shows now and not after hours of work.

    Args:
        path: the file.
        size: its size.
        zeros: what to fill with zeros where the system cannot claim blocks.
    """
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except (AttributeError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in _NO_FALLOCATE:
                raise
            for start, count in zeros:
                file.seek(start)
                for done in range(0, count, len(_ZEROS)):
                    file.write(_ZEROS[: count - done])
