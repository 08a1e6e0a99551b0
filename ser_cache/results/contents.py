"""The files in a run's folder: their names, and the one place that checks them before anybody reads them.

``files.json`` lists the size and the SHA-256 of every other file. Sizes are compared whenever a run is
opened, which costs next to nothing; a file's hash when its content is wanted. Runs of earlier versions have
no such list: of theirs it is known only that the files are there and can be read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_cache.errors import ResultsError
from ser_cache.files import sha256_of_file, write_json
from ser_cache.results.config import SCHEMA

CONFIG = "config.json"
SPLITS = "splits.json"
ENVIRONMENT = "environment.json"
LOG = "log.csv"
PREDICTIONS = "predictions.csv"
METRICS = "metrics.json"
WEIGHTS = "weights.safetensors"
FILES = (CONFIG, SPLITS, ENVIRONMENT, LOG, PREDICTIONS, METRICS, WEIGHTS)
"""What every run has."""
LAYER_WEIGHTS = "layer_weights.json"
SEARCH = "learning_rate_search.json"
GRID_SEARCH = "grid_search.json"
STANDARDISATION = "standardisation.safetensors"
FINGERPRINT = "fingerprint.json"
FILE_LIST = "files.json"


@dataclass(frozen=True)
class Contents:
    """A run's folder whose files are there and have the sizes they were written with.

    Attributes:
        folder: the run's.
        hashes: SHA-256 of each file by name; None for a run of an earlier version.
    """

    folder: Path
    hashes: Mapping[str, str] | None

    def has(self, name: str) -> bool:
        """Whether the run has a file that not every run has."""
        return (self.folder / name).exists() if self.hashes is None else name in self.hashes

    def path(self, name: str) -> Path:
        """The path of a file whose content is what was written.

        Raises:
            ResultsError: it is missing, or its content is another.
        """
        path = self.folder / name
        if not path.is_file():
            raise damaged(self.folder, f"{name} is missing")
        if self.hashes is not None and sha256_of_file(path) != self.hashes.get(name):
            raise damaged(self.folder, f"{name} is not what was written")
        return path

    def json(self, name: str) -> dict[str, Any]:
        """The JSON object that a file holds.

        Raises:
            ResultsError: it holds none, or the content is not what was written.
        """
        self.path(name)
        return read_object(self.folder, name)


def open_contents(folder: Path) -> Contents:
    """Check that a run's files are there, and whole as far as their sizes tell.

    Raises:
        ResultsError: one is missing, or has another size than was written.
    """
    listed = _listed(folder)
    missing = [name for name in (*FILES, *(listed or ())) if not (folder / name).is_file()]
    if missing:
        raise damaged(folder, f"{missing[0]} is missing")
    if listed is None:
        return Contents(folder, None)
    for name, (size, _) in listed.items():
        found = (folder / name).stat().st_size
        if found != size:
            raise damaged(folder, f"{name} has {found:,} bytes, and {size:,} were written")
    return Contents(folder, {name: digest for name, (_, digest) in listed.items()})


def write_file_list(folder: Path) -> None:
    """List every file of a folder, which must be complete, in :data:`FILE_LIST`."""
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": sha256_of_file(path)}
        for path in sorted(folder.iterdir())
    }
    write_json(folder / FILE_LIST, {"schema": SCHEMA, "files": files})


def read_object(folder: Path, name: str) -> dict[str, Any]:
    """The JSON object in a file of a run, which may be another than was written.

    Raises:
        ResultsError: the file is missing or holds something else.
    """
    try:
        value = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise damaged(folder, f"{name} is missing") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise damaged(folder, f"{name} is not valid JSON") from error
    if not isinstance(value, dict):
        raise damaged(folder, f"{name} is not a JSON object")
    return value


def damaged(folder: Path, what: str) -> ResultsError:
    """The error of a run that cannot be read: one line, with what to do next."""
    return ResultsError(f"the run {folder} is damaged ({what}); delete it, or repeat it with --force.")


def _listed(folder: Path) -> dict[str, tuple[int, str]] | None:
    """Size and hash of each file by name; None where an earlier version listed none."""
    if not (folder / FILE_LIST).exists():
        return None
    try:
        files = read_object(folder, FILE_LIST)["files"]
        return {str(name): (int(row["bytes"]), str(row["sha256"])) for name, row in files.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise damaged(folder, f"{FILE_LIST} is not complete") from error
