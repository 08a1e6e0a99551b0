"""Measuring a corpus's audio once: clips decoded in threads, and what was measured kept for the next audit.

Kept measurements are found by the hash of the file's bytes, so that clips which were renamed, or are in
several manifests of one folder, are measured once; and by the version of what is measured.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ser_cache.audio import as_recording, read_original
from ser_cache.audit.acoustics import VERSION, Measurement, measure
from ser_cache.errors import SerCacheError
from ser_cache.files import replacing
from ser_cache.manifest import Manifest, Utterance, path_of

State = Literal["absent", "stale", "good"]
_COLUMNS = tuple(field.name for field in fields(Measurement) if field.name != "words")


@dataclass(frozen=True)
class Measured:
    """What is known of a corpus's audio.

    Attributes:
        by_id: the measurement of each clip that could be read.
        failures: why the others could not, by id.
        kept: what was there from an earlier audit: absent, stale (damaged, or of another version; measured
            anew) or good.
        decoded: how many files were decoded now.
    """

    by_id: Mapping[str, Measurement]
    failures: Mapping[str, str]
    kept: State
    decoded: int


def measure_corpus(
    manifest: Manifest,
    root: Path,
    kept_in: Path,
    jobs: int = 2,
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> Measured:
    """Measure every clip of a corpus, from what was kept where it holds the very same bytes.

    What is measured is kept even if this is interrupted.

    Args:
        manifest: which clips, with their hashes.
        root: the folder of audio.
        kept_in: the file of measurements; replaced when anything was decoded.
        jobs: decoding threads.
        on_progress: told (files decoded, files to decode) after each one.
    """
    state, known = read_kept(kept_in)
    wanted: dict[str, Utterance] = {}
    for utterance in manifest.utterances:
        if utterance.sha256 not in known:
            wanted.setdefault(utterance.sha256, utterance)
    failed: dict[str, str] = {}
    done = 0
    try:
        for done, (sha256, outcome) in enumerate(_measure_all(root, list(wanted.values()), jobs), 1):
            if isinstance(outcome, Measurement):
                known[sha256] = outcome
            else:
                failed[sha256] = outcome
            on_progress(done, len(wanted))
    finally:
        present = {utterance.sha256 for utterance in manifest.utterances} & known.keys()
        if done > len(failed):
            write_kept(kept_in, [known[sha256] for sha256 in sorted(present)])
    return Measured(
        {u.id: known[u.sha256] for u in manifest.utterances if u.sha256 in known},
        {u.id: failed[u.sha256] for u in manifest.utterances if u.sha256 in failed},
        state,
        done,
    )


def _measure_all(
    root: Path, clips: Sequence[Utterance], jobs: int
) -> Iterator[tuple[str, Measurement | str]]:
    """Each clip's hash with its measurement or what went wrong, in order."""

    def one(clip: Utterance) -> Measurement | str:
        try:
            path = path_of(root, clip)
            original = read_original(path)
            if original.sha256 != clip.sha256:
                return f"{path} has changed since the manifest; make the manifest anew."
            return measure(original, as_recording(path, original))
        except SerCacheError as error:
            return str(error)

    pool = ThreadPoolExecutor(max_workers=max(1, jobs))
    try:
        yield from zip((clip.sha256 for clip in clips), pool.map(one, clips), strict=True)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)  # on Ctrl-C, do not first decode all that is waiting


def read_kept(path: Path) -> tuple[State, dict[str, Measurement]]:
    """What an earlier audit kept, by hash; nothing where it is absent or stale."""
    if not path.exists():
        return "absent", {}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as table:
            if int(table["version"]) != VERSION:
                return "stale", {}
            columns = {name: table[name].tolist() for name in _COLUMNS}
            words = np.split(table["words"], table["ends"][:-1])
        rows = zip(*columns.values(), words, strict=True)
        known = [Measurement(*row) for row in rows]
    except (OSError, ValueError, KeyError, TypeError, IndexError, EOFError, zipfile.BadZipFile):
        return "stale", {}
    return "good", {one.sha256: one for one in known}


def write_kept(path: Path, measured: Sequence[Measurement]) -> None:
    """Replace a file of measurements, atomically."""
    columns: dict[str, Any] = {name: np.array([getattr(one, name) for one in measured]) for name in _COLUMNS}
    words = np.concatenate([one.words for one in measured])
    ends = np.cumsum([len(one.words) for one in measured])
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, version=np.array(VERSION), ends=ends, words=words, **columns)
