"""Where things live: the folders of manifests, cache and runs, and the remembered root of each corpus.

A command-line option beats the environment (``SER_CACHE_MANIFESTS``, ``SER_CACHE_CACHE``,
``SER_CACHE_RUNS``), which beats ``./manifests``, ``./cache`` and ``./runs``.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import tomli_w

from ser_cache.errors import SettingsError
from ser_cache.files import make_folder, one_at_a_time, write_text

ROOTS_FILE = "roots.toml"


@dataclass(frozen=True)
class Locations:
    """The three folders every command works on.

    Attributes:
        manifests: one ``<corpus>.csv`` per corpus, and ``roots.toml``.
        cache: ``<backbone>[+variant]/<corpus>/part-NNNN.h5``.
        runs: one folder per trained run.
    """

    manifests: Path
    cache: Path
    runs: Path


def locate(
    manifests: Path | None = None,
    cache: Path | None = None,
    runs: Path | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Locations:
    """Settle the three folders; they need not exist yet."""

    def choose(option: Path | None, variable: str, default: str) -> Path:
        return option if option is not None else Path(environment.get(variable) or default)

    return Locations(
        manifests=choose(manifests, "SER_CACHE_MANIFESTS", "manifests"),
        cache=choose(cache, "SER_CACHE_CACHE", "cache"),
        runs=choose(runs, "SER_CACHE_RUNS", "runs"),
    )


def read_roots(manifests: Path) -> dict[str, Path]:
    """The folder of audio of each corpus, as last given to ``ser manifest``.

    Raises:
        SettingsError: ``roots.toml`` is not a table of strings.
    """
    path = manifests / ROOTS_FILE
    if not path.exists():
        return {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML ({error}); mend it or delete it.") from error
    wrong = [corpus for corpus, root in table.items() if not isinstance(root, str)]
    if wrong:
        raise SettingsError(f"{path}: the root of {wrong[0]!r} is not a string; mend it or delete it.")
    return {corpus: Path(root) for corpus, root in table.items()}


def demand_writable(folder: Path, option: str) -> None:
    """Make sure, before long work, that its result can be written; leaves nothing behind.

    Args:
        folder: may be missing; then the nearest folder above it counts.
        option: that names another folder, for the message.

    Raises:
        SettingsError: nothing can be written there.
    """
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    try:
        with TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise SettingsError(
            f"{folder} cannot be written to ({error.strerror}); give another folder: {option} FOLDER"
        ) from error


def remember_root(manifests: Path, corpus: str, root: Path) -> None:
    """Record the absolute folder of audio of a corpus for later commands.

    Raises:
        SettingsError: ``roots.toml`` is not a table of strings.
    """
    make_folder(manifests)
    # Manifests are made side by side, and each would write back the others' roots as it read them.
    with one_at_a_time(manifests):
        roots = {name: str(folder) for name, folder in read_roots(manifests).items()}
        roots[corpus] = str(root.resolve())
        write_text(manifests / ROOTS_FILE, tomli_w.dumps(dict(sorted(roots.items()))))
