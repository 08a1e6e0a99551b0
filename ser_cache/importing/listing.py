"""Which clips a corpus has and what is known of each, before any of them is decoded."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ser_cache.corpora import LINK_OUT, Corpus, Found, Scan, audio_files, demand_folder, recognised_by
from ser_cache.errors import ManifestError
from ser_cache.importing.labels import Labels, label
from ser_cache.importing.naming import NamePattern
from ser_cache.importing.roots import describe_root
from ser_cache.languages import language_code
from ser_cache.manifest import COLUMNS, OPTIONAL_COLUMNS, Utterance, path_of
from ser_cache.tables import path_complaint, read_rows

_COMPUTED = frozenset({"id", "code", "samples", "sha256"})
_SEPARATORS = ",;\t"


@dataclass(frozen=True)
class Failure:
    """A file that did not make it into the manifest.

    Attributes:
        path: relative to the root, with ``/``.
        reason: why, as part of a sentence.
    """

    path: str
    reason: str


@dataclass(frozen=True)
class Listing:
    """The clips of a corpus before they are decoded.

    Attributes:
        utterances: with ``samples`` 0 and no ``sha256`` yet.
        failures: files already known not to belong or not to be there.
        left_out: files of the corpus that its recipe leaves out on purpose, with the reason; no failures.
    """

    utterances: tuple[Utterance, ...]
    failures: tuple[Failure, ...]
    left_out: tuple[Failure, ...] = ()


def list_corpus(corpus: Corpus, root: Path, labels: Labels | None = None) -> Listing:
    """Find a known corpus's clips by their names, without decoding; see ``prepare_corpus``.

    A file whose code means nothing is a failure, as is one whose name is none of the corpus's: the complete
    corpus has no such file.

    Raises:
        ManifestError: as ``Corpus.scan``; also where every clip has an emotion that the recipe leaves out, or
            a code that means nothing.
    """
    given = labels or Labels()
    merged = Labels({**corpus.labels, **given.emotions}, given.language or corpus.language)
    scan = _scan(corpus, root)
    omitted = {code: name for code, name in corpus.omitted.items() if code not in given.emotions}
    clips = [_found(clip, merged.language) for clip in scan.found if clip.fields.code not in omitted]
    left_out = [Failure(path, reason) for path, reason in scan.left_out]
    left_out += [
        Failure(clip.path, omitted[clip.fields.code]) for clip in scan.found if clip.fields.code in omitted
    ]
    if not clips:
        raise ManifestError(
            f"every clip of {corpus.name} below {root} has an emotion that its recipe leaves out "
            f"({', '.join(sorted({each.reason for each in left_out}))}); a label map (--labels) takes them."
        )
    left_out.sort(key=lambda failure: failure.path)
    known = [clip for clip in clips if merged.emotion(clip.code) is not None]
    strange = (
        f"its emotion code {{!r}} is none of {corpus.name}'s; if it belongs to the corpus, say what the code "
        "means in a label map (--labels FILE.toml)"
    )
    failures = [Failure(path, reason) for path, reason in scan.unrecognised]
    failures += [
        Failure(clip.path, strange.format(clip.code)) for clip in clips if merged.emotion(clip.code) is None
    ]
    failures.sort(key=lambda failure: failure.path)
    return Listing(label(known or clips, merged), tuple(failures), tuple(left_out))


def _found(clip: Found, language: str) -> Utterance:
    """What a recipe read from a path, as a clip without its emotion."""
    return Utterance(
        id=id_of(clip.path),
        path=clip.path,
        emotion="",
        language=language,
        samples=0,
        sha256="",
        **vars(clip.fields),
    )


def _scan(corpus: Corpus, root: Path) -> Scan:
    """Scan, and where a folder holds no clip of this corpus, say of which it does."""
    try:
        return corpus.scan(root)
    except ManifestError as error:
        taken = recognised_by(root)
        if corpus.name in taken or not taken:
            raise
        other, number = next(iter(taken.items()))
        raise ManifestError(
            f"{error} {number:,} of its files look like {other}'s; for those: ser manifest {other} {root}"
        ) from error


def read_table(table: Path, root: Path, labels: Labels | None = None) -> Listing:
    """List a corpus from a CSV with a row per clip.

    Columns ``path`` (relative to the root), ``speaker`` and ``emotion`` (a code of the label map, or a
    canonical name) are required; ``language``, ``gender``, ``age``, ``sentence``, ``intensity``, ``race``,
    ``ethnicity`` and ``fold`` are used; all others are kept, but for ``id``, ``code``, ``samples`` and
    ``sha256``, which are worked out anew. Spaces around a cell are dropped. Commas, semicolons or tabs stand
    between cells; languages become codes (see ``language_code``).

    Raises:
        SettingsError: the root is missing, or is not a folder.
        ManifestError: with the file and row: the table cannot be read, a required cell is empty, a path leads
            out of the root, a file is listed twice, or a language is unknown; without a row: an emotion code
            is unknown, or no file is below the root, but all are near it.
    """
    given = labels or Labels()
    demand_folder(root)
    if not table.exists():
        raise ManifestError(f"{table} does not exist; give the table's own path, from the working directory.")
    remedy = "add it; path is relative to the root."
    rows = read_rows(table, ("path", "speaker", "emotion"), remedy, _SEPARATORS)
    seen: dict[str, int] = {}
    clips, failures = [], []
    for row, cells in rows.cells:
        texts = dict(zip(rows.columns, (_one_newline(cell).strip() for cell in cells), strict=True))
        _check_table_row(f"{table}, row {row}", texts)
        first = seen.setdefault(texts["path"], row)
        if first != row:
            raise ManifestError(
                f"{table}, row {row}: {texts['path']} is already in row {first}; list it once."
            )
        try:
            clip = _utterance(texts["path"], texts, given)
        except ManifestError as error:
            raise ManifestError(f"{table}, row {row}: {error}") from error
        problem = _file_problem(root, clip)
        if problem:
            failures.append(Failure(clip.path, f"{problem} ({table.name}, row {row})"))
        else:
            clips.append(clip)
    if not clips and not failures:
        raise ManifestError(f"{table} has no rows below its header; add one per clip.")
    if not clips and (elsewhere := describe_root(root, [failure.path for failure in failures])):
        raise ManifestError(f"{table}: {elsewhere}")
    return Listing(label(clips, given), tuple(failures))


def _one_newline(cell: str) -> str:
    return cell.replace("\r\n", "\n").replace("\r", "\n") if "\r" in cell else cell


def _check_table_row(where: str, texts: Mapping[str, str]) -> None:
    for column in ("path", "speaker", "emotion"):
        if not texts[column]:
            raise ManifestError(f"{where}: the {column} is missing; fill it in or remove the row.")
    complaint = path_complaint(texts["path"])
    if complaint:
        raise ManifestError(f"{where}: {complaint}")


def _file_problem(root: Path, clip: Utterance) -> str:
    try:
        path = path_of(root, clip)
    except ManifestError:
        return LINK_OUT
    return "" if os.path.exists(path) else "it does not exist"  # noqa: PTH110 - pathlib raises for long names


def read_pattern(pattern: str, root: Path, labels: Labels | None = None) -> Listing:
    """List a corpus from the names of its files; see ``NamePattern`` for how patterns are written.

    Files that do not match, or match in more than one way, are failures.

    Raises:
        SettingsError: the root is missing, or is not a folder.
        ManifestError: the pattern is malformed or lacks ``{speaker}`` or ``{emotion}``, no file matches, or
            an emotion code or a language is unknown.
    """
    given = labels or Labels()
    names = NamePattern.compile(pattern, reserved=_COMPUTED | {"path"})
    clips, failures = [], []
    for path, problem in audio_files(root):
        texts, reason = (None, problem) if problem else names.match(path)
        if texts is None:
            failures.append(Failure(path, reason))
            continue
        try:
            clips.append(_utterance(path, texts, given))
        except ManifestError as error:
            raise ManifestError(f"{root / path}: {error}") from error
    if not clips:
        seen = f"{failures[0].path}: {failures[0].reason}" if failures else "it holds no audio at all"
        raise ManifestError(f"no file under {root} can be listed by {pattern!r}; {seen}.")
    return Listing(label(clips, given), tuple(failures))


def id_of(path: str) -> str:
    """The id of the clip at a path: the path without its suffix."""
    return os.path.splitext(path)[0]  # noqa: PTH122 - PurePosixPath would cost most of a large listing's time


def _utterance(path: str, texts: Mapping[str, str], labels: Labels) -> Utterance:
    """A clip from named texts; what is no column of ours is kept in ``extra``.

    Raises:
        ManifestError: the language is none that is known.
    """
    further = sorted((name, text) for name, text in texts.items() if name not in COLUMNS and text)
    return Utterance(
        id=id_of(path),
        path=path,
        speaker=texts["speaker"],
        emotion="",
        code=texts["emotion"],
        language=language_code(texts.get("language", "")) or labels.language,
        samples=0,
        sha256="",
        extra=tuple(further),
        **{column: texts.get(column, "") for column in OPTIONAL_COLUMNS},
    )
