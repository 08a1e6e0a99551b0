"""Short clips of noise below a folder, and files of text beside them: what an import is tried on."""

from pathlib import Path

import numpy as np
import soundfile


def sound(path: Path, seed: int = 0, samples: int = 1600) -> Path:
    """A short clip of noise; the same seed gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(seed).uniform(-0.1, 0.1, samples), 16_000)
    return path


def sounds(root: Path, *paths: str) -> Path:
    """A clip of its own noise for each path; returns the root."""
    for seed, path in enumerate(paths):
        sound(root / path, seed)
    return root


def text(path: Path, content: str) -> Path:
    """A file of text; returns its path."""
    path.write_text(content, encoding="utf-8")
    return path
