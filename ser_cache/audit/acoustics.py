"""What is measured of one clip: format, silence at its ends, level, clipping, and its fingerprint.

Everything is measured at the file's own rate and channels where that matters: resampling rounds clipped tops
off and averaging channels hides which of them is silent.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ser_cache.audio import Original, Recording, speech_doubt
from ser_cache.audit.fingerprints import fingerprint

VERSION = 1
"""Of what is measured and how; to be raised with either, so that kept measurements count as stale."""

SILENCE = 25.0
"""Decibels below the loudest 10 ms, under which a clip's beginning and end count as silence.

No more, or the noise of the room beside quiet speech counts as sound: in EmoDB, normalised to one peak, it
lies 37 dB below sadness and 56 dB below anger. At 40 dB its leading silence is 0.00 and 0.10 s, at 25 dB 0.09
and 0.11 s.
"""
QUIETEST = -120.0
"""Decibels of full scale that stand for no signal at all."""
_FRAME = 0.01  # seconds
_FLAT = 0.19e-3  # seconds: a wave's own top is rounder, down to 100 Hz at a quarter of full scale
_FULL_SCALE = 0.9999
_LOUD = 0.25  # of full scale: below, rounding to 16 bits flattens tops too
_COARSE = frozenset({"PCM_S8", "PCM_U8", "ULAW", "ALAW"})


@dataclass(frozen=True)
class Measurement:
    """One clip, measured.

    Attributes:
        sha256: of the file's bytes.
        content: a hash of its samples rounded to 16 bits, the same for a lossless copy in another format.
        rate: of the file, in hertz.
        channels: of the file.
        container: WAV, FLAC, OGG, MP3 and so on.
        coding: PCM_16, VORBIS and so on.
        seconds: its length.
        leading: seconds before the first 10 ms that are less than ``SILENCE`` below the loudest.
        trailing: seconds after the last such 10 ms.
        padding: seconds at its ends, 10 ms or more each, in which not a single sample differs from the next.
        level: root mean square between leading and trailing silence, in decibels of full scale.
        peak: the largest sample, in decibels of full scale.
        clipped: share of samples in flat tops, 0 to 1.
        doubt: why it can hardly hold speech ("silent", "only 20 ms"); empty where nothing speaks against it.
        words: the fingerprint, (words,) uint32.
    """

    sha256: str
    content: str
    rate: int
    channels: int
    container: str
    coding: str
    seconds: float
    leading: float
    trailing: float
    padding: float
    level: float
    peak: float
    clipped: float
    doubt: str
    words: NDArray[np.uint32]

    @property
    def format(self) -> str:
        """Rate, channels and coding in a few words: "16 kHz, 1 channel, FLAC PCM_16"."""
        channels = "1 channel" if self.channels == 1 else f"{self.channels} channels"
        return f"{self.rate / 1000:g} kHz, {channels}, {self.container} {self.coding}"


def measure(original: Original, recording: Recording) -> Measurement:
    """Measure a clip.

    Args:
        original: as it was stored.
        recording: the same clip at 16 kHz in mono.
    """
    mono = original.samples.mean(axis=1, dtype=np.float32)
    leading, trailing, level = _silence(mono, original.rate)
    rounded = np.clip(np.round(original.samples * 32768), -32768, 32767).astype("<i2")
    return Measurement(
        sha256=original.sha256,
        content=hashlib.sha256(f"{original.rate} {rounded.shape} ".encode() + rounded.tobytes()).hexdigest(),
        rate=original.rate,
        channels=original.samples.shape[1],
        container=original.container,
        coding=original.coding,
        seconds=len(mono) / original.rate,
        leading=leading,
        trailing=trailing,
        padding=_padding(original),
        level=level,
        peak=decibels(float(np.abs(original.samples).max())),
        clipped=clipped_share(original),
        doubt=speech_doubt(recording.samples),
        words=fingerprint(recording.samples),
    )


def decibels(amplitude: float) -> float:
    """Decibels of full scale, at least ``QUIETEST``."""
    return max(QUIETEST, 20 * float(np.log10(amplitude))) if amplitude > 0 else QUIETEST


def _silence(mono: NDArray[np.float32], rate: int) -> tuple[float, float, float]:
    """Leading and trailing silence in seconds, and the level of what is between them in decibels."""
    size = max(1, round(_FRAME * rate))
    frames = -(-len(mono) // size)
    padded = np.zeros(frames * size, dtype=np.float64)
    padded[: len(mono)] = mono - mono.mean()  # a constant offset is no sound
    power = (padded.reshape(frames, size) ** 2).mean(axis=1)
    if power.max() <= 10.0 ** (QUIETEST / 10):
        return len(mono) / rate, 0.0, QUIETEST
    loud = np.flatnonzero(power > power.max() * 10.0 ** (-SILENCE / 10))
    first, last = int(loud[0]), int(loud[-1])
    trailing = max(0, len(mono) - (last + 1) * size) / rate
    return first * size / rate, trailing, decibels(float(np.sqrt(power[first : last + 1].mean())))


def _padding(original: Original) -> float:
    """Seconds at the two ends in which no channel changes at all; an end of under 10 ms does not count."""
    changes = np.flatnonzero((original.samples[1:] != original.samples[:-1]).any(axis=1))
    if len(changes) == 0:
        return len(original.samples) / original.rate
    ends = int(changes[0]) + 1, len(original.samples) - 1 - int(changes[-1])
    return sum(end for end in ends if end >= _FRAME * original.rate) / original.rate


def clipped_share(original: Original) -> float:
    """Share of samples in flat tops, over all channels.

    A top is flat where the samples stay the same for 0.19 ms at 90% of the clip's peak or more, if that peak
    is above a quarter of full scale; or stay at full scale. The former finds clipping that was turned down
    afterwards. Lossy coding bends flat tops: of an MP3 only what exceeds full scale counts.
    """
    peak = float(np.abs(original.samples).max())
    run = max(3, round(_FLAT * original.rate))
    flat = 0
    for channel in original.samples.T:
        high = np.abs(channel) >= _FULL_SCALE
        flat_top = _runs(high, run)
        if peak > _LOUD and original.coding not in _COARSE:
            same = channel[1:] == channel[:-1]
            top = np.abs(channel) >= 0.9 * peak
            steady = np.zeros(len(channel), dtype=np.bool_)
            steady[1:] = same & top[1:]
            flat_top |= _runs_of_equals(steady, run)
        flat += int(flat_top.sum())
    return flat / original.samples.size


def _runs(flags: NDArray[np.bool_], least: int) -> NDArray[np.bool_]:
    """Flags that stand in an unbroken run of at least so many."""
    edges = np.diff(flags.astype(np.int8), prepend=0, append=0)
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    kept = np.zeros(len(flags), dtype=np.bool_)
    for start, end in zip(starts, ends, strict=True):
        kept[start:end] = end - start >= least
    return kept


def _runs_of_equals(steady: NDArray[np.bool_], least: int) -> NDArray[np.bool_]:
    """Samples of runs of equal values: ``steady`` says which equal the one before."""
    kept = _runs(steady, least - 1)
    kept[:-1] |= kept[1:]  # the first of a run equals none before it
    return kept
