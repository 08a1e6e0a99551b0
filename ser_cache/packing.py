"""Utterances packed flat: all frames of a batch one after another, without padding, and who owns which.

The frames of a batch are (layers, frames of all utterances, width). Time means have the same shape, with one
frame an utterance, so that a head trains from either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

EVALUATION_FRAMES = 8192
"""Frames that a batch without training gathers at least: large enough to keep the cores busy."""


class Segments:
    """Which frames of a packed batch belong to which utterance.

    The mean over an utterance's frames is a product with a (utterances, frames) matrix: it is deterministic
    on every device, where adding by index is not, and differentiates itself.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        dtype: torch.dtype,
        device: torch.device,
        sizes: NDArray[np.int64] | None = None,
    ) -> None:
        """Describe a batch.

        Args:
            lengths: frames of each utterance, in packed order; all of them at least 1.
            dtype: of the frames.
            device: where they are.
            sizes: where a frame is the mean of several of the model's, how many, (frames,): it counts as that
                many in the mean over the utterance. None where each is one.
        """
        self.lengths = torch.as_tensor(np.asarray(lengths, dtype=np.int64))
        if int(self.lengths.min()) < 1:
            raise ValueError("an utterance without frames cannot be packed")
        self.count = len(self.lengths)
        self.total = int(self.lengths.sum())
        self._averaging: torch.Tensor | None = None
        if self.total > self.count:
            owners = torch.repeat_interleave(torch.arange(self.count), self.lengths)
            weights = (
                torch.ones(self.total, dtype=torch.float64) if sizes is None else torch.from_numpy(sizes)
            )
            totals = torch.zeros(self.count, dtype=torch.float64).index_add_(0, owners, weights.double())
            shares = weights / totals[owners]
            averaging = torch.zeros(self.count, self.total, dtype=dtype)
            averaging[owners, torch.arange(self.total)] = shares.to(dtype)
            self._averaging = averaging.to(device)

    def mean(self, frames: torch.Tensor) -> torch.Tensor:
        """Mean over the frames of each utterance: (..., frames, width) to (..., utterances, width)."""
        if self._averaging is None:
            return frames
        if frames.ndim == 3:  # batched also for one: another kind of product may differ in the last bit
            return torch.bmm(self._averaging.expand(len(frames), -1, -1), frames)
        return self._averaging @ frames


@dataclass(frozen=True)
class Batch:
    """Features of some utterances.

    Attributes:
        frames: (layers, frames of all utterances, width); valid until the next batch of the same source,
            which may reuse its memory.
        segments: which frames belong to which utterance.
    """

    frames: torch.Tensor
    segments: Segments


class FeatureSource(Protocol):
    """Where training takes features from.

    Attributes:
        lengths: frames of each utterance, (N,); 1 where an utterance is its time mean.
        layers: how many layers a batch holds.
        width: features per frame.
        device: where batches are.
        dtype: of the frames of a batch.
    """

    lengths: NDArray[np.int64]
    layers: int
    width: int
    device: torch.device
    dtype: torch.dtype

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """The features of some utterances, in the order of ``indices``."""

    def prefetch(self, indices: NDArray[np.int64]) -> None:
        """Prepare for the next batch without waiting for it; it may as well not be asked for."""


class PackedFeatures:
    """Features that are wholly in memory, or on the GPU, in the type they were stored in.

    Batches are gathered and converted on the device, so that an epoch moves nothing over the bus.
    """

    def __init__(
        self,
        frames: torch.Tensor,
        lengths: NDArray[np.int64],
        sizes: NDArray[np.int64] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Take the features.

        Args:
            frames: all of them, (layers, frames of the corpus, width).
            lengths: frames of each utterance, (N,).
            sizes: how many of the model's frames each stands for, (frames of the corpus,); None for one each.
            dtype: of the batches.
        """
        if int(lengths.sum()) != frames.shape[1]:
            raise ValueError(f"{frames.shape[1]} frames for utterances of {int(lengths.sum())} frames")
        self.lengths = lengths
        self.layers, self.width = frames.shape[0], frames.shape[2]
        self.device = frames.device
        self.dtype = dtype
        self._frames, self._sizes = frames, sizes
        self._starts = np.cumsum(lengths) - lengths

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """The features of some utterances, in the order of ``indices``."""
        lengths = self.lengths[indices]
        before = np.cumsum(lengths) - lengths
        rows = np.arange(int(lengths.sum())) + np.repeat(self._starts[indices] - before, lengths)
        gathered = self._frames.index_select(1, torch.from_numpy(rows).to(self.device))
        sizes = None if self._sizes is None else self._sizes[rows]
        segments = Segments(lengths.tolist(), self.dtype, self.device, sizes)
        return Batch(gathered.to(self.dtype), segments)

    def prefetch(self, indices: NDArray[np.int64]) -> None:
        """Nothing: everything is in memory."""


Fill = Callable[[NDArray[np.int64], torch.Tensor], object]
"""Puts the frames of some utterances, in that order, into a tensor of (layers, their frames, width)."""


class StreamedFeatures:
    """Features read batch by batch from where someone else holds them, such as a memory map.

    What is in memory is one batch, whatever the size of the corpus; the operating system keeps the file's
    pages that fit. One buffer serves all batches, because fresh pages cost more than the copy into them.
    """

    def __init__(
        self,
        fill: Fill,
        lengths: NDArray[np.int64],
        layers: int,
        width: int,
        device: torch.device | None = None,
        sizes: Callable[[int], NDArray[np.int64]] | None = None,
        stored: torch.dtype = torch.float32,
        dtype: torch.dtype = torch.float32,
        announce: Callable[[NDArray[np.int64]], object] = lambda _: None,
    ) -> None:
        """Describe the features.

        Args:
            fill: reads utterances into a buffer, converting where the buffer is of another type.
            lengths: frames of each utterance, (N,).
            layers: how many layers ``fill`` gives.
            width: features per frame.
            device: where batches go; the CPU by default.
            sizes: gives how many of the model's frames each of an utterance's stands for, (frames,), by its
                number; None where each is one.
            stored: the type in which ``fill`` reads without converting.
            dtype: of the batches.
            announce: told which utterances come next, so that a disk can fetch them meanwhile.
        """
        self.lengths, self.layers, self.width = lengths, layers, width
        self.device = device or torch.device("cpu")
        self.dtype = dtype
        self._fill, self._sizes, self._announce = fill, sizes, announce
        # On the CPU filling converts; to a GPU the stored type travels, which is half the bytes.
        self._buffer = torch.empty(0, dtype=dtype if self.device.type == "cpu" else stored)

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """The features of some utterances, in the order of ``indices``."""
        lengths = self.lengths[indices].tolist()
        packed = self._room(sum(lengths))
        self._fill(indices, packed)
        frames = packed.to(self.device).to(self.dtype)
        sizes = None
        if self._sizes is not None:
            sizes = np.concatenate([self._sizes(int(index)) for index in indices])
        return Batch(frames, Segments(lengths, self.dtype, self.device, sizes))

    def prefetch(self, indices: NDArray[np.int64]) -> None:
        """Let the next batch be fetched from disk while this one is worked on."""
        self._announce(indices)

    def _room(self, frames: int) -> torch.Tensor:
        needed = self.layers * frames * self.width
        if self._buffer.numel() < needed:
            dtype, pinned = self._buffer.dtype, self.device.type == "cuda"  # pinned: copied without a detour
            self._buffer = torch.empty(0, dtype=dtype)  # given back first, or both would be held for a moment
            self._buffer = torch.empty(needed + needed // 4, dtype=dtype, pin_memory=pinned)
        return self._buffer[:needed].view(self.layers, frames, self.width)


def views_into(view: Callable[[int], NDArray[Any]]) -> Fill:
    """Fill buffers from views of utterances, (layers, frames, width): copied and converted in one go."""

    def fill(indices: NDArray[np.int64], out: torch.Tensor) -> None:
        views = [_borrow(view(int(index))) for index in indices]
        parts = torch.split(out, [states.shape[1] for states in views], dim=1)
        for part, states in zip(parts, views, strict=True):
            part.copy_(states)

    return fill


class _Alias:
    """The memory of a read-only array, described as writable; it keeps the array alive."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array
        address, _ = array.__array_interface__["data"]
        self.__array_interface__ = {**array.__array_interface__, "data": (address, False)}


def _borrow(array: NDArray[Any]) -> torch.Tensor:
    """A tensor over an array's memory, only ever read from: torch warns of arrays it could not write to."""
    return torch.from_numpy(array if array.flags.writeable else np.asarray(_Alias(array)))
