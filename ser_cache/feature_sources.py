"""Where training takes cached features from: time means or frames, in memory, on the GPU or in the map.

Nothing here knows the cache's files; :class:`Features` is all that is asked of them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ser_cache.packing import FeatureSource, Fill, PackedFeatures, StreamedFeatures, views_into
from ser_cache.standardising import Moments, moments

_SHARE_OF_GPU = 0.5  # of its free memory may hold features; the rest is for batches and models
_SHARE_OF_MEMORY = 0.25  # of all memory may hold time means; a tenth of that is rarely needed


class Digest(Protocol):
    """A fingerprint, of which probing needs the digest alone."""

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal."""


class Features(Protocol):
    """What probing asks of cached features; ``ser_cache.store.CachedFeatures`` describes each."""

    @property
    def backbone(self) -> str: ...  # noqa: D102 - described where they are made
    @property
    def corpus(self) -> str: ...  # noqa: D102
    @property
    def fingerprint(self) -> Digest: ...  # noqa: D102
    @property
    def origin(self) -> dict[str, Any]: ...  # noqa: D102
    @property
    def layers(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def width(self) -> int: ...  # noqa: D102
    @property
    def ids(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def failed(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def frames(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def tier(self) -> str: ...  # noqa: D102
    @property
    def frame_average(self) -> int: ...  # noqa: D102
    def group_sizes(self, index: int) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def scaled(self) -> bool: ...  # noqa: D102
    def hidden(self, index: int, layers: Sequence[int] | None = None) -> NDArray[Any]: ...  # noqa: D102
    def packed(  # noqa: D102
        self, indices: NDArray[np.int64], layers: Sequence[int] | None, out: NDArray[Any] | None
    ) -> NDArray[Any]: ...
    def announce(self, indices: NDArray[np.int64], layers: Sequence[int] | None = None) -> None: ...  # noqa: D102
    def mean(self, layer: int) -> NDArray[np.float32]: ...  # noqa: D102
    def std(self, layer: int) -> NDArray[np.float32]: ...  # noqa: D102
    def means(self, indices: NDArray[np.int64], layers: Sequence[int]) -> NDArray[np.float32]: ...  # noqa: D102


def open_source(
    features: Features, layers: Sequence[int], device: torch.device, *, pooled: bool
) -> FeatureSource:
    """Some layers of cached features, to train on.

    Args:
        features: the cached features.
        layers: which, ascending; a batch holds them in this order.
        device: where to train. Frames stay on a GPU where they fit, else they come from the memory map.
        pooled: time means instead of frames, for heads that pool first. They are held in memory unless they
            would take a quarter of it.
    """
    if pooled:
        return _open_means(features, layers, device)
    lengths = features.frames
    averaged = features.frame_average > 1
    if device.type == "cuda":
        size = int(lengths.sum()) * len(layers) * features.width * _stored(features).itemsize
        if size < _room_for_features(device):
            sizes = [features.group_sizes(index) for index in range(len(lengths))] if averaged else None
            return PackedFeatures(
                _on_device(features, layers, device), lengths, np.concatenate(sizes) if sizes else None
            )
    return StreamedFeatures(
        _reading(features, layers),
        lengths,
        len(layers),
        features.width,
        device,
        features.group_sizes if averaged else None,
        _stored(features),
        announce=lambda indices: features.announce(indices, layers),
    )


def _open_means(features: Features, layers: Sequence[int], device: torch.device) -> FeatureSource:
    """Time means, each as an utterance of one frame; in memory where they fit."""
    count = len(features.ids)
    one_each = np.ones(count, dtype=np.int64)
    if len(layers) * count * features.width * torch.float32.itemsize < _room_for_features(device):
        means = torch.empty((len(layers), count, features.width), device=device)
        for kept, layer in zip(means, layers, strict=True):  # one by one: never all of them twice
            kept.copy_(torch.from_numpy(features.mean(layer)))
        return PackedFeatures(means, one_each)

    def fill(indices: NDArray[np.int64], out: torch.Tensor) -> None:
        out.copy_(torch.from_numpy(features.means(indices, layers)))

    return StreamedFeatures(fill, one_each, len(layers), features.width, device)


def _room_for_features(device: torch.device) -> float:
    """Bytes that features may take on a device."""
    if device.type == "cuda":
        return _SHARE_OF_GPU * torch.cuda.mem_get_info(device)[0]
    return _SHARE_OF_MEMORY * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _stored(features: Features) -> torch.dtype:
    """The type that frames are read in."""
    return torch.from_numpy(features.hidden(0, features.layers[:1]).copy()).dtype


def _reading(features: Features, layers: Sequence[int]) -> Fill:
    """How a buffer is filled: numbers that must be decoded by the store, others straight from the map.

    Torch converts fp16 about ten times as fast as NumPy, which the store is written in.
    """
    if not features.scaled:
        return views_into(lambda index: features.hidden(index, layers))
    return lambda indices, out: features.packed(indices, layers, out.numpy())


def moments_for(
    features: Features,
    layers: Sequence[int],
    standardise: str,
    train: NDArray[np.int64],
    speakers: Sequence[str],
) -> Moments:
    """What to standardise the features with.

    Args:
        features: the cached features.
        layers: which, as in the source.
        standardise: "global" or "speaker".
        train: the training side's utterances.
        speakers: of each utterance, (N,).
    """
    frames = model_frames(features)
    if standardise == "speaker":
        names, group = np.unique(np.array(speakers), return_inverse=True)
        members = [np.flatnonzero(group == number) for number in range(len(names))]
    else:
        members, group = [train], np.zeros(len(frames), dtype=np.int64)
    return moments(features.mean, features.std, layers, frames, members, group.astype(np.int64))


def model_frames(features: Features) -> NDArray[np.int64]:
    """How many of the model's frames each utterance has, (N,), whatever was averaged in storing."""
    if features.frame_average == 1 or features.tier == "pooled":
        return features.frames
    return np.array([features.group_sizes(index).sum() for index in range(len(features.ids))])


def _on_device(features: Features, layers: Sequence[int], device: torch.device) -> torch.Tensor:
    """All frames of the corpus, (layers, frames, width), moved utterance by utterance."""
    shape = (len(layers), int(features.frames.sum()), features.width)
    packed = torch.empty(shape, dtype=_stored(features), device=device)
    parts = torch.split(packed, features.frames.tolist(), dim=1)
    for index, part in enumerate(parts):
        part.copy_(torch.from_numpy(features.hidden(index, layers).copy()))
    return packed
