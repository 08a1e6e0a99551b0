"""Corpora of made-up speech for the audit: syllables of random pitch and timbre, innocent unless changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import soundfile

from ser_cache.cli import run

PATTERN = "{speaker}_{emotion}_{sentence}_{take}.*"
SPEAKERS = tuple(f"s{number}" for number in range(6))
EMOTIONS = ("anger", "fear", "happiness", "sadness")
SENTENCES = ("a", "b")


@cache
def speech(seed: int, seconds: float = 1.2, rate: int = 16_000) -> np.ndarray:
    """Something like speech, (samples,) float32, read-only: syllables of wandering pitch over faint noise."""
    generator = np.random.default_rng(seed)
    count = round(seconds * rate)
    knots = max(4, round(12 * seconds))
    time = np.linspace(0, knots - 1, count)

    def wander(low: float, high: float) -> np.ndarray:
        return np.interp(time, np.arange(knots), generator.uniform(low, high, knots))

    phase = 2 * np.pi * np.cumsum(wander(110, 260)) / rate
    voice = sum(wander(0, 1) ** 2 * np.sin(number * phase) for number in range(1, 13))
    syllables = wander(0, 1) ** 2
    clip = voice * syllables + generator.normal(scale=0.01, size=count)
    made = (0.4 * clip / np.abs(clip).max()).astype("f4")
    made.setflags(write=False)  # every test is given the same one
    return made


@dataclass(frozen=True)
class Clip:
    """One clip to be written.

    Attributes:
            speaker, emotion, sentence, take: go into its name.
        samples: (samples,).
        rate: its sampling rate.
        suffix: says the format.
    """

    speaker: str
    emotion: str
    sentence: str
    take: int
    samples: np.ndarray
    rate: int = 16_000
    suffix: str = "wav"

    @property
    def id(self) -> str:
        return f"{self.speaker}_{self.emotion}_{self.sentence}_{self.take}"


def innocent(seed: int = 0, takes: int = 1, speakers: Iterable[str] = SPEAKERS) -> list[Clip]:
    """Every speaker says every sentence in every emotion; length and loudness depend on nothing."""
    generator = np.random.default_rng(seed)
    return [
        Clip(
            speaker,
            emotion,
            sentence,
            take,
            speech(int(generator.integers(2**32)), float(generator.uniform(0.6, 1.1)))
            * np.float32(generator.uniform(0.2, 1)),
        )
        for speaker in speakers
        for emotion in EMOTIONS
        for sentence in SENTENCES
        for take in range(takes)
    ]


def changed(clips: list[Clip], emotion: str, **changes: object) -> list[Clip]:
    """The clips of one emotion changed; a callable makes the new value from the clip."""
    return [
        replace(clip, **{name: new(clip) if callable(new) else new for name, new in changes.items()})
        if clip.emotion == emotion
        else clip
        for clip in clips
    ]


def write(clips: Iterable[Clip], name: str = "made", root: Path | None = None) -> Path:
    """Write clips below the folder one stands in, and make their manifest; returns the root."""
    root = root or Path(name)
    root.mkdir(parents=True, exist_ok=True)
    for clip in clips:
        soundfile.write(root / f"{clip.id}.{clip.suffix}", clip.samples, clip.rate)
    assert run(["manifest", name, str(root), "--pattern", PATTERN]) == 0
    return root
