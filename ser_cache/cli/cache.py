"""``ser cache``: what is in the cache, and what it costs."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ser_cache import settings
from ser_cache.cli import screen
from ser_cache.cli.cache_upkeep import merge, remove, repair, verify
from ser_cache.cli.options import (
    given_places,
    listed_manifests,
    readable_manifests,
    where_things_live,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ser_cache.manifest import Utterance
    from ser_cache.store import CacheSummary, Usage


@click.group()
def cache() -> None:
    """Look at the cache of hidden states, and look after it."""


for _command in (verify, repair, merge, remove):
    cache.add_command(_command)


@cache.command("ls", epilog="Example: ser cache ls")
@where_things_live("manifests", "cache")
def list_cached(manifests: Path | None, cache: Path | None) -> int:
    """List what is cached: complete or not, size, what an incomplete extraction has reserved, fingerprint.

    Complete means: all that the corpus's manifest has, but for what failed; without a manifest here, all that
    was begun. Where a manifest is here and cannot be read, that is said, and what is complete is unknown. The
    exit status is 3 then, and where parts are damaged.
    """
    from ser_cache.store import cached_folders, summaries

    where = settings.locate(manifests, cache)
    known = known_utterances(where)
    found = summaries(where.cache, known.utterances)
    reserving = any(summary.reserved for summary in found)
    rows = [
        (
            summary.backbone,
            summary.corpus,
            _state(summary, known),
            f"{len(summary.layers)} x {summary.width} {summary.codec}" if summary.layers else "",
            screen.size(summary.bytes - summary.reserved),
            *([screen.size(summary.reserved) if summary.reserved else ""] if reserving else []),
            summary.short,
        )
        for summary in found
    ]
    columns = {"backbone": "fold", "corpus": "left", "utterances": "fold", "layers x width": "left"}
    columns |= {"size": "right", **({"reserved": "right"} if reserving else {}), "fingerprint": "left"}
    if rows:
        screen.table(f"Cached in {where.cache}", columns, rows)
    if reserving:
        screen.say_folded(
            "reserved: disk space taken from the start for utterances that are still to be extracted."
        )
    _say_if_empty(found, manifests, cache)
    for summary in found:
        if summary.damaged:
            screen.note(f"damaged: {summary.backbone} {summary.corpus}: {summary.damaged}")
    _list_set_aside(cached_folders(where.cache))
    _say_without_manifest(
        [summary.corpus for summary in found],
        known,
        where,
        "complete means all that was begun.",
        "whether these are complete is unknown.",
    )
    return 3 if any(summary.damaged for summary in found) else 0


@dataclass(frozen=True)
class Known:
    """What the manifests say of the corpora that are cached.

    Attributes:
        utterances: by corpus, of the manifests that could be read.
        unreadable: corpora with a manifest that could not.
    """

    utterances: Mapping[str, Sequence[Utterance]]
    unreadable: frozenset[str]


def known_utterances(where: settings.Locations) -> Known:
    """The manifests of the cached corpora; one that cannot be read is named, and the exit status then 3."""
    from ser_cache.store import cached_folders

    paths = listed_manifests(where.manifests)
    cached = sorted({folder.name for folder in cached_folders(where.cache)} & paths.keys())
    found = readable_manifests({corpus: paths[corpus] for corpus in cached})
    utterances = {corpus: manifest.utterances for corpus, manifest in found.items()}
    return Known(utterances, frozenset(cached) - found.keys())


def _say_without_manifest(
    corpora: Sequence[str], known: Known, where: settings.Locations, absent: str, unreadable: str
) -> None:
    """Name the cached corpora without a manifest, or with one that cannot be read.

    Args:
        corpora: those in the table above.
        known: what is known of them.
        where: where things live.
        absent: what it means for the table that there is no manifest.
        unreadable: what it means that there is one that cannot be read.
    """
    without = sorted(set(corpora) - known.utterances.keys() - known.unreadable)
    if without:
        screen.note(f"no manifest in {where.manifests} for {', '.join(without)}: {absent}")
    if known.unreadable:
        screen.note(f"no readable manifest of {', '.join(sorted(known.unreadable))}: {unreadable}")


def _list_set_aside(folders: Sequence[Path]) -> None:
    """Name damaged parts: they are in no table, as nothing reads them, but they take space and are missed."""
    from ser_cache.store import set_aside

    parts = [(folder, path) for folder in folders for path in set_aside(folder)]
    lines = [
        f"{folder.parent.name} {folder.name}: {path.name}, {screen.size(path.stat().st_size)}, which nothing "
        f"reads; to delete it: {shlex.join(['rm', str(path)])}"
        for folder, path in parts
    ]
    screen.list_first(lines, "set aside: ")


def _say_if_empty(found: Sequence[object], manifests: Path | None, cache: Path | None) -> None:
    """Where nothing is cached, say so and what comes next, with the folders that were given."""
    if found:
        return
    where = settings.locate(manifests, cache)
    if not where.cache.is_dir():
        screen.note(f"The folder {where.cache} does not exist.")
    extract = ["ser", "extract", "--model", "MODEL", "--corpus", "CORPUS", *given_places(manifests, cache)]
    if any(where.manifests.glob("*.csv")):
        screen.note(f"Nothing is cached yet; begin with: {shlex.join(extract)}")
        return
    prepare = ["ser", "manifest", "CORPUS", "ROOT", *given_places(manifests, None)]
    screen.note(f"Nothing is cached yet; begin with: {shlex.join(prepare)}, then: {shlex.join(extract)}")


def _state(summary: CacheSummary, known: Known) -> str:
    """How many utterances are done, and whether that is all, where a manifest can be read that says so."""
    if summary.damaged:
        return "damaged"
    of_total = "" if summary.complete else f" of {summary.total:,}"
    failed = f", {summary.failed:,} failed" if summary.failed else ""
    absent = f"; {summary.absent:,} not in the manifest" if summary.absent else ""
    # What was begun and is not done is incomplete whatever the manifest says.
    whole = "unknown" if summary.corpus in known.unreadable else "complete"
    return f"{whole if summary.complete else 'incomplete'}, {summary.done:,}{of_total}{failed}{absent}"


@cache.command("du", epilog="Example: ser cache du", short_help="What takes how much disk space.")
@where_things_live("manifests", "cache")
def disk_usage(manifests: Path | None, cache: Path | None) -> None:
    """Show what takes how much disk space, and how much `ser cache merge` would give back."""
    from ser_cache.store import cached_folders, measure

    where = settings.locate(manifests, cache)
    known = known_utterances(where)
    found = [measure(folder, known.utterances.get(folder.name)) for folder in cached_folders(where.cache)]
    rows = [_sizes(usage.backbone, usage.corpus, [usage]) for usage in found]
    if len(found) > 1:
        rows.append(_sizes("total", "", found))
    columns = {"backbone": "fold", "corpus": "left"} | dict.fromkeys(
        ("hidden", "pooled", "other", "total", "on disk", "reclaimable", "per hour"), "right"
    )
    if rows:
        screen.table(f"Disk space of {where.cache}", columns, rows)
    _say_if_empty(found, manifests, cache)
    if found:
        screen.say(
            "other: ids, checksums, padding, damaged parts. on disk: blocks of the file system.\n"
            "reclaimable: by `ser cache merge`, once `ser extract` has redone what changed: features of\n"
            "changed audio and of what left the manifest. per hour: of audio in the cache."
        )
    leaves_out = "reclaimable leaves out what left the manifest."
    _say_without_manifest([usage.corpus for usage in found], known, where, leaves_out, leaves_out)
    for usage in found:
        if usage.unwanted:
            command = ["ser", "cache", "rm", usage.backbone, "--corpus", usage.corpus]
            screen.note(
                f"{usage.backbone} {usage.corpus}: nothing in it is wanted any more, and a merge leaves that "
                f"alone; to delete it: {shlex.join([*command, *given_places(None, cache)])}"
            )
    if reserved := sum(usage.reserved for usage in found):
        screen.note(f"{screen.size(reserved)} are reserved for utterances that are still to be extracted.")
    unused = sum(usage.unused for usage in found)
    if unused:
        screen.note(
            f"{screen.size(unused)} of other are damaged parts set aside (part-*.h5.damaged, yours to "
            "delete) and leftovers of killed processes (`ser cache repair` deletes them)."
        )


def _sizes(backbone: str, corpus: str, usages: Sequence[Usage]) -> tuple[str, ...]:
    """One row of the table: the sum of some folders."""
    sums = (
        sum(usage.hidden for usage in usages),
        sum(usage.pooled for usage in usages),
        sum(usage.other for usage in usages),
        sum(usage.total for usage in usages),
        sum(usage.allocated for usage in usages),
        sum(usage.reclaimable for usage in usages),
    )
    # Over several backbones it would be the cost of no one of them.
    hours = usages[0].hours if len(usages) == 1 else 0.0
    return (backbone, corpus, *map(screen.size, sums), screen.size(usages[0].total / hours) if hours else "")
