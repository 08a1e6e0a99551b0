"""One layer of a batch as it will be stored: means and deviations in fp32, averages, the codec.

Two ways to the same numbers: clip by clip for a processor, and all clips at once for a GPU.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ser_cache.devices import moved
from ser_cache.store import INT8_STEPS, Codec

_MARGIN = 0.99
_ELEMENTS = {"<f2": torch.float16, "<f4": torch.float32, "|i1": torch.int8}


def element_type(codec: Codec) -> torch.dtype:
    """The torch type of what a codec stores."""
    return _ELEMENTS[codec.dtype]


@dataclass(frozen=True)
class EncodedLayer:
    """One layer of a batch, on the model's device, ready to be copied into memory of the codec's type.

    Attributes:
        hidden: pieces of (frames, width), one after another the stored frames of all utterances.
        scale: (utterances, width) float32; None where the codec has none.
        mean: (utterances, width) float32, time means before averaging and codec.
        std: (utterances, width) float32, population deviations over time, likewise.
        largest: (utterances,) float32, the largest absolute value that is stored, or a bound of it where
            that is enough to know that the codec holds it; NaN if there is one.
    """

    hidden: Sequence[torch.Tensor]
    scale: torch.Tensor | None
    mean: torch.Tensor
    std: torch.Tensor
    largest: torch.Tensor


class ClipEncoder:
    """Encodes clip by clip: what a processor likes, because a clip's states stay in its cache.

    Args:
        frames: frames of each utterance of a batch, each at least 1.
        codec: how to store.
        average: frames to average.
    """

    def __init__(self, frames: Sequence[int], codec: Codec, average: int) -> None:
        self._frames, self._codec, self._average = list(frames), codec, average

    def __call__(self, states: torch.Tensor) -> EncodedLayer:
        """Encode one layer, (frames of all utterances, width) in float32."""
        hidden, scales, means, variances = [], [], [], []
        for clip in torch.split(states, self._frames):
            mean = clip.mean(dim=0)
            means.append(mean)
            # Two passes: `torch.var_mean` over the first dimension takes 15 times as long on a CPU.
            centred = clip - mean
            variances.append(centred.mul_(centred).mean(dim=0))
            kept = clip if self._average == 1 else _averaged(clip, self._average)
            if self._codec.scaled:
                scale = kept.abs().amax(dim=0) / INT8_STEPS
                scales.append(scale)
                kept = _in_steps(kept, scale)
            hidden.append(kept)
        mean, deviation = torch.stack(means), torch.stack(variances).sqrt_()
        return EncodedLayer(
            hidden=hidden,
            scale=torch.stack(scales) if scales else None,
            mean=mean,
            std=deviation,
            largest=self._largest(states, mean, deviation),
        )

    def _largest(self, states: torch.Tensor, mean: torch.Tensor, deviation: torch.Tensor) -> torch.Tensor:
        """A bound for each clip, and where the codec might not hold that, its largest absolute value.

        No value is further from the mean than the deviation times the root of the frames, so that few clips
        need another look at all their values. Averaging frames makes none larger.
        """
        frames = torch.tensor(self._frames, device=deviation.device)
        largest = (mean.abs() + deviation * frames.sqrt()[:, None]).amax(dim=1)
        # Written so that NaN is not near enough to be sure of; the margin is for the bound's own rounding.
        for index in (~(largest < _MARGIN * self._codec.largest)).nonzero()[:, 0].tolist():
            clip = torch.split(states, self._frames)[index]
            kept = clip if self._average == 1 else _averaged(clip, self._average)
            largest[index] = torch.stack(kept.aminmax()).abs().max()
        return largest


class PaddedEncoder:
    """Encodes all clips at once: what a GPU likes, where each of many small steps costs a launch.

    The indices are made once a batch, and the host never waits. Sums may round otherwise than those of
    `ClipEncoder`.

    Args:
        frames: frames of each utterance of a batch, each at least 1.
        codec: how to store.
        average: frames to average.
        device: where the states are.
    """

    def __init__(self, frames: Sequence[int], codec: Codec, average: int, device: torch.device) -> None:
        average = min(average, max(frames))  # one group a clip either way, and no padding beyond the longest
        self._codec, self._average = codec, average
        lengths = torch.tensor(list(frames))
        groups = -(-lengths // average)
        self._shape = (len(frames), int(groups.max()) * average)
        valid = torch.arange(self._shape[1]) < lengths[:, None]
        sizes = valid.view(len(frames), -1, average).sum(dim=2)
        self._lengths = moved(lengths[:, None], device)
        self._padding = moved((~valid)[:, :, None], device)
        self._rows = moved(valid.flatten().nonzero()[:, 0], device)
        self._group_sizes = moved(sizes.clamp(min=1)[:, :, None], device)
        self._group_rows = moved(sizes.flatten().nonzero()[:, 0], device)

    def __call__(self, states: torch.Tensor) -> EncodedLayer:
        """Encode one layer, (frames of all utterances, width) in float32."""
        clips, longest = self._shape
        width = states.shape[1]
        flat = states.new_zeros(clips * longest, width).index_copy_(0, self._rows, states)
        padded = flat.view(clips, longest, width)
        mean = padded.sum(dim=1) / self._lengths
        centred = (padded - mean[:, None]).masked_fill_(self._padding, 0.0)
        deviation = centred.square_().sum(dim=1).div_(self._lengths).sqrt_()
        if self._average > 1:
            padded = padded.view(clips, -1, self._average, width).sum(dim=2) / self._group_sizes
        largest = padded.abs().amax(dim=(1, 2))
        scale = None
        if self._codec.scaled:
            scale = padded.abs().amax(dim=1) / INT8_STEPS
            padded = _in_steps(padded, scale[:, None])
        packed = padded.reshape(-1, width).index_select(0, self._group_rows)
        # Converted here: what crosses to the host is what will be stored.
        return EncodedLayer([packed.to(element_type(self._codec))], scale, mean, deviation, largest)


def _averaged(clip: torch.Tensor, average: int) -> torch.Tensor:
    """Means of groups of frames, the last one of the remainder: (frames, width) -> (groups, width)."""
    whole = len(clip) // average * average
    groups = clip[:whole].view(-1, average, clip.shape[1]).mean(dim=1)
    if whole == len(clip):
        return groups
    return torch.cat([groups, clip[whole:].mean(dim=0, keepdim=True)])


def _in_steps(values: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Values as multiples of their scale, rounded; a channel that is zero throughout has the scale 0."""
    return (values / torch.where(scale > 0, scale, 1.0)).round_()
