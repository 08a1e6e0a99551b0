"""Whether a download is what was published: every file below a folder against the list of official ones.

Nothing is written. A file whose bytes differ is decoded, because what a difference means depends on what is
heard: a copy in another format that kept the samples is as good, one that was cut is not.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

from ser_cache import audio
from ser_cache.corpora import audio_files
from ser_cache.errors import AudioError, ManifestError
from ser_cache.files import sha256_of_file
from ser_cache.official import OfficialFile, OfficialList

Verdict = Literal[
    "published", "lossless", "converted", "changed", "unreadable", "pointer", "missing", "extra"
]
"""published: the same bytes. lossless: other bytes that hold the very samples. converted: other bytes of the
right length. changed: another length. unreadable: no audio comes out. pointer: a stand-in that Git LFS has
not replaced. missing: listed and not there. extra: there and not listed, or there in another folder too."""
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
GOOD: frozenset[Verdict] = frozenset({"published", "lossless"})
"""Verdicts that leave nothing to be desired."""

_SLACK = 0.002  # seconds; above what rounded lists and resampling leave open, below any cut worth the name
_LOSSY_SLACK = 0.15  # encoders of these put up to so much silence before and behind
_LOSSY = frozenset({".mp3", ".ogg", ".oga", ".opus"})
_ONE_LENGTH = 10  # so many changed clips of one length: cut or padded to it


@dataclass(frozen=True)
class Checked:
    """What became of one file.

    Attributes:
        path: relative to the root, with ``/``; of a missing one its name.
        verdict: see ``Verdict``.
        detail: why, as part of a sentence; empty for what is as published.
        samples: its length at 16 kHz; 0 where it was not decoded.
    """

    path: str
    verdict: Verdict
    detail: str = ""
    samples: int = 0


@dataclass(frozen=True)
class Check:
    """A download beside what was published.

    Attributes:
        listed: the official list.
        files: every file, and every one that is missing, sorted by path.
        passed_over: how many files were not looked at, as they hold the same clips once more.
    """

    listed: OfficialList
    files: tuple[Checked, ...]
    passed_over: int = 0

    def of(self, verdict: Verdict) -> tuple[Checked, ...]:
        """The files with this verdict."""
        return tuple(file for file in self.files if file.verdict == verdict)

    @property
    def good(self) -> bool:
        """Whether every listed file is here with the samples that were published, and no other."""
        return all(file.verdict in GOOD for file in self.files)

    @property
    def converted_whole(self) -> bool:
        """Whether all of the corpus is here, converted: every name and no other, each as long as published.

        Bytes cannot agree then. Where some files do hold what was published and others are converted, these
        are odd ones out, and this is False.
        """
        return {file.verdict for file in self.files} == {"converted"}

    @property
    def widest(self) -> float:
        """How far the length of a converted file is from the published one at most, in seconds."""
        known = self.listed.by_name
        return max(
            (
                abs(file.samples / audio.SAMPLE_RATE - known[PurePosixPath(file.path).stem].seconds)
                for file in self.of("converted")
            ),
            default=0.0,
        )

    @property
    def one_length(self) -> tuple[int, int]:
        """(clips, samples at 16 kHz) where at least ten changed clips have one length, else (0, 0).

        Recorded clips hardly ever agree to the sample; those that somebody cut or padded do.
        """
        lengths = Counter(file.samples for file in self.of("changed"))
        samples, clips = max(lengths.items(), key=lambda item: item[1], default=(0, 0))
        return (clips, samples) if clips >= _ONE_LENGTH else (0, 0)


def check_files(
    listed: OfficialList,
    root: Path,
    on_progress: Callable[[int, int], None] | None = None,
    jobs: int = 2,
) -> Check:
    """Compare every audio file below a folder with the official list, by name, in whatever folder it lies.

    Args:
        listed: from ``official_list``.
        root: the folder; it may hold the corpus anywhere below.
        on_progress: receives (files done, files in all), from the calling thread.
        jobs: threads.

    Raises:
        SettingsError: the root is missing, or is not a folder.
        ManifestError: not one listed file is there.
    """
    found = list(audio_files(root))
    kept, passed_over = _without_aside(listed, found)
    if not any(PurePosixPath(path).stem in listed.by_name for path, _ in kept):
        barred = next((f" {path}: {problem}." for path, problem in kept if problem), "")
        raise ManifestError(
            f"{root} holds none of the {len(listed.files):,} files of {listed.corpus} "
            f"({listed.files[0].name}, {listed.files[1].name} ...); give the folder that holds the corpus."
            f"{barred}"
        )
    files = []
    for done, file in enumerate(_judged(listed, root, kept, jobs), 1):
        files.append(file)
        if on_progress is not None:
            on_progress(done, len(kept))
    files = _without_doubles(files)
    here = {PurePosixPath(file.path).stem for file in files}
    files += [Checked(name, "missing", "it is not there") for name in listed.by_name.keys() - here]
    return Check(listed, tuple(sorted(files, key=lambda file: file.path)), passed_over)


def _without_aside(
    listed: OfficialList, found: Sequence[tuple[str, str]]
) -> tuple[list[tuple[str, str]], int]:
    """Leave out the folder that holds the same clips once more, unless it is all there is."""
    kept = [one for one in found if not listed.aside or listed.aside not in PurePosixPath(one[0]).parts]
    return (kept, len(found) - len(kept)) if kept else (list(found), 0)


def _judged(
    listed: OfficialList, root: Path, found: Sequence[tuple[str, str]], jobs: int
) -> Iterator[Checked]:
    pool = ThreadPoolExecutor(max_workers=max(1, jobs))
    try:
        yield from pool.map(partial(_judge, listed, root), found)
    finally:
        # on an error or Ctrl-C, do not first read everything that is still waiting
        pool.shutdown(wait=True, cancel_futures=True)


def _judge(listed: OfficialList, root: Path, found: tuple[str, str]) -> Checked:
    path, problem = found
    if problem:
        return Checked(path, "unreadable", problem)
    official = listed.by_name.get(PurePosixPath(path).stem)
    if official is None:
        return Checked(path, "extra", "it is not on the list")
    try:
        with (root / path).open("rb") as file:
            if file.read(len(audio.GIT_LFS_POINTER)) == audio.GIT_LFS_POINTER:
                return Checked(path, "pointer", "it is a Git LFS pointer and no audio")
        if sha256_of_file(root / path) == official.sha256:
            return Checked(path, "published")
        return _compare(path, root, official)
    except (AudioError, OSError) as error:
        reason = str(error) if isinstance(error, AudioError) else f"it cannot be read ({error.strerror})"
        return Checked(path, "unreadable", reason)


def _compare(path: str, root: Path, official: OfficialFile) -> Checked:
    """A file of other bytes: by its samples, then by its length."""
    samples = len(audio.read(root / path).samples)
    if audio.sha256_as_wav(root / path) == official.sha256:
        return Checked(path, "lossless", "other bytes that hold the published samples", samples)
    seconds = samples / audio.SAMPLE_RATE
    slack = _LOSSY_SLACK if PurePosixPath(path).suffix.lower() in _LOSSY else _SLACK
    if abs(seconds - official.seconds) <= slack:
        return Checked(path, "converted", f"other bytes, {seconds:.3f} s as published", samples)
    return Checked(path, "changed", f"{seconds:.3f} s where {official.seconds:.3f} s were published", samples)


def _without_doubles(files: Sequence[Checked]) -> list[Checked]:
    """Of files with one name, the best keeps its verdict, and the others are extra."""
    same: dict[str, list[Checked]] = defaultdict(list)
    for file in files:
        same[PurePosixPath(file.path).stem].append(file)
    kept = []
    for group in same.values():
        best = min(group, key=lambda file: (VERDICTS.index(file.verdict), file.path))
        kept += [
            file
            if file is best or file.verdict == "extra"
            else Checked(file.path, "extra", f"{best.path} is the same clip", file.samples)
            for file in group
        ]
    return kept
