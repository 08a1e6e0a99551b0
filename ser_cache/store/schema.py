"""What a part holds: the states of a row, the datasets of features, and what they cost in bytes.

A part is a table with one row per utterance. Its constant columns (id, samples, hash of the audio, offsets)
are fixed when it is created; its features, checksums and states are written later, in place. What the
feature datasets are follows from the storage half of the fingerprint, so a new codec is a new entry here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

SAMPLES_PER_HOUR = 16_000 * 3600
LARGEST_PART = 8 << 30
"""Bytes of frames that a part holds at most; a single longer utterance has a part of its own."""
SCHEMA = 1
"""Version of the layout; a reader refuses parts of any other."""

# Any two states differ in at least two bytes, so no single damaged byte turns one into another.
PENDING, DONE, FAILED, SUPERSEDED = b"pend", b"done", b"fail", b"supe"
STATES = (PENDING, DONE, FAILED, SUPERSEDED)
STATE_DTYPE = np.dtype("S4")
CHECKSUM_DTYPE = np.dtype("<u8")


@dataclass(frozen=True)
class Codec:
    """How hidden states are kept.

    Attributes:
        dtype: the stored element type, little-endian.
        largest: the largest absolute value it holds.
        scaled: whether an element is multiplied by the scale of its utterance, layer and channel, which is
            their largest absolute value divided by `INT8_STEPS`.
    """

    dtype: str
    largest: float
    scaled: bool = False


_LARGEST_FP32 = float(np.finfo(np.float32).max)
CODECS = {
    "fp16": Codec("<f2", 65504.0),
    "fp32": Codec("<f4", _LARGEST_FP32),
    "int8": Codec("|i1", _LARGEST_FP32, scaled=True),
}
INT8_STEPS = 127
"""The largest int8 in use; -128 is not, so that the scale is the same on both sides of zero."""
TIERS = ("frames", "pooled")
"""What is kept of an utterance: every frame and the statistics over them, or the statistics alone."""


OVERHEAD = 1 << 16
"""Bytes of a part beside its columns and features, at most: seal, HDF5's structures, attributes, padding."""


@dataclass(frozen=True, slots=True)
class Row:
    """One utterance's constant columns.

    Attributes:
        id: the utterance's id.
        samples: its length in samples at 16 kHz.
        audio_sha256: SHA-256 of the audio file's bytes, 64 hexadecimal digits.
        frames: frames the model gives for it, before any averaging; 0 for a clip too short for one.
    """

    id: str
    samples: int
    audio_sha256: str
    frames: int


@dataclass(frozen=True)
class Field:
    """One dataset of features.

    Attributes:
        name: the dataset's name.
        dtype: its element type, little-endian.
        per_frame: True for (layers, frames of all utterances, width); False for (utterances, layers, width).
    """

    name: str
    dtype: str
    per_frame: bool

    def shape(self, rows: int, frames: int, layers: int, width: int) -> tuple[int, int, int]:
        """The dataset's shape in a part of so many rows and frames."""
        return (layers, frames, width) if self.per_frame else (rows, layers, width)


def fields(storage: Mapping[str, Any]) -> tuple[Field, ...]:
    """The feature datasets of a part, in the order in which a row's checksum runs over them.

    Args:
        storage: the storage half of a fingerprint (codec, layers, tier, ...).
    """
    pooled = (Field("mean", "<f4", per_frame=False), Field("std", "<f4", per_frame=False))
    if storage["tier"] == "pooled":
        return pooled
    codec = CODECS[storage["codec"]]
    scale = (Field("scale", "<f4", per_frame=False),) if codec.scaled else ()
    return (Field("hidden", codec.dtype, per_frame=True), *scale, *pooled)


def stored_frames(storage: Mapping[str, Any], frames: int) -> int:
    """Frames kept of an utterance of so many: one for each started group of ``frame_average``."""
    return -(-frames // int(storage["frame_average"]))


def frame_bytes(storage: Mapping[str, Any], width: int) -> int:
    """Bytes that one stored frame takes over all stored layers; 0 where no frames are kept."""
    sizes = (np.dtype(field.dtype).itemsize for field in fields(storage) if field.per_frame)
    return len(storage["layers"]) * width * sum(sizes)


def row_bytes(storage: Mapping[str, Any], width: int) -> int:
    """Bytes that one utterance takes beside its frames: means, deviations, checksum, state and columns."""
    sizes = (np.dtype(field.dtype).itemsize for field in fields(storage) if not field.per_frame)
    columns = CHECKSUM_DTYPE.itemsize + STATE_DTYPE.itemsize + 64 + 3 * 8  # hash, samples, frames, offset
    return len(storage["layers"]) * width * sum(sizes) + columns


def runs_within(sizes: Sequence[int], limit: int) -> list[range]:
    """Split rows into consecutive runs, each as long as its limit allows; a larger row has a run of its own.

    Greedy and in order, so that rows that are added at the end leave the runs before them as they are.

    Args:
        sizes: bytes of each row.
        limit: the most bytes of a run.
    """
    runs: list[range] = []
    start = total = 0
    for row, size in enumerate(sizes):
        if row > start and total + size > limit:
            runs.append(range(start, row))
            start, total = row, 0
        total += size
    return [*runs, range(start, len(sizes))] if len(sizes) > start else runs
