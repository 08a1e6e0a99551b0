"""Copy the frames of many utterances out of a memory map into one packed batch.

A plain copy from the map is the fastest way that was found: about as fast as a copy of the same pieces
within memory. ``preadv`` is slower; asking for the pages first (``MADV_POPULATE_READ``, ``MAP_POPULATE``)
and copying in two threads gain nothing steady. From a disk it helps to announce a whole batch
(``MADV_WILLNEED``), because page faults alone fetch one stretch after another.
"""

import contextlib
import mmap
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Run = tuple[slice, slice]
"""Layers copied at once: their places in the batch, and in the dataset."""


def as_indices(indices: Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Indices as an array, (N,).

    Raises:
        ValueError: they are no whole numbers; a mask of booleans would silently mean utterances 0 and 1.
    """
    given = np.asarray(indices)
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise ValueError(f"indices must be one row of whole numbers, not {given.dtype} of {given.shape}")
    return given.astype(np.int64)


def batch_buffer(
    shape: tuple[int, ...], dtype: np.dtype[Any], out: NDArray[Any] | None = None
) -> NDArray[Any]:
    """The array that a batch is copied into: a new one, or ``out`` when it fits.

    Raises:
        ValueError: ``out`` has another shape or type, is read-only, or is not in C order.
    """
    if out is None:
        return np.empty(shape, dtype)
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(f"out is {out.dtype} {out.shape}, not {dtype} {shape}")
    if not (out.flags.c_contiguous and out.flags.writeable):
        raise ValueError("out must be writeable and in C order")
    return out


def even_runs(places: Sequence[int]) -> list[Run]:
    """Group places into evenly spaced ascending runs, each of which a slice can name.

    One copy then takes many layers: it gives up Python's lock once, where a copy per layer would queue for
    the lock after each of them when other threads are busy.
    """
    runs: list[Run] = []
    first = 0
    while first < len(places):
        last = first + 1
        step = places[last] - places[first] if last < len(places) else 1
        if step > 0:
            while last < len(places) and places[last] - places[last - 1] == step:
                last += 1
        runs.append((slice(first, last), slice(places[first], places[last - 1] + 1, max(step, 1))))
        first = last
    return runs


class ReadAhead:
    """Which features are announced to the system before they are copied.

    That makes reading from a disk about 1.5 times as fast and costs some 5% when the pages are in memory. So
    what fits into memory is announced once, and what does not, every time.

    Args:
        utterances: how many there are.
        layers: how many are stored.
        size: bytes of all features.
    """

    def __init__(self, utterances: int, layers: int, size: int) -> None:
        self._announced = np.zeros((utterances, layers), dtype=bool)
        self._stays = size < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

    def due(self, indices: NDArray[np.int64], places: Sequence[int]) -> NDArray[np.bool_]:
        """Which of some utterances to announce, (N,); from now on they count as announced."""
        wanted = indices[:, None], np.asarray(places, dtype=np.int64)
        due: NDArray[np.bool_] = self._announced[wanted].sum(axis=1) < len(places)
        if self._stays:
            self._announced[wanted] = True
        return due


def announce(
    dataset: NDArray[Any],
    position: int,
    places: Sequence[int],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
) -> None:
    """Ask the system to fetch stretches of frames, all at once; nothing where it cannot be asked.

    Args:
        dataset: (layers, frames, width), over a map of its file.
        position: its byte offset in the file.
        places: the layers.
        starts: the first frame of each stretch.
        lengths: its frames.
    """
    mapped: object = dataset.base
    advice = getattr(mmap, "MADV_WILLNEED", None)
    if not isinstance(mapped, mmap.mmap) or advice is None:
        return
    layer_bytes, frame_bytes, _ = dataset.strides
    with contextlib.suppress(OSError):  # advice that is not taken costs time alone
        for place in places:
            for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
                first = position + place * layer_bytes + start * frame_bytes
                page = first - first % mmap.PAGESIZE
                mapped.madvise(advice, page, first - page + length * frame_bytes)


def copy_frames(
    source: NDArray[Any],
    target: NDArray[Any],
    runs: Sequence[Run],
    starts: NDArray[np.int64],
    places: NDArray[np.int64],
    lengths: NDArray[np.int64],
    scales: NDArray[np.float32] | None = None,
) -> None:
    """Copy stretches of frames between two arrays of (layers, frames, width).

    Args:
        source: a dataset.
        target: the batch.
        runs: which layers go where.
        starts: the first frame of each stretch in the dataset.
        places: its first frame in the batch.
        lengths: its frames.
        scales: (stretches, layers of the dataset, width), what a scaled codec's numbers are multiplied by.
    """
    stretches = zip(starts.tolist(), places.tolist(), lengths.tolist(), strict=True)
    for number, (start, place, length) in enumerate(stretches):
        for put, take in runs:
            piece, stored = target[put, place : place + length], source[take, start : start + length]
            if scales is None:
                piece[...] = stored
            else:
                _decode(stored, scales[number, take], piece)


def _decode(stored: NDArray[Any], scales: NDArray[np.float32], piece: NDArray[np.float32]) -> None:
    # Layer by layer and in two steps: the second finds the first's numbers in the processor's cache, and
    # one call that converts and multiplies would go through NumPy's small buffers.
    for layer, numbers in enumerate(stored):
        piece[layer] = numbers
        piece[layer] *= scales[layer]
