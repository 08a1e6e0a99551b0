"""Manifests: which clips a corpus has, who speaks, and with which emotion; one CSV per corpus.

Paths are relative to the corpus's root and the text is sorted, so a manifest is portable and differences
between two versions of it are readable. Nothing here decodes audio or imports more than the standard library:
reading a million rows has to be cheap.
"""

import gc
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter, itemgetter
from pathlib import Path

from ser_cache.errors import ManifestError
from ser_cache.files import write_csv
from ser_cache.tables import (
    CONTROL,
    LONGEST_CELL,
    Rows,
    cell_complaint,
    emotion_complaint,
    folded,
    name_complaint,
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
_LABEL_COLUMNS = ("speaker", "emotion", "code", "language", *OPTIONAL_COLUMNS)
_MOST_REMEMBERED = (
    50_000  # combinations of labels; where nearly every row has its own, they are only a burden
)
_NAMES = {"speaker", "code", "language", "gender", "fold"}  # what a reader tells apart by looking
_LABEL = attrgetter(*_LABEL_COLUMNS)
_COLUMNS = attrgetter(*COLUMNS)

SAMPLE_RATE = 16_000
"""Of ``samples``; audio.SAMPLE_RATE once more, because importing audio would pull in the decoder."""
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,15}")
# What nearly all paths look like; only the others are looked at closely, which costs ten times as much.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. ()+-]*(?:/[A-Za-z0-9_][A-Za-z0-9_. ()+-]*)*")
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
        return sum(utterance.samples for utterance in self.utterances) / SAMPLE_RATE / 3600


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
    paths, misnamed = find_manifests(folder)
    for error in misnamed:
        raise error
    return paths


def find_manifests(folder: Path) -> tuple[dict[str, Path], tuple[ManifestError, ...]]:
    """As ``list_manifests``, for listings that go on: manifests, and what is wrong with other CSV files."""
    found: dict[str, Path] = {}
    misnamed = []
    for path in sorted(folder.glob("*.csv")) if folder.is_dir() else ():
        if path.name.startswith("."):
            continue
        try:
            check_corpus_name(path.stem)
        except ManifestError as error:
            misnamed.append(ManifestError(f"{path}: {error} Rename the file, or move it away."))
        else:
            found[path.stem] = path
    return found, tuple(misnamed)


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


class _Seen:
    """The ids or paths so far."""

    def __init__(self) -> None:
        self._as_written: set[str] = set()
        # Only those that a disk may know by another spelling, which in most corpora are few.
        self._by_folded: dict[str, str] = {}

    def complaint(self, column: str, text: str, fold: bool = True) -> str:
        """Why a text cannot stand beside those before it; empty, and it is remembered, when it can."""
        if text in self._as_written:
            return f"the {column} {text[:80]!r} stands there twice; list each file once."
        same = folded(text) if fold else text
        other = self._by_folded.get(same, same if same in self._as_written else "")
        if other:
            return (
                f"the {column} {text[:80]!a} differs from {other[:80]!a} only by case or by how accents are "
                f"composed, which on some disks are one file; rename one."
            )
        self._as_written.add(text)
        if same != text:
            self._by_folded[same] = text
        return ""


class _Checker:
    """Checks utterances one by one; remembers what has to be unique and what it has already accepted."""

    def __init__(self) -> None:
        self._seen = {"id": _Seen(), "path": _Seen()}
        # Speakers, labels and the like repeat thousands of times: each is looked at once, and so is each
        # combination, of which there may be as many as there are rows.
        self._combinations: set[tuple[str, ...]] = set()
        self._accepted: dict[str, set[str]] = {column: set() for column in _LABEL_COLUMNS}

    def complaint(self, utterance: Utterance) -> str:
        """What is wrong with an utterance, as a sentence that says what to do; empty when it is right."""
        return (
            self._identity(utterance)
            or self._label(utterance)
            or self._audio(utterance)
            or (self._extra(utterance) if utterance.extra else "")
        )

    def _identity(self, utterance: Utterance) -> str:
        for column, text in (("id", utterance.id), ("path", utterance.path)):
            if _PLAIN_PATH.fullmatch(text) is None or len(text) > LONGEST_CELL or text[-1] == " ":
                complaint = _own_complaint(column, text, needed=True)
                if complaint:
                    return complaint
                complaint = path_complaint(text) if column == "path" else ""
                # A file's name may end in a space before its suffix, and its id then does.
                if not complaint and not (column == "id" and utterance.path.startswith(f"{text}.")):
                    complaint = name_complaint(column, text)
                if complaint:
                    return complaint
        # Paths that begin with their ids are as different as these are: one of the two is enough to fold.
        usual = utterance.path.startswith(f"{utterance.id}.")
        return self._seen["id"].complaint("id", utterance.id) or self._seen["path"].complaint(
            "path", utterance.path, fold=not usual
        )

    def _label(self, utterance: Utterance) -> str:
        texts = _LABEL(utterance)
        if texts in self._combinations:
            return ""
        for (column, accepted), text in zip(self._accepted.items(), texts, strict=True):
            if text in accepted:
                continue
            complaint = _own_complaint(column, text, needed=column in {"speaker", "emotion"})
            if not complaint and column in _NAMES:
                complaint = name_complaint(column, text)
            if not complaint and column == "emotion":
                complaint = emotion_complaint(text)
            if complaint:
                return complaint
            accepted.add(text)
        if len(self._combinations) < _MOST_REMEMBERED:
            self._combinations.add(texts)
        return ""

    @staticmethod
    def _audio(utterance: Utterance) -> str:
        if utterance.samples < 0:
            return f"samples is {utterance.samples}; it cannot be negative, make the manifest anew."
        if _SHA256.fullmatch(utterance.sha256) is None:
            return (
                f"the sha256 {utterance.sha256[:80]!r} is not 64 lower-case hexadecimal digits; "
                "make the manifest anew."
            )
        return ""

    @staticmethod
    def _extra(utterance: Utterance) -> str:
        for column, text in utterance.extra:
            if column in COLUMNS or not column or column != column.strip():
                return f"{column!r} cannot be the name of a further column; choose another."
            complaint = _own_complaint("name of a column", column) or cell_complaint(column, text)
            if complaint:
                return complaint
        return ""


def _own_complaint(column: str, text: str, needed: bool = False) -> str:
    """Why a column of ours cannot hold a text; stricter than for further columns, which may have lines."""
    if needed and not text:
        return f"the {column} is missing; fill it in or remove the row."
    complaint = cell_complaint(column, text)
    if not complaint and CONTROL.search(text):
        complaint = f"the {column} {text[:80]!r} holds a control character; remove it."
    return complaint


def validate(manifest: Manifest) -> None:
    """Check a manifest made in memory against the rules that ``read_manifest`` applies to a file.

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
    cells = ([*_COLUMNS(u), *map(dict(u.extra).get, further)] for u in manifest.utterances)
    write_csv(path, (*COLUMNS, *further), cells)  # a missing value is written as an empty cell


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
    with _without_collector():
        for row, utterance in _utterances(path, rows):
            complaint = checker.complaint(utterance)
            if complaint:
                raise ManifestError(f"{path}, row {row}: {complaint}")
            utterances.append(utterance)
    if not utterances:
        raise ManifestError(f"{path} holds no utterances; make it anew with: ser manifest {path.stem} ROOT")
    utterances.sort(key=lambda utterance: utterance.id)
    return Manifest(corpus=path.stem, utterances=tuple(utterances))


@contextmanager
def _without_collector() -> Iterator[None]:
    """Spare the search for cycles: rows have none, and it would go through all of them again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _utterances(path: Path, rows: Rows) -> Iterator[tuple[int, Utterance]]:
    """Utterances with their row numbers; repeated strings are shared, which saves memory in large corpora."""
    place = {column: at for at, column in enumerate(rows.columns)}
    # A column the file lacks is read from an empty cell put behind the others.
    unique = itemgetter(*(place[column] for column in ("id", "path", "samples", "sha256")))
    repeated = itemgetter(*(place.get(column, len(rows.columns)) for column in _LABEL_COLUMNS))
    further = sorted((column, at) for column, at in place.items() if column not in COLUMNS)
    shared: dict[str, str] = {}
    combinations: dict[tuple[str, ...], tuple[str, ...]] = {}
    share = shared.setdefault
    for row, cells in rows.cells:
        cells.append("")
        id_, file, samples, sha256 = unique(cells)
        if not _WHOLE_NUMBER.fullmatch(samples):
            raise ManifestError(
                f"{path}, row {row}: samples is {samples[:40]!r}, not a whole number; make the manifest anew."
            )
        texts = repeated(cells)
        known = combinations.get(texts)
        if known is None:
            known = tuple([share(text, text) for text in texts])
            if len(combinations) < _MOST_REMEMBERED:
                combinations[texts] = known
        # Spelled out, because keywords and starred arguments take half as long again.
        speaker, emotion, code, language, gender, age, sentence, intensity, race, ethnicity, fold = known
        extra = tuple([(column, share(cells[at], cells[at])) for column, at in further if cells[at]])
        utterance = Utterance(
            id_,
            file,
            speaker,
            emotion,
            code,
            language,
            int(samples),
            sha256,
            gender,
            age,
            sentence,
            intensity,
            race,
            ethnicity,
            fold,
            extra,
        )
        yield row, utterance
