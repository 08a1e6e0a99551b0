"""Reading tables strictly, where a problem is an error with its row; and what text may stand in a cell."""

import csv
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ser_cache.errors import ManifestError

LONGEST_CELL = 4096
"""Characters; a path cannot be longer on the systems this runs on."""
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# Two names that differ by one of these look the same; some turn the text after them round.
_INVISIBLE = re.compile(
    r"[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
# In scripts whose letters join, these two show: Persian and Hindi spell words with them.
_JOINING = re.compile(r"(?<=[\u0600-\u109f])[\u200c\u200d](?=[\u0600-\u109f])")
# What a spreadsheet computes: = and @ (full-width ones too) always, + and - before a function or a pipe.
_FORMULA = re.compile(r"[=@\uff1d\uff20]|[+-](?:[A-Za-z.]+\(|[^\n]*\|)")
# A carriage return is among them because Python 3.11 writes one without the quotes it needs to read it back.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_DRIVE = re.compile(r"[A-Za-z]:[/\\]")
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_EMOTION = re.compile(r"[^\W\d_]+(?:[ _-][^\W\d_]+)*")


@dataclass(frozen=True)
class Rows:
    """A CSV file with a checked header.

    Attributes:
        columns: its column names.
        cells: yields (row number, cells), one per record; the header is row 1.
    """

    columns: tuple[str, ...]
    cells: Iterator[tuple[int, list[str]]]


def read_rows(path: Path, required: Sequence[str], remedy: str, separators: str = ",") -> Rows:
    """Open a CSV file of UTF-8 text, a byte-order mark allowed, and check its header.

    Every record then has one cell per column. Blank lines are skipped but counted.

    Args:
        path: the file.
        required: columns it must have.
        remedy: what to do when the file or a column is absent, as the end of a sentence.
        separators: what may stand between cells; the one is taken that gives the header most of the required
            columns. Spreadsheets write ``;`` where the comma is the decimal mark.

    Raises:
        ManifestError: now or while the rows are read, with the file and the row: the file is missing, not
            UTF-8 or not CSV, a column is absent or named twice, another separator was used, a record has too
            many or too few cells.
    """
    wanted = set(required)
    separator = max(separators, key=lambda mark: len(wanted & set(_header(path, mark, remedy))))
    columns = _header(path, separator, remedy)
    records = _records(path, remedy, separator)
    next(records)
    if any("\0" in column for column in columns):
        raise ManifestError(f"{path}, row 1: not UTF-8 but perhaps UTF-16; save it as UTF-8.")
    if len(set(columns)) < len(columns):
        twice = next(column for column, count in Counter(columns).items() if count > 1)
        raise ManifestError(f"{path} has two columns called {twice[:80]!r}; rename one.")
    absent = [column for column in required if column not in columns]
    if absent:
        _refuse_separator(path, wanted, columns, remedy)
        found = "".join(char if char.isprintable() else "?" for char in ", ".join(columns)[:200])
        raise ManifestError(f"{path} has no column {', '.join(absent)} (its columns: {found}); {remedy}")
    return Rows(columns, _same_length(path, columns, records, separator))


def _header(path: Path, separator: str, remedy: str) -> tuple[str, ...]:
    """The names in the first line that is not blank."""
    try:
        _, header = next(_records(path, remedy, separator))
    except StopIteration:
        raise ManifestError(f"{path} is empty; {remedy}") from None
    return tuple(column.strip() for column in header)


def _refuse_separator(path: Path, wanted: set[str], columns: Sequence[str], remedy: str) -> None:
    """Name the separator that the header was written with, where it is not the one it was read with."""
    for mark, called in _SEPARATORS.items():
        found = set(_header(path, mark, remedy)) & wanted
        if len(found) > len(wanted.intersection(columns)):
            lacking = ", ".join(sorted(wanted - found))
            further = f", and it has no column {lacking}" if lacking else ""
            raise ManifestError(
                f"{path} has {called} between its cells{further}; save it with commas, as CSV in UTF-8."
            )


def _same_length(
    path: Path, columns: Sequence[str], records: Iterator[tuple[int, list[str]]], separator: str
) -> Iterator[tuple[int, list[str]]]:
    for row, cells in records:
        if len(cells) != len(columns):
            raise ManifestError(
                f"{path}, row {row}: {len(cells)} cells where {len(columns)} are expected; "
                f"check its {_SEPARATORS[separator]} and quotes."
            )
        yield row, cells


def _records(path: Path, remedy: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Every record that is not a blank line, with its number; what cannot be read becomes a ManifestError."""
    row = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            # strict: a stray quote is an error instead of a cell that swallows the following rows
            for row, cells in enumerate(csv.reader(file, strict=True, delimiter=separator), 1):
                if cells:
                    yield row, cells
    except FileNotFoundError as error:
        raise ManifestError(f"{path} does not exist; {remedy}") from error
    except UnicodeDecodeError as error:
        raise ManifestError(
            f"{path}, row {_first_undecodable(path)}: not UTF-8; save it as UTF-8."
        ) from error
    except csv.Error as error:
        raise ManifestError(f"{path}, row {row + 1}: not CSV ({error}); check its quotes.") from error
    except OSError as error:
        raise ManifestError(f"{path} cannot be read ({error.strerror}).") from error


def _first_undecodable(path: Path) -> int:
    with path.open("rb") as file:
        for row, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return row
    return 1


def name_complaint(column: str, text: str) -> str:
    """Why a text cannot tell things apart, as a sentence that says what to do; empty when it can.

    What does not show (a space at an end, a character without width) would make two speakers of one.
    """
    if text != text.strip():
        return f"the {column} {text[:80]!r} starts or ends with a space; remove it."
    if not text.isascii() and _INVISIBLE.search(_JOINING.sub("", text)):
        return f"the {column} {text[:80]!a} holds a character that does not show; remove it."
    return ""


def folded(text: str) -> str:
    """The text as a disk knows it that minds neither case nor how an accent is composed."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())


def path_complaint(path: str) -> str:
    """Why a path may not stand in a manifest, as a sentence that says what to do; empty when it may."""
    if CONTROL.search(path):
        return f"the path {path[:80]!r} holds a control character; rename the file."
    if path.startswith("/") or _DRIVE.match(path):
        return f"the path {path[:80]!r} is absolute; write it relative to the root."
    if "\\" in path:
        return f"the path {path[:80]!r} holds a backslash; separate folders with '/'."
    parts = path.split("/")
    if ".." in parts:
        return f"the path {path[:80]!r} leads out of the root; write it relative to the root, without '..'."
    if "" in parts or "." in parts:
        return f"the path {path[:80]!r} is not in its shortest form; leave out '.' and doubled or final '/'."
    return _encoding_complaint("path", path)


def emotion_complaint(emotion: str) -> str:
    """Why a word cannot name an emotion, as a sentence that says what to do; empty when it can."""
    if emotion != emotion.lower() or not _EMOTION.fullmatch(emotion):
        return f"the emotion {emotion[:80]!r} is not in lower-case words; write it like 'anger'."
    return ""


def _encoding_complaint(column: str, text: str) -> str:
    if text.isascii():
        return ""
    try:
        text.encode()
    except UnicodeEncodeError:
        return f"the {column} {text[:80]!r} is not valid UTF-8; rename it."
    return ""


def cell_complaint(column: str, text: str) -> str:
    """Why no column may hold this text, as a sentence that says what to do; empty when it may."""
    column = column if column.isprintable() else ascii(column[:80])
    if len(text) > LONGEST_CELL:
        return f"the {column} has {len(text):,} characters; at most {LONGEST_CELL:,} are allowed."
    if _FORMULA.match(text):
        return (
            f"the {column} {text[:40]!r} starts like a spreadsheet's formula; write it without {text[0]!r}."
        )
    if _UNPRINTABLE.search(text):
        return f"the {column} holds a control character; only tabs and line feeds are allowed, remove it."
    return _encoding_complaint(column, text)
