"""Options that several commands share, and how they choose corpora."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from ser_cache import settings
from ser_cache.cli import screen
from ser_cache.errors import ManifestError, SettingsError, UnknownNameError

if TYPE_CHECKING:
    from ser_cache.manifest import Manifest
    from ser_cache.settings import Locations

Command = TypeVar("Command", bound=Callable[..., Any])
FOLDER = click.Path(path_type=Path)
FILE = click.Path(path_type=Path, dir_okay=False)
PASSED_OVER = f"{__name__}.passed_over"
"""In the meta of click's context where a manifest could not be read, and the command went on without it."""


class OutputFile(click.Path):
    """A file to be written, refused before any work is done where it cannot be.

    The folder must be there: one that is made silently is where a slip of the hand ends, with the file.
    """

    def __init__(self) -> None:
        super().__init__(path_type=Path, dir_okay=False, writable=True)

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's own signature
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Path:
        """The path that was typed.

        Raises:
            click.BadParameter: it names a folder, or a file in one that is not there or cannot be written to.
        """
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if str(value).endswith("/"):
            self.fail(f"{value} names a folder; add the name of the file.", param, ctx)
        folder = path.parent
        if not folder.is_dir():
            hint = (
                "the shell leaves ~ as it is behind an = sign: put a space there."
                if folder.parts[:1] == ("~",)
                else f"make it first (mkdir -p {shlex.quote(str(folder))})."
            )
            self.fail(f"there is no folder {folder} for {path.name}; {hint}", param, ctx)
        if not os.access(folder, os.W_OK | os.X_OK):
            self.fail(f"nothing can be written to the folder {folder}; name another.", param, ctx)
        return path


OUTPUT_FILE = OutputFile()


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


def typed(parameter: str) -> bool:
    """Whether an option of the running command was typed, and is not just its default."""
    context = click.get_current_context()
    return context.get_parameter_source(parameter) is ParameterSource.COMMANDLINE


def given_places(manifests: Path | None, cache: Path | None) -> list[str]:
    """The options that lead another command to the folders that were given to this one."""
    given = {"--manifests": manifests, "--cache": cache}
    return [word for name, folder in given.items() if folder is not None for word in (name, str(folder))]


def chosen_manifests(where: Locations, corpora: Sequence[str]) -> list[Manifest]:
    """The named manifests, or all of them when none is named; then, one that cannot be read is passed over.

    Raises:
        UnknownNameError: a named corpus has no manifest.
        SettingsError: there are no manifests at all.
        ManifestError: a named one cannot be read, or none can.
    """
    from ser_cache.manifest import list_manifests, read_manifest

    paths = list_manifests(where.manifests)
    for name in corpora:
        if name not in paths:
            raise UnknownNameError("corpus", name, paths, _how_to_prepare(name))
    if not paths:
        raise SettingsError(
            f"there are no manifests in {where.manifests}; begin with: ser manifest CORPUS ROOT"
        )
    if corpora:
        found = [read_manifest(paths[name]) for name in dict.fromkeys(corpora)]
    elif len(paths) == 1:
        found = [*map(read_manifest, paths.values())]
    else:
        found = [*readable_manifests(paths).values()]
        if not found:
            raise ManifestError(f"no manifest in {where.manifests} can be read; see above.")
    for manifest in found:
        _doubt_emotions(manifest)
    return found


def readable_manifests(paths: Mapping[str, Path]) -> dict[str, Manifest]:
    """Those of some manifests that can be read, by corpus.

    The others are named, and the command's exit status is at least 3: one damaged file must neither stop what
    was asked of all, nor be missing from it without a word.
    """
    from ser_cache.manifest import read_manifest

    found = {}
    for name, path in paths.items():
        try:
            found[name] = read_manifest(path)
        except ManifestError as error:
            pass_over(error)
    return found


def listed_manifests(folder: Path) -> dict[str, Path]:
    """The manifests of a folder, by corpus, for a listing: one that is misnamed is passed over."""
    from ser_cache.manifest import find_manifests

    found, misnamed = find_manifests(folder)
    for error in misnamed:
        pass_over(error)
    return found


def pass_over(error: ManifestError) -> None:
    """Name a manifest that the command goes on without; its exit status is then at least 3."""
    screen.note(f"skipped: {error}")
    click.get_current_context().meta[PASSED_OVER] = True


def _doubt_emotions(manifest: Manifest) -> None:
    """Say where an emotion looks like a slip for another, as it would be a class of its own."""
    from ser_cache.emotions import likely_slips

    for emotion, (clips, meant) in likely_slips(manifest).items():
        screen.note(
            f"warning: {manifest.corpus}: {screen.count(clips, 'clip')} with the emotion {emotion!r}, which "
            f"is a class of its own; if {meant!r} is meant, correct the manifest, which needs no extraction"
        )


def _how_to_prepare(corpus: str) -> str:
    from ser_cache.corpora import CORPORA
    from ser_cache.official import ready_corpora

    if corpus in ready_corpora():
        return (
            f"Prepare it with: ser manifest {corpus} ROOT (or, without its audio: "
            f"ser manifest {corpus} --listed)"
        )
    if corpus in CORPORA:
        return f"Prepare it with: ser manifest {corpus} ROOT"
    return f"Prepare one of your own with: ser manifest {corpus} ROOT --table FILE (or --pattern)"


def root_of(where: Locations, corpus: str) -> Path | None:
    """The remembered folder of a corpus's audio; None when it was never given or is not there now."""
    root = settings.read_roots(where.manifests).get(corpus)
    return root if root is not None and root.is_dir() else None
