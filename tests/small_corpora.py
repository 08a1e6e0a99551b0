"""A small corpus of tones: six speakers, three emotions that differ in pitch."""

from pathlib import Path

import numpy as np
import soundfile

SPEAKERS = ("s1", "s2", "s3", "s4", "s5", "s6")
EMOTIONS = ("anger", "neutral", "sadness")
TAKES = (1, 2)
PATTERN = "{speaker}_{emotion}_{take}.wav"


def tone(seconds: float, hertz: float, rate: int = 16_000, seed: int = 0) -> np.ndarray:
    """A sine with a slow tremolo and a little noise, (samples,) float32."""
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(seed).normal(scale=0.01, size=time.shape)
    return (0.3 * np.sin(2 * np.pi * hertz * time) * (1 + 0.5 * np.sin(2 * np.pi * 3 * time)) + noise).astype(
        "f4"
    )


def write_tone_corpus(root: Path) -> Path:
    """Write ``<speaker>_<emotion>_<take>.wav`` for every combination: 36 clips of 0.4 to 0.8 s."""
    root.mkdir(parents=True, exist_ok=True)
    for number, speaker in enumerate(SPEAKERS):
        for kind, emotion in enumerate(EMOTIONS):
            for take in TAKES:
                clip = tone(
                    0.4 + 0.05 * number + 0.1 * (take - 1), 200 + 150 * kind + 10 * number, seed=number + take
                )
                soundfile.write(root / f"{speaker}_{emotion}_{take}.wav", clip, 16_000)
    return root
