"""Measuring a corpus's audio once: clips decoded in threads, and what was measured kept for the next audit.

Kept measurements are found by the hash of the file's bytes, so that clips which were renamed, or are in
several manifests of one folder, are measured once; and by the version of what is measured. Whether a file
still holds those bytes is looked at every time: that takes a hundredth of the time of measuring it.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from time import monotonic
from typing import Any, Literal

import numpy as np

from ser_cache.audio import as_recording, read_original, sha256_of
from ser_cache.audit.acoustics import VERSION, Measurement, measure
from ser_cache.errors import SerCacheError
from ser_cache.files import replacing
from ser_cache.manifest import Manifest, Utterance, path_of

State = Literal["absent", "stale", "good"]
_STEP = 20.0
"""Seconds between two times that measurements are kept on the way, and the least multiple of what it takes to
keep them: a killed audit loses half a minute of a large corpus, and pays one twentieth for that."""
_COLUMNS = tuple(field.name for field in fields(Measurement) if field.name != "words")


@dataclass(frozen=True)
class Measured:
    """What is known of a corpus's audio.

    Attributes:
        by_id: the measurement of each clip that could be read.
        failures: why the others could not, by id.
        kept: what was there from an earlier audit: absent, stale (damaged, or of another version; measured
            anew) or good.
        decoded: how many clips were decoded and measured now.
        unkept: why what was measured now could not be kept for the next audit; empty where it was.
    """

    by_id: Mapping[str, Measurement]
    failures: Mapping[str, str]
    kept: State
    decoded: int
    unkept: str = ""


def measure_corpus(
    manifest: Manifest,
    root: Path,
    kept_in: Path,
    jobs: int = 2,
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> Measured:
    """Measure every clip of a corpus, from what was kept where its file still holds the very same bytes.

    What is measured is kept even if this is interrupted, and every half minute on the way, as a kill gives no
    notice. Where it cannot be kept (manifests that others own), it is measured all the same.

    Args:
        manifest: which clips, with their hashes.
        root: the folder of audio.
        kept_in: the file of measurements; replaced when anything was decoded.
        jobs: threads that read and decode.
        on_progress: told (clips looked at, clips) after each one.
    """
    state, known = read_kept(kept_in)
    before = len(known)
    by_id: dict[str, Measurement] = {}
    failures: dict[str, str] = {}
    keeping = _Keeping(kept_in, {utterance.sha256 for utterance in manifest.utterances}, known)
    try:
        looked_at = _look_at_all(root, manifest.utterances, known, jobs)
        for done, (clip, outcome) in enumerate(looked_at, 1):
            if isinstance(outcome, Measurement):
                by_id[clip.id] = known[clip.sha256] = outcome
            else:
                failures[clip.id] = outcome
            keeping.now_and_then()
            on_progress(done, len(manifest))
    finally:
        keeping.all()
    return Measured(by_id, failures, state, len(known) - before, keeping.failed)


class _Keeping:
    """Measurements that grow, written now and then, and once more at the end.

    Attributes:
        failed: why they could not be written; empty where they were. It is not tried again then.
    """

    def __init__(self, path: Path, wanted: Set[str], known: Mapping[str, Measurement]) -> None:
        """Keep those of ``known`` whose hashes are wanted; ``known`` is the caller's, and grows."""
        self._path, self._wanted, self._known = path, wanted, known
        self._written = len(known)
        self._next = monotonic() + _STEP
        self.failed = ""

    def now_and_then(self) -> None:
        """Write them if it is time to."""
        if monotonic() < self._next:
            return
        started = monotonic()
        self.all()
        self._next = monotonic() + max(_STEP, _STEP * (monotonic() - started))

    def all(self) -> None:
        """Write them, unless all of them were written before."""
        if self.failed or len(self._known) == self._written:
            return
        present = sorted(self._wanted & self._known.keys())
        try:
            write_kept(self._path, [self._known[sha256] for sha256 in present])
        except OSError as error:
            self.failed = f"{self._path} cannot be written ({error.strerror})"
        self._written = len(self._known)


def _look_at_all(
    root: Path, clips: Sequence[Utterance], known: Mapping[str, Measurement], jobs: int
) -> Iterator[tuple[Utterance, Measurement | str]]:
    """Each clip with its measurement or what is wrong with it; first those that have to be decoded.

    Args:
        root: the folder of audio.
        clips: those to look at.
        known: measurements by hash, to which the caller adds each one that is yielded: of clips of equal
            bytes one is decoded.
        jobs: threads.
    """
    changed = "{} has changed since the manifest; make the manifest anew."

    def one(clip: Utterance) -> Measurement | str:
        try:
            path = path_of(root, clip)
            kept = known.get(clip.sha256)
            if kept is not None:
                return kept if sha256_of(path) == clip.sha256 else changed.format(path)
            original = read_original(path)
            if original.sha256 != clip.sha256:
                return changed.format(path)
            return measure(original, as_recording(path, original))
        except SerCacheError as error:
            return str(error)

    firsts = {clip.sha256: clip for clip in reversed(clips) if clip.sha256 not in known}
    first = [clip for clip in clips if clip is firsts.get(clip.sha256)]
    rest = [clip for clip in clips if clip is not firsts.get(clip.sha256)]
    for some in (first, rest):
        pool = ThreadPoolExecutor(max_workers=max(1, jobs))
        try:
            yield from zip(some, pool.map(one, some), strict=True)
        finally:
            pool.shutdown(
                wait=True, cancel_futures=True
            )  # on Ctrl-C, do not first decode all that is waiting


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
