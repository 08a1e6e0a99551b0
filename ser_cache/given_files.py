"""Which audio files are meant by the files and folders that somebody named; quick to import."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ser_cache.corpora import AUDIO_SUFFIXES
from ser_cache.errors import AudioError, SerCacheError

_NAMED_FILES = 3  # in the complaint that none is there


def collect_files(given: Iterable[Path]) -> list[Path]:
    """The files among what was given, and all audio below the folders, sorted folder by folder; each once.

    A file that was named is taken whatever its suffix; hidden files in folders are left out. A folder without
    audio stands for itself, so that it is listed among the failures, as a missing file is.
    """
    found: dict[Path, None] = {}
    for path in given:
        if not _asked(path.is_dir):
            found[path] = None  # also where it is missing: it is listed among the failures
            continue
        inside = [
            file
            for file in sorted(path.rglob("*"))
            if file.suffix.lower() in AUDIO_SUFFIXES
            and file.is_file()
            and not _hidden(file.relative_to(path))
        ]
        found |= dict.fromkeys(inside or [path])
    return list(found)


def require_any(files: Sequence[Path]) -> None:
    """Make sure that there is a file at all; what is missing among others is no error here.

    Args:
        files: as :func:`collect_files` gives them.

    Raises:
        AudioError: not one of the files exists.
        SerCacheError: there are folders without audio and no file.
    """
    if not files or any(_asked(path.is_file) for path in files):
        return
    if empty := next((path for path in files if _asked(path.is_dir)), None):
        raise SerCacheError(f"there is nothing to predict: {without_audio(empty)}")
    if not any(_asked(path.exists) for path in files):
        named = ", ".join(map(str, files[:_NAMED_FILES]))
        more = f" and {len(files) - _NAMED_FILES:,} more" if len(files) > _NAMED_FILES else ""
        raise AudioError(f"there is nothing to predict: {named}{more} not found; name files that exist.")


def without_audio(folder: Path) -> str:
    """What is to be said of a folder in which no audio was found."""
    return f"{folder} holds no audio ({', '.join(sorted(AUDIO_SUFFIXES))}); name files."


def _asked(question: Callable[[], bool]) -> bool:
    """The answer of the file system; no, where it refuses one, as of a name that is too long."""
    try:
        return question()
    except OSError:
        return False


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
