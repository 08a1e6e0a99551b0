"""What `store.py` compares: made-up features, and each way to keep them."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from ser_cache.manifest import Utterance
from ser_cache.store import Fingerprint, Part, PartWriter, Row, create_part, open_features

try:
    from lhotse.features import io as lhotse_io
except ImportError:
    lhotse_io = None

SHORTEST, LONGEST = 50, 400
Float = type[np.float16] | type[np.float32]


@dataclass(frozen=True)
class Shape:
    """What is written.

    Attributes:
        layers: layers of each utterance.
        frames: frames of all utterances.
        width: features per frame.
        batch: utterances read at once.
    """

    layers: int
    frames: int
    width: int
    batch: int


class Features:
    """Seeded noise, one utterance after another in one array, and the buffer that batches are read into."""

    def __init__(self, shape: Shape) -> None:
        generator = np.random.default_rng(0)
        lengths: list[int] = []
        while sum(lengths) < shape.frames:
            lengths.append(min(int(generator.integers(SHORTEST, LONGEST + 1)), shape.frames - sum(lengths)))
        self.shape, self.lengths = shape, np.array(lengths)
        step = shape.layers * shape.width
        self.flat: NDArray[np.float16] = np.empty(shape.frames * step, np.float16)
        for start in range(0, len(self.flat), 1 << 22):
            piece = self.flat[start : start + (1 << 22)]
            piece[:] = generator.standard_normal(len(piece), dtype=np.float32)
        ends = np.cumsum(self.lengths) * step
        self.utterances = [
            self.flat[end - length * step : end].reshape(shape.layers, length, shape.width)
            for end, length in zip(ends, lengths, strict=True)
        ]
        # Written once, so that their pages exist: a training loop reuses its buffer too.
        size = int(np.sort(self.lengths)[-shape.batch :].sum()) * step
        self.buffers = {kind: np.ones(size, kind) for kind in (np.float16, np.float32)}

    @property
    def bytes(self) -> int:
        """Bytes of all features in fp16."""
        return self.flat.nbytes

    def names(self) -> list[str]:
        """An id for each utterance."""
        return [f"utterance-{number:05d}" for number in range(len(self.lengths))]

    def out(self, indices: Sequence[int], last: bool, kind: Float) -> NDArray[Any]:
        """The front of a buffer, shaped for a batch."""
        shape = (1 if last else self.shape.layers, int(self.lengths[indices].sum()), self.shape.width)
        return self.buffers[kind][: np.prod(shape)].reshape(shape)

    def batches(self, seed: int) -> list[list[int]]:
        """All utterances in a random order, in batches."""
        order = np.random.default_rng(seed).permutation(len(self.lengths)).tolist()
        return [order[at : at + self.shape.batch] for at in range(0, len(order), self.shape.batch)]


class Format(ABC):
    """One way to read features, batch by batch.

    Attributes:
        name: for the table.
        tolerance: the largest difference from the features that its loss explains.
        source: the class whose files it reads, when it has none of its own.
        reopen: open it anew before each pass.
        into: what it reads into.
    """

    name: ClassVar[str]
    tolerance: ClassVar[float] = 0.0
    source: ClassVar[type[Written] | None] = None
    reopen: ClassVar[bool] = False
    into: ClassVar[Float] = np.float16

    def __init__(self, features: Features, folder: Path) -> None:
        self.features, self.folder = features, folder

    def open(self) -> None:  # noqa: B027 - some have nothing to do here
        """Prepare to read."""

    def close(self) -> None:  # noqa: B027 - some have nothing to do here
        """Let go of what `open` holds."""

    @abstractmethod
    def read(self, indices: list[int], last: bool, out: NDArray[Any]) -> None:
        """Fill a batch: all layers of its utterances, or the last one."""


class Written(Format):
    """A format with files of its own, written once."""

    @abstractmethod
    def write(self) -> None:
        """Write everything into the folder, without asking for it to reach the disk."""

    def sync(self) -> None:
        """Bring what was written to the disk."""
        for path in [*sorted(self.folder.rglob("*")), self.folder]:
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)


class ByUtterance(Format):
    """A format that hands out one utterance at a time; a batch is filled from them."""

    @abstractmethod
    def utterance(self, index: int, last: bool) -> NDArray[Any]:
        """All layers, or the last one, of an utterance: (layers, frames, width)."""

    def read(self, indices: list[int], last: bool, out: NDArray[Any]) -> None:  # noqa: D102
        place = 0
        for index in indices:
            length = int(self.features.lengths[index])
            out[:, place : place + length] = self.utterance(index, last)
            place += length


class StoreFiles(Format):
    """Our files, through our reader."""

    def open(self) -> None:  # noqa: D102
        named = zip(self.features.names(), self.features.lengths, strict=True)
        wanted = [Utterance(name, "", "", "", "", "", 320 * int(n), "0" * 64) for name, n in named]
        self._cached = open_features(self._path.parent, wanted)

    def close(self) -> None:  # noqa: D102
        self._cached.close()

    def read(self, indices: list[int], last: bool, out: NDArray[Any]) -> None:  # noqa: D102
        self._cached.packed(indices, self._cached.layers[-1:] if last else None, out)

    @property
    def _path(self) -> Path:
        return self.folder / "model" / "corpus" / "part-0000.h5"


class Store(StoreFiles, Written):
    """Ours. The map stays open from pass to pass, as in training."""

    name = "ser_cache"
    codec: ClassVar[str] = "fp16"

    def create(self) -> Part:
        """The empty part, its space reserved."""
        shape, storage = self.features.shape, {"codec": self.codec, "tier": "frames", "frame_average": 1}
        rows = [
            Row(name, 320 * int(length), "0" * 64, int(length))
            for name, length in zip(self.features.names(), self.features.lengths, strict=True)
        ]
        fingerprint = Fingerprint({}, {**storage, "layers": list(range(shape.layers))})
        return create_part(self._path, fingerprint, rows, shape.width, {})

    def fill(self, part: Part) -> None:
        """Write every utterance's checksum and features; nothing counts as done before `sync`."""
        self._writer = PartWriter(part, flush_seconds=float("inf"))
        pooled = np.zeros((self.features.shape.layers, self.features.shape.width), np.float32)
        for row, hidden in enumerate(self.features.utterances):
            self._writer.write(row, {**self.encode(hidden), "mean": pooled, "std": pooled})

    def encode(self, hidden: NDArray[np.float16]) -> dict[str, NDArray[Any]]:
        """What is stored of an utterance's frames."""
        return {"hidden": hidden}

    def write(self) -> None:  # noqa: D102
        self.fill(self.create())

    def sync(self) -> None:  # noqa: D102
        self._writer.close()


class Int8Store(Store):
    """Our int8, decoded into an fp32 buffer; writing includes the encoding, by NumPy here."""

    name = "ser_cache, int8, into an fp32 buffer"
    codec = "int8"
    into = np.float32
    tolerance = 0.03  # half a step of a channel that reaches 7 standard deviations

    def encode(self, hidden: NDArray[np.float16]) -> dict[str, NDArray[Any]]:  # noqa: D102
        scale = np.maximum(np.abs(hidden).max(axis=1), np.float16(1e-3)).astype(np.float32) / 127
        return {"hidden": np.rint(hidden / scale[:, np.newaxis]).astype(np.int8), "scale": scale}


class FreshStore(StoreFiles):
    """Ours, mapped anew for every pass: what the page faults of a first pass cost."""

    name = "ser_cache, first pass of a process"
    source = Store
    reopen = True


class H5pySlices(ByUtterance):
    """h5py's own read of our file."""

    name = "our file by h5py, `dataset[:, a:b]`"
    source = Store

    def open(self) -> None:  # noqa: D102
        # HDF5 opens a file twice in one process only if both say the same about locks; ours takes none.
        self._file = h5py.File(self.folder / "model" / "corpus" / "part-0000.h5", "r", locking=False)
        self._dataset, self._offsets = self._file["hidden"], self._file["offsets"][:].tolist()

    def close(self) -> None:  # noqa: D102
        self._file.close()

    def utterance(self, index: int, last: bool) -> NDArray[Any]:  # noqa: D102
        layers = slice(self.features.shape.layers - 1 if last else 0, None)
        return self._dataset[layers, self._offsets[index] : self._offsets[index + 1]]


class H5pyDirect(H5pySlices):
    """h5py's own read of our file, without an array in between."""

    name = "our file by h5py, `read_direct`"

    def read(self, indices: list[int], last: bool, out: NDArray[Any]) -> None:  # noqa: D102
        first, place = self.features.shape.layers - 1 if last else 0, 0
        for index in indices:
            start, stop = self._offsets[index], self._offsets[index + 1]
            self._dataset.read_direct(out, np.s_[first:, start:stop], np.s_[:, place : place + stop - start])
            place += stop - start


class NpyFiles(ByUtterance):
    """One file per utterance, loaded or mapped."""

    mapping: ClassVar[Literal["r"] | None] = None

    def open(self) -> None:  # noqa: D102
        self._paths = [self.folder / f"{name}.npy" for name in self.features.names()]

    def utterance(self, index: int, last: bool) -> NDArray[Any]:  # noqa: D102
        whole: NDArray[Any] = np.load(self._paths[index], mmap_mode=self.mapping)
        return whole[-1:] if last else whole


class Npy(NpyFiles, Written):
    """One file per utterance, fp32 as people save it; reading converts."""

    name = "`.npy` per utterance, fp32"
    dtype: ClassVar[Float] = np.float32

    def write(self) -> None:  # noqa: D102
        for name, hidden in zip(self.features.names(), self.features.utterances, strict=True):
            np.save(self.folder / f"{name}.npy", hidden.astype(self.dtype, copy=False))


class HalfNpy(Npy):
    """The same in half the bytes, without the conversion."""

    name = "`.npy` per utterance, fp16"
    dtype = np.float16


class KeptNpy(NpyFiles):
    """The fp32 files, read into an fp32 buffer: no conversion, twice the memory."""

    name = "`.npy` per utterance, fp32, into an fp32 buffer"
    source = Npy
    into = np.float32


class MappedNpy(NpyFiles):
    """The same files, mapped."""

    name = '`.npy` per utterance, fp32, `mmap_mode="r"`'
    source = Npy
    mapping = "r"


class Gzip(ByUtterance, Written):
    """One HDF5 file with a compressed dataset per utterance."""

    name = "HDF5 dataset per utterance, fp16, gzip 4"
    options: ClassVar[dict[str, Any]] = {"compression": "gzip", "compression_opts": 4}

    def write(self) -> None:  # noqa: D102
        with h5py.File(self.folder / "features.h5", "w") as file:
            for name, hidden in zip(self.features.names(), self.features.utterances, strict=True):
                file.create_dataset(name, data=hidden, **self.options)

    def open(self) -> None:  # noqa: D102
        self._file, self._names = h5py.File(self.folder / "features.h5", "r"), self.features.names()

    def close(self) -> None:  # noqa: D102
        self._file.close()

    def utterance(self, index: int, last: bool) -> NDArray[Any]:  # noqa: D102
        return self._file[self._names[index]][slice(-1, None) if last else slice(None)]


class ShuffledGzip(Gzip):
    """The same with HDF5's shuffle filter."""

    name = "HDF5 dataset per utterance, fp16, gzip 4 + shuffle"
    options: ClassVar[dict[str, Any]] = {**Gzip.options, "shuffle": True}


class Lhotse(ByUtterance, Written):
    """lhotse's plain arrays in HDF5; the first axis, its frames, holds our layers."""

    name = "lhotse NumpyHdf5Writer, fp16"
    kinds: ClassVar[tuple[str, str]] = ("NumpyHdf5Writer", "NumpyHdf5Reader")
    dtype: ClassVar[Float] = np.float16

    def write(self) -> None:  # noqa: D102
        with getattr(lhotse_io, self.kinds[0])(self.folder / "features.h5") as writer:
            for name, hidden in zip(self.features.names(), self.features.utterances, strict=True):
                writer.write(name, hidden.astype(self.dtype, copy=False))

    def open(self) -> None:  # noqa: D102
        self._reader = getattr(lhotse_io, self.kinds[1])(self.folder / "features.h5")
        self._names = self.features.names()

    def close(self) -> None:  # noqa: D102
        self._reader.hdf.close()
        lhotse_io.close_cached_file_handles()

    def utterance(self, index: int, last: bool) -> NDArray[Any]:  # noqa: D102
        first = self.features.shape.layers - 1 if last else 0
        array: NDArray[Any] = self._reader.read(self._names[index], left_offset_frames=first)
        return array


class Lilcom(Lhotse):
    """lhotse's lossy compression in HDF5."""

    name = "lhotse LilcomHdf5Writer, lossy"
    kinds = ("LilcomHdf5Writer", "LilcomHdf5Reader")
    dtype = np.float32
    tolerance = 2.0**-4


class Pieces(ByUtterance):
    """A copy in memory of the same pieces, one per utterance and layer: what any reader of them can reach."""

    name = "memory copy of the same pieces"

    def utterance(self, index: int, last: bool) -> NDArray[Any]:  # noqa: D102
        return self.features.utterances[index][-1 if last else 0 :]


class Ceiling(Written):
    """One flat memory copy of as many bytes, and one flat file."""

    name = "plain memory copy; plain file"

    def write(self) -> None:  # noqa: D102
        with (self.folder / "flat").open("wb", buffering=0) as file:
            for hidden in self.features.utterances:
                view = memoryview(hidden.reshape(-1).view(np.uint8))
                while view:
                    view = view[file.write(view) :]

    def open(self) -> None:  # noqa: D102
        self._place = 0

    def read(self, indices: list[int], last: bool, out: NDArray[Any]) -> None:  # noqa: ARG002, D102
        if self._place + out.size > len(self.features.flat):
            self._place = 0
        np.copyto(out.reshape(-1), self.features.flat[self._place : self._place + out.size])
        self._place += out.size


FORMATS: tuple[type[Format], ...] = (
    Store,
    FreshStore,
    Int8Store,
    Npy,
    KeptNpy,
    MappedNpy,
    HalfNpy,
    H5pySlices,
    H5pyDirect,
    Gzip,
    ShuffledGzip,
    *((Lhotse, Lilcom) if lhotse_io else ()),
    Pieces,
    Ceiling,
)
"""In the order of the table; ours first, because the ratios are to it."""
