"""Decoding what was listed, for true lengths and hashes, and making the manifest of it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from ser_cache import audio
from ser_cache.corpora import Corpus
from ser_cache.errors import AudioError, ManifestError
from ser_cache.importing.labels import Labels
from ser_cache.importing.listing import Failure, Listing, list_corpus
from ser_cache.manifest import Manifest, Utterance, check_corpus_name, validate

Progress = Callable[[int, int], None]
"""Receives (files done, files in all), from the calling thread."""


@dataclass(frozen=True)
class Import:
    """A manifest and what could not go into it.

    Attributes:
        manifest: checked; every clip in it was decoded.
        failures: the files left out, sorted by path.
        duplicates: groups of ids whose files have identical bytes; a note, not an error.
        doubtful: (id, reason) of clips that can hardly hold speech, too short or silent (see
            ``audio.speech_doubt``), sorted by id; they are in the manifest.
        left_out: files that the corpus's recipe leaves out on purpose, sorted by path; no failures.
    """

    manifest: Manifest
    failures: tuple[Failure, ...]
    duplicates: tuple[tuple[str, ...], ...]
    doubtful: tuple[tuple[str, str], ...] = ()
    left_out: tuple[Failure, ...] = ()


def prepare_corpus(
    corpus: Corpus,
    root: Path,
    on_progress: Progress | None = None,
    jobs: int = 2,
    strict: bool = False,
    labels: Labels | None = None,
) -> Import:
    """Make the manifest of a known corpus.

    Args:
        corpus: its recipe.
        root: the folder it was unpacked to, or one above.
        on_progress: told after each file.
        jobs: decoding threads.
        strict: raise on the first failure instead of listing it.
        labels: meanings of further codes, which also override the recipe's.

    Raises:
        SettingsError: the root is missing, or is not a folder.
        ManifestError: no clip is found or readable, two copies of the corpus lie there, or an emotion code is
            unknown; in strict mode also a file that is not the corpus's.
        AudioError: in strict mode, the first unreadable file.
    """
    return prepare(corpus.name, list_corpus(corpus, root, labels), root, on_progress, jobs, strict)


def prepare(
    name: str,
    listing: Listing,
    root: Path,
    on_progress: Progress | None = None,
    jobs: int = 2,
    strict: bool = False,
) -> Import:
    """Decode every listed clip and make the manifest.

    Args:
        name: of the corpus.
        listing: from ``read_table``, ``read_pattern`` or ``list_corpus``.
        root: the folder its paths are relative to.
        on_progress: told after each file.
        jobs: decoding threads.
        strict: raise on the first failure instead of listing it.

    Raises:
        ManifestError: the name is no plain file name, the utterances break the contract of manifests, or no
            file could be read; in strict mode also a failure of the listing.
        AudioError: in strict mode, the first unreadable file.
    """
    check_corpus_name(name)
    if strict and listing.failures:
        worst = listing.failures[0]
        raise ManifestError(f"{root / worst.path}: {worst.reason}.")
    _demand_unique_ids(listing.utterances)
    clips, failures, doubtful = [], list(listing.failures), []
    for done, (clip, outcome) in enumerate(_decode_all(root, listing.utterances, jobs), 1):
        if isinstance(outcome, AudioError):
            if strict:
                raise outcome
            failures.append(Failure(clip.path, str(outcome)))
        else:
            clips.append(outcome.clip)
            if outcome.doubt:
                doubtful.append((clip.id, outcome.doubt))
        if on_progress is not None:
            on_progress(done, len(listing.utterances))
    if not clips:
        first = f"; the first: {failures[0].path}: {failures[0].reason}" if failures else ""
        raise ManifestError(f"corpus {name}: not one clip could be read under {root}{first}")
    manifest = Manifest(name, tuple(sorted(clips, key=lambda clip: clip.id)))
    validate(manifest)
    failures.sort(key=lambda failure: failure.path)
    return Import(
        manifest,
        tuple(failures),
        _same_bytes(manifest.utterances),
        tuple(sorted(doubtful)),
        listing.left_out,
    )


class _Decoded(NamedTuple):
    clip: Utterance  # with its length and hash
    doubt: str


def _decode_all(
    root: Path, clips: Sequence[Utterance], jobs: int
) -> Iterator[tuple[Utterance, _Decoded | AudioError]]:
    """Each clip with its completed self or what went wrong, in order."""

    def decode(clip: Utterance) -> _Decoded | AudioError:
        try:
            recording = audio.read(root / clip.path)
        except AudioError as error:
            return error
        whole = replace(clip, samples=len(recording.samples), sha256=recording.sha256)
        return _Decoded(whole, audio.speech_doubt(recording.samples))

    pool = ThreadPoolExecutor(max_workers=max(1, jobs))
    try:
        yield from zip(clips, pool.map(decode, clips), strict=True)
    finally:
        # on an error or Ctrl-C, do not first decode everything that is still waiting
        pool.shutdown(wait=True, cancel_futures=True)


def _same_bytes(clips: Sequence[Utterance]) -> tuple[tuple[str, ...], ...]:
    groups = defaultdict(list)
    for clip in clips:
        groups[clip.sha256].append(clip.id)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def _demand_unique_ids(clips: Sequence[Utterance]) -> None:
    paths: dict[str, str] = {}
    for clip in clips:
        other = paths.setdefault(clip.id, clip.path)
        if other != clip.path:
            raise ManifestError(
                f"{other} and {clip.path} differ only in their suffix, so they would share an id; "
                "keep one of them."
            )


def differences(corpus: Corpus, manifest: Manifest) -> list[str]:
    """What sets a manifest apart from the complete corpus, a readable line each; empty when nothing does."""
    lines = []
    edition = corpus.edition_of(len(manifest))
    if edition:
        lines.append(f"{len(manifest):,} utterances for {corpus.utterances:,}, as many as {edition.name}")
    elif len(manifest) != corpus.utterances:
        lines.append(f"{corpus.utterances:,} utterances expected, {len(manifest):,} found")
    if len(manifest.speakers) != corpus.speakers:
        lines.append(f"{corpus.speakers} speakers expected, {len(manifest.speakers)} found")
    counts = Counter(utterance.emotion for utterance in manifest.utterances)
    if edition:  # what is expected of its classes is known of the whole number alone
        missing = sorted(set(corpus.emotions) - counts.keys())
        return lines + [f"{emotion}: none found" for emotion in missing]
    for emotion in sorted(set(corpus.emotions) | counts.keys()):
        expected, found = corpus.expected.get(emotion, 0), counts[emotion]
        if corpus.expected and expected != found:
            lines.append(f"{emotion}: {expected:,} expected, {found:,} found")
        # Where only the whole number is known, the classes are, too.
        elif not corpus.expected and (emotion in corpus.emotions) != bool(found):
            lines.append(f"{emotion}: {'none' if found else 'some'} expected, {found:,} found")
    return lines


def about_left_out(left_out: Sequence[Failure]) -> str:
    """How many files a recipe leaves out, and how many for which reason; empty when it leaves out none."""
    reasons = Counter(failure.reason for failure in left_out)
    most_first = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    listed = ", ".join(f"{reason} {number:,}" for reason, number in most_first)
    return f"{len(left_out):,} files, as the recipe says: {listed}" if left_out else ""
