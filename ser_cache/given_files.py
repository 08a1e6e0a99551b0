"""Which audio files are meant by the files and folders that somebody named; quick to import."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ser_cache.corpora import AUDIO_SUFFIXES
from ser_cache.errors import AudioError, SerCacheError

_NAMED_FILES = 3  # in the complaint that none is there


def collect_files(given: Iterable[Path]) -> list[Path]:
    """The files among what was given, and all audio below the folders, sorted folder by folder; each once.

    A file that was named is taken whatever its suffix; hidden files in folders are left out.

    Raises:
        SerCacheError: a folder holds no audio.
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
        if not inside:
            raise SerCacheError(f"{path} holds no audio ({', '.join(sorted(AUDIO_SUFFIXES))}); name files.")
        found |= dict.fromkeys(inside)
    return list(found)


def require_any(files: Sequence[Path]) -> None:
    """Make sure that not all files are missing; one that is missing among others is no error here.

    Raises:
        AudioError: not one of the files exists.
    """
    if files and not any(_asked(path.exists) for path in files):
        named = ", ".join(map(str, files[:_NAMED_FILES]))
        more = f" and {len(files) - _NAMED_FILES:,} more" if len(files) > _NAMED_FILES else ""
        raise AudioError(f"there is nothing to predict: {named}{more} not found; name files that exist.")


def _asked(question: Callable[[], bool]) -> bool:
    """The answer of the file system; no, where it refuses one, as of a name that is too long."""
    try:
        return question()
    except OSError:
        return False


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
