"""Read cached features through memory maps: no HDF5 lock, no copies, safe in forked and spawned workers."""

from __future__ import annotations

import math
import mmap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ser_cache.errors import CacheError, StaleCacheError
from ser_cache.store.fingerprint import Fingerprint, differences
from ser_cache.store.gathering import ReadAhead, announce, as_indices, batch_buffer, copy_frames, even_runs
from ser_cache.store.part import Part
from ser_cache.store.schema import Field
from ser_cache.store.seal import USER_BLOCK, replaced, seal_digest, unreadable

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray

_MAPS = 64  # each map holds one file descriptor; a part is up to 8 GiB, so 64 of them are half a terabyte


class CachedFeatures:
    """The features of some utterances, mapped into memory; made by `opening.open_features`.

    A context manager. It may be used from threads, after a fork, and pickled to another process: each process
    maps the files by itself. Views of hidden states stay valid after `close`.

    Attributes:
        backbone: the folder of the backbone, variant included.
        corpus: the corpus.
        fingerprint: what made the features and how they are stored.
        layers: the stored layers, ascending.
        width: features per frame.
        ids: the usable utterances, in the order asked for.
        failed: the reason of each utterance that could not be extracted; they are left out of `ids`.
        frames: (utterances,) int64, stored frames of each usable utterance.
        tier: "frames", or "pooled" where time means and deviations alone are kept.
        frame_average: how many of the model's frames a stored one is the mean of; the last frame of an
            utterance holds the remainder (see `group_sizes`).
        scaled: whether frames are kept as integers with scales, so that reading decodes them.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        ids: Sequence[str],
        rows: Sequence[tuple[int, int]],
        failed: Mapping[str, str],
    ) -> None:
        first = parts[0]
        self.backbone, self.corpus = first.backbone, first.corpus
        self.fingerprint, self.layers, self.width = first.fingerprint, first.layers, first.width
        self.ids, self.failed = tuple(ids), dict(failed)
        self._parts = tuple(parts)
        self._rows = np.array(rows, dtype=np.int64).reshape(-1, 2)
        self._place = {layer: place for place, layer in enumerate(self.layers)}
        self._fields = {field.name: field for field in first.fields}
        storage = self.fingerprint.storage
        self.tier, self.frame_average = str(storage["tier"]), int(storage["frame_average"])
        self.scaled = "scale" in self._fields
        self._maps: dict[int, mmap.mmap] = {}
        size = sum(
            math.prod(part.shape(field)) * np.dtype(field.dtype).itemsize
            for part in parts
            for field in part.fields
        )
        self._read_ahead = ReadAhead(len(ids), len(self.layers), size)
        self.frames: NDArray[np.int64] = np.array([parts[p].frames(r) for p, r in rows], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def origin(self) -> dict[str, Any]:
        """All that a prediction needs to make such features again, as JSON.

        The halves of the fingerprint, and where the model came from.
        """
        recorded = self._parts[0].provenance
        return {
            "features": dict(self.fingerprint.features),
            "storage": dict(self.fingerprint.storage),
            "provenance": {
                name: recorded[name] for name in ("model", "hub_id", "revision", "name") if name in recorded
            },
        }

    def hidden(self, index: int, layers: Sequence[int] | None = None) -> NDArray[Any]:
        """Hidden states of one utterance.

        Args:
            index: its place in `ids`.
            layers: the wanted layers, in the wanted order; all by default.

        Returns:
            (layers, frames, width). fp16 and fp32 come in their own type and read-only; all layers, one layer
            or evenly spaced ones are a view of the map, any other choice is a copy. int8 is decoded to
            float32.

        Raises:
            CacheError: a layer is not cached, no frames are, or the part has vanished.
        """
        field = self._frames_field()
        if self.scaled:
            return self.packed([index], layers)
        part, row = (int(value) for value in self._rows[index])
        start, stop = (int(value) for value in self._parts[part].offsets[row : row + 2])
        return self._dataset(part, field)[self._places(layers), start:stop]

    def group_sizes(self, index: int) -> NDArray[np.int64]:
        """How many of the model's frames each stored frame of an utterance is the mean of: (frames,)."""
        part, row = (int(value) for value in self._rows[index])
        sizes = np.full(int(self.frames[index]), self.frame_average, dtype=np.int64)
        sizes[-1:] = self._parts[part].model_frames[row] - sizes[:-1].sum()
        return sizes

    def packed(
        self,
        indices: Sequence[int] | NDArray[np.integer[Any]],
        layers: Sequence[int] | None = None,
        out: NDArray[Any] | None = None,
    ) -> NDArray[Any]:
        """Hidden states of some utterances, copied one after another into one array.

        They are read in the order in which they lie in the files, whatever the order asked for: a batch maps
        each part once, and a disk reads forwards.

        Args:
            indices: their places in `ids`, in the wanted order; an utterance may come twice.
            layers: the wanted layers, in the wanted order; all by default.
            out: where to put them, C-contiguous and of the shape and type below. The frames of batches
                differ, so a buffer for the longest one is used as ``buffer[:n].reshape(shape)``.

        Returns:
            (layers, frames of those utterances, width): ``out``, or a new array. Split at the running sums of
            `frames`, it gives the utterances. fp16 and fp32 keep their type, int8 is decoded to float32.

        Raises:
            CacheError: a layer is not cached, no frames are, or a part has vanished.
            ValueError: ``out`` does not fit, or the indices are no whole numbers.
            IndexError: there is no such utterance.
        """
        wanted = self.layers if layers is None else layers
        layer_places = [self._layer(layer) for layer in wanted]
        chosen = as_indices(indices)
        lengths, (parts, rows) = self.frames[chosen], self._rows[chosen].T
        places = np.cumsum(lengths) - lengths
        field = self._frames_field()
        shape = (len(wanted), int(lengths.sum()), self.width)
        batch = batch_buffer(shape, np.dtype(np.float32 if self.scaled else field.dtype), out)
        runs, due = even_runs(layer_places), self._read_ahead.due(chosen, layer_places)
        for part in np.unique(parts).tolist():
            there = np.flatnonzero(parts == part)
            there = there[np.argsort(rows[there])]
            dataset, starts = self._dataset(part, field), self._parts[part].offsets[rows[there]]
            self._announce(part, dataset, chosen[there[due[there]]], layer_places)
            scales = self._dataset(part, self._fields["scale"])[rows[there]] if self.scaled else None
            copy_frames(dataset, batch, runs, starts, places[there], lengths[there], scales)
        return batch

    def announce(
        self, indices: Sequence[int] | NDArray[np.integer[Any]], layers: Sequence[int] | None = None
    ) -> None:
        """Ask the system to fetch the hidden states of some utterances from disk, without waiting for them.

        Raises:
            As `packed`.
        """
        layer_places = [self._layer(layer) for layer in (self.layers if layers is None else layers)]
        chosen = as_indices(indices)
        due = chosen[self._read_ahead.due(chosen, layer_places)]
        for part in np.unique(self._rows[due, 0]).tolist():
            dataset = self._dataset(part, self._frames_field())
            self._announce(part, dataset, due[self._rows[due, 0] == part], layer_places)

    def mean(self, layer: int) -> NDArray[np.float32]:
        """Time means of the float32 states of one layer, before the codec: (utterances, width)."""
        return self._pooled("mean", layer)

    def std(self, layer: int) -> NDArray[np.float32]:
        """Population standard deviations over time of one layer, as `mean`: (utterances, width)."""
        return self._pooled("std", layer)

    def means(
        self, indices: Sequence[int] | NDArray[np.integer[Any]], layers: Sequence[int] | None = None
    ) -> NDArray[np.float32]:
        """As `mean`, of some utterances and layers alone: (layers, utterances, width)."""
        places = [self._layer(layer) for layer in (self.layers if layers is None else layers)]
        chosen = as_indices(indices)
        values = np.empty((len(places), len(chosen), self.width), dtype=np.float32)
        for part in np.unique(self._rows[chosen, 0]).tolist():
            there = np.flatnonzero(self._rows[chosen, 0] == part)
            rows = self._dataset(part, self._fields["mean"])[self._rows[chosen[there], 1]]
            values[:, there] = rows[:, places].swapaxes(0, 1)
        return values

    def require(self, fingerprint: Fingerprint) -> None:
        """Check that these features are the ones that something (a trained run) was made from.

        Raises:
            StaleCacheError: they are not; the message shows the differences.
        """
        found = differences(self.fingerprint, fingerprint)
        if found:
            raise StaleCacheError(
                f"the cache of {self.backbone}/{self.corpus} holds other features ({'; '.join(found)}): "
                "extract those again under another --name, or repeat the run on these."
            )

    def close(self) -> None:
        """Let go of the maps; they open again when needed."""
        self._maps.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}  # a map belongs to its process

    def _announce(
        self, part: int, dataset: NDArray[Any], chosen: NDArray[np.int64], layer_places: Sequence[int]
    ) -> None:
        """Announce utterances of one part."""
        header = self._parts[part]
        starts, position = header.offsets[self._rows[chosen, 1]], header.positions[self._frames_field().name]
        announce(dataset, position, layer_places, starts, self.frames[chosen])

    def _places(self, layers: Sequence[int] | None) -> slice | list[int]:
        """Where layers are in a dataset: a slice where they are evenly spaced, which needs no copy."""
        if layers is None:
            return slice(None)
        places = [self._layer(layer) for layer in layers]
        if not places:
            return slice(0)
        steps = set(np.diff(places).tolist()) or {1}
        if len(steps) == 1 and (step := steps.pop()) > 0:
            return slice(places[0], places[-1] + 1, step)
        return places

    def _frames_field(self) -> Field:
        if "hidden" not in self._fields:
            raise CacheError(
                f"{self.backbone}/{self.corpus} keeps time means only, no frames: extract with "
                "--tier frames, or use the linear head, which needs no more."
            )
        return self._fields["hidden"]

    def _layer(self, layer: int) -> int:
        if layer not in self._place:
            raise CacheError(
                f"layer {layer} of {self.backbone}/{self.corpus} is not cached; cached: "
                f"{', '.join(map(str, self.layers))}."
            )
        return self._place[layer]

    def _pooled(self, name: str, layer: int) -> NDArray[np.float32]:
        place = self._layer(layer)
        values = np.empty((len(self.ids), self.width), dtype=np.float32)
        for part in np.unique(self._rows[:, 0]).tolist():
            chosen = self._rows[:, 0] == part
            values[chosen] = self._dataset(part, self._fields[name])[self._rows[chosen, 1], place]
        return values

    def _dataset(self, part: int, field: Field) -> NDArray[Any]:
        """One feature dataset of a part, as an array over its map."""
        header = self._parts[part]
        shape = header.shape(field)
        if 0 in shape:
            return np.empty(shape, dtype=field.dtype)
        return np.ndarray(shape, field.dtype, buffer=self._map(part), offset=header.positions[field.name])

    def _map(self, part: int) -> mmap.mmap:
        mapped = self._maps.get(part)
        if mapped is None:
            path = self._parts[part].path
            try:
                with path.open("rb") as file:
                    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as error:
                raise unreadable(path, error) from error
            if seal_digest(mapped[:USER_BLOCK]) != self._parts[part].seal:
                raise replaced(path)
            self._maps[part] = mapped
            # No step fails when another thread drops the same one; a lock might be held across a fork.
            for oldest in list(self._maps)[:-_MAPS]:
                self._maps.pop(oldest, None)  # arrays that still show it keep it open
        return mapped
