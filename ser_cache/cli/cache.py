"""``ser cache``: what is in the cache, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ser_cache import settings
from ser_cache.cli import screen
from ser_cache.cli.cache_upkeep import merge, remove, repair, verify
from ser_cache.cli.options import where_things_live

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ser_cache.store import CacheSummary, Usage


@click.group()
def cache() -> None:
    """Look at the cache of hidden states, and look after it."""


for _command in (verify, repair, merge, remove):
    cache.add_command(_command)


@cache.command("ls", epilog="Example: ser cache ls")
@where_things_live("cache")
def list_cached(cache: Path | None) -> None:
    """List what is cached: complete or not, size, fingerprint."""
    from ser_cache.store import summaries

    where = settings.locate(cache=cache).cache
    found = summaries(where)
    rows = [
        (
            summary.backbone,
            summary.corpus,
            _state(summary),
            f"{len(summary.layers)} x {summary.width} {summary.codec}" if summary.layers else "",
            screen.size(summary.bytes),
            summary.short,
        )
        for summary in found
    ]
    columns = {"backbone": "fold", "corpus": "left", "utterances": "fold", "layers x width": "left"}
    screen.table(f"Cached in {where}", columns | {"size": "right", "fingerprint": "left"}, rows)
    _say_if_empty(where, found)
    for summary in found:
        if summary.damaged:
            screen.note(f"damaged: {summary.backbone} {summary.corpus}: {summary.damaged}")


def _say_if_empty(where: Path, found: Sequence[object]) -> None:
    if not where.is_dir():
        screen.note(f"The folder {where} does not exist.")
    elif not found:
        screen.note("Nothing is cached yet; begin with: ser extract --model MODEL --corpus CORPUS")


def _state(summary: CacheSummary) -> str:
    """How many utterances are done, and whether that is all."""
    if summary.damaged:
        return "damaged"
    if not summary.complete:
        return f"incomplete, {summary.done:,} of {summary.total:,}"
    failed = f", {summary.failed:,} failed" if summary.failed else ""
    return f"complete, {summary.done:,}{failed}"


@cache.command("du", epilog="Example: ser cache du")
@where_things_live("cache")
def disk_usage(cache: Path | None) -> None:
    """Show what takes how much disk space, and how much `ser cache merge` would give back."""
    from ser_cache.store import cached_folders, measure

    where = settings.locate(cache=cache).cache
    found = [measure(folder) for folder in cached_folders(where)]
    rows = [_sizes(usage.backbone, usage.corpus, [usage]) for usage in found]
    if len(found) > 1:
        rows.append(_sizes("total", "", found))
    columns = {"backbone": "fold", "corpus": "left"} | dict.fromkeys(
        ("hidden", "pooled", "other", "total", "on disk", "reclaimable", "per hour"), "right"
    )
    screen.table(f"Disk space of {where}", columns, rows)
    _say_if_empty(where, found)
    if found:
        screen.say(
            "other: ids, checksums, padding, damaged parts. on disk: blocks of the file system.\n"
            "reclaimable: by `ser cache merge`. per hour: of audio in the cache."
        )
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
