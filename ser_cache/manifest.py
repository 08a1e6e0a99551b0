"""Manifests: which clips a corpus has, who speaks, and with which emotion; one CSV per corpus (DESIGN 4.1).

Paths are relative to the corpus's root and the text is sorted, so a manifest is portable and differences
between two versions of it are readable. Nothing here decodes audio or imports more than the standard library:
reading a million rows has to be cheap.
"""

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ser_cache.errors import ManifestError
from ser_cache.files import write_text
from ser_cache.tables import (
    CONTROL,
    LONGEST_CELL,
    Rows,
    cell_complaint,
    emotion_complaint,
    path_complaint,
    read_rows,
)

CANONICAL_EMOTIONS = (
    "anger",
    "boredom",
    "calm",
    "disgust",
    "fear",
    "guilt",
    "happiness",
    "neutral",
    "sadness",
    "surprise",
)
"""The names that recipes map to; a label map may declare others."""

REQUIRED_COLUMNS = ("id", "path", "speaker", "emotion", "code", "language", "samples", "sha256")
OPTIONAL_COLUMNS = ("gender", "age", "sentence", "intensity", "race", "ethnicity", "fold")
COLUMNS = REQUIRED_COLUMNS + OPTIONAL_COLUMNS
"""Every column of ours, in the order they are written; further columns follow, sorted by name."""

# The rate of audio.SAMPLE_RATE, repeated because importing audio would pull in the decoder.
_SAMPLE_RATE = 16_000
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CORPUS_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Utterance:
    """One clip and its label.

    Attributes:
        id: the path without its suffix; unique in the corpus.
        path: of the audio file, relative to the corpus's root, with ``/``.
        speaker: who speaks.
        emotion: English name in lower case, one of ``CANONICAL_EMOTIONS`` or declared by a label map.
        code: the corpus's own word or letter for that emotion.
        language: ISO 639-1 code; empty where unknown.
        samples: length at 16 kHz, from decoding.
        sha256: of the file's bytes, in hexadecimal.
        gender: "female" or "male" where the corpus says so.
        age: in years, as the corpus writes it.
        sentence: the corpus's name for what is said.
        intensity: the corpus's level of portrayed emotion.
        race: as the corpus writes it.
        ethnicity: as the corpus writes it.
        fold: the official fold or side of a split, where there is one.
        extra: further columns as (name, value), sorted by name, without empty values.
    """

    id: str
    path: str
    speaker: str
    emotion: str
    code: str
    language: str
    samples: int
    sha256: str
    gender: str = ""
    age: str = ""
    sentence: str = ""
    intensity: str = ""
    race: str = ""
    ethnicity: str = ""
    fold: str = ""
    extra: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Manifest:
    """A corpus's utterances.

    Attributes:
        corpus: its name, which is also the stem of its file and the name of its folders in the cache.
        utterances: sorted by id.
    """

    corpus: str
    utterances: tuple[Utterance, ...]

    def __len__(self) -> int:
        return len(self.utterances)

    @cached_property
    def emotions(self) -> tuple[str, ...]:
        """The emotions present, sorted."""
        return tuple(sorted({utterance.emotion for utterance in self.utterances}))

    @cached_property
    def speakers(self) -> tuple[str, ...]:
        """The speakers present, sorted."""
        return tuple(sorted({utterance.speaker for utterance in self.utterances}))

    @cached_property
    def hours(self) -> float:
        """Hours of audio."""
        return sum(utterance.samples for utterance in self.utterances) / _SAMPLE_RATE / 3600


def check_corpus_name(name: str) -> None:
    """Demand a plain file name, because the name becomes one in manifests and cache.

    Raises:
        ManifestError: it holds anything but letters, digits, ``-``, ``_`` and ``.``, or starts with a dot.
    """
    if not _CORPUS_NAME.fullmatch(name):
        raise ManifestError(
            f"{name!r} cannot be the name of a corpus; "
            "use letters, digits, '-', '_' and '.', not starting with a dot."
        )


def list_manifests(folder: Path) -> dict[str, Path]:
    """The manifests in a folder, by corpus, sorted; empty when the folder does not exist.

    Raises:
        ManifestError: a CSV file there has a name that no corpus can have.
    """
    if not folder.is_dir():
        return {}
    paths = sorted(path for path in folder.glob("*.csv") if not path.name.startswith("."))
    for path in paths:
        check_corpus_name(path.stem)
    return {path.stem: path for path in paths}


def path_of(root: Path, utterance: Utterance) -> Path:
    """Where an utterance's audio is under this root; the file need not exist.

    Raises:
        ManifestError: the path leads out of the root, by itself or through a symbolic link.
    """
    complaint = path_complaint(utterance.path)
    if complaint:
        raise ManifestError(f"utterance {utterance.id!r}: {complaint}")
    base = os.path.realpath(root)
    target = os.path.realpath(os.path.join(base, utterance.path))  # noqa: PTH118 - ten times pathlib's speed
    if not target.startswith(base.rstrip(os.sep) + os.sep):
        raise ManifestError(
            f"utterance {utterance.id!r}: {utterance.path} is a link out of {root}; "
            "copy the file into the root."
        )
    return root / utterance.path


class _Checker:
    """Checks utterances one by one; remembers what has to be unique and what it has already accepted."""

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._paths: set[str] = set()
        # Speakers, emotions, codes and the like repeat thousands of times; each value is looked at once.
        self._emotions: set[str] = set()
        self._cells: set[str] = set()

    def complaint(self, utterance: Utterance) -> str:
        """What is wrong with an utterance, as a sentence that says what to do; empty when it is right."""
        return (
            self._missing(utterance)
            or self._identity(utterance)
            or self._label(utterance)
            or self._audio(utterance)
            or self._others(utterance)
        )

    @staticmethod
    def _missing(utterance: Utterance) -> str:
        if utterance.id and utterance.path and utterance.speaker and utterance.emotion:
            return ""
        column = next(name for name in ("id", "path", "speaker", "emotion") if not getattr(utterance, name))
        return f"the {column} is missing; fill it in or remove the row."

    def _identity(self, utterance: Utterance) -> str:
        if utterance.id in self._ids:
            return f"the id {utterance.id!r} stands there twice; ids must be unique."
        if utterance.path in self._paths:
            return f"the path {utterance.path!r} stands there twice; list each file once."
        self._ids.add(utterance.id)
        self._paths.add(utterance.path)
        for column, text in (("id", utterance.id), ("path", utterance.path)):
            if len(text) > LONGEST_CELL or text[0] in "=@" or not text.isascii():
                complaint = cell_complaint(column, text)
                if complaint:
                    return complaint
        if CONTROL.search(utterance.id):
            return f"the id {utterance.id[:80]!r} holds a control character; rename the file."
        return path_complaint(utterance.path)

    def _label(self, utterance: Utterance) -> str:
        if utterance.emotion in self._emotions:
            return ""
        complaint = cell_complaint("emotion", utterance.emotion) or emotion_complaint(utterance.emotion)
        if not complaint:
            self._emotions.add(utterance.emotion)
        return complaint

    @staticmethod
    def _audio(utterance: Utterance) -> str:
        if utterance.samples < 0:
            return f"samples is {utterance.samples}; it cannot be negative, make the manifest anew."
        if not _SHA256.fullmatch(utterance.sha256):
            return (
                f"the sha256 {utterance.sha256[:80]!r} is not 64 lower-case hexadecimal digits; "
                "make the manifest anew."
            )
        return ""

    def _others(self, utterance: Utterance) -> str:
        for column in ("speaker", "code", "language", *OPTIONAL_COLUMNS):
            text: str = getattr(utterance, column)
            if text not in self._cells:
                complaint = cell_complaint(column, text)
                if not complaint and column == "speaker" and CONTROL.search(text):
                    complaint = f"the speaker {text[:80]!r} holds a control character; rename it."
                if complaint:
                    return complaint
                self._cells.add(text)
        for column, text in utterance.extra:
            if column in COLUMNS or not column.strip():
                return f"{column!r} cannot be the name of a further column; choose another."
            complaint = cell_complaint(f"name of column {column[:40]!r}", column) or cell_complaint(
                column, text
            )
            if complaint:
                return complaint
        return ""


def validate(manifest: Manifest) -> None:
    """Check a manifest made in memory against the contract of DESIGN 4.1.

    Raises:
        ManifestError: a bad corpus name; or, with the utterance's id: a missing field, a duplicate id or
            path, a path outside the root, an emotion not in lower-case words, negative samples, a malformed
            hash, a cell that is too long or starts like a formula; or utterances not sorted by id.
    """
    check_corpus_name(manifest.corpus)
    checker, previous = _Checker(), ""
    for utterance in manifest.utterances:
        complaint = checker.complaint(utterance)
        if complaint:
            raise ManifestError(f"corpus {manifest.corpus}: utterance {utterance.id[:80]!r}: {complaint}")
        if utterance.id < previous:
            raise ManifestError(
                f"corpus {manifest.corpus}: utterance {utterance.id!r} comes after {previous!r}; sort by id."
            )
        previous = utterance.id


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write a manifest atomically, in UTF-8 with LF; the same manifest always gives the same bytes.

    Raises:
        ManifestError: the manifest breaks the contract (see ``validate``), or the file is not named after
            its corpus.
    """
    if path.name != f"{manifest.corpus}.csv":
        raise ManifestError(f"{path} cannot hold corpus {manifest.corpus!r}; call it {manifest.corpus}.csv.")
    validate(manifest)
    further = sorted({column for utterance in manifest.utterances for column, _ in utterance.extra})
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([*COLUMNS, *further])
    for utterance in manifest.utterances:
        extra = dict(utterance.extra)
        rows.writerow(
            [
                *(getattr(utterance, column) for column in COLUMNS),
                *(extra.get(column, "") for column in further),
            ]
        )
    write_text(path, text.getvalue())


def read_manifest(path: Path) -> Manifest:
    """Read and check a manifest; rows may stand in any order, a byte-order mark is skipped.

    Raises:
        ManifestError: with the file and, where it applies, the row (the header is row 1): the file is missing
            or not UTF-8, a column is absent or named twice, a row has too many or too few cells, or a row
            breaks the contract (see ``validate``); or there are no rows.
    """
    check_corpus_name(path.stem)
    rows = read_rows(path, REQUIRED_COLUMNS, f"make it anew with: ser manifest {path.stem} ROOT")
    checker, utterances = _Checker(), []
    for row, utterance in _utterances(path, rows):
        complaint = checker.complaint(utterance)
        if complaint:
            raise ManifestError(f"{path}, row {row}: {complaint}")
        utterances.append(utterance)
    if not utterances:
        raise ManifestError(f"{path} holds no utterances; make it anew with: ser manifest {path.stem} ROOT")
    utterances.sort(key=lambda utterance: utterance.id)
    return Manifest(corpus=path.stem, utterances=tuple(utterances))


def _utterances(path: Path, rows: Rows) -> Iterator[tuple[int, Utterance]]:
    """Utterances with their row numbers; repeated strings are shared, which saves memory in large corpora."""
    place = {column: rows.columns.index(column) for column in COLUMNS if column in rows.columns}
    texts = [place[column] for column in ("speaker", "emotion", "code", "language")]
    optional = [(column, place[column]) for column in OPTIONAL_COLUMNS if column in place]
    further = sorted((column, at) for at, column in enumerate(rows.columns) if column not in COLUMNS)
    shared: dict[str, str] = {}
    share = shared.setdefault
    for row, cells in rows.cells:
        samples = cells[place["samples"]]
        if not (samples.removeprefix("-").isdecimal() and samples.isascii() and len(samples) <= 15):
            raise ManifestError(
                f"{path}, row {row}: samples is {samples[:40]!r}, not a whole number; make the manifest anew."
            )
        speaker, emotion, code, language = (share(cells[at], cells[at]) for at in texts)
        yield (
            row,
            Utterance(
                cells[place["id"]],
                cells[place["path"]],
                speaker,
                emotion,
                code,
                language,
                int(samples),
                cells[place["sha256"]],
                extra=_pairs((column, share(cells[at], cells[at])) for column, at in further),
                **{column: share(cells[at], cells[at]) for column, at in optional},
            ),
        )


def _pairs(cells: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple((column, text) for column, text in cells if text)
