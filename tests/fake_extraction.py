"""Extractions of a made-up corpus by a fake extractor, and what their folder then holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from fake_extractor import FakeCorpus, FakeExtractor

from ser_cache.audio import Recording
from ser_cache.extraction import ExtractionOptions, ExtractionReport, Progress, extract
from ser_cache.manifest import Utterance
from ser_cache.store import PENDING, Part, open_features, part_paths, verify_part

SMALL = ExtractionOptions(batch_seconds=0.5)
"""Half a second of padded audio: a few clips a batch, so that a corpus of twenty makes many batches."""


def run(
    corpus: FakeCorpus,
    folder: Path,
    extractor: FakeExtractor | None = None,
    options: ExtractionOptions = SMALL,
    on_progress: Callable[[Progress], None] | None = None,
    read: Callable[[Path], Recording] | None = None,
) -> ExtractionReport:
    """Extract a corpus; `read` stands for its files where those have changed since its manifest."""
    return extract(
        extractor or FakeExtractor(),
        corpus.utterances,
        Path("/"),  # of the audio, which is in memory; any folder that is there will do
        folder,
        options,
        on_progress,
        read or corpus.read,
    )


def forget(part: Part, row: int) -> None:
    """Make a row pending again, as if it had never been extracted."""
    with part.path.open("r+b") as file:
        file.seek(part.positions["state"] + row * len(PENDING))
        file.write(PENDING)


def content(folder: Path, utterances: Sequence[Utterance]) -> dict[str, list[bytes]]:
    """Every byte that a reader gets of each utterance."""
    with open_features(folder, utterances) as cached:
        pooled = [kind(layer) for layer in cached.layers for kind in (cached.mean, cached.std)]
        return {
            id_: [cached.hidden(place).tobytes(), *(values[place].tobytes() for values in pooled)]
            for place, id_ in enumerate(cached.ids)
        }


def sound(folder: Path) -> bool:
    """Whether every part passes verification."""
    return all(verify_part(path) == [] for path in part_paths(folder))
