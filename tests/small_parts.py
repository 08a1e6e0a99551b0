"""Small parts of made-up features, and the manifest rows that ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ser_cache.manifest import Utterance
from ser_cache.store import Fingerprint, Part, PartWriter, Row, create_part

WIDTH = 3
SAMPLES = 3200
"""Of every clip: the store does not care how many frames a model makes of them."""


def fingerprint(
    codec: str = "fp16",
    layers: Sequence[int] = (0, 1, 2),
    tier: str = "frames",
    frame_average: int = 1,
    **features: Any,
) -> Fingerprint:
    """How features were made and stored; ``features`` adds to the former, or replaces."""
    storage = {"codec": codec, "layers": layers, "tier": tier, "frame_average": frame_average, "schema": 1}
    return Fingerprint({"weights": "w" * 64, "context": "audio", **features}, storage)


def audio_hash(name: str) -> str:
    """The hash of an utterance's audio; a function of its id, so that part and manifest agree."""
    return (name.encode().hex() * 64)[:64]


def row(name: str, frames: int) -> Row:
    """A row of a part, for audio of so many frames."""
    return Row(name, SAMPLES, audio_hash(name), frames)


def utterance(name: str, sha256: str = "") -> Utterance:
    """A manifest's utterance that a row of that name serves, unless its audio has another hash."""
    return Utterance(name, f"{name}.wav", "s", "anger", "A", "it", SAMPLES, sha256 or audio_hash(name))


def features(part: Part, place: int, seed: int = 0) -> dict[str, np.ndarray]:
    """All that a part stores of a row: seeded noise, another for each row."""
    generator = np.random.default_rng([seed, place])
    layers, width = len(part.layers), part.width
    return {
        field.name: (
            10
            * generator.standard_normal(
                (layers, part.frames(place), width) if field.per_frame else (layers, width)
            )
        ).astype(field.dtype)
        for field in part.fields
    }


def make_part(folder: Path, rows: Sequence[Row], number: int = 0, **kwargs: Any) -> Part:
    """A part of pending rows."""
    kwargs.setdefault("fingerprint", fingerprint())
    return create_part(
        folder / f"part-{number:04d}.h5", rows=rows, width=WIDTH, provenance={"host": "x"}, **kwargs
    )


def full_part(folder: Path, frames: Sequence[int] = (4, 1, 7), number: int = 0, **kwargs: Any) -> Part:
    """A part of finished rows: ``u<number of the part><place>``."""
    part = make_part(folder, [row(f"u{number}{n}", f) for n, f in enumerate(frames)], number, **kwargs)
    with PartWriter(part) as writer_:
        for place in range(len(frames)):
            writer_.write(place, features(part, place))
    return part


def mixed_part(folder: Path, names: Sequence[str] = "abcd", frames: int = 3) -> Part:
    """A part whose first rows are done, superseded and failed, and the rest pending."""
    part = make_part(folder, [row(name, frames) for name in names])
    with PartWriter(part) as writer_:
        for place in (0, 1):
            writer_.write(place, features(part, place))
        writer_.fail(2, "not audio")
        writer_.commit()
        writer_.supersede([1])
    return part


def flip(path: Path, position: int, mask: int = 1) -> None:
    """Change the bits of a mask in one byte; once more, and the file is as it was."""
    with path.open("r+b") as file:
        file.seek(position)
        before = file.read(1)[0]
        file.seek(position)
        file.write(bytes([before ^ mask]))


def folder_in(path: Path) -> Path:
    """Where a cache keeps the corpus "corpus" of the backbone "model"."""
    return path / "model" / "corpus"


def make_two_backbones(folder: Path) -> Path:
    """A cache of two backbones in a folder, one of them for two corpora."""
    for backbone, corpus in (("xls-r", "emovo"), ("xls-r", "cafe"), ("hubert+int8", "emovo")):
        full_part(folder / "cache" / backbone / corpus)
    return folder / "cache"
