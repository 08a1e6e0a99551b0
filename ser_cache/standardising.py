"""Standardised features: zero mean and unit deviation per layer and channel, over all speakers or for each.

The statistics come from the time means and deviations that the cache keeps beside the frames, so that no
frame is read to find them. Batches are changed as they are gathered, once for all models that train on them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ser_cache.errors import UnknownNameError
from ser_cache.packing import Batch, FeatureSource

STANDARDISATIONS = {
    "none": "features as the backbone gave them",
    "global": "mean and deviation over all frames of the training side",
    "speaker": "mean and deviation over all frames of each speaker, also of those tested",
}
"""What can be chosen, and what it means."""

_ROUNDING = 1e-6
"""A deviation below this share of the mean comes from means that were rounded to float32. Divided by it, a
channel that never changes would be noise, and one that was stored in half precision thousands of deviations
away.
"""


@dataclass(frozen=True)
class Moments:
    """Mean and deviation of each channel over the frames of each of some groups of utterances.

    Attributes:
        mean: (groups, layers, width) float32.
        deviation: as ``mean``; 1 for a channel that never changes.
        group: which group each utterance of the source is standardised with, (N,).
    """

    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]
    group: NDArray[np.int64]


def check_standardisation(name: str) -> str:
    """Return the name.

    Raises:
        UnknownNameError: no such standardisation.
    """
    if name not in STANDARDISATIONS:
        raise UnknownNameError("standardisation", name, STANDARDISATIONS)
    return name


def moments(
    means: Callable[[int], NDArray[np.float32]],
    deviations: Callable[[int], NDArray[np.float32]],
    layers: Sequence[int],
    frames: NDArray[np.int64],
    members: Sequence[NDArray[np.int64]],
    group: NDArray[np.int64],
) -> Moments:
    """Moments over all frames of some groups of utterances, from the utterances' own moments.

    Args:
        means: gives a layer's time means, (N, width).
        deviations: gives a layer's deviations over time, (N, width), with n in the denominator.
        layers: the layers wanted.
        frames: of each utterance, (N,), over which its moments were taken.
        members: the utterances that make up each group.
        group: which of them each utterance is standardised with, (N,).
    """
    shape = (len(members), len(layers), means(layers[0]).shape[1])
    mean, deviation = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)
    for place, layer in enumerate(layers):
        middle, spread = means(layer).astype(np.float64), deviations(layer).astype(np.float64)
        for number, rows in enumerate(members):
            share = (frames[rows] / frames[rows].sum())[:, None]
            centre = (share * middle[rows]).sum(axis=0)
            # Within utterances and between them; the difference of squares would lose the digits.
            variance = (share * (spread[rows] ** 2 + (middle[rows] - centre) ** 2)).sum(axis=0)
            mean[number, place] = centre
            changes = np.sqrt(variance) > _ROUNDING * np.abs(centre)
            deviation[number, place] = np.where(changes, np.sqrt(variance), 1.0)
    return Moments(mean, deviation, group)


class StandardisedFeatures:
    """A source whose batches are standardised."""

    def __init__(self, source: FeatureSource, found: Moments) -> None:
        """Standardise ``source``, layer by layer of it, with ``found``."""
        self.lengths, self.layers, self.width = source.lengths, source.layers, source.width
        self.device, self.dtype = source.device, source.dtype
        self._source, self._group = source, found.group
        scale = 1 / found.deviation.astype(np.float64)
        self._scale = torch.from_numpy(scale).to(device=source.device, dtype=source.dtype)
        shift = torch.from_numpy(-found.mean.astype(np.float64) * scale)
        self._shift = shift.to(device=source.device, dtype=source.dtype)

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """The features of some utterances, in the order of ``indices``."""
        batch = self._source.batch(indices)
        groups = self._group[indices].tolist()
        lengths = self.lengths[indices].tolist()
        if len(set(groups)) == 1:
            groups, lengths = groups[:1], [sum(lengths)]
        for group, states in zip(groups, torch.split(batch.frames, lengths, dim=1), strict=True):
            # In place: the frames are the source's copy, which it fills anew for each batch.
            torch.addcmul(self._shift[group][:, None], states, self._scale[group][:, None], out=states)
        return batch

    def prefetch(self, indices: NDArray[np.int64]) -> None:
        """Let the source prepare for the next batch."""
        self._source.prefetch(indices)
