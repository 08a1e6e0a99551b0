"""Copy the frames of many utterances out of a memory map into one packed batch.

A plain copy from the map is the fastest way that was found (benchmarks/store.py compares): as fast as the
same copy between two arrays in memory. Reading with ``preadv`` is slower, and asking the system for the pages
first (``MADV_POPULATE_READ``, ``MAP_POPULATE``) or copying in two threads gains nothing steady.
"""

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


def copy_frames(
    source: NDArray[Any],
    target: NDArray[Any],
    runs: Sequence[Run],
    starts: NDArray[np.int64],
    places: NDArray[np.int64],
    lengths: NDArray[np.int64],
) -> None:
    """Copy stretches of frames between two arrays of (layers, frames, width).

    Args:
        source: a dataset.
        target: the batch.
        runs: which layers go where.
        starts: the first frame of each stretch in the dataset.
        places: its first frame in the batch.
        lengths: its frames.
    """
    for start, place, length in zip(starts.tolist(), places.tolist(), lengths.tolist(), strict=True):
        for put, take in runs:
            target[put, place : place + length] = source[take, start : start + length]
