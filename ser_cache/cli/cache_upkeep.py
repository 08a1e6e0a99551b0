"""``ser cache verify``, ``repair``, ``merge`` and ``rm``: what keeps a cache sound and small."""

from __future__ import annotations

import shlex
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ser_cache import settings
from ser_cache.cli import screen
from ser_cache.cli.options import given_places, where_things_live
from ser_cache.errors import SettingsError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ser_cache.manifest import Utterance
    from ser_cache.store import MergeReport, PartReport, Remake, RepairReport

_MEGABYTE = 1_000_000
_models = click.option(
    "--model", "models", multiple=True, help="A backbone's folder in the cache; repeatable [default: all]."
)
_corpora = click.option(
    "--corpus", "corpora", multiple=True, help="Repeatable [default: all that are cached]."
)
_no_lock = click.option("--no-lock", is_flag=True, help="Do not lock the cache (file systems that cannot).")


def chosen_folders(cache: Path, models: Sequence[str], corpora: Sequence[str]) -> list[Path]:
    """The folders ``<cache>/<backbone>/<corpus>`` of the named backbones and corpora, or all.

    Raises:
        UnknownNameError: a named backbone is not in the cache, or a named corpus is not cached for any of
            them.
        SettingsError: nothing is cached at all.
    """
    from ser_cache.store import cached_folders

    folders = cached_folders(cache)
    if not folders:
        raise SettingsError(f"nothing is cached in {cache}; another cache is named with --cache.")
    for name in models:
        known = {folder.parent.name for folder in folders}
        if name not in known:
            raise UnknownNameError("backbone in the cache", name, known, "See: ser cache ls")
    folders = [folder for folder in folders if not models or folder.parent.name in models]
    for name in corpora:
        known = {folder.name for folder in folders}
        if name not in known:
            raise UnknownNameError("corpus in the cache", name, known, "See: ser cache ls")
    return [folder for folder in folders if not corpora or folder.name in corpora]


def _label(folder: Path) -> str:
    return f"{folder.parent.name} {folder.name}"


@click.command("verify", epilog="Example: ser cache verify --model xls-r", short_help="Check every byte.")
@_models
@_corpora
@where_things_live("cache")
def verify(models: tuple[str, ...], corpora: tuple[str, ...], cache: Path | None) -> int:
    """Read every part, and compare each utterance's features with their checksum.

    Changes nothing, and needs no lock: it can run while an extraction writes. Features that are not complete
    are not judged. The exit status is 3 when something is damaged.
    """
    from ser_cache.store import inspect_part, part_paths

    folders = chosen_folders(settings.locate(cache=cache).cache, models, corpora)
    reports: list[PartReport] = []
    paths = [path for folder in folders for path in part_paths(folder)]
    with _reading("verifying", paths) as on_read:
        for path in paths:
            report = inspect_part(path, on_read)
            if report.sound or path.exists():  # a merge or an rm may have deleted it meanwhile
                reports.append(report)
    lines = [line for report in reports for line in report.lines]
    screen.list_first(lines, "damaged: ")
    damaged = sum(not report.sound for report in reports)
    checked = f"{screen.count(len(reports), 'part')} in {screen.count(len(folders), 'folder')}"
    if not damaged:
        screen.say(f"{checked} checked: all sound")
        return 0
    screen.say(f"{checked} checked: {damaged:,} damaged")
    screen.note(f"Next: {_repair_command(models, corpora, cache)}, which marks what `ser extract` must redo.")
    return 3


def _repair_command(models: Sequence[str], corpora: Sequence[str], cache: Path | None) -> str:
    """The repair of what was just verified, as the user would type it."""
    options = [*(("--model", name) for name in models), *(("--corpus", name) for name in corpora)]
    words = [word for pair in options for word in pair]
    return shlex.join(["ser", "cache", "repair", *words, *given_places(None, cache)])


@contextmanager
def _reading(label: str, paths: Sequence[Path]) -> Iterator[Callable[[int], None]]:
    """Show how much of some files has been read; yields what is to be called with each further bytes."""
    from ser_cache.store import statuses

    total = max(sum(status.st_size for status in statuses(paths)) // _MEGABYTE, 1)
    read = 0
    with screen.bar(label, total) as bar:

        def count(further: int) -> None:
            nonlocal read
            read += further
            bar.update(min(read // _MEGABYTE, total), "MB")

        yield count


@click.command(
    "repair", epilog="Example: ser cache repair", short_help="Mark what is damaged for extraction."
)
@_models
@_corpora
@_no_lock
@where_things_live("manifests", "cache")
def repair(
    models: tuple[str, ...],
    corpora: tuple[str, ...],
    no_lock: bool,
    manifests: Path | None,
    cache: Path | None,
) -> int:
    """Find what is damaged, and mark it so that the next `ser extract` makes it again, and only it.

    Nothing that can be read is deleted: a part whose structure is damaged is renamed to part-NNNN.h5.damaged.
    Half-made files of killed processes are deleted. What is sound is left alone. --manifests serves only to
    complete the command that is printed.
    """
    from ser_cache.store import part_paths, repair_folder

    places = given_places(manifests, cache)
    folders = chosen_folders(settings.locate(cache=cache).cache, models, corpora)

    def repair_one(folder: Path) -> bool:
        with _reading(_label(folder), part_paths(folder)) as on_read:
            report = repair_folder(folder, lock=not no_lock, on_read=on_read)
        _show_repair(report, places)
        return report.changed

    return _change_each(folders, repair_one)


def _change_each(folders: Sequence[Path], change: Callable[[Path], bool]) -> int:
    """Work on folders one after another; those that ``change`` left alone share one line at the end."""
    changed: list[bool] = []

    def work(folder: Path) -> int:
        changed.append(change(folder))
        return 0

    status = screen.each(folders, _label, work)
    if untouched := changed.count(False):
        screen.say(f"{screen.count(untouched, 'folder')} need{'s' if untouched == 1 else ''} nothing")
    return status


def _show_repair(report: RepairReport, places: Sequence[str]) -> None:
    label = _label(report.folder)
    screen.list_first([f"{id_!r} {problem}" for id_, problem in report.marked.items()], f"{label}: marked: ")
    for path, aside in report.set_aside.items():
        screen.note(f"{label}: set aside: {path.name} is {aside.name} now; it is yours to delete.")
    if report.leftovers:
        screen.say(f"{label}: {screen.count(len(report.leftovers), 'half-made file')} deleted")
    if report.remake is None:
        return
    screen.say(
        f"{label}: {screen.count(len(report.marked), 'utterance')} marked, "
        f"{screen.count(len(report.set_aside), 'part')} set aside; {_what_to_run(report.remake, places)}"
    )


def _what_to_run(remake: Remake, places: Sequence[str]) -> str:
    """The command that makes lost features again, or what is known of it."""
    if remake.known:
        return f"now run {remake.command(places)}"
    from ser_cache.backbones.registry import BACKBONES
    from ser_cache.mfcc import is_mfcc

    lost = "which model it was is not known, as no part says so; the folder's name suggests"
    if remake.model in BACKBONES or is_mfcc(remake.model) or "/" in remake.model:
        return f"{lost} {remake.model}: {remake.command(places)}"
    # The name leads to the same folder, wherever the model is loaded from.
    named = replace(remake, model="MODEL", name=remake.model)
    return f"{lost} one named {remake.model}: {named.command(places)}, with its folder or hub id for MODEL"


@click.command("merge", epilog="Example: ser cache merge --corpus emovo", short_help="Compact the parts.")
@_models
@_corpora
@_no_lock
@where_things_live("manifests", "cache")
def merge(
    models: tuple[str, ...],
    corpora: tuple[str, ...],
    no_lock: bool,
    manifests: Path | None,
    cache: Path | None,
) -> int:
    """Copy what is used into as few parts as possible, in the manifest's order, and delete the old parts.

    Left out are superseded rows and those of utterances that the manifest no longer has; a corpus without a
    manifest keeps all that are not superseded, in the order of their ids. Features stay the same, byte for
    byte. Safe to kill: run it again. Needs room for the new parts beside the old ones; a probe that is
    reading the old ones may have to be run again.
    """
    from ser_cache.store import merge_folder

    where = settings.locate(manifests, cache)

    def merge_one(folder: Path) -> bool:
        utterances = _utterances(where.manifests, folder.name)
        with screen.bar(f"merging {_label(folder)}", 1) as bar:
            report = merge_folder(folder, utterances, lock=not no_lock, on_progress=bar.restate)
        if report.changed:
            _show_merge(report, "manifest" if utterances is not None else "ids, as it has no manifest here")
        return report.changed

    return _change_each(chosen_folders(where.cache, models, corpora), merge_one)


def _utterances(manifests: Path, corpus: str) -> Sequence[Utterance] | None:
    """The utterances of a corpus's manifest; None where there is no manifest."""
    from ser_cache.manifest import list_manifests, read_manifest

    paths = list_manifests(manifests)
    return read_manifest(paths[corpus]).utterances if corpus in paths else None


def _show_merge(report: MergeReport, order: str) -> None:
    label = _label(report.folder)
    before, after = report.parts
    screen.say(
        f"{label}: {screen.count(before, 'part')} into {after:,}, {screen.size(report.bytes[0])} into "
        f"{screen.size(report.bytes[1])}; {screen.count(report.kept, 'utterance')} kept ({report.failed:,} "
        f"failed), in the order of the {order}"
    )
    if report.superseded or report.absent:
        screen.say(
            f"{label}: left out: {report.superseded:,} superseded, {report.absent:,} not in the manifest"
        )


@click.command("rm", epilog="Example: ser cache rm xls-r --corpus emovo", short_help="Delete features.")
@click.argument("backbone")
@_corpora
@click.option("--yes", is_flag=True, help="Do not ask.")
@_no_lock
@where_things_live("cache")
def remove(backbone: str, corpora: tuple[str, ...], yes: bool, no_lock: bool, cache: Path | None) -> int:
    """Delete the features of BACKBONE (its folder's name in `ser cache ls`), or of some corpora of it.

    Shows what would go and asks first. Only files that the cache made are deleted.
    """
    from ser_cache.store import measure, remove_folder

    folders = chosen_folders(settings.locate(cache=cache).cache, (backbone,), corpora)
    sizes = [measure(folder).total for folder in folders]
    for folder, size in zip(folders, sizes, strict=True):
        screen.say(f"{folder}: {screen.size(size)}")
    if not yes and not _agreed(f"Delete {screen.count(len(folders), 'folder')}, {screen.size(sum(sizes))}?"):
        screen.note("Nothing was deleted.")
        return 0

    def remove_one(folder: Path) -> int:
        left = remove_folder(folder, lock=not no_lock)
        screen.list_first([str(path) for path in left], "left, not made by the cache: ")
        screen.say(f"{_label(folder)}: deleted")
        return 0

    return screen.each(folders, _label, remove_one)


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise SettingsError("nobody is there to be asked, so nothing was deleted; add --yes to delete.")
    return click.confirm(question)
