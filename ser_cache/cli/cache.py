"""``ser cache``: what is in the cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ser_cache import settings
from ser_cache.cli import screen
from ser_cache.cli.options import where_things_live

if TYPE_CHECKING:
    from ser_cache.store import CacheSummary


@click.group()
def cache() -> None:
    """Look at the cache of hidden states."""


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
    if not where.is_dir():
        screen.note(f"The folder {where} does not exist.")
    elif not found:
        screen.note("Nothing is cached yet; begin with: ser extract --model MODEL --corpus CORPUS")
    for summary in found:
        if summary.damaged:
            screen.note(f"damaged: {summary.backbone} {summary.corpus}: {summary.damaged}")


def _state(summary: CacheSummary) -> str:
    """How many utterances are done, and whether that is all."""
    if summary.damaged:
        return "damaged"
    if not summary.complete:
        return f"incomplete, {summary.done:,} of {summary.total:,}"
    failed = f", {summary.failed:,} failed" if summary.failed else ""
    return f"complete, {summary.done:,}{failed}"
