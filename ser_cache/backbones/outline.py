"""How many frames a clip of a given length gives, from the shape of a model alone; imports no torch.

A dry run, and the plan of a cache file, need these numbers before any weights are loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from ser_cache.clipping import Clipping

if TYPE_CHECKING:
    from ser_cache.extractor import Geometry

SAMPLES_PER_FRAME = 320
"""One Whisper frame: two log-mel frames of 160 samples."""
WINDOW_SAMPLES = 480_000
"""Whisper's window: 30 s at 16 kHz."""


class FrameRule(Protocol):
    """The arithmetic of one family of models."""

    def frames(self, samples: int) -> int:
        """Frames for a clip of ``samples`` at 16 kHz; 0 when it is too short for one."""

    def padded_samples(self, samples: int) -> int:
        """Samples that the model works through for such a clip."""


@dataclass(frozen=True)
class ConvolutionFrames:
    """wav2vec 2.0, HuBERT and WavLM: a stack of convolutions without padding.

    Attributes:
        kernels: kernel size of each convolution.
        strides: stride of each.
    """

    kernels: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    strides: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)

    def frames(self, samples: int) -> int:
        """Frames after the last convolution; 0 below the receptive field (400 samples as published)."""
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            if samples < kernel:
                return 0
            samples = (samples - kernel) // stride + 1
        return samples

    def padded_samples(self, samples: int) -> int:
        """The clip itself: these models see no more than the audio."""
        return samples


@dataclass(frozen=True)
class WhisperFrames:
    """Whisper: one frame per started 320 samples, in windows of 30 s.

    Attributes:
        context: "audio" works through the audio only, "full" through whole windows of 30 s.
    """

    context: str

    def frames(self, samples: int) -> int:
        """Frames that hold audio; 30 s are a whole number of frames, so windows need no extra count."""
        return -(-samples // SAMPLES_PER_FRAME)

    def padded_samples(self, samples: int) -> int:
        """Whole windows in full context, whole frames in audio context."""
        unit = WINDOW_SAMPLES if self.context == "full" else SAMPLES_PER_FRAME
        return -(-samples // unit) * unit


@dataclass(frozen=True)
class Outline:
    """What is known of an extractor before its weights are loaded.

    Attributes:
        name: folder in the cache, without the variant.
        variant: what non-default options add to it, without ``+``; empty for none.
        geometry: layers and width.
        rule: frames for a number of samples.
        clipping: the part of each clip that is worked through.
        codec: half precision, whose rounding is far below what the probes can see.
    """

    name: str
    variant: str
    geometry: Geometry
    rule: FrameRule
    clipping: Clipping = field(default_factory=Clipping)
    codec: str = "fp16"

    def frames(self, samples: int) -> int:
        """Frames for a clip of ``samples`` at 16 kHz; 0 when the clip is too short for one frame."""
        return self.rule.frames(self.kept(samples))

    def padded_samples(self, samples: int) -> int:
        """Samples at 16 kHz that the model works through for such a clip."""
        return self.rule.padded_samples(self.kept(samples))

    def kept(self, samples: int) -> int:
        """Samples left of such a clip."""
        return self.clipping.kept(samples)
