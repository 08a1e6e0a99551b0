"""Options that several commands share, and how they choose corpora."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ser_cache import settings

Command = TypeVar("Command", bound=Callable[..., Any])
FOLDER = click.Path(path_type=Path, file_okay=False)


def where_things_live(*names: str) -> Callable[[Command], Command]:
    """Add ``--manifests``, ``--cache`` and ``--runs`` (those named) to a command."""
    meaning = {
        "manifests": "Folder of manifests [default: ./manifests or $SER_CACHE_MANIFESTS].",
        "cache": "Folder of cached hidden states [default: ./cache or $SER_CACHE_CACHE].",
        "runs": "Folder of trained runs [default: ./runs or $SER_CACHE_RUNS].",
    }

    def add(command: Command) -> Command:
        for name in reversed(names):
            command = click.option(f"--{name}", type=FOLDER, help=meaning[name])(command)
        return command

    return add


def locations(
    manifests: Path | None = None, cache: Path | None = None, runs: Path | None = None
) -> settings.Locations:
    """The folders a command works on (see :func:`ser_cache.settings.locate`)."""
    return settings.locate(manifests, cache, runs)
