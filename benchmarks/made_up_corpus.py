"""A seeded corpus of tones in noise, for benchmarks that measure time and not what features are worth."""

from pathlib import Path

import numpy as np
import soundfile

from ser_cache.audio import SAMPLE_RATE, read
from ser_cache.manifest import Utterance


def write_tones(root: Path, clips: int, shortest: float, longest: float) -> Path:
    """Write so many WAV files, of seconds between the two, to a new folder; returns it."""
    root.mkdir(parents=True)
    dice = np.random.default_rng(0)
    for number in range(clips):
        write_tone(root / f"{number:04d}.wav", dice, dice.uniform(shortest, longest))
    return root


def write_tone(path: Path, dice: np.random.Generator, seconds: float) -> None:
    """Write one clip of a tone in noise."""
    moments = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    clip = 0.3 * np.sin(2 * np.pi * dice.uniform(100, 400) * moments)
    soundfile.write(path, clip + dice.normal(scale=0.01, size=clip.shape), SAMPLE_RATE)


def listed(root: Path) -> tuple[Utterance, ...]:
    """The utterances of a folder of WAV files; their labels mean nothing."""
    found = []
    for path in sorted(root.glob("*.wav")):
        recording = read(path)
        samples = len(recording.samples)
        found.append(Utterance(path.stem, path.name, "s1", "neutral", "N", "en", samples, recording.sha256))
    return tuple(found)
